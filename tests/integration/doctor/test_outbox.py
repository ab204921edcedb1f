"""Copies that lag behind, or reject changes, are found."""

from __future__ import annotations

from db_utils.ops.doctor import Severity
from tests.integration.doctor.support import ailment, execute, value, well

CHECK = "outbox"
_ORGANIZATION = "(SELECT organization_id FROM resources LIMIT 1)"


def test_a_copy_that_is_late_or_refuses_something(url: str) -> None:
    assert well(url, CHECK)
    execute(
        url,
        f"INSERT INTO sync_targets (organization_id, consumer) VALUES ({_ORGANIZATION}, 'convex')",
        "UPDATE resources SET metadata = '{}'",
    )
    assert well(url, CHECK)
    execute(url, "UPDATE sync_outbox SET changed_at = now() - interval '299 seconds'")
    assert well(url, CHECK)
    execute(url, "UPDATE sync_outbox SET changed_at = now() - interval '301 seconds'")
    late = ailment(url, CHECK)
    assert late.severity == Severity.WARNING
    assert "changes are waiting, the oldest for" in late.found
    assert late.figures["waiting"] == value(url, "SELECT count(*) FROM sync_outbox")
    execute(
        url,
        "DELETE FROM sync_outbox",
        "INSERT INTO sync_rejected (organization_id, consumer, kind, entity_key, error_message) SELECT organization_id, consumer, 'alert', "
        "'1', 'too large' FROM sync_targets",
    )
    refused = ailment(url, CHECK)
    assert "rejects 1 changes because of their content" in refused.found
    assert "sync_rejected" in refused.fix.text
    # Streams keep rows on purpose.
    execute(
        url,
        "DELETE FROM sync_rejected",
        "UPDATE sync_targets SET keep_for = interval '1 hour'",
        "UPDATE resources SET metadata = '{}'",
        "UPDATE sync_outbox SET changed_at = now() - interval '301 seconds'",
    )
    assert well(url, CHECK)
