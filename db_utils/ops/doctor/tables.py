"""Tables: dead rows, bloat, and statistics for the planner."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check
from db_utils.ops.sizes import size
from db_utils.sql_blocks import sql_beside

_SQL = sql_beside(__name__)
_MEGABYTE = 1024**2
BLOAT_LEAST_BYTES = 100 * _MEGABYTE
NEVER_ANALYZED_LEAST_BYTES = 32 * _MEGABYTE
_SHOWN = 5


@check("dead-rows")
def dead_rows(context: CheckContext) -> Findings:
    """Do tables carry many dead rows, or is autovacuum switched off for one?"""
    limit = context.limits["dead-rows-pct"]
    bad = [
        row for row in context.rows(_SQL["dead_rows"]) if limit.grade(float(row["dead_pct"])) > Severity.OK
    ]
    for table in bad[:_SHOWN]:
        yield Finding(
            Severity.WARNING,
            f"{table['name']}: {float(table['dead_pct']):.0f} % of its rows are dead ({table['n_dead_tup']:,} next to "
            f"{table['n_live_tup']:,} live ones), "
            f"{_last(table['last_autovacuum'], 'autovacuum')}",
            "Every scan reads them too, and the table grows. Old transactions (long-transactions) keep VACUUM from removing them.",
            Fix(f"VACUUM (ANALYZE) {table['name']};"),
            {"dead_rows": table["n_dead_tup"], "live_rows": table["n_live_tup"]},
        )
    for table in context.rows(_SQL["autovacuum_off"]):
        yield Finding(
            Severity.WARNING,
            f"autovacuum is switched off for {table['qualified_name']}",
            "Its dead rows stay, its statistics get outdated, and only a forced freeze will ever clean it up.",
            Fix(f"ALTER TABLE {table['qualified_name']} RESET (autovacuum_enabled);"),
        )


@check("bloat")
def bloat(context: CheckContext) -> Findings:
    """Are big tables or indexes mostly empty space?

    An estimate from the planner's statistics, accurate to about 20 %; relations below 100 MB or never
    analyzed are not checked.
    """
    limit = context.limits["bloat-pct"]
    rows = [row for row in context.rows(_SQL["bloat"]) if row["actual_bytes"] >= BLOAT_LEAST_BYTES]
    for relation in [row for row in rows if limit.grade(float(row["bloat_pct"])) > Severity.OK][:_SHOWN]:
        is_table = relation["kind"] == "table"
        share = float(relation["bloat_pct"])
        yield Finding(
            Severity.WARNING,
            f"{relation['kind']} {relation['name']} ({size(relation['actual_bytes'])}) is about {share:.0f} % empty",
            "It wastes disk and memory. "
            + (
                "VACUUM FULL rewrites the table and locks it meanwhile: run it in a quiet hour."
                if is_table
                else "Rebuilding it does not block reads or writes."
            ),
            Fix(
                f"VACUUM (FULL, ANALYZE) {relation['name']};"
                if is_table
                else f"REINDEX INDEX CONCURRENTLY {relation['name']};"
            ),
            {"total_bytes": int(relation["actual_bytes"]), "bloat_pct": round(share, 1)},
        )


@check("statistics")
def statistics(context: CheckContext) -> Findings:
    """Are the planner's statistics of a big table missing or outdated?

    Missing counts from 32 MB on, because autovacuum analyzes smaller tables within minutes; outdated means
    changes of more than half and 100,000 rows since the last ANALYZE.
    """
    never = [
        row
        for row in context.rows(_SQL["never_analyzed"])
        if row["total_bytes"] >= NEVER_ANALYZED_LEAST_BYTES
    ]
    for table in never[:_SHOWN]:
        yield Finding(
            Severity.WARNING,
            f"{table['name']} ({size(table['total_bytes'])}) was never analyzed",
            "The planner guesses how many rows match, and picks slow plans.",
            Fix(f"ANALYZE {table['name']};"),
            {"total_bytes": table["total_bytes"]},
        )
    for table in context.rows(_SQL["old_statistics"])[:_SHOWN]:
        yield Finding(
            Severity.WARNING,
            f"{table['name']}: {table['n_mod_since_analyze']:,} of {table['n_live_tup']:,} rows changed since its last ANALYZE",
            "The planner works with outdated statistics, and picks slow plans.",
            Fix(f"ANALYZE {table['name']};"),
            {"changed_rows": table["n_mod_since_analyze"], "live_rows": table["n_live_tup"]},
        )


def _last(moment: object, what: str) -> str:
    return f"last {what} {moment:%Y-%m-%d %H:%M} UTC" if moment else f"no {what} yet"
