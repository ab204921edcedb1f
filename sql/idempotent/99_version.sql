-- The marker: it stands in the same transaction as all of the above, so where it is, all of it is.

CREATE TABLE IF NOT EXISTS schema_version (
    version integer NOT NULL,
    description text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    file_checksums jsonb,
    CONSTRAINT schema_version_pkey PRIMARY KEY (version)
);
ALTER TABLE schema_version ADD COLUMN IF NOT EXISTS file_checksums jsonb;     -- since version 2
COMMENT ON TABLE schema_version IS 'Which versions of the schema were applied to this database, and when. The greatest is the one it has.';
COMMENT ON COLUMN schema_version.version IS 'Version of the schema, counted up with each change of it.';
COMMENT ON COLUMN schema_version.description IS 'What the version brought.';
COMMENT ON COLUMN schema_version.applied_at IS 'When it was applied here first.';
COMMENT ON COLUMN schema_version.file_checksums IS 'SHA-256 of each file of sql/ as it was applied last, by its name; NULL where psql alone applied them.';

CREATE TABLE IF NOT EXISTS seed_runs (
    seed_name text NOT NULL,
    seed_version integer NOT NULL,
    anchor_at timestamptz NOT NULL,
    seeded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT seed_runs_pkey PRIMARY KEY (seed_name)
);
COMMENT ON TABLE seed_runs IS 'Which sample data was loaded into this database; a seed that stands here is not loaded again.';
COMMENT ON COLUMN seed_runs.seed_name IS 'Name of the seed.';
COMMENT ON COLUMN seed_runs.seed_version IS 'Version of the seed.';
COMMENT ON COLUMN seed_runs.anchor_at IS 'The instant that the seed took for now.';
COMMENT ON COLUMN seed_runs.seeded_at IS 'When it was loaded.';

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
COMMENT ON TABLE backup_runs IS 'Which backups of this database succeeded. Each is written down after its file was complete, so its own dump lacks it.';
COMMENT ON COLUMN backup_runs.backup_id IS 'The backup, as its manifest names it.';
COMMENT ON COLUMN backup_runs.started_at IS 'When its snapshot was taken: it holds what was committed before.';
COMMENT ON COLUMN backup_runs.finished_at IS 'When its file was complete.';
COMMENT ON COLUMN backup_runs.verified_at IS 'When it was restored into a scratch database and every table found equal; NULL while nobody did.';
COMMENT ON COLUMN backup_runs.verification_seconds IS 'How long that restore and comparison took, in seconds.';
COMMENT ON COLUMN backup_runs.location IS 'Where the backup was written: host and folder, as its maker saw them.';
COMMENT ON COLUMN backup_runs.size_bytes IS 'Size of the dump as stored, in bytes.';
COMMENT ON COLUMN backup_runs.sha256 IS 'SHA-256 of that file.';
COMMENT ON COLUMN backup_runs.is_encrypted IS 'Whether a key is needed to restore it.';

-- Since version 8. Nothing is stored, so nothing can be copied: a dump that is restored by whatever means makes the tables anew,
-- another database has another number, another server another identifier, and a restore in time begins another timeline.
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
    'Which database is this? Another one after every restore, and after a failover; the same after a restart, a new name or an '
    'upgrade of the schema. What is kept outside of the database, such as a cache, belongs to one of these. Ask the primary: a '
    'replica may answer with the old timeline for some minutes after a failover. (A copy of the data folder is the same '
    'database until it is promoted: give it a cache of its own.)';

CREATE OR REPLACE VIEW database_identity AS
SELECT database_id() AS database_id;
COMMENT ON VIEW database_identity IS 'Which database this is, as database_id() says it: one row.';
COMMENT ON COLUMN database_identity.database_id IS 'Another one after every restore of this database.';

REVOKE ALL ON schema_version, seed_runs, backup_runs, database_identity FROM PUBLIC;
GRANT SELECT ON schema_version, seed_runs, backup_runs, database_identity TO barnameh_readonly;

-- All of the above was done by these files: older ones must not take a newer schema back.
DO $$
BEGIN
    IF EXISTS (SELECT FROM schema_version WHERE version > 8) THEN
        RAISE EXCEPTION 'the database has schema version %, and these files bring version 8: use newer ones',
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

-- What was written down about the files before is no longer true; who applies them writes it down anew.
UPDATE schema_version
SET file_checksums = NULL
WHERE file_checksums IS NOT NULL;
