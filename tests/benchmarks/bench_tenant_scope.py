"""What does the tenant scope cost on every prebuilt query?"""

from __future__ import annotations

import statistics
from functools import partial

from db_utils import DatabaseManager, OperationalDataQueries, schema
from tests.benchmarks.harness import Context, Goal, Table, backend, in_turns, on_one_core, ratio
from tests.support.query_calls import READ_CASES, find_facts, read
from tests.support.scale import compress_old_chunks, multiply


def run(context: Context) -> Table:
    """Time of each prebuilt read in a tenant scope over its time as owner, in alternating runs on ten times the sample data."""
    table = Table(
        "tenant scope",
        "Each prebuilt query in a tenant scope against the same query as owner, on ten times the sample data.",
        ("query", "ms as owner", "ms as tenant", "tenant / owner"),
    )
    ratios, added, sums = [], [], [0.0, 0.0]
    # A separate session for each, as in applications: a session that alternates would replan functions every time.
    with context.database() as db, DatabaseManager(settings=db.settings) as tenants:
        schema.seed(db)
        multiply(db, context.count(10))
        schema.refresh_rollups(db)
        compress_old_chunks(db)
        db.execute("ANALYZE")
        facts = find_facts(db)
        asked = {
            "owner": OperationalDataQueries(db),
            "tenant": OperationalDataQueries(tenants.tenant(facts.organization_id)),
        }
        with on_one_core(backend(db), backend(tenants)):
            for name, index in READ_CASES:
                ways = {side: partial(read, queries, facts, name, index) for side, queries in asked.items()}
                taken = in_turns(ways, 5 * context.rounds)
                found = ratio(taken["tenant"], taken["owner"])
                ratios.append(found)
                medians = statistics.median(taken["owner"]), statistics.median(taken["tenant"])
                added.append(1e3 * (medians[1] - medians[0]))
                sums = [a + b for a, b in zip(sums, medians, strict=True)]
                table.rows.append(
                    (f"{name} ({index})", *(round(1e3 * m, 2) for m in medians), round(found, 2))
                )
    table.rows.sort(key=lambda row: -float(str(row[3])))
    table.goals += [
        Goal("median of the queries' ratios", statistics.median(ratios), 1.1),
        Goal("all queries together", sums[1] / sums[0], 1.1),
    ]
    table.remark = (
        f"{sum(r <= 1.1 for r in ratios)} of {len(ratios)} calls cost at most 1.1 times as much. Whatever a call reads, the scope adds "
        f"three SET LOCAL statements and a view per table: {statistics.median(added):.2f} ms in the median."
    )
    return table
