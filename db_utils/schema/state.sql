-- name: edition_to_be
SELECT
    EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
        OR EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
        AND EXISTS (SELECT FROM pg_settings WHERE name LIKE 'timescaledb.%%') AS has_timescaledb,
    current_setting('timescaledb.license', true) AS license

-- name: applied_files
SELECT to_jsonb(v) -> 'file_checksums' AS file_checksums
FROM public.schema_version AS v
ORDER BY v.version DESC
LIMIT 1
