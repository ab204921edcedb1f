-- Version 8: time zones must be IANA names. Abbreviations and POSIX specifications cannot be converted automatically.
DO $$
DECLARE
    no_names text;
BEGIN
    SELECT string_agg(z.found, '; ' ORDER BY z.found)
    INTO no_names
    FROM (
        SELECT format('organization %s (%s) has %L', o.organization_id, left(o.name, 60), left(o.timezone, 60)) AS found
        FROM organizations AS o
        WHERE NOT is_timezone(o.timezone)
        UNION ALL
        SELECT format('location %s (%s) has %L', l.location_id, left(l.name, 60), left(l.timezone, 60))
        FROM locations AS l
        WHERE NOT is_timezone(l.timezone)
        LIMIT 20
    ) AS z;
    IF no_names IS NOT NULL THEN
        RAISE EXCEPTION 'invalid time zone names: %', no_names
            USING ERRCODE = 'check_violation',
                  HINT = 'Replace each with an IANA name, such as Europe/Paris (SELECT name FROM pg_timezone_names), and apply the schema again.';
    END IF;
END
$$;
