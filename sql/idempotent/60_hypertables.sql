-- Physical layout of the time-series tables, defined in one place: chunks, columnstore, refresh, retention.
--
-- table                 rows a day per resource (or employee, product)   chunk     columnstore after
-- resource_metrics      1,440 at a minute's sampling                     7 days    3 days
-- operational_events    20 to 200                                        30 days   14 days
-- demand_history        1 (daily) to 48 (half-hourly)                    90 days   60 days
-- employee_attendance   1 to 3                                           180 days  90 days
--
-- A chunk should hold enough rows of each segment to fill the columnstore's batches (up to 1,000 rows); there should be few
-- enough chunks to keep planning cheap; and the indexes of the chunk being written should fit in a quarter of memory. With
-- 100 resources, resource_metrics writes a million rows (250 MB with indexes) per chunk; with 2,000 resources give the
-- server 20 GB or reduce the interval with set_chunk_time_interval(). A chunk is compressed this long after its end, once
-- corrections have become rare; late rows are still accepted and are compressed by the next run.
--
-- Segments match the filters of queries: organization and resource (employee, product). Within a segment, rows are ordered newest
-- first, as dashboards read them; the rest of the primary key follows so that duplicates are found without decompression.

CREATE OR REPLACE FUNCTION time_series_layout()
RETURNS TABLE (
    relation text,
    chunk_interval interval,
    columnstore_after interval,
    segment_by text,
    order_by text
)
LANGUAGE sql
IMMUTABLE
AS $$
    VALUES
        ('operational_events', interval '30 days', interval '14 days', 'organization_id, resource_id', 'time DESC, event_id'),
        ('demand_history', interval '90 days', interval '60 days', 'organization_id, product_id, location_id', 'time DESC'),
        ('resource_metrics', interval '7 days', interval '3 days', 'organization_id, resource_id', 'time DESC'),
        ('employee_attendance', interval '180 days', interval '90 days', 'organization_id, employee_id', 'time DESC')
$$;
COMMENT ON FUNCTION time_series_layout() IS
    'Chunk and columnstore layout of each time-series table. The policies are created from it when the schema is applied.';

DO $$
DECLARE
    layout record;
BEGIN
    FOR layout IN SELECT * FROM time_series_layout() LOOP
        IF database_edition() <> 'community' THEN
            -- Rollups are views here: a condition on their bucket becomes a condition on this expression.
            EXECUTE format(
                'CREATE INDEX IF NOT EXISTS %I ON %I (organization_id, time_bucket(interval ''1 hour'', time))',
                layout.relation || '_organization_id_hour_idx',
                layout.relation
            );
            EXECUTE format(
                'COMMENT ON INDEX %I IS %L',
                layout.relation || '_organization_id_hour_idx',
                'Serves the hourly rollup: the buckets of a period.'
            );
        END IF;
        IF database_edition() IN ('plain', 'citus') THEN
            -- With rows inserted in time order a BRIN index is tiny; it serves queries over all organizations.
            EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I USING brin (time)', layout.relation || '_time_idx', layout.relation);
            EXECUTE format('COMMENT ON INDEX %I IS %L', layout.relation || '_time_idx', 'Serves queries over all organizations in a period.');
            CONTINUE;
        END IF;

        -- Move existing rows of a plain database into chunks.
        PERFORM create_hypertable(
            layout.relation::regclass,
            by_range('time', layout.chunk_interval),
            create_default_indexes => false,
            if_not_exists => true,
            migrate_data => true
        );

        IF database_edition() <> 'community' THEN
            CONTINUE;
        END IF;
        -- Chunks that are already compressed keep their layout.
        IF NOT EXISTS (
            SELECT FROM timescaledb_information.hypertable_columnstore_settings AS s
            WHERE s.hypertable = layout.relation::regclass
                AND s.segmentby = replace(layout.segment_by, ', ', ',')
                AND replace(s.orderby, '"', '') = replace(layout.order_by, ', ', ',')
        ) THEN
            EXECUTE format(
                'ALTER TABLE %I SET (timescaledb.enable_columnstore, timescaledb.segmentby = %L, timescaledb.orderby = %L)',
                layout.relation,
                layout.segment_by,
                layout.order_by
            );
        END IF;
        CALL add_columnstore_policy(layout.relation::regclass, after => layout.columnstore_after, if_not_exists => true);
    END LOOP;
END
$$;

-- TimescaleDB 2.29.2 corrupts text or crashes the server when rows are read from the columnstore directly into a new table
-- (github.com/timescale/timescaledb/issues/10585, open in September 2026). Rows that are decompressed one by one instead of
-- in batches are not affected. Remove this once a release fixes it.
CREATE OR REPLACE FUNCTION decompress_row_by_row()
RETURNS event_trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_catalog.set_config('timescaledb.enable_bulk_decompression', 'off', true);
END
$$;
COMMENT ON FUNCTION decompress_row_by_row() IS
    'Decompresses columnstore rows one by one until the end of the transaction; called before a statement that creates a table from a query.';
REVOKE ALL ON FUNCTION decompress_row_by_row() FROM PUBLIC;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger AS t WHERE t.evtname = 'decompress_row_by_row') OR database_edition() <> 'community' THEN
        RETURN;
    END IF;
    IF NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        RAISE WARNING 'CREATE TABLE AS, SELECT INTO and materialized views may damage text from the columnstore (TimescaleDB issue 10585)'
            USING HINT = 'Apply the schema as a superuser to create the event trigger that prevents it.';
        RETURN;
    END IF;
    CREATE EVENT TRIGGER decompress_row_by_row ON ddl_command_start
        WHEN TAG IN ('CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW', 'REFRESH MATERIALIZED VIEW')
        EXECUTE FUNCTION decompress_row_by_row();
    COMMENT ON EVENT TRIGGER decompress_row_by_row IS 'Prevents corruption of text read from the columnstore into a new table.';
END
$$;
