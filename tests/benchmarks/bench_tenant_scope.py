"""What does the tenant scope cost on every prebuilt query?"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

from db_utils import OperationalDataQueries, schema
from tests.benchmarks.harness import Context, Goal, Table, backend, on_one_core, ratio, repeated
from tests.support.query_calls import READ_CASES, find_facts, read
from tests.support.scale import compress_old_chunks, multiply

CALLS = 5


def run(context: Context) -> Table:
    """Time of each prebuilt read in a tenant's scope over its time as owner, in turns, ten times the sample data."""
    table = Table(
        "tenant scope",
        "Each prebuilt query in a tenant's scope against the same query as owner, on ten times the sample data.",
        ("query", "ms as owner", "ms as tenant", "tenant / owner"),
    )
    ratios, added, sums = [], [], [0.0, 0.0]
    with context.database() as db:
        schema.seed(db)
        multiply(db, context.count(10))
        schema.refresh_rollups(db)
        compress_old_chunks(db)
        db.execute("ANALYZE")
        facts = find_facts(db)
        owner = OperationalDataQueries(db)
        with db.tenant(facts.organization_id) as scope:
            tenant = OperationalDataQueries(scope)
            with on_one_core(backend(db)):
                for name, index in READ_CASES:
                    taken = compare(
                        {
                            "owner": partial(read, owner, facts, name, index),
                            "tenant": partial(read, tenant, facts, name, index),
                        },
                        context.rounds,
                    )
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
        f"its three SET LOCAL and a view for each table: {statistics.median(added):.2f} ms by the median."
    )
    return table


def compare(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round: the median of several calls after one that does not count.

    Several, because an application's session serves tenants, or the owner, all day; where the two take turns call by call, the
    plans that a session keeps for functions are made anew each time.
    """
    taken: dict[str, list[float]] = {side: [] for side in ways}
    for number in range(rounds):
        for side in sorted(ways, reverse=number % 2 == 1):
            taken[side].append(statistics.median(repeated(ways[side], CALLS)))
    return taken
