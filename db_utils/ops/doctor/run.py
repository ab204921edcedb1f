"""All checks in one list, and their run over a server."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from db_utils.errors import ConnectionFailedError, InvalidInputError, QueryError, SchemaError
from db_utils.ops.doctor import (
    access,
    attendance,
    cache,
    columnstore,
    connectors,
    events,
    figures,
    indexes,
    jobs,
    nodes,
    outbox,
    replication,
    sessions,
    storage,
    tables,
    versions,
)
from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Check, Finding, Fix, Severity, ok, skipped

CHECKS: tuple[Check, ...] = (
    # what hurts at night
    storage.disk,
    nodes.answering,
    sessions.connections,
    sessions.blocked,
    sessions.long_transactions,
    sessions.idle_in_transaction,
    sessions.notification_queue,
    replication.wraparound,
    replication.slots,
    replication.lag,
    # what would lose data
    storage.backups,
    versions.durability,
    versions.autovacuum,
    jobs.retention,
    # what would be a wrong figure
    figures.rollups,
    figures.samples,
    figures.factor_units,
    figures.organization_names,
    events.impossible,
    events.kept,
    # who gets in
    access.default_passwords,
    access.superuser,
    access.tls,
    access.tenant_isolation,
    storage.sample_data,
    # what should run in the background
    jobs.failing,
    jobs.bounds,
    jobs.late,
    jobs.rollups,
    connectors.runs,
    outbox.outbox,
    columnstore.uncompressed,
    columnstore.density,
    # what makes it slow
    tables.dead_rows,
    tables.bloat,
    tables.statistics,
    indexes.invalid,
    indexes.duplicate,
    indexes.unused,
    indexes.foreign_keys,
    indexes.sequential,
    indexes.memory,
    sessions.hit_ratio,
    versions.memory,
    versions.lock_slots,
    versions.io_timing,
    versions.pending_restart,
    # what it is
    versions.extensions,
    versions.schema_state,
    versions.clock,
    # rows that make figures wrong
    attendance.double_attendance,
    # the cache
    cache.reachable,
    cache.memory,
    cache.persistence,
    cache.password,
    cache.cache_clock,
)


@dataclass(frozen=True)
class Diagnosis:
    """All findings, most severe first, and the examined server."""

    url: str
    about: dict[str, Any]
    findings: list[Finding]
    check_count: int
    seconds: float

    @property
    def severity(self) -> Severity:
        """The highest severity; a skipped check is no finding."""
        worst = max((finding.severity for finding in self.findings), default=Severity.OK)
        return Severity.OK if worst == Severity.SKIPPED else worst


def choose(only: Collection[str] = (), skip: Collection[str] = ()) -> list[Check]:
    """Return the checks of these names (default: all) except those to skip. Raises `InvalidInputError`."""
    known = {check.name for check in CHECKS}
    unknown = sorted({*only, *skip} - known)
    if unknown:
        raise InvalidInputError(f"unknown check {', '.join(unknown)}: doctor --list shows all checks")
    return [check for check in CHECKS if (not only or check.name in only) and check.name not in skip]


def examine(context: CheckContext, checks: Collection[Check] = CHECKS) -> Diagnosis:
    """Examine this database and its cache, read-only and within `context.total_seconds`.

    Raises `ConnectionFailedError` if the server cannot be reached; exhausted connections are a finding.
    """
    started = time.monotonic()
    try:
        about = context.about
    except ConnectionFailedError as error:
        if error.sqlstate != "53300":
            raise
        about, findings = {}, [_no_slot(error)]
    else:
        findings = [finding for check in checks for finding in _run(check, context)]
    findings.sort(key=lambda finding: -finding.severity)
    return Diagnosis(context.db.settings.safe_url, about, findings, len(checks), time.monotonic() - started)


def _run(check: Check, context: CheckContext) -> Iterator[Finding]:
    context.begin()
    try:
        why = _unfit(check, context)
        findings = [skipped(why)] if why else list(check.ask(context)) or [ok("nothing found")]
    except (QueryError, SchemaError) as error:
        findings = [skipped(f"could not run: {error}")]
    return (replace(finding, check=check.name) for finding in findings)


def _unfit(check: Check, context: CheckContext) -> str | None:
    """Return why the check does not apply to this server, or None."""
    if context.time_is_up:
        return f"the {context.total_seconds:g} s for all checks are used up"
    if check.edition == "community" and context.edition != "community":
        return f"needs the community edition of TimescaleDB; this is the {context.edition} edition"
    if check.edition == "timescaledb" and not context.has_timescaledb:
        return f"needs TimescaleDB; this is the {context.edition} edition"
    if check.edition == "citus" and context.edition != "citus":
        return f"needs Citus; this is the {context.edition} edition"
    if check.sees_everyone and not context.about["sees_everyone"]:
        role = context.about["role"]
        return f'{role} cannot see the sessions of other roles: GRANT pg_monitor TO "{role}"'
    return None


def _no_slot(error: ConnectionFailedError) -> Finding:
    return Finding(
        Severity.CRITICAL,
        str(error),
        "No client can connect. Nothing else could be checked; a superuser can still use a reserved slot.",
        Fix(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity\n"
            "WHERE state = 'idle' AND backend_type = 'client backend' AND pid <> pg_backend_pid();"
        ),
        check="connections",
    )
