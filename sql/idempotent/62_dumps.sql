-- Refuse to restore a dump into a database that already has the schema. psql and pg_restore continue after errors: they
-- would print hundreds of them, and load the columnstore's rows, which no unique index covers, a second time.
--
-- The container's first start runs this file in template1 too, so that databases created later are protected while they are
-- empty. (No event trigger fires for COPY, so a data-only dump is not refused; docs/backup.md describes what is.)

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
    -- These settings are made at the start by pg_dump and pg_restore, and by no one else.
    IF pg_catalog.current_setting('search_path') NOT IN ('', '""')
        OR pg_catalog.current_setting('check_function_bodies')::boolean
        OR pg_catalog.current_setting('row_security')::boolean
    THEN
        RETURN;
    END IF;

    IF is_empty AND coalesce(nullif(pg_catalog.current_setting('timescaledb.restoring', true), ''), 'off')::boolean THEN
        -- The correct procedure. The dump contains these two itself; in a copy of template1 they would already exist.
        DROP EVENT TRIGGER IF EXISTS refuse_dump;
        DROP FUNCTION IF EXISTS public.refuse_dump();
        RETURN;
    END IF;

    -- A dump of an unrelated table may proceed; one of this schema, whole or in part, creates an object that already exists.
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
    -- pg_restore prints errors only, and continues; the lock marks a session that has had its error. psql prints warnings, too.
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
    -- An error alone would stop this statement only, and psql would continue with the next one.
    PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
    PERFORM pg_catalog.pg_sleep(10);
    RAISE EXCEPTION '%', sentence;
END
$$;
COMMENT ON FUNCTION public.refuse_dump() IS
    'Ends a session that is about to load a dump into a database that has the schema, or into an empty one that was not '
    'prepared for a TimescaleDB dump. Called before each DDL command; ordinary sessions are unaffected.';
REVOKE ALL ON FUNCTION public.refuse_dump() FROM PUBLIC;

DO $$
BEGIN
    -- On plain PostgreSQL unique keys cover every row, and restoring a dump with an event trigger requires a superuser.
    IF EXISTS (SELECT FROM pg_event_trigger AS t WHERE t.evtname = 'refuse_dump')
        OR current_database() <> 'template1' AND NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'timescaledb')
        OR NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user)
    THEN
        RETURN;
    END IF;
    CREATE EVENT TRIGGER refuse_dump ON ddl_command_start
        EXECUTE FUNCTION public.refuse_dump();
    COMMENT ON EVENT TRIGGER refuse_dump IS 'Refuses to load a dump into a database that has the schema.';
END
$$;
