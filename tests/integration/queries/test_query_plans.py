"""Every block is prepared against the real schema; every read has a ceiling for its plan, on ten times the sample data.

Ceilings are about twice the measured values. Cost is the planner's; blocks (8 kB each) are those actually read, including inside
functions, which EXPLAIN does not show. The large tables have 73,000 events and 806,000 metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.connections.tenant import TENANT_ROLE, TENANT_SEARCH_PATH
from db_utils.queries.loader import Query, queries, query
from tests.support.query_calls import READ_CASES, READ_IDS, Facts, find_facts, read

BLOCKS = list(queries().values())
NAME_OF = {block.sql: block.name for block in BLOCKS}

MOST_ROWS_READ_IN_SEQUENCE = 10_000


@dataclass(frozen=True)
class Ceiling:
    cost: float = 5_000
    blocks: int = 3_000


DEFAULT = Ceiling()

# Functions read the events of a period and those across its edges; forecasts are compared with demand target by target.
ANY_EDITION = {
    "get_demand_forecast_outcomes": Ceiling(blocks=12_000),
    "get_demand_forecast_accuracy": Ceiling(blocks=12_000),
    "get_location_kpis": Ceiling(blocks=5_000),
    # Buckets come from functions, whose row counts the planner cannot estimate well; less so as a tenant, whose views hide statistics.
    "get_demand_training_frame": Ceiling(cost=25_000),
    "get_demand_frame_as_of": Ceiling(cost=110_000),
    # One summary per bucket, of which the planner expects a thousand.
    "get_kpi_trend": Ceiling(cost=700_000),
}

# Here rollups are views: they are computed from the rows of the period, and the daily ones from all rows.
# For all resources, a minute apart.
ROWS_OF_A_WEEK = 8 * 7 * 1440
WITHOUT_ROLLUPS = {
    "get_production_rate": Ceiling(cost=50_000, blocks=18_000),
    "get_products": Ceiling(cost=10_000),
    "get_downtime_by_cause": Ceiling(blocks=15_000),
    "get_resource_metrics": Ceiling(cost=25_000),
    "get_resource_utilization": Ceiling(cost=100_000, blocks=18_000),
    "get_resource_utilization_summary": Ceiling(cost=100_000, blocks=6_000),
    "get_kpi_summary": Ceiling(blocks=18_000),
    "get_location_kpis": Ceiling(blocks=18_000),
    "get_resource_kpis": Ceiling(blocks=18_000),
}


class Recorder:
    """Runs statements and records them."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self.statements: dict[str, Any] = {}

    def execute_query(self, sql: str, parameters: Any = None, **options: Any) -> Any:
        self.statements.setdefault(NAME_OF[sql], parameters)
        return self._db.execute_query(sql, parameters, **options)

    @contextmanager
    def transaction(self) -> Iterator[Recorder]:
        yield self


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def rows_read_in_sequence(plan: dict[str, Any]) -> dict[str, int]:
    """The number of rows of each large table, or chunk, read sequentially."""
    found: dict[str, int] = {}
    for node in nodes(plan):
        name = node.get("Relation Name", "")
        large = name.startswith(("_hyper_", "compress_hyper")) or name in (
            "operational_events",
            "resource_metrics",
            "demand_history",
        )
        if node["Node Type"] == "Seq Scan" and large:
            rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            found[name] = found.get(name, 0) + rows
    return found


@pytest.fixture(scope="module")
def large_facts(large: DatabaseManager) -> Facts:
    """The entities to query; statistics exist, and no background job changes them meanwhile."""
    if schema.edition(large) == "community":
        large.execute_query(
            "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000"
        )
    large.execute("ANALYZE")
    return find_facts(large)


def explained(
    large: DatabaseManager, block: str, parameters: Any, organization_id: Any, scope: str
) -> dict[str, Any]:
    """The plan of a statement, run as the owner or as a tenant; functions are planned for this call."""
    with large.transaction() as transaction:
        transaction.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        if scope == "tenant":
            transaction.execute(f"SET LOCAL ROLE {TENANT_ROLE}")
            transaction.execute(f"SET LOCAL search_path = {TENANT_SEARCH_PATH}")
            transaction.execute("SELECT set_config('app.organization_id', %s, true)", (str(organization_id),))
        (row,) = transaction.execute_query(
            "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + query(block).sql, parameters
        )
    plan: dict[str, Any] = row["QUERY PLAN"][0]["Plan"]
    return plan


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["owner", "tenant"])
@pytest.mark.parametrize(("name", "index"), READ_CASES, ids=READ_IDS)
def test_a_read_stays_below_its_ceiling(
    large: DatabaseManager, large_facts: Facts, name: str, index: int, scope: str
) -> None:
    ceilings = ANY_EDITION | ({} if schema.edition(large) == "community" else WITHOUT_ROLLUPS)
    recorder: Any = Recorder(large)
    read(OperationalDataQueries(recorder), large_facts, name, index)
    assert recorder.statements
    for block, parameters in recorder.statements.items():
        plan = explained(large, block, parameters, large_facts.organization_id, scope)
        ceiling = ceilings.get(block, DEFAULT)
        touched = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        in_sequence = rows_read_in_sequence(plan)
        assert plan["Total Cost"] <= ceiling.cost, block
        assert touched <= ceiling.blocks, block
        most = MOST_ROWS_READ_IN_SEQUENCE
        if schema.edition(large) == "apache" and block.startswith("get_resource_utilization"):
            # Rollups are views there. A week's samples are in two chunks, unless today is Thursday, when a chunk begins, and a
            # chunk is read entirely if most of it is needed.
            most = 2 * ROWS_OF_A_WEEK
        assert sum(in_sequence.values()) <= most, (block, in_sequence)


def prepared(block: Query) -> str:
    """The block as a prepared statement with the parameter types that its comment declares."""
    numbers = {parameter.name: f"${number}" for number, parameter in enumerate(block.parameters, start=1)}
    text = re.sub(r"%\((\w+)\)s", lambda match: numbers[match[1]], block.sql).replace("%%", "%")
    types = ", ".join(parameter.type for parameter in block.parameters)
    return f"PREPARE block{f' ({types})' if types else ''} AS {text}"


@pytest.mark.parametrize("scope", ["owner", "tenant"])
@pytest.mark.parametrize("block", BLOCKS, ids=[block.name for block in BLOCKS])
def test_every_block_can_be_prepared_with_the_types_it_declares(
    seeded: DatabaseManager, facts: Facts, block: Query, scope: str
) -> None:
    executor: Any = seeded if scope == "owner" else seeded.tenant(facts.organization_id)
    with executor.transaction() as transaction, transaction.connection() as connection:
        cursor = connection.cursor()
        cursor.execute(prepared(block))
        cursor.execute("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'block'")
        (types,) = cursor.fetchone()
        assert types == [_full_name(parameter.type) for parameter in block.parameters]
        cursor.execute("DEALLOCATE block")


def _full_name(name: str) -> str:
    return name.replace("timestamptz", "timestamp with time zone")


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.writes], ids=lambda b: b.name)
def test_no_parameter_makes_a_read_fail(seeded: DatabaseManager, facts: Facts, block: Query) -> None:
    """Everything nullable is NULL: the statement is still correct."""
    plain: dict[str, Any] = {
        "uuid": facts.organization_id,
        "uuid[]": [],
        "text": "day",
        "text[]": [],
        "jsonb": "[]",
        "integer": 1,
        "numeric": 1,
        "boolean": False,
        "timestamptz": facts.now,
        "timestamptz[]": [],
        "date": facts.today,
        "interval": "1 day",
    }
    given = {p.name: None if p.is_optional else plain[p.type] for p in block.parameters}
    if {"period_start", "period_end"} <= set(given) and given["period_start"] is not None:
        given["period_start"] = facts.start
    seeded.execute_query(block.sql, given)


@pytest.mark.slow
def test_what_is_touched_follows_the_period_and_not_the_table(
    large: DatabaseManager, large_facts: Facts
) -> None:
    """Reading a day of metrics out of ten weeks touches far fewer blocks than seven days."""
    touched = []
    for days in (1, 7):
        recorder: Any = Recorder(large)
        OperationalDataQueries(recorder).get_resource_metrics(
            large_facts.organization_id, resource_id=large_facts.resource_id, days=days
        )
        ((block, parameters),) = recorder.statements.items()
        plan = explained(large, block, parameters, large_facts.organization_id, "owner")
        touched.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    assert touched[0] * 3 < touched[1]
