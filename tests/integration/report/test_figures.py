"""The page's figures equal those computed differently from the raw rows."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager, report
from db_utils.report import ReportData
from db_utils.report.sections import losses_of
from tests.integration.report.conftest import Page

MANUFACTURING = "11111111-1111-1111-1111-111111111111"
LOGISTICS = "22222222-2222-2222-2222-222222222222"
pytestmark = pytest.mark.usefixtures("no_drawing")
PARIS = ZoneInfo("Europe/Paris")
DAYS = 14
NAMES = {
    "availability": "Availability",
    "effectiveness": "Effectiveness",
    "quality_ratio": "Quality ratio",
    "oee": "OEE",
    "utilisation_efficiency": "Utilisation efficiency",
    "throughput_rate": "Throughput rate",
    "scrap_ratio": "Scrap ratio",
    "mtbf": "MTBF",
    "mttr": "MTTR",
    "plan_attainment": "Plan attainment",
    "attendance_rate": "Attendance rate",
    "forecast_wape": "Forecast error (WAPE)",
}


@pytest.fixture(scope="module")
def data(seeded: DatabaseManager) -> ReportData:
    return report.gather(seeded, MANUFACTURING, days=DAYS)


@pytest.fixture(scope="module")
def page(data: ReportData, no_drawing: None) -> Page:
    return Page(report.render(data))


def test_losses_and_good_time_are_the_planned_time(
    page: Page, data: ReportData, seeded: DatabaseManager
) -> None:
    events = seeded.execute_query(
        "SELECT r.name, e.time, e.event_type, e.duration_minutes, e.quantity, e.scrap_quantity, r.rated_capacity_per_hour "
        "FROM operational_events AS e JOIN resources AS r USING (organization_id, resource_id) WHERE organization_id = %s",
        (MANUFACTURING,),
    )
    produced: dict[str, float] = defaultdict(float)
    good: dict[str, float] = defaultdict(float)
    for event in events:
        if event["event_type"] != "production" or not event["duration_minutes"]:
            continue
        ends = event["time"] + dt.timedelta(minutes=float(event["duration_minutes"]))
        inside = min(ends, data.period.end) - max(event["time"], data.period.start)
        share = max(inside / (ends - event["time"]), 0)
        produced[event["name"]] += share * float(event["duration_minutes"])
        pieces = share * float(event["quantity"] - (event["scrap_quantity"] or 0))
        good[event["name"]] += 60 * pieces / float(event["rated_capacity_per_hour"])
    rows = page.table("Planned busy time")
    assert {row[0] for row in rows} == set(produced)
    for name, planned, good_time, quality, speed, available, oee, reason in rows:
        shown = [float(text.replace(",", "")) for text in (planned, good_time, quality, speed, available)]
        assert shown[0] == pytest.approx(sum(shown[1:]), abs=3)
        assert shown[1] == pytest.approx(good[name], abs=1)
        assert shown[0] - shown[4] == pytest.approx(produced[name], abs=1)
        assert float(oee) == pytest.approx(100 * good[name] / shown[0], abs=0.1)
        assert reason == ""


def test_a_loss_that_cannot_be_told_says_why(data: ReportData) -> None:
    name, kpis = next(iter(data.resource_kpis.items()))
    unrated = {
        **kpis,
        "oee": {**kpis["oee"], "value": None, "reason": "no rated capacity"},
    }
    assert losses_of(name, unrated).reason == "no rated capacity"
    with pytest.raises(ZeroDivisionError):
        _ = losses_of(name, unrated).oee


def test_attendance(page: Page, data: ReportData, seeded: DatabaseManager) -> None:
    raw = seeded.execute_query(
        "SELECT e.full_name, a.time, a.status FROM employee_attendance AS a JOIN employees AS e "
        "USING (organization_id, employee_id) WHERE organization_id = %s",
        (MANUFACTURING,),
    )
    people: dict[str, list[bool]] = defaultdict(list)
    days: dict[str, list[bool]] = defaultdict(list)
    for row in raw:
        if row["status"] != "vacation" and data.period.start <= row["time"] < data.period.end:
            came = row["status"] in ("present", "late", "remote")
            people[row["full_name"]].append(came)
            days[row["time"].astimezone(PARIS).date().isoformat()].append(came)
    shown = {row[0]: row[1:] for row in page.table("Attendance by employee")}
    assert shown == {
        name: [str(sum(came)), str(len(came)), f"{100 * sum(came) / len(came):.1f}"]
        for name, came in people.items()
    }
    # The rollup counts whole hours: only the one at the edge of the period may differ.
    by_day = {row[0]: row[1:3] for row in page.table("Attendance by local day")}
    inner = sorted(days)[1:-1]
    assert {day: by_day[day] for day in inner} == {
        day: [str(sum(days[day])), str(len(days[day]))] for day in inner
    }
    low = sum(sum(came) < 0.9 * len(came) for came in people.values())
    assert page.titles["attendance"].startswith(f"{low} of {len(people)} employee")


def test_demand_by_local_day(page: Page, data: ReportData, seeded: DatabaseManager) -> None:
    raw = seeded.execute_query(
        "SELECT time, product_id, quantity FROM demand_history WHERE organization_id = %s", (MANUFACTURING,)
    )
    days: dict[tuple[str, str], float] = defaultdict(float)
    for row in raw:
        days[row["product_id"], row["time"].astimezone(PARIS).date().isoformat()] += float(row["quantity"])
    rows = page.table("Demand by local day")
    assert len({row[0] for row in rows}) == len({product for product, _ in days})
    observed = [row for row in rows if row[3] != "\N{EN DASH}"]
    assert len(observed) >= 3 * (DAYS - 2)
    for product, _, day, quantity, _ in observed:
        assert float(quantity.replace(",", "")) == pytest.approx(days[product, day], abs=0.06)


def test_utilization_by_local_hour(page: Page, data: ReportData, seeded: DatabaseManager) -> None:
    raw = seeded.execute_query(
        "SELECT r.name, m.time, m.utilization_pct, m.sample_minutes FROM resource_metrics AS m "
        "JOIN resources AS r USING (organization_id, resource_id) WHERE organization_id = %s AND utilization_pct IS NOT NULL",
        (MANUFACTURING,),
    )
    sums: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    first = data.period.start.replace(minute=0, second=0, microsecond=0)
    for row in raw:
        if first <= row["time"] < data.period.end:
            cell = sums[row["name"], row["time"].astimezone(PARIS).hour]
            cell[0] += float(row["utilization_pct"]) * float(row["sample_minutes"])
            cell[1] += float(row["sample_minutes"])
    rows = page.table("Mean utilization")
    assert {row[0] for row in rows} == {name for name, _ in sums}
    for row in rows:
        for hour, shown in enumerate(row[1:25]):
            total, minutes = sums[row[0], hour]
            assert float(shown) == pytest.approx(total / minutes, abs=0.51), (row[0], hour)


def test_plans_anomalies_alerts_and_coverage(page: Page, data: ReportData, seeded: DatabaseManager) -> None:
    def ask(sql: str) -> list[dict[str, object]]:
        return seeded.execute_query(sql, (MANUFACTURING,))

    made: dict[tuple[object, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in ask(
        "SELECT l.name, p.plan_date, p.planned_quantity::float AS planned, p.actual_quantity::float AS actual "
        "FROM production_plans AS p JOIN locations AS l USING (organization_id, location_id) "
        "WHERE organization_id = %s AND status = 'completed'"
    ):
        day = row["plan_date"]
        assert isinstance(day, dt.date)
        if data.period.first_day <= day <= data.period.last_day:
            made[row["name"], day.isoformat()][0] += row["planned"]  # type: ignore[operator]
            made[row["name"], day.isoformat()][1] += row["actual"]  # type: ignore[operator]
    shown = {(row[0], row[1]): row[5] for row in page.table("Completed plans")}
    assert shown == {key: f"{100 * actual / planned:.1f}" for key, (planned, actual) in made.items()}

    predictions = ask("SELECT predicted_for, outcome FROM anomaly_predictions WHERE organization_id = %s")
    ours = [p for p in predictions if p["predicted_for"] >= data.period.start]  # type: ignore[operator]
    assert len(page.table("Predicted anomalies")) == len(ours)
    assert page.titles["anomalies"].startswith(
        f"{sum(p['outcome'] is None for p in ours)} predicted and open"
    )

    alerts = ask("SELECT title FROM alerts WHERE organization_id = %s AND status <> 'resolved'")
    assert {row[1] for row in page.table("Open alerts")} == {alert["title"] for alert in alerts}

    names = {row["name"] for row in ask("SELECT name FROM resources WHERE organization_id = %s")}
    assert {row[1] for row in page.table("Days with data") if row[0] == "events"} == names


@pytest.mark.thorough
@pytest.mark.parametrize("organization", [MANUFACTURING, LOGISTICS])
def test_tiles_say_what_the_kpi_query_says(seeded: DatabaseManager, organization: str) -> None:
    data = report.gather(seeded, organization)
    page = Page(report.render(data))
    assert len(page.tiles) == len(data.kpis) == 12
    for row in data.kpis:
        name = NAMES[row["kpi"]]
        assert page.tiles[name][0] == f"{row['value']:,.1f} {row['unit']}"
        assert page.tiles[name][2] == f"data for {row['coverage_pct']:.0f} %"
