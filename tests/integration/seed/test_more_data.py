"""More data than the sample data: the requested amounts, reproducible, whatever the way of loading."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries, errors, schema
from db_utils.schema.loading import Amount
from tests.conftest import fresh_database
from tests.support.seed_story import MANUFACTURING, PARIS, contents, seeded_at

ANCHOR = "2025-04-02T10:20:30+02:00"  # three days after a clock change
SERIES = (
    "operational_events",
    "demand_history",
    "resource_metrics",
    "employee_attendance",
    "production_plans",
    "shifts",
)


@pytest.fixture
def anchored(server_url: str, schema_template: str) -> Any:
    """A database with the sample data as of ANCHOR."""
    with fresh_database(server_url, schema_template) as url, seeded_at(url, ANCHOR) as db:
        yield db


LOCAL_DAY_OF_TIME = "(time AT TIME ZONE 'Europe/Paris')::date"
LOCAL_DAY = {"production_plans": "plan_date", "shifts": "(starts_at AT TIME ZONE 'Europe/Paris')::date"}


def rows_of_a_day(db: DatabaseManager, day: str, condition: str = "true") -> dict[str, set[str]]:
    """Each table's rows of a local day, without columns written from the database's clock."""
    return {
        table: {
            row["content"]
            for row in db.execute_query(
                f"SELECT (to_jsonb(t) - '{{created_at,updated_at,recorded_at}}'::text[])::text AS content "
                f"FROM {table} AS t WHERE {condition} AND {LOCAL_DAY.get(table, LOCAL_DAY_OF_TIME)} = %s",
                (day,),
            )
        }
        for table in SERIES
    }


@pytest.mark.slow
def test_the_amount_that_was_asked_for(anchored: DatabaseManager) -> None:
    db = anchored
    before = contents(db)
    story = {table: db.execute_query(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in SERIES}
    added = schema.seed(db, days=40, scale=2, organizations=3, metric_days=2)
    for table in SERIES:
        assert (
            db.execute_query(f"SELECT count(*) AS n FROM {table}")[0]["n"] == story[table] + added[table]
        ), table
    plants = db.execute_query(
        "SELECT o.name, count(*) AS n FROM organizations AS o JOIN resources AS r USING (organization_id) GROUP BY o.name ORDER BY o.name"
    )
    assert [(p["name"], p["n"]) for p in plants] == [
        ("Organization 3", 10),
        ("Sample Logistics", 6),
        ("Sample Manufacturing", 10),
    ]
    # 40 days before the anchor's day, and the elapsed part of that day, in every series and for every machine.
    today = datetime.fromisoformat(ANCHOR).astimezone(PARIS).date()
    first = db.execute_query(
        "SELECT min(first_day) AS earliest, max(first_day) AS latest FROM ("
        "SELECT min(time AT TIME ZONE 'Europe/Paris')::date AS first_day FROM operational_events "
        "WHERE resource_id IS NOT NULL GROUP BY resource_id) AS x"
    )[0]
    assert (first["earliest"], first["latest"]) == (today - timedelta(days=40), today - timedelta(days=40))
    newest = db.execute_query(
        "SELECT greatest((SELECT max(time) FROM operational_events), (SELECT max(time) FROM resource_metrics), "
        "(SELECT max(time) FROM employee_attendance), (SELECT max(time) FROM demand_history)) AS newest"
    )[0]["newest"]
    assert newest <= datetime.fromisoformat(ANCHOR)
    # An hour of a machine has 60 minutes of events, and no two of them overlap.
    hours = db.execute_query(
        """
        SELECT DISTINCT sum(duration_minutes) AS minutes
        FROM operational_events
        WHERE organization_id NOT IN (SELECT organization_id FROM organizations WHERE name LIKE 'Sample%%')
        GROUP BY resource_id, date_trunc('hour', time)
        """,
        (),
    )
    assert [h["minutes"] for h in hours] == [60]
    for row in OperationalDataQueries(db).get_kpi_summary(
        db.execute_query("SELECT organization_id FROM organizations WHERE name = 'Organization 3'")[0][
            "organization_id"
        ],
        start=datetime.fromisoformat(ANCHOR) - timedelta(days=7),
        end=datetime.fromisoformat(ANCHOR),
    ):
        assert row["reason"] is None, row
        assert row["unit"] != "%" or 0 <= row["value"] <= 100, row
    schema.verify(db)
    # The sample data itself is unchanged.
    db.execute("DELETE FROM seed_runs WHERE seed_name <> 'sample_data'")
    after = contents(db)
    for table in (
        "seed_runs",
        "anomaly_predictions",
        "alerts",
        "external_factors",
        "optimization_runs",
        "absence_forecasts",
    ):
        assert after[table] == before[table]


@pytest.mark.thorough
def test_longer_ago_than_people_were_hired(anchored: DatabaseManager) -> None:
    added = schema.seed(anchored, days=430, metric_days=0)
    assert added["shifts"] > 3 * 3 * 390
    worked = anchored.execute_query(
        "SELECT e.hired_on_date AS hired, min((a.starts_at AT TIME ZONE 'Europe/Paris')::date) AS first "
        "FROM employees AS e JOIN shift_assignments AS a USING (organization_id, employee_id) GROUP BY e.employee_id, hired"
    )
    assert all(row["first"] >= row["hired"] for row in worked)
    today = datetime.fromisoformat(ANCHOR).astimezone(PARIS).date()
    assert min(row["first"] for row in worked) <= today - timedelta(days=427)


@pytest.mark.slow
def test_the_same_in_one_go_or_in_steps_or_at_once(server_url: str, schema_template: str) -> None:
    with fresh_database(server_url, schema_template) as url, seeded_at(url, ANCHOR) as db:
        schema.seed(db, days=35, scale=2, organizations=3, metric_days=1, jobs=3)
        at_once = contents(db)
    with fresh_database(server_url, schema_template) as url, seeded_at(url, ANCHOR) as db:
        schema.seed(db, days=32, metric_days=1, jobs=1)
        schema.seed(db, days=33, scale=2, metric_days=1, jobs=1)
        added = schema.seed(db, days=35, scale=2, organizations=3, metric_days=1, jobs=1)
        assert added["operational_events"] > 0
        assert contents(db) == at_once
        assert not schema.seed(db, days=35, scale=2, organizations=3, metric_days=1)
        assert contents(db) == at_once


@pytest.mark.slow
def test_a_day_does_not_depend_on_the_day_of_the_load(server_url: str, schema_template: str) -> None:
    before_the_story, within_it = "2025-02-25", "2025-03-29"
    third = "organization_id NOT IN (SELECT organization_id FROM organizations WHERE name LIKE 'Sample%%')"
    found = []
    for anchor, days in ((ANCHOR, 40), ("2025-03-31T08:00:00+02:00", 36)):
        with fresh_database(server_url, schema_template) as url, seeded_at(url, anchor) as db:
            schema.seed(db, days=days, organizations=3)
            early = rows_of_a_day(db, before_the_story)
            late = rows_of_a_day(db, within_it, third)
            del early["demand_history"], early["resource_metrics"]  # sample data, or not requested
            found.append((early, late))
    assert found[0] == found[1]
    assert all(
        rows for tables in found[0] for table, rows in tables.items() if table != "employee_attendance"
    )
    assert found[0][0]["employee_attendance"]  # 29 March is a Saturday


@pytest.mark.slow
def test_a_load_that_fails_half_way_goes_on_where_it_stood(server_url: str, schema_template: str) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(done: int, of: int, added: Any) -> None:
        if done == of // 2:
            raise Stop

    with fresh_database(server_url, schema_template) as url, seeded_at(url, ANCHOR) as db:
        schema.seed(db, days=35, scale=2, metric_days=1)
        whole = contents(db)
    with fresh_database(server_url, schema_template) as url, seeded_at(url, ANCHOR) as db:
        with pytest.raises(Stop):
            schema.seed(db, days=35, scale=2, metric_days=1, on_batch=stop)
        assert contents(db) != whole
        schema.seed(db, days=35, scale=2, metric_days=1)
        assert contents(db) == whole


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"days": 0}, "days"),
        ({"days": 2.5}, "days"),
        ({"scale": 0}, "scale"),
        ({"scale": True}, "scale"),
        ({"organizations": 1}, "organizations"),
        ({"metric_days": -1}, "metric_days"),
        ({"days": 40_000}, "days"),
    ],
)
def test_amounts_that_cannot_be(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=rf"^{name} is .*: give a whole number"):
        Amount(**arguments)


def test_the_default_is_the_sample_data_alone(seeded: DatabaseManager) -> None:
    assert not Amount().is_more
    assert seeded.execute_query("SELECT count(*) AS n FROM organizations") == [{"n": 2}]
    assert seeded.execute_query(
        "SELECT count(*) AS n FROM demand_forecasts WHERE organization_id = %s AND model_name = 'weekly_seasonal'",
        (MANUFACTURING,),
    ) == [{"n": 0}]
