-- Checks that indexes cannot make: rows with a duplicate primary key (unique indexes do not cover the columnstore, and a damaged
-- index covers nothing), and rollups that differ from their rows. Both read everything, so nothing calls them automatically.

CREATE OR REPLACE FUNCTION double_rows()
RETURNS TABLE (
    relation text,
    period_start timestamptz,
    period_end timestamptz,
    chunk regclass,
    key_count bigint,
    surplus_count bigint
)
LANGUAGE plpgsql
VOLATILE
SET search_path = public, pg_temp
-- Read the rows themselves, not an index.
SET enable_indexscan = off
SET enable_indexonlyscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    piece record;
    chunks text := 'SELECT NULL::text, NULL::text, NULL::regclass, NULL::timestamptz, NULL::timestamptz WHERE false';
BEGIN
    IF database_edition() NOT IN ('plain', 'citus') THEN
        chunks :=
            'SELECT h.hypertable_name::text, d.column_name::text, format(''%I.%I'', h.chunk_schema, h.chunk_name)::regclass, h.range_start, h.range_end '
            'FROM timescaledb_information.chunks AS h '
            'JOIN timescaledb_information.dimensions AS d USING (hypertable_schema, hypertable_name) '
            'WHERE h.hypertable_schema = ''public'' AND d.dimension_number = 1';
    END IF;
    FOR piece IN EXECUTE format(
        $query$
        WITH chunks (relation, time_column, chunk, period_start, period_end) AS (%s),
        keys AS (
            SELECT
                c.relname::text AS relation,
                string_agg(quote_ident(a.attname), ', ' ORDER BY k.position) AS columns
            FROM pg_index AS i
            JOIN pg_class AS c ON c.oid = i.indrelid
            CROSS JOIN unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, position)
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE i.indisprimary
                AND c.relnamespace = 'public'::regnamespace
                AND c.relkind = 'r'
            GROUP BY c.oid
        )
        SELECT
            k.relation,
            k.columns,
            h.chunk,
            h.time_column,
            h.period_start,
            h.period_end
        FROM keys AS k
        LEFT JOIN chunks AS h ON h.relation = k.relation
        ORDER BY k.relation, h.period_start
        $query$,
        chunks
    )
    LOOP
        relation := piece.relation;
        period_start := piece.period_start;
        period_end := piece.period_end;
        chunk := piece.chunk;
        -- As one value, because duplicate rows in the columnstore are not in the order that it claims. Citus has no
        -- columnstore here, and cannot send such a value between nodes.
        EXECUTE format(
            'SELECT count(*), coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM %I %s GROUP BY %s(%s) HAVING count(*) > 1) AS q',
            piece.relation,
            CASE
                WHEN piece.chunk IS NULL THEN ''
                ELSE format('WHERE %I >= %L AND %I < %L', piece.time_column, piece.period_start, piece.time_column, piece.period_end)
            END,
            CASE database_edition() WHEN 'citus' THEN '' ELSE 'ROW' END,
            piece.columns
        )
        INTO key_count, surplus_count;
        IF surplus_count > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION double_rows() IS
    'Tables or chunks with duplicate primary keys, one row each; no rows if there are none. Counts every row, including '
    'the columnstore, without using an index: a second or two per million rows.';

CREATE OR REPLACE FUNCTION rollup_differences()
RETURNS TABLE (
    rollup text,
    first_bucket timestamptz,
    last_bucket timestamptz,
    bucket_count bigint,
    row_count bigint
)
LANGUAGE plpgsql
VOLATILE
SET search_path = public, pg_temp
AS $$
DECLARE
    kept record;
BEGIN
    IF database_edition() <> 'community' THEN
        RETURN;
    END IF;
    FOR kept IN
        SELECT
            a.user_view_name::text AS name,
            format('%I.%I', a.direct_view_schema, a.direct_view_name) AS from_rows,
            format('%I.%I', h.schema_name, h.table_name) AS materialized,
            _timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(h.id)) AS watermark,
            d.bucket_width,
            -- Retention dropped older rows; a bucket that it cut in two is excluded.
            (
                SELECT min(c.range_start)
                FROM timescaledb_information.chunks AS c
                WHERE c.hypertable_schema = 'public'
                    AND c.hypertable_name = coalesce(parent.source, d.source)
            ) AS oldest,
            -- Its sources: the raw rows and, where it is built on another rollup, that one.
            ARRAY(
                SELECT s.raw_hypertable_id
                FROM _timescaledb_catalog.continuous_agg AS s
                WHERE s.user_view_schema = 'public'
                    AND s.user_view_name IN (a.user_view_name, parent.rollup)
            ) AS sources,
            ARRAY(
                SELECT s.mat_hypertable_id
                FROM _timescaledb_catalog.continuous_agg AS s
                WHERE s.user_view_schema = 'public'
                    AND s.user_view_name IN (a.user_view_name, parent.rollup)
            ) AS materializations,
            string_agg(quote_ident(col.attname), ', ' ORDER BY col.attnum) AS columns
        FROM _timescaledb_catalog.continuous_agg AS a
        JOIN rollup_definitions() AS d ON d.rollup = a.user_view_name
        LEFT JOIN rollup_definitions() AS parent ON parent.rollup = d.source
        JOIN _timescaledb_catalog.hypertable AS h ON h.id = a.mat_hypertable_id
        JOIN pg_attribute AS col
            ON col.attrelid = format('%I.%I', a.user_view_schema, a.user_view_name)::regclass
            AND col.attnum > 0
            AND NOT col.attisdropped
        WHERE a.user_view_schema = 'public'
        GROUP BY a.mat_hypertable_id, h.id, d.bucket_width, d.source, parent.source, parent.rollup
        ORDER BY d.bucket_width, a.user_view_name
    LOOP
        EXECUTE format(
            $query$
            WITH late AS (
                -- Rows that arrived since the last refresh are in the next one.
                SELECT lowest_modified_value AS lowest, greatest_modified_value AS greatest
                FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log
                WHERE hypertable_id = ANY (%7$L::integer[])
                UNION ALL
                SELECT lowest_modified_value, greatest_modified_value
                FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log
                WHERE materialization_id = ANY (%8$L::integer[])
            ),
            wanted AS (
                SELECT %1$s FROM %2$s WHERE bucket >= %4$L::timestamptz + %6$L::interval AND bucket < %5$L
            ),
            found AS (
                SELECT %1$s FROM %3$s WHERE bucket >= %4$L::timestamptz + %6$L::interval AND bucket < %5$L
            ),
            differing AS (
                (SELECT * FROM wanted EXCEPT ALL SELECT * FROM found)
                UNION ALL
                (SELECT * FROM found EXCEPT ALL SELECT * FROM wanted)
            )
            SELECT min(d.bucket), max(d.bucket), count(DISTINCT d.bucket), count(*)
            FROM differing AS d
            WHERE NOT EXISTS (
                SELECT
                FROM late AS l
                WHERE l.greatest >= _timescaledb_functions.to_unix_microseconds(d.bucket)
                    AND l.lowest < _timescaledb_functions.to_unix_microseconds(d.bucket + interval '1 day')
            )
            $query$,
            kept.columns, kept.from_rows, kept.materialized, kept.oldest, kept.watermark, kept.bucket_width,
            kept.sources, kept.materializations
        )
        INTO first_bucket, last_bucket, bucket_count, row_count;
        rollup := kept.name;
        IF row_count > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION rollup_differences() IS
    'Rollups that differ from the rows they are built on, one row each; no rows if there are none, or where rollups are '
    'views. Recomputes each rollup from its rows for comparison: a few seconds per million rows. Rows that arrived since '
    'the last refresh, and buckets whose rows were dropped by retention, are not compared.';

CREATE OR REPLACE PROCEDURE remove_double_rows(keep_any boolean DEFAULT false)
LANGUAGE plpgsql
AS $$
DECLARE
    piece record;
    definition record;
    key_columns text;
    column_names text;
    was_compressed boolean;
    differing_count bigint;
    next_number record;
    is_mended boolean := false;
BEGIN
    FOR piece IN SELECT * FROM public.double_rows() LOOP
        IF piece.chunk IS NULL THEN
            RAISE WARNING '% rows of % are duplicates despite its primary key: the index is damaged, restore a backup', piece.surplus_count, piece.relation;
            CONTINUE;
        END IF;
        EXECUTE format('LOCK TABLE public.%I IN SHARE ROW EXCLUSIVE MODE', piece.relation);
        SELECT
            string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.attnum = ANY (i.indkey::smallint[])),
            string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
        INTO key_columns, column_names
        FROM pg_index AS i
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        WHERE i.indrelid = format('public.%I', piece.relation)::regclass
            AND i.indisprimary;
        was_compressed := EXISTS (
            SELECT
            FROM timescaledb_information.chunks AS c
            WHERE format('%I.%I', c.chunk_schema, c.chunk_name)::regclass = piece.chunk
                AND c.is_compressed
        );
        EXECUTE format('CREATE TEMPORARY TABLE double_rows_all AS SELECT %s FROM %s', column_names, piece.chunk);
        EXECUTE format(
            'SELECT count(*) FROM (SELECT FROM pg_temp.double_rows_all AS a GROUP BY %s HAVING count(*) > 1 AND min(a::text) <> max(a::text)) AS q',
            key_columns
        )
        INTO differing_count;
        IF differing_count > 0 AND NOT keep_any THEN
            RAISE EXCEPTION '% keys of % between % and % have copies that differ, and it is unknown which of them is current',
                differing_count, piece.relation, piece.period_start, piece.period_end
                USING HINT = 'Restore a backup, or CALL remove_double_rows(true) to keep an arbitrary one.';
        END IF;
        -- Including its compressed data; TRUNCATE leaves rows behind where a chunk is partially compressed.
        EXECUTE format('DROP TABLE %s', piece.chunk);
        EXECUTE format(
            'INSERT INTO public.%I (%s) SELECT DISTINCT ON (%s) %s FROM pg_temp.double_rows_all ORDER BY %s',
            piece.relation,
            column_names,
            key_columns,
            column_names,
            key_columns
        );
        DROP TABLE pg_temp.double_rows_all;
        IF was_compressed THEN
            PERFORM public.compress_chunk(format('%I.%I', c.chunk_schema, c.chunk_name)::regclass, true)
            FROM timescaledb_information.chunks AS c
            WHERE c.hypertable_schema = 'public'
                AND c.hypertable_name = piece.relation
                AND c.range_start < piece.period_end
                AND c.range_end > piece.period_start;
        END IF;
        RAISE NOTICE '% rows of % between % and % were duplicates: removed', piece.surplus_count, piece.relation, piece.period_start, piece.period_end;
        is_mended := true;
        COMMIT;
    END LOOP;
    IF public.database_edition() <> 'community' OR NOT is_mended AND NOT EXISTS (SELECT FROM public.rollup_differences()) THEN
        RETURN;
    END IF;

    -- Rollups that are built on others come after them. Buckets older than the rows are left alone.
    FOR definition IN
        SELECT
            d.rollup,
            (
                SELECT public.time_bucket(d.bucket_width, min(c.range_start) - interval '1 microsecond') + d.bucket_width
                FROM timescaledb_information.chunks AS c
                WHERE c.hypertable_schema = 'public'
                    AND c.hypertable_name = coalesce(parent.source, d.source)
            ) AS first_bucket
        FROM public.rollup_definitions() AS d
        JOIN timescaledb_information.continuous_aggregates AS a ON a.view_schema = 'public' AND a.view_name = d.rollup
        LEFT JOIN public.rollup_definitions() AS parent ON parent.rollup = d.source
        ORDER BY d.bucket_width, d.rollup
    LOOP
        CONTINUE WHEN definition.first_bucket IS NULL;
        CALL public.refresh_continuous_aggregate(format('public.%I', definition.rollup)::regclass, definition.first_bucket, NULL, true);
    END LOOP;

    -- Restoring a dump resets TimescaleDB's sequences: chunks created later already use these numbers.
    FOR next_number IN
        SELECT
            d.adrelid::regclass AS relation,
            a.attname,
            substring(pg_get_expr(d.adbin, d.adrelid) FROM 'nextval\(''([^'']+)''') AS counter
        FROM pg_attrdef AS d
        JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        JOIN pg_class AS c ON c.oid = d.adrelid AND c.relnamespace::regnamespace::text IN ('_timescaledb_catalog', '_timescaledb_config')
        WHERE pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%'
    LOOP
        EXECUTE format(
            'SELECT setval(%L, greatest((SELECT max(%I) FROM %s), (SELECT last_value FROM %s)), true)',
            next_number.counter, next_number.attname, next_number.relation, next_number.counter
        );
    END LOOP;
END
$$;
COMMENT ON PROCEDURE remove_double_rows(boolean) IS
    'Repairs a database into which a dump was loaded twice: keeps one of the rows with the same primary key, chunk by '
    'chunk, and recomputes the rollups from the rows. Refuses if two copies differ, because it is unknown which one is '
    'current, unless any may be kept. Call it outside a transaction, after a backup; it locks one chunk of a time series '
    'after the other against writers.';
REVOKE ALL ON FUNCTION double_rows(), rollup_differences() FROM PUBLIC;
REVOKE ALL ON PROCEDURE remove_double_rows(boolean) FROM PUBLIC;
