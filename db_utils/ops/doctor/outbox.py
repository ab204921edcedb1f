"""Copies and streams that lag behind the changes."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration, ok
from db_utils.outbox.targets import TARGETS, TargetFacts

_LATE_SECONDS = 300.0
_MANY = 100_000
_SHOWN = 20


@check("outbox")
def outbox(context: CheckContext) -> Findings:
    """Do changes reach their copies in time, and are any refused?

    A change that waits for more than five minutes, more than 100,000 waiting changes, or one whose content
    the target refuses. Streams keep rows on purpose and are not checked.
    """
    (there,) = context.rows("SELECT to_regclass('public.sync_targets') IS NOT NULL AS there")
    rows = context.rows(TARGETS) if there["there"] else []
    found = [TargetFacts(**row) for row in rows if not row["is_stream"]]
    if not found:
        yield ok("no copies are configured")
        return
    ill = 0
    for target in sorted(found, key=lambda target: -(target.lag_seconds or 0)):
        who = f"{target.consumer} of organization {target.organization_id}"
        late = (target.lag_seconds or 0) > _LATE_SECONDS
        if late or target.waiting > _MANY:
            ill += 1
            if ill <= _SHOWN:
                why = f"; the last call failed: {target.last_error[:500]}" if target.last_error else ""
                yield Finding(
                    Severity.WARNING,
                    f"{who}: {target.waiting:,} changes are waiting, the oldest for {duration(target.lag_seconds or 0)}{why}",
                    "Dashboards show old data. Nothing is lost: everything is sent once a sender is running and the target answers.",
                    Fix(
                        f"python -m barnameh sync convex --organization {target.organization_id} --once",
                        "shell",
                    ),
                    {"waiting": target.waiting, "lag_seconds": target.lag_seconds},
                )
        if target.rejected:
            ill += 1
            if ill <= _SHOWN:
                yield Finding(
                    Severity.WARNING,
                    f"{who} rejects {target.rejected:,} changes because of their content",
                    "The copy has the old version of these rows, or none; the target may run older functions. "
                    "error_message holds its reply.",
                    Fix(
                        "SELECT kind, entity_key, rejected_at, error_message FROM sync_rejected "
                        f"WHERE organization_id = '{target.organization_id}' AND consumer = '{target.consumer}' ORDER BY rejected_at DESC",
                        "psql",
                    ),
                    {"rejected": target.rejected},
                )
    if not ill:
        yield ok(f"{len(found)} copies are up to date", copies=len(found))
