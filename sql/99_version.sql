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

REVOKE ALL ON schema_version, seed_runs FROM PUBLIC;
GRANT SELECT ON schema_version, seed_runs TO barnameh_readonly;

-- All of the above was done by these files: older ones must not take a newer schema back.
DO $$
BEGIN
    IF EXISTS (SELECT FROM schema_version WHERE version > 3) THEN
        RAISE EXCEPTION 'the database has schema version %, and these files bring version 3: use newer ones',
            (SELECT max(version) FROM schema_version);
    END IF;
END
$$;

INSERT INTO schema_version (version, description)
VALUES
    (1, 'The first complete schema.'),
    (2, 'Remembers which files were applied.'),
    (3, 'Rollups outlive retention; no time far in the future; verify.sql looks at NOT NULL and defaults.')
ON CONFLICT (version) DO NOTHING;

-- What was written down about the files before is no longer true; who applies them writes it down anew.
UPDATE schema_version
SET file_checksums = NULL
WHERE file_checksums IS NOT NULL;
