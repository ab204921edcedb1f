-- Version 8: customer-defined codes of locations, resources and shifts; NULL for existing rows. (Commented here for new
-- databases too, because databases of earlier versions get the columns only now.)
DO $$
DECLARE
    added record;
BEGIN
    FOR added IN
        SELECT
            a.table_name,
            a.column_name,
            a.comment
        FROM (
            VALUES
                ('locations', 'location_code', 'The customer''s code for the facility, unique in the organization; NULL if none.'),
                ('resources', 'resource_code', 'The customer''s code for the resource, unique in the organization; NULL if none.'),
                (
                    'shifts', 'shift_code',
                    'The customer''s code for this individual shift (of one day), unique in the organization; NULL if none.'
                )
        ) AS a (table_name, column_name, comment)
    LOOP
        IF NOT EXISTS (
            SELECT
            FROM pg_attribute AS a
            WHERE a.attrelid = added.table_name::regclass
                AND a.attname = added.column_name
                AND NOT a.attisdropped
        ) THEN
            EXECUTE format(
                'ALTER TABLE %1$I ADD COLUMN %2$I text, ADD CONSTRAINT %3$I UNIQUE (organization_id, %2$I), '
                    'ADD CONSTRAINT %4$I CHECK (is_code(%2$I))',
                added.table_name,
                added.column_name,
                added.table_name || '_organization_id_' || added.column_name || '_key',
                added.table_name || '_' || added.column_name || '_is_a_code_check'
            );
        END IF;
        EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', added.table_name, added.column_name, added.comment);
    END LOOP;
END
$$;
