-- API keys: the organization and role that each one grants. Only the digest of a key is stored, never the key itself.

CREATE TABLE IF NOT EXISTS api_keys (
    organization_id uuid NOT NULL,
    key_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    prefix text NOT NULL,
    secret_sha256 text NOT NULL,
    role text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (organization_id, key_id),
    CONSTRAINT api_keys_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations,
    CONSTRAINT api_keys_name_not_blank_check CHECK (name ~ '\S'),
    CONSTRAINT api_keys_prefix_check CHECK (prefix ~ '^bn_[a-z0-9]{12}$'),
    CONSTRAINT api_keys_secret_sha256_check CHECK (secret_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT api_keys_role_check CHECK (role IN ('reader', 'writer')),
    CONSTRAINT api_keys_created_at_finite_check CHECK (isfinite(created_at)),
    CONSTRAINT api_keys_expires_after_created_check CHECK (expires_at > created_at AND isfinite(expires_at)),
    CONSTRAINT api_keys_revoked_at_finite_check CHECK (isfinite(revoked_at)),
    CONSTRAINT api_keys_last_used_at_finite_check CHECK (isfinite(last_used_at))
);
CREATE INDEX IF NOT EXISTS api_keys_prefix_idx ON api_keys (prefix);
COMMENT ON INDEX api_keys_prefix_idx IS 'Serves use_api_key(): look up a key by its prefix.';
COMMENT ON TABLE api_keys IS 'Keys of the HTTP API, created and revoked with "barnameh keys"; read-only for tenants. A key is shown once, when it is created, and is not stored.';
COMMENT ON COLUMN api_keys.organization_id IS 'The tenant: the key gives access to its rows only.';
COMMENT ON COLUMN api_keys.key_id IS 'The key.';
COMMENT ON COLUMN api_keys.name IS 'Name or purpose of the key.';
COMMENT ON COLUMN api_keys.prefix IS 'First characters of the key; not secret, so that a leaked key can be identified and revoked.';
COMMENT ON COLUMN api_keys.secret_sha256 IS 'SHA-256 of the whole key, in hexadecimal. The key has 256 random bits, so a slow hash would add nothing.';
COMMENT ON COLUMN api_keys.role IS 'reader (read-only) or writer (may also record and change data).';
COMMENT ON COLUMN api_keys.created_at IS 'When the key was created.';
COMMENT ON COLUMN api_keys.expires_at IS 'When the key expires; NULL: never.';
COMMENT ON COLUMN api_keys.revoked_at IS 'When the key was revoked; NULL while it is valid. The API notices within 30 seconds.';
COMMENT ON COLUMN api_keys.last_used_at IS 'When the key was last used, accurate to about a minute; NULL: never.';

CREATE OR REPLACE FUNCTION use_api_key(given_prefix text, given_sha256 text)
RETURNS TABLE (
    organization_id uuid,
    key_id uuid,
    name text,
    role text,
    expires_at timestamptz,
    revoked_at timestamptz
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT current_setting('transaction_read_only')::boolean THEN
        UPDATE public.api_keys AS k
        SET last_used_at = now()
        WHERE k.prefix = given_prefix
            AND k.secret_sha256 = given_sha256
            AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > now())
            AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute');
    END IF;
    RETURN QUERY
    SELECT
        k.organization_id,
        k.key_id,
        k.name,
        k.role,
        k.expires_at,
        k.revoked_at
    FROM public.api_keys AS k
    WHERE k.prefix = given_prefix
        AND k.secret_sha256 = given_sha256;
END
$$;
COMMENT ON FUNCTION use_api_key(text, text) IS
    'Look up an API key. Returns one row if the digest of the whole key matches, including for expired and revoked keys, '
    'which are flagged as such, and no row otherwise. Records the use of the key at most once a minute. SECURITY DEFINER, '
    'so that an application''s login, which may call it, cannot read digests.';
REVOKE ALL ON FUNCTION use_api_key(text, text) FROM PUBLIC;
