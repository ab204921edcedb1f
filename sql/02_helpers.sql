-- Small functions and types that the constraints and triggers of the tables need.

CREATE OR REPLACE FUNCTION is_timezone(name text)
RETURNS boolean
LANGUAGE plpgsql
STABLE STRICT
AS $$
BEGIN
    PERFORM now() AT TIME ZONE name;
    RETURN true;
EXCEPTION
    WHEN invalid_parameter_value THEN
        RETURN false;
END
$$;
COMMENT ON FUNCTION is_timezone(text) IS 'Does PostgreSQL know a time zone of this name (IANA, such as Europe/Paris)?';

-- A range over uuid gives GiST the equality on uuid that the exclusion constraints need, without the
-- btree_gist extension (which the embedded server has not).
DO $$
BEGIN
    IF to_regtype('uuidrange') IS NULL THEN
        CREATE TYPE uuidrange AS RANGE (subtype = uuid);
    END IF;
END
$$;
COMMENT ON TYPE uuidrange IS 'Range of uuid; [x,x] stands for x where an exclusion constraint compares identifiers.';

CREATE OR REPLACE FUNCTION set_updated_at()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION set_updated_at() IS 'Trigger: updated_at is the database''s clock, whatever the statement says.';

CREATE OR REPLACE FUNCTION set_recorded_at()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.recorded_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION set_recorded_at() IS
    'Trigger: recorded_at is the database''s clock at the start of the transaction, whatever the statement says; '
    'the rows of one run share it.';

CREATE OR REPLACE FUNCTION refuse_update()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: save a newer run instead of changing a prediction', TG_TABLE_NAME
        USING ERRCODE = 'check_violation',
              CONSTRAINT = TG_TABLE_NAME || '_append_only_check',
              TABLE = TG_TABLE_NAME,
              SCHEMA = TG_TABLE_SCHEMA;
END
$$;
COMMENT ON FUNCTION refuse_update() IS 'Trigger: what was predicted stays as it was said.';
