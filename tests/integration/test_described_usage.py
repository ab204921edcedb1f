"""The statements and snippets of the project's description, as written there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from db_utils import DatabaseManager
from tests.conftest import fresh_database
from tests.support.programs import psql

STATEMENTS = {
    "hourly production rate for the last 7 days": """
        SELECT
            time_bucket('1 hour', time) as hour,
            AVG(quantity) as avg_production,
            resource_id
        FROM operational_events
        WHERE event_type = 'production'
          AND time >= NOW() - INTERVAL '7 days'
        GROUP BY hour, resource_id
        ORDER BY hour DESC;
    """,
    "one organization's demand": """
        SELECT * FROM demand_history
        WHERE organization_id = '11111111-1111-1111-1111-111111111111';
    """,
    "recent bottlenecks": """
        SELECT * FROM anomaly_predictions
        WHERE anomaly_type = 'bottleneck'
          AND status = 'active'
          AND severity IN ('high', 'critical')
        ORDER BY probability DESC;
    """,
    "production efficiency": """
        SELECT
            location_id,
            DATE(plan_date) as date,
            SUM(planned_quantity) as planned,
            SUM(actual_quantity) as actual,
            ROUND(100.0 * SUM(actual_quantity) / SUM(planned_quantity), 2) as efficiency
        FROM production_plans
        WHERE status = 'completed'
        GROUP BY location_id, DATE(plan_date);
    """,
    "employees with low attendance": """
        SELECT employee_id, attendance_rate
        FROM employee_attendance_rate
        WHERE month = DATE_TRUNC('month', CURRENT_DATE)
          AND attendance_rate < 90
        ORDER BY attendance_rate ASC;
    """,
}

CONNECT_AND_QUERY = """
    from db_utils import DatabaseManager

    db = DatabaseManager()

    # Execute query
    results = db.execute_query(
        "SELECT * FROM resources WHERE organization_id = %s",
        (org_id,)
    )

    # Bulk insert
    data = [(val1, val2), (val3, val4)]
    db.execute_many(
        "INSERT INTO table (col1, col2) VALUES %s",
        data
    )
"""

PREBUILT_QUERIES = """
    from db_utils import DatabaseManager, OperationalDataQueries

    db = DatabaseManager()
    queries = OperationalDataQueries(db)

    # Get demand history
    demand = queries.get_demand_history(org_id, product_id, days=90)

    # Get resource utilization
    utilization = queries.get_resource_utilization_summary(org_id)

    # Get active anomalies
    anomalies = queries.get_active_anomaly_predictions(org_id)

    # Get KPI summary
    kpis = queries.get_kpi_summary(org_id, days=7)
"""


@pytest.fixture(scope="module")
def described_url(server_url: str, seeded_template: str) -> Iterator[str]:
    with fresh_database(server_url, seeded_template) as url:
        yield url


@pytest.fixture
def namespace(described_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names that the snippets expect; their `db` is closed afterwards."""
    monkeypatch.setenv("DATABASE_URL", described_url)
    names: dict[str, Any] = {"org_id": "11111111-1111-1111-1111-111111111111"}
    yield names
    names["db"].close()


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_statements_run_as_written_and_return_rows(described_url: str, statement: str) -> None:
    done = psql(described_url, "-At", "-c", textwrap.dedent(statement))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 1


def test_python_snippets_run_as_written(described_url: str, namespace: dict[str, Any]) -> None:
    with DatabaseManager(described_url) as db:
        products = db.execute_query(
            "SELECT product_id FROM demand_history WHERE organization_id = %s LIMIT 1", (namespace["org_id"],)
        )
    namespace["product_id"] = products[0]["product_id"]
    exec(textwrap.dedent(PREBUILT_QUERIES), namespace)
    with DatabaseManager(described_url) as db:
        days = db.execute_query(
            "SELECT count(*) AS n FROM demand_history WHERE organization_id = %s AND product_id = %s "
            "AND time BETWEEN now() - interval '2160 hours' AND now()",
            (namespace["org_id"], namespace["product_id"]),
        )
    # A day's row is labelled with its first hour: one of the days at both ends may be missing, and today's does not exist yet.
    assert len(namespace["demand"]) == days[0]["n"] >= 88
    assert len(namespace["utilization"]) == 5
    assert {a["status"] for a in namespace["anomalies"]} <= {"active", "acknowledged"}
    assert len(namespace["kpis"]) == 12
    assert all(k["value"] is not None for k in namespace["kpis"])


def test_the_bulk_snippet_inserts(described_url: str, namespace: dict[str, Any]) -> None:
    """`table` stands for a table name there; here it is one."""
    with DatabaseManager(described_url) as db:
        db.execute("CREATE TABLE bulk_example (col1 integer, col2 timestamptz)")
        moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
        namespace |= {"val1": 1, "val2": moment, "val3": 2, "val4": moment}
        exec(textwrap.dedent(CONNECT_AND_QUERY).replace("INTO table", "INTO bulk_example"), namespace)
        assert len(namespace["results"]) == 5
        assert db.execute_query("SELECT col1, col2 FROM bulk_example ORDER BY col1") == [
            {"col1": 1, "col2": moment},
            {"col1": 2, "col2": moment},
        ]
