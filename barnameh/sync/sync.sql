-- How far the sender of an organization is.

-- name: do_not_wait!
-- What the server forgets of this where it fails is found out: a number that was used is refused, what was sent is sent again.
SET LOCAL synchronous_commit = off;

-- name: begin!
-- This sender is at it from now on; another one that still runs finds that out at its next call.
INSERT INTO sync_progress AS p (organization_id, consumer, sender)
VALUES (
    %(organization_id)s,
    %(consumer)s,
    %(sender)s
)
ON CONFLICT (organization_id, consumer) DO UPDATE
SET sender = excluded.sender;

-- name: credit
-- How many calls may be made now? Those of a month come bit by bit; what was not used gathers up to a burst.
SELECT
    CASE
        WHEN p.call_credit IS NULL THEN %(burst)s::numeric
        ELSE least(
            %(burst)s::numeric,
            p.call_credit + extract(epoch FROM statement_timestamp() - p.credited_at) * %(calls_per_second)s::numeric
        )
    END AS credit
FROM sync_progress AS p
WHERE p.organization_id = %(organization_id)s
    AND p.consumer = %(consumer)s;

-- name: next_version
-- Which number does the next call have? No row where another sender took over. Where no credit is known, least() is the burst.
UPDATE sync_progress AS p
SET
    version = greatest(p.version, %(at_least)s) + 1,
    call_count = p.call_count + 1,
    call_credit = least(
        %(burst)s::numeric,
        p.call_credit + extract(epoch FROM statement_timestamp() - p.credited_at) * %(calls_per_second)s::numeric
    ) - 1,
    credited_at = statement_timestamp()
WHERE p.organization_id = %(organization_id)s
    AND p.consumer = %(consumer)s
    AND p.sender = %(sender)s
RETURNING p.version;

-- name: succeeded!
-- A call was taken.
UPDATE sync_progress AS p
SET
    sent_count = p.sent_count + %(sent)s,
    last_success_at = statement_timestamp(),
    last_error = NULL
WHERE p.organization_id = %(organization_id)s
    AND p.consumer = %(consumer)s;

-- name: failed!
-- A call failed.
UPDATE sync_progress AS p
SET
    failed_call_count = p.failed_call_count + 1,
    last_error = left(%(error)s, 2000),
    last_error_at = statement_timestamp()
WHERE p.organization_id = %(organization_id)s
    AND p.consumer = %(consumer)s;

-- name: reject!
-- The other side refuses this one for its content.
INSERT INTO sync_rejected AS r (organization_id, consumer, kind, entity_key, error_message)
VALUES (
    %(organization_id)s,
    %(consumer)s,
    %(kind)s,
    %(entity_key)s,
    left(%(error)s, 2000)
)
ON CONFLICT (organization_id, consumer, kind, entity_key) DO UPDATE
SET
    rejected_at = excluded.rejected_at,
    error_message = excluded.error_message;

-- name: accept!
-- What was refused once was taken now.
DELETE FROM sync_rejected AS r
USING unnest(%(kinds)s::text[], %(entity_keys)s::text[]) AS taken (kind, entity_key)
WHERE r.organization_id = %(organization_id)s
    AND r.consumer = %(consumer)s
    AND r.kind = taken.kind
    AND r.entity_key = taken.entity_key;

-- name: rejected
-- What does the other side refuse?
SELECT
    r.kind,
    r.entity_key,
    r.rejected_at,
    r.error_message
FROM sync_rejected AS r
WHERE r.organization_id = %(organization_id)s
    AND r.consumer = %(consumer)s
ORDER BY
    r.rejected_at DESC,
    r.kind,
    r.entity_key;

-- name: targets
-- Which organizations have a copy, and on which channel do they wake up their sender?
SELECT
    t.organization_id,
    notification_channel('changes', t.organization_id) AS channel
FROM sync_targets AS t
WHERE t.consumer = %(consumer)s
    AND (%(organization_id)s::uuid IS NULL OR t.organization_id = %(organization_id)s)
ORDER BY t.organization_id;
