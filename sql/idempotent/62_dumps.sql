-- A dump goes into an empty database, and nowhere else. psql and pg_restore go on after an error: on top of what is there they would
-- print hundreds of them, and load the rows of the columnstore, which no unique index looks at, a second time.
--
-- The container's first start runs this file in template1 too, so that databases made there later are guarded while they are
-- empty. (No event trigger sees COPY: a dump of data alone is not stopped. docs/backup.md says what is.)

CREATE OR REPLACE FUNCTION public.refuse_dump()
RETURNS event_trigger
LANGUAGE plpgsql
AS $$
DECLARE
    is_there boolean;
    sentence text;
    is_empty CONSTANT boolean := pg_catalog.to_regclass('public.schema_version') IS NULL;
    named CONSTANT text := (
        pg_catalog.regexp_match(
            pg_catalog.current_query(),
            '^\s*CREATE (?:[A-Z]+ )+((?:"[^"]+"|[a-z_]\w*)(?:\.(?:"[^"]+"|[a-z_]\w*))?)'
        )
    )[1];
BEGIN
    -- What pg_dump and pg_restore set before anything else, and nobody else does.
    IF pg_catalog.current_setting('search_path') NOT IN ('', '""')
        OR pg_catalog.current_setting('check_function_bodies')::boolean
        OR pg_catalog.current_setting('row_security')::boolean
    THEN
        RETURN;
    END IF;

    IF is_empty AND coalesce(nullif(pg_catalog.current_setting('timescaledb.restoring', true), ''), 'off')::boolean THEN
        -- As it should be. The dump brings these two itself, which would be there already in a copy of template1.
        DROP EVENT TRIGGER IF EXISTS refuse_dump;
        DROP FUNCTION IF EXISTS public.refuse_dump();
        RETURN;
    END IF;

    -- The dump of a table of someone's own may go on; one of this schema, whole or in part, makes something that is there.
    is_there := CASE
        WHEN tg_tag = 'CREATE EXTENSION' THEN named = 'timescaledb'
        WHEN tg_tag = 'CREATE SCHEMA' THEN pg_catalog.to_regnamespace(named) IS NOT NULL
        WHEN tg_tag IN ('CREATE FUNCTION', 'CREATE PROCEDURE') THEN pg_catalog.to_regproc(named) IS NOT NULL
        WHEN tg_tag LIKE 'CREATE %' THEN
            coalesce(pg_catalog.to_regclass(named)::oid, pg_catalog.to_regtype(named)::oid) IS NOT NULL
        ELSE false
    END;
    IF is_there IS NOT TRUE OR is_empty AND tg_tag <> 'CREATE EXTENSION' THEN
        RETURN;
    END IF;

    sentence := CASE
        WHEN is_empty THEN
            'nothing was changed: a dump of TimescaleDB is restored between timescaledb_pre_restore() and timescaledb_post_restore(); '
            'use the four lines of docs/backup.md ("With pg_dump and psql alone"), or db-utils restore for a backup of db-utils'
        ELSE pg_catalog.format(
            'nothing was changed: database %s is not empty, and the rows of a dump would be added to those that it holds; restore into '
            'a new database, with the four lines of docs/backup.md ("With pg_dump and psql alone") or with db-utils restore',
            pg_catalog.current_database()
        )
    END;
    -- pg_restore shows errors only, and goes on; the lock tells that this session had its error. psql shows a warning, too.
    IF pg_catalog.current_setting('application_name') = 'pg_restore'
        AND NOT EXISTS (
            SELECT
            FROM pg_catalog.pg_locks AS l
            WHERE l.locktype = 'advisory'
                AND l.pid = pg_catalog.pg_backend_pid()
                AND l.objid = 8262
                AND l.objsubid = 2
        )
    THEN
        PERFORM pg_catalog.pg_advisory_lock_shared(0, 8262);
        RAISE EXCEPTION '%', sentence;
    END IF;
    RAISE WARNING '%', sentence;
    -- An error alone would stop this statement, and psql would go on with the next one.
    PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
    PERFORM pg_catalog.pg_sleep(10);
    RAISE EXCEPTION '%', sentence;
END
$$;
COMMENT ON FUNCTION public.refuse_dump() IS
    'Ends a session that is about to load a dump into a database that has the schema, or into an empty one that was not prepared for '
    'TimescaleDB''s: called before each statement that changes the schema; ordinary sessions pass.';
REVOKE ALL ON FUNCTION public.refuse_dump() FROM PUBLIC;

DO $$
BEGIN
    -- On plain PostgreSQL unique keys look at every row, and a dump with an event trigger takes a superuser to restore.
    IF EXISTS (SELECT FROM pg_event_trigger AS t WHERE t.evtname = 'refuse_dump')
        OR current_database() <> 'template1' AND NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'timescaledb')
        OR NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user)
    THEN
        RETURN;
    END IF;
    CREATE EVENT TRIGGER refuse_dump ON ddl_command_start
        EXECUTE FUNCTION public.refuse_dump();
    COMMENT ON EVENT TRIGGER refuse_dump IS 'No dump on top of what is there.';
END
$$;
