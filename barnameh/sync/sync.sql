-- Progress of an organization's sender.

-- name: do_not_wait!
-- After a crash the server may lose some of these commits, which is detected: a used number is rejected, and changes are sent again.
SET LOCAL synchronous_commit = off;

-- name: begin!
-- Register this sender as the active one; a previous one that is still running notices at its next call.
INSERT INTO sync_progress AS p (organization_id, consumer, sender)
VALUES (
    %(organization_id)s,
    %(consumer)s,
    %(sender)s
)
ON CONFLICT (organization_id, consumer) DO UPDATE
SET sender = excluded.sender;

-- name: credit
-- Number of calls allowed now. The monthly allowance accrues continuously; unused calls accumulate up to a burst.
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
-- Number of the next call. No row if another sender has taken over. If the credit is unknown, least() returns the burst.
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
-- Record a successful call.
UPDATE sync_progress AS p
SET
    sent_count = p.sent_count + %(sent)s,
    last_success_at = statement_timestamp(),
    last_error = NULL
WHERE p.organization_id = %(organization_id)s
    AND p.consumer = %(consumer)s;

-- name: failed!
-- Record a failed call.
UPDATE sync_progress AS p
SET
    failed_call_count = p.failed_call_count + 1,
    last_error = left(%(error)s, 2000),
    last_error_at = statement_timestamp()
WHERE p.organization_id = %(organization_id)s
    AND p.consumer = %(consumer)s;

-- name: reject!
-- Record that the receiver rejected this change because of its content.
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
-- Record that a previously rejected change was accepted.
DELETE FROM sync_rejected AS r
USING unnest(%(kinds)s::text[], %(entity_keys)s::text[]) AS taken (kind, entity_key)
WHERE r.organization_id = %(organization_id)s
    AND r.consumer = %(consumer)s
    AND r.kind = taken.kind
    AND r.entity_key = taken.entity_key;

-- name: rejected
-- Changes rejected by the receiver.
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
-- Organizations with a copy, and the channel on which each wakes up its sender.
SELECT
    t.organization_id,
    notification_channel('changes', t.organization_id) AS channel
FROM sync_targets AS t
WHERE t.consumer = %(consumer)s
    AND (%(organization_id)s::uuid IS NULL OR t.organization_id = %(organization_id)s)
ORDER BY t.organization_id;
