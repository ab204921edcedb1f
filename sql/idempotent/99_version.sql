-- The version marker, committed in the same transaction as everything above: if it exists, the schema is complete.

CREATE TABLE IF NOT EXISTS schema_version (
    version integer NOT NULL,
    description text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    file_checksums jsonb,
    CONSTRAINT schema_version_pkey PRIMARY KEY (version)
);
ALTER TABLE schema_version ADD COLUMN IF NOT EXISTS file_checksums jsonb;     -- since version 2
COMMENT ON TABLE schema_version IS 'Schema versions that were applied to this database. The highest is the current one.';
COMMENT ON COLUMN schema_version.version IS 'Version of the schema, incremented with each change.';
COMMENT ON COLUMN schema_version.description IS 'What changed in the version.';
COMMENT ON COLUMN schema_version.applied_at IS 'When the version was first applied here.';
COMMENT ON COLUMN schema_version.file_checksums IS 'SHA-256 of each file of sql/ as last applied, by file name; NULL if applied with psql alone.';

CREATE TABLE IF NOT EXISTS seed_runs (
    seed_name text NOT NULL,
    seed_version integer NOT NULL,
    anchor_at timestamptz NOT NULL,
    seeded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT seed_runs_pkey PRIMARY KEY (seed_name)
);
COMMENT ON TABLE seed_runs IS 'Sample data loaded into this database; a seed listed here is not loaded again.';
COMMENT ON COLUMN seed_runs.seed_name IS 'Name of the seed.';
COMMENT ON COLUMN seed_runs.seed_version IS 'Version of the seed.';
COMMENT ON COLUMN seed_runs.anchor_at IS 'The time that the seed used as now.';
COMMENT ON COLUMN seed_runs.seeded_at IS 'When the seed was loaded.';

-- Since version 4.
CREATE TABLE IF NOT EXISTS backup_runs (
    backup_id uuid NOT NULL DEFAULT gen_random_uuid(),
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz,
    verification_seconds numeric,
    location text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    is_encrypted boolean NOT NULL,
    CONSTRAINT backup_runs_pkey PRIMARY KEY (backup_id)
);
COMMENT ON TABLE backup_runs IS 'Successful backups of this database. A backup is recorded after its file is complete, so its own dump does not include it.';
COMMENT ON COLUMN backup_runs.backup_id IS 'The backup, as named in its manifest.';
COMMENT ON COLUMN backup_runs.started_at IS 'When its snapshot was taken: it contains what was committed before.';
COMMENT ON COLUMN backup_runs.finished_at IS 'When its file was complete.';
COMMENT ON COLUMN backup_runs.verified_at IS 'When it was restored into a scratch database and every table was found equal; NULL if never.';
COMMENT ON COLUMN backup_runs.verification_seconds IS 'Duration of that restore and comparison, in seconds.';
COMMENT ON COLUMN backup_runs.location IS 'Host and folder where the backup was written.';
COMMENT ON COLUMN backup_runs.size_bytes IS 'Size of the dump as stored, in bytes.';
COMMENT ON COLUMN backup_runs.sha256 IS 'SHA-256 of that file.';
COMMENT ON COLUMN backup_runs.is_encrypted IS 'Whether a key is required to restore it.';

-- Since version 8. Nothing is stored, so nothing can be copied: restoring a dump by any means recreates the tables, another
-- database has a different OID, another server a different system identifier, and point-in-time recovery starts a new timeline.
CREATE OR REPLACE FUNCTION database_id()
RETURNS uuid
LANGUAGE sql
STABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        md5(
            concat_ws(
                ':',
                (SELECT s.system_identifier FROM pg_control_system() AS s),
                (SELECT c.timeline_id FROM pg_control_checkpoint() AS c),
                (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()),
                'public.schema_version'::regclass::oid
            )
        )::uuid
$$;
COMMENT ON FUNCTION database_id() IS
    'Identifier of this database. It changes with every restore and after a failover, but not with a restart, a rename or '
    'a schema upgrade. Data kept outside the database, such as a cache, belongs to one identifier. Query the primary: a '
    'replica may return the old timeline for some minutes after a failover. (A copy of the data directory is the same '
    'database until it is promoted: use a separate cache for it.)';

CREATE OR REPLACE VIEW database_identity AS
SELECT database_id() AS database_id;
COMMENT ON VIEW database_identity IS 'Identifier of this database, as returned by database_id(): one row.';
COMMENT ON COLUMN database_identity.database_id IS 'Changes with every restore of this database.';

REVOKE ALL ON schema_version, seed_runs, backup_runs, database_identity FROM PUBLIC;
GRANT SELECT ON schema_version, seed_runs, backup_runs, database_identity TO barnameh_readonly;

-- These files must not downgrade a newer schema.
DO $$
BEGIN
    IF EXISTS (SELECT FROM schema_version WHERE version > 8) THEN
        RAISE EXCEPTION 'the database has schema version %, but these files are version 8: use newer ones',
            (SELECT max(version) FROM schema_version);
    END IF;
END
$$;

INSERT INTO schema_version (version, description)
VALUES
    (1, 'The first complete schema.'),
    (2, 'Remembers which files were applied.'),
    (3, 'Rollups outlive retention; no time far in the future; verify.sql looks at NOT NULL and defaults.'),
    (4, 'Remembers its backups.'),
    (5, 'Announces predictions that are deleted; indexes for what points to employees, shifts and anomalies.'),
    (6, 'Rollups are indexed by organization with their rows; KPIs are summed from daily rollups.'),
    (7, 'Old chunks of rollups go to the columnstore; the rollup of metrics leaves the newest quarter of an hour to its readers.'),
    (8, 'Master data have a history; figures are of what was true at the time; tenants write no chunk of others.')
ON CONFLICT (version) DO NOTHING;

-- The recorded checksums are outdated now; the caller records new ones.
UPDATE schema_version
SET file_checksums = NULL
WHERE file_checksums IS NOT NULL;
