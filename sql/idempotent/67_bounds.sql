-- Bounds on the size of values. Tenants share indexes, rollups, columnstore and queries over all organizations: a text too long
-- for an index, a sum that overflows, or a megabyte of JSON in each of a thousand rows would stop the work for everyone.
--
-- Every column of every tenant table has a bound, named in its CHECK constraint:
--
-- text in an index, or in a time series (its rollups group by it)    at most 200 characters: three of four bytes each fit an index
-- other text                                                          at most 10,000 characters
-- text[]                                                              at most 2,000 bytes together, so that each fits an index
-- uuid[]                                                              at most 1,000 entries; of one dimension, as text[]
-- numeric, double precision                                           below 1e15 either way and at most 100 decimals; no NaN
-- jsonb in a time series                                              at most 64 KiB as text: the columnstore packs 1,000 at a time.
--                                                                     (Measured as text, for a number of 131,072 digits takes 19 bytes as
--                                                                     stored. Only what is empty passes unread: most rows' is.)
-- other jsonb                                                         at most 1 MB as text; an optimization's, 10 MB
-- any jsonb                                                           at most 100 levels deep, integers of at most 4,299 digits: no
--                                                                     deeper or longer one can be read in Python
-- time of a time series                                               from the year 2000 on: each week or month with a row is a chunk
-- other times and dates                                               of the years 1 to 9999, or infinite: no other can be read in Python,
--                                                                     and one row must not end a list of all organizations' rows
-- interval                                                            at most 10 years
--
-- A column whose values are listed in a CHECK needs none. Exceptions are listed below. In a database with existing rows the
-- CHECK applies to new rows at once; existing violations are reported in a warning and by doctor until they are corrected.

CREATE OR REPLACE FUNCTION value_bounds()
RETURNS TABLE (
    table_name text,
    column_name text,
    check_name text,
    condition text
)
LANGUAGE sql
STABLE
AS $$
    WITH exceptions (table_name, column_name, most) AS (
        VALUES
            ('operational_events', 'cause', 400),
            ('optimization_runs', 'parameters', 10000000),
            ('optimization_runs', 'result', 10000000)
    ),
    columns AS (
        SELECT
            c.relname::text AS table_name,
            a.attname::text AS column_name,
            format_type(a.atttypid, NULL) AS type_name,
            s.relation IS NOT NULL AS is_series,
            EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])) AS is_indexed,
            e.most
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN public.time_series_layout() AS s ON s.relation = c.relname
        LEFT JOIN exceptions AS e ON e.table_name = c.relname AND e.column_name = a.attname
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relkind IN ('r', 'p')
            -- Sums of bounded values are maintained by the database; see 73_timeline_sums.sql.
            AND c.relname NOT IN ('tenant_logins', 'resource_time_sums', 'resource_time_totals', 'resource_time_reports', 'resource_time_states', 'resource_time_marks')
            AND EXISTS (
                SELECT
                FROM pg_catalog.pg_attribute AS o
                WHERE o.attrelid = c.oid
                    AND o.attname = 'organization_id'
            )
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
            AND NOT EXISTS (
                SELECT
                FROM pg_catalog.pg_constraint AS k
                WHERE k.conrelid = c.oid
                    AND k.contype = 'c'
                    AND k.conkey = ARRAY[a.attnum]
                    AND pg_catalog.pg_get_constraintdef(k.oid) ~ '^CHECK \(\(\w+ = ANY \(ARRAY\['
            )
    ),
    bounds AS (
        SELECT
            c.table_name,
            c.column_name,
            CASE
                WHEN c.type_name IN ('text', 'character varying') THEN format('at_most_%s_chars', l.most_characters)
                WHEN c.type_name = 'text[]' THEN 'at_most_2000_bytes'
                WHEN c.type_name = 'uuid[]' THEN 'at_most_1000_entries'
                WHEN c.type_name IN ('jsonb', 'json') THEN format('at_most_%s_bytes', l.most_bytes)
                WHEN c.type_name IN ('numeric', 'double precision', 'real') THEN 'within_1e15'
                WHEN c.is_series AND c.column_name = 'time' THEN 'since_2000'
                WHEN c.type_name IN ('timestamp with time zone', 'timestamp without time zone', 'date') THEN 'readable'
                WHEN c.type_name = 'interval' THEN 'at_most_10_years'
            END AS rule,
            CASE
                WHEN c.type_name IN ('text', 'character varying') THEN format('char_length(%I) <= %s', c.column_name, l.most_characters)
                -- An array of NULLs would have no bytes, unless each NULL is written as a character.
                WHEN c.type_name = 'text[]' THEN
                    format('octet_length(array_to_string(%1$I, '' '', ''-'')) <= 2000 AND coalesce(array_ndims(%1$I), 1) = 1', c.column_name)
                WHEN c.type_name = 'uuid[]' THEN format('cardinality(%1$I) <= 1000 AND coalesce(array_ndims(%1$I), 1) = 1', c.column_name)
                -- A value of 8 bytes or less is empty: a number takes 19, and a compressed or TOASTed value 18. Short
                -- values are neither deep nor long, and checking them slows loading.
                WHEN c.type_name = 'jsonb' THEN
                    format(
                        CASE WHEN c.is_series THEN 'pg_column_size(%1$I) <= 8 OR ' ELSE '' END
                        || 'octet_length(%1$I::text) <= 200 OR octet_length(%1$I::text) <= %2$s '
                        'AND NOT jsonb_path_exists(%1$I, ''$.**{101}'') AND (octet_length(%1$I::text) <= 4300 '
                        'OR NOT jsonb_path_exists(%1$I, ''$.** ? (@ >= 1e4299 || @ <= -1e4299)''))',
                        c.column_name,
                        l.most_bytes
                    )
                WHEN c.type_name = 'json' THEN format('octet_length(%I::text) <= %s', c.column_name, l.most_bytes)
                WHEN c.type_name = 'numeric' THEN format('abs(%1$I) < 1e15 AND scale(%1$I) <= 100', c.column_name)
                WHEN c.type_name IN ('double precision', 'real') THEN format('abs(%I) < 1e15', c.column_name)
                WHEN c.is_series AND c.column_name = 'time' THEN format('%I >= ''2000-01-01 00:00+00''', c.column_name)
                -- A day from either end, because the session's time zone decides the year.
                WHEN c.type_name IN ('timestamp with time zone', 'timestamp without time zone', 'date') THEN
                    format('%1$I >= ''0001-01-02 00:00+00'' AND %1$I < ''9999-12-31 00:00+00'' OR NOT isfinite(%1$I)', c.column_name)
                WHEN c.type_name = 'interval' THEN format('%I <= ''10 years''', c.column_name)
            END AS condition
        FROM columns AS c
        CROSS JOIN LATERAL (
            SELECT
                coalesce(c.most, CASE WHEN c.is_indexed OR c.is_series THEN 200 ELSE 10000 END) AS most_characters,
                coalesce(c.most, CASE WHEN c.is_series THEN 65536 ELSE 1000000 END) AS most_bytes
        ) AS l
    )
    SELECT
        b.table_name,
        b.column_name,
        b.table_name || '_' || b.column_name || '_' || b.rule || '_check',
        b.condition
    FROM bounds AS b
    WHERE b.rule IS NOT NULL
    ORDER BY
        b.table_name,
        b.column_name
$$;
COMMENT ON FUNCTION value_bounds() IS
    'Bounds on the values of each column of every tenant table, and the CHECKs that enforce them, derived from the '
    'catalog; a new column gets its bound when the schema is applied.';

CREATE OR REPLACE FUNCTION rows_beyond_bounds()
RETURNS TABLE (
    table_name text,
    check_name text,
    row_count bigint,
    examples text[]
)
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    unproved record;
    offending bigint[];
BEGIN
    FOR unproved IN
        SELECT
            b.table_name,
            array_agg(b.check_name ORDER BY b.check_name) AS check_names,
            array_agg(b.condition ORDER BY b.check_name) AS conditions,
            string_agg(format('count(*) FILTER (WHERE NOT (%s))', b.condition), ', ' ORDER BY b.check_name) AS counts,
            (
                SELECT string_agg(format('%1$L, t.%1$I', a.attname), ', ' ORDER BY u.place)
                FROM pg_catalog.pg_constraint AS p
                CROSS JOIN unnest(p.conkey) WITH ORDINALITY AS u (attnum, place)
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.conrelid AND a.attnum = u.attnum
                WHERE p.conrelid = format('public.%I', b.table_name)::regclass
                    AND p.contype = 'p'
            ) AS key_columns
        FROM public.value_bounds() AS b
        JOIN pg_catalog.pg_constraint AS k
            ON k.conrelid = format('public.%I', b.table_name)::regclass
            AND k.conname = b.check_name
            AND NOT k.convalidated
            AND pg_catalog.obj_description(k.oid, 'pg_constraint') IS NULL
        GROUP BY b.table_name
        ORDER BY b.table_name
    LOOP
        -- One scan for all bounds of a table; further ones only for bounds that are violated.
        EXECUTE format('SELECT ARRAY[%s] FROM public.%I AS t', unproved.counts, unproved.table_name) INTO offending;
        FOR i IN 1 .. cardinality(offending) LOOP
            CONTINUE WHEN offending[i] = 0;
            table_name := unproved.table_name;
            check_name := unproved.check_names[i];
            row_count := offending[i];
            EXECUTE format(
                'SELECT ARRAY(SELECT left(jsonb_build_object(%s)::text, 500) FROM public.%I AS t WHERE NOT (%s) LIMIT 3)',
                unproved.key_columns,
                unproved.table_name,
                unproved.conditions[i]
            ) INTO examples;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION rows_beyond_bounds() IS
    'Rows that predate the bounds and violate one: for each such CHECK, their number and the keys of up to three.';

DO $$
DECLARE
    bound record;
    beyond record;
    broken text[] := '{}';
BEGIN
    FOR bound IN
        SELECT
            b.table_name,
            b.check_name,
            b.condition
        FROM value_bounds() AS b
        WHERE NOT EXISTS (
            SELECT
            FROM pg_constraint AS k
            WHERE k.conrelid = format('public.%I', b.table_name)::regclass
                AND k.conname = b.check_name
        )
    LOOP
        IF length(bound.check_name) > 63 THEN
            RAISE EXCEPTION 'the name % of a bound is longer than 63 characters', bound.check_name;
        END IF;
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (%s) NOT VALID', bound.table_name, bound.check_name, bound.condition);
    END LOOP;

    FOR beyond IN SELECT r.table_name, r.check_name, r.row_count, r.examples FROM rows_beyond_bounds() AS r LOOP
        broken := broken || beyond.check_name;
        RAISE WARNING '% rows of % violate %, for example %', beyond.row_count, beyond.table_name, beyond.check_name, beyond.examples[1]
            USING HINT = 'They may block rollups and the columnstore; new rows are checked already. SELECT * FROM rows_beyond_bounds() '
                'lists them; correct them and apply the schema again.';
    END LOOP;
    FOR bound IN
        SELECT
            b.table_name,
            b.check_name
        FROM value_bounds() AS b
        JOIN pg_constraint AS k ON k.conrelid = format('public.%I', b.table_name)::regclass AND k.conname = b.check_name
        WHERE NOT k.convalidated
            AND obj_description(k.oid, 'pg_constraint') IS NULL
            AND b.check_name <> ALL (broken)
    LOOP
        -- TimescaleDB does not validate constraints where there is a columnstore: a comment marks that the rows were checked.
        IF database_edition() = 'community' AND bound.table_name IN (SELECT l.relation FROM time_series_layout() AS l) THEN
            EXECUTE format('COMMENT ON CONSTRAINT %I ON %I IS %L', bound.check_name, bound.table_name, 'Holds for all rows.');
        ELSE
            EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT %I', bound.table_name, bound.check_name);
        END IF;
    END LOOP;
END
$$;
