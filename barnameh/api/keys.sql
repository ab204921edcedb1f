-- name: create_key
INSERT INTO api_keys (organization_id, name, prefix, secret_sha256, role, expires_at)
VALUES (
    %(organization_id)s,
    %(name)s,
    %(prefix)s,
    %(secret_sha256)s,
    %(role)s,
    now() + %(expires_in)s::interval
)
RETURNING
    key_id,
    prefix,
    role,
    expires_at;

-- name: list_keys
SELECT
    o.name AS organization,
    k.organization_id,
    k.key_id,
    k.name,
    k.prefix,
    k.role,
    k.created_at,
    k.expires_at,
    k.revoked_at,
    k.last_used_at
FROM api_keys AS k
JOIN organizations AS o ON o.organization_id = k.organization_id
WHERE %(organization_id)s::uuid IS NULL
    OR k.organization_id = %(organization_id)s
ORDER BY
    o.name,
    k.organization_id,
    k.created_at,
    k.key_id;

-- name: revoke_key
UPDATE api_keys AS k
SET revoked_at = least(k.revoked_at, now()) -- the first revocation counts; Citus does not accept now() in coalesce()
WHERE k.prefix = %(key)s
    OR k.key_id::text = lower(%(key)s)
RETURNING
    k.organization_id,
    k.key_id,
    k.name,
    k.prefix,
    k.revoked_at;

-- name: use_key
SELECT
    k.organization_id,
    k.key_id,
    k.name,
    k.role,
    k.expires_at,
    k.revoked_at
FROM public.use_api_key(%(prefix)s, %(secret_sha256)s) AS k;
