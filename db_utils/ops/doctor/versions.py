"""Versions, clocks and settings."""

from __future__ import annotations

from db_utils import schema
from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration, ok
from db_utils.ops.doctor.server_settings import change, told
from db_utils.ops.sizes import size
from db_utils.sql_text import identifier

_EXTENSIONS = """
    SELECT name, installed_version, default_version
    FROM pg_available_extensions
    WHERE installed_version IS NOT NULL
        AND installed_version <> default_version
    ORDER BY name
"""
_CLOCK = "SELECT extract(epoch FROM clock_timestamp()) AS seconds"
_LOCKS = """
    SELECT count(*) AS relation_count
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'i', 'p', 'm', 'S', 'v')
        AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_MEGABYTE = 1024**2
_SHOWN = 3


@check("extension-versions")
def extensions(context: CheckContext) -> Findings:
    """Is an extension older than the version the server provides?"""
    for row in context.rows(_EXTENSIONS):
        yield Finding(
            Severity.WARNING,
            f"extension {row['name']} is at {row['installed_version']}, the server provides {row['default_version']}",
            "Bugs fixed since then remain. After a backup, run the statement first in a new session (psql -X).",
            Fix(f"ALTER EXTENSION {identifier(row['name'])} UPDATE;"),
            {"installed": row["installed_version"], "available": row["default_version"]},
        )


@check("schema")
def schema_state(context: CheckContext) -> Findings:
    """Does the database have the schema that this version of the library needs, and is it complete?"""
    found, needed = schema.version(context.db), schema.latest_version()
    fix = Fix("python -m db_utils migrate", "shell")
    if found is None:
        yield Finding(
            Severity.CRITICAL,
            "this database has no schema",
            "Nothing in the library works here.",
            Fix("python -m db_utils init", "shell"),
            {"needed": needed},
        )
        return
    if found != needed:
        yield Finding(
            Severity.WARNING,
            f"schema version {found}, this library needs {needed}",
            "Prebuilt queries may fail. Migrate the database, after a backup."
            if found < needed
            else "A newer version of the library wrote it: upgrade this one.",
            fix if found < needed else Fix("pip install --upgrade barnameh-db-utils", "shell"),
            {"found": found, "needed": needed},
        )
    problems = schema.problems(context.db)
    if problems:
        rest = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        yield Finding(
            Severity.WARNING,
            f"the schema is incomplete: {'; '.join(problems[:_SHOWN])}{rest}",
            "Objects that this version of the library needs are missing or changed. Applying the schema again creates missing ones; "
            "python -m db_utils verify lists them all.",
            fix,
            {"problems": problems},
        )


@check("clock")
def clock(context: CheckContext) -> Findings:
    """Do the clocks of this machine and of the server agree?"""
    before = context.clock()
    server = float(context.rows(_CLOCK)[0]["seconds"])
    after = context.clock()
    skew = server - (before + after) / 2
    # Half of the round trip is indistinguishable from skew.
    certain = max(0.0, abs(skew) - (after - before) / 2)
    severity = context.limits["clock-skew-seconds"].grade(certain)
    if severity == Severity.OK:
        yield ok(
            f"the clocks agree within {abs(skew) + (after - before) / 2:.2f} s", skew_seconds=round(skew, 3)
        )
        return
    yield Finding(
        severity,
        f"the server's clock is {duration(certain)} {'ahead of' if skew > 0 else 'behind'} this machine's",
        "Forecasts seem made before or after the fact when they were not, and fresh values seem stale; values dated an hour ahead are "
        "refused. Turn on time synchronization on the machine whose clock is wrong.",
        Fix("timedatectl set-ntp true", "shell"),
        {"skew_seconds": round(skew, 1)},
    )


@check("durability")
def durability(context: CheckContext) -> Findings:
    """Would a crash or a power cut lose or corrupt data?"""
    for name, means in (
        ("fsync", "After a power cut the database may be corrupt beyond repair."),
        ("full_page_writes", "A page that was half written in a crash stays corrupt."),
    ):
        if context.setting(name) == "off":
            yield _setting(context, Severity.CRITICAL, name, "on", means)
    if context.setting("synchronous_commit") == "off":
        yield _setting(
            context,
            Severity.NOTE,
            "synchronous_commit",
            "on",
            "A crash loses the last half second of commits, but nothing else.",
        )


@check("autovacuum")
def autovacuum(context: CheckContext) -> Findings:
    """Is autovacuum, or track_counts, which it needs, switched off?"""
    for name in ("autovacuum", "track_counts"):
        if context.setting(name) == "off":
            yield _setting(
                context,
                Severity.CRITICAL,
                name,
                "on",
                "Dead rows pile up, statistics get outdated, and only forced freezes keep the server writable.",
            )


@check("memory-settings")
def memory(context: CheckContext) -> Findings:
    """Is the server's configured memory far too small for its data?

    shared_buffers below the default of 128 MB, or at it with more than 4 GB of data; work_mem below the default of 4 MB.
    """
    buffers = context.setting_bytes("shared_buffers")
    data = context.rows("SELECT pg_database_size(current_database()) AS total_bytes")[0]["total_bytes"]
    if buffers < 128 * _MEGABYTE or (buffers == 128 * _MEGABYTE and data > 4096 * _MEGABYTE):
        yield _setting(
            context,
            Severity.WARNING,
            "shared_buffers",
            "512MB" if data > 512 * _MEGABYTE else "128MB",
            f"The database takes {size(data)}. A quarter of the machine's memory is the usual size.",
        )
    if context.setting_bytes("work_mem") < 4 * _MEGABYTE:
        yield _setting(
            context,
            Severity.WARNING,
            "work_mem",
            "16MB",
            "Sorts and aggregates of ordinary dashboards spill to disk.",
        )


@check("lock-slots")
def lock_slots(context: CheckContext) -> Findings:
    """Is the lock table large enough for a statement that touches every chunk, such as pg_dump?

    It holds max_locks_per_transaction x (max_connections + max_prepared_transactions) locks; a dump takes one
    for each table, view and chunk. The limit is half of it, to leave room for other sessions.
    """
    relations = context.rows(_LOCKS)[0]["relation_count"]
    clients = int(context.setting("max_connections")) + int(context.setting("max_prepared_transactions"))
    slots = int(context.setting("max_locks_per_transaction")) * clients
    figures = {"relation_count": relations, "lock_slots": slots}
    if relations <= slots / 2:
        yield ok(f"{slots:,} lock slots for {relations:,} tables, indexes and chunks", **figures)
        return
    wanted = max(64, -(-3 * relations // clients))
    yield _setting(
        context,
        Severity.WARNING,
        "max_locks_per_transaction",
        str(wanted),
        f"{relations:,} tables, indexes and chunks share {slots:,} lock slots: a dump or a query over all chunks fails with 'out of "
        "shared memory'.",
        **figures,
    )


@check("io-timing")
def io_timing(context: CheckContext) -> Findings:
    """Does the server measure I/O times?"""
    if context.setting("track_io_timing") == "off":
        yield _setting(
            context,
            Severity.NOTE,
            "track_io_timing",
            "on",
            "With it, EXPLAIN (ANALYZE, BUFFERS) and pg_stat_statements show whether the disk is slow.",
        )


@check("pending-restart")
def pending_restart(context: CheckContext) -> Findings:
    """Are there changed settings that need a restart?"""
    names = sorted(name for name, row in context.settings.items() if row["pending_restart"])
    if names:
        yield Finding(
            Severity.NOTE,
            f"changed settings that need a restart: {', '.join(names)}",
            "The server uses the old values until then.",
            Fix("docker compose restart postgres", "shell"),
            {"names": names},
        )


def _setting(
    context: CheckContext, severity: Severity, name: str, wanted: str, means: str, **figures: object
) -> Finding:
    row = context.settings[name]
    current = size(context.setting_bytes(name)) if row["unit"] in ("8kB", "kB", "MB") else row["setting"]
    return Finding(
        severity,
        f"{name} = {current}",
        means + told(context, name),
        change(context, name, wanted),
        {"setting": row["setting"], **figures},
    )
