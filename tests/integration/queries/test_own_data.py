"""Custom kinds of locations and events, a day of 25 hours, frames of all products, and errors that name row, column, value and rule."""

from __future__ import annotations

import datetime as dt
import json
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest

from db_utils import DatabaseManager, OperationalDataQueries, RejectReport
from db_utils.connections.tenant import TenantScope
from db_utils.errors import CheckViolationError, InvalidInputError
from tests.support.write_site import DAY, HOUR, NOON, Site, refused


def test_kinds_of_places_and_events_are_open(site: Site) -> None:
    q, o = site.queries, site.organization
    assert (
        q.create_location(o, "Halte", location_type="tram_stop", timezone="UTC")["location_type"]
        == "tram_stop"
    )
    q.record_event(o, time=NOON, event_type="door_fault", resource_id=site.resource, duration_minutes=30)
    q.record_event(o, time=NOON, event_type="breakdown", resource_id=site.resource, duration_minutes=20)
    assert {row["event_type"] for row in q.get_events(o, start=NOON, end=NOON + HOUR)} == {
        "door_fault",
        "breakdown",
    }
    assert [
        row["event_type"] for row in q.get_events(o, event_type="door_fault", start=NOON, end=NOON + HOUR)
    ] == ["door_fault"]
    # Custom types affect no figure.
    (stop,) = q.get_downtime_by_cause(o, start=NOON, end=NOON + HOUR)
    assert (stop["event_type"], stop["downtime_minutes"]) == ("breakdown", 20)
    for slip in ("breakdwn", "Breakdown", "break down", "maintenence"):
        event = {"time": NOON, "event_type": slip, "resource_id": site.resource}
        refused(
            site,
            InvalidInputError,
            lambda event=event: q.record_events(o, [event]),
            "events: row 1: event_type",
        )
    refused(
        site,
        CheckViolationError,
        lambda: site.db.execute(
            "UPDATE locations SET location_type = 'Depot' WHERE organization_id = %s", (o,)
        ),
    )


def test_a_day_of_25_hours_is_one_shift(site: Site) -> None:
    q, o, paris = site.queries, site.organization, ZoneInfo("Europe/Paris")
    day = (dt.datetime(2024, 10, 27, tzinfo=paris), dt.datetime(2024, 10, 28, tzinfo=paris))
    shift = q.create_shift(o, "All day", location_id=site.location, starts_at=day[0], ends_at=day[1])
    assert shift["ends_at"] - shift["starts_at"] == 25 * HOUR
    q.assign_employee(o, shift["shift_id"], employee_id=site.employee)
    last = dt.datetime(2024, 10, 27, 22, 30, tzinfo=dt.UTC)  # its last half hour
    assert [row["name"] for row in q.get_shift_schedule(o, start=last, end=last + DAY)] == ["All day"]
    q.record_event(
        o, time=last, event_type="production", resource_id=site.resource, duration_minutes=20, quantity=1
    )
    kpis = {row["kpi"]: row for row in q.get_kpi_summary(o, start=last, end=last + HOUR / 2)}
    assert kpis["availability"]["denominator"] == 30  # minutes of the shift inside
    too_long = {"starts_at": NOON, "ends_at": NOON + 25 * HOUR + dt.timedelta(seconds=1)}
    refused(
        site,
        InvalidInputError,
        lambda: q.create_shift(o, "Long", location_id=site.location, **too_long),
        "25 hours",
    )


def test_a_training_frame_of_all_products(site: Site) -> None:
    q, o = site.queries, site.organization
    start = dt.datetime(2024, 5, 5, 22, tzinfo=dt.UTC)  # midnight at the location
    rows = [
        {
            "time": start + day * DAY + 3 * HOUR,
            "product_id": product,
            "location_id": site.location,
            "quantity": day + len(product),
        }
        for day in range(4)
        for product in ("A", "BB")
        if (day, product) != (2, "A")
    ]
    q.record_demand(o, rows)
    factors = [
        {
            "time": start + day * DAY,
            "factor_type": "weather",
            "name": "rain",
            "value": day,
            "unit": "mm",
            "available_at": start + (day - 2) * DAY,
        }
        for day in range(3)
    ]
    q.record_external_factors(o, factors)
    period = {"start": start, "end": start + 4 * DAY, "lead": DAY}
    together = q.get_demand_training_frame(o, **period)
    apart = [row for product in ("A", "BB") for row in q.get_demand_training_frame(o, product, **period)]
    assert together == apart
    assert len(together) == 8
    assert [row["quantity"] for row in together] == [1, 2, None, 4, 2, 3, 4, 5]
    assert [row["factors"] for row in together[:4]] == [
        {"rain": 0.0},
        {"rain": 1.0},
        {"rain": 2.0},
        {"rain": None},
    ]
    for backend in ("pandas", "polars", "arrow"):
        frame = q.as_frame(backend).get_demand_training_frame(o, **period)
        columns = frame.column_names if backend == "arrow" else list(frame.columns)
        assert "factors" not in columns
        table = pa.table(frame) if backend != "pandas" else pa.Table.from_pandas(frame)
        assert table["factor_rain"].to_pylist() == [0.0, 1.0, 2.0, None] * 2
        assert table.schema.field("factor_rain").type == pa.float64()
    refused(
        site,
        InvalidInputError,
        lambda: q.get_demand_training_frame(o, **{**period, "carry": HOUR}),
        "carry is 1:00:00 and lead 1 day.*at least lead",
    )


def test_refusals_name_row_column_value_and_what_is_allowed(site: Site) -> None:
    q, o = site.queries, site.organization
    good = {"time": NOON, "event_type": "idle", "resource_id": site.resource}
    for bad, said in (
        ({"duration_minutes": 5000}, r"events: row 2: duration_minutes is 5000: give 0 to 1440"),
        ({"quality_score": 100.5}, r"events: row 2: quality_score is 100.5: give 0 to 100"),
        ({"event_type": "Idle!"}, r"events: row 2: event_type is 'Idle!': give one of production, .*own"),
        ({"quantity": -1}, r"events: row 2: quantity is -1: give 0 or more"),
    ):
        refused(site, InvalidInputError, lambda bad=bad: q.record_events(o, [good, {**good, **bad}]), said)
    frame = pd.DataFrame(
        {
            "organization_id": [str(o)] * 3,
            "time": [NOON] * 3,
            "location_id": [str(site.location)] * 3,
            "event_type": ["idle", "No word", "idle"],
            "quality_score": [1.0, 2.0, 101.0],
        }
    )
    report = RejectReport()
    assert site.db.write_frame("operational_events", frame, on_reject=report) == 1
    told = {reject.row_number: reject for reject in report.rejects}
    assert [told[2].column, told[3].column] == ["event_type", "quality_score"]
    assert told[2].reason.startswith("event_type is 'No word': ")
    assert "a-z0-9_" in told[2].reason.partition("requires")[2]
    assert "quality_score is 101.0" in told[3].reason
    assert "100" in told[3].reason.partition("requires")[2]


@pytest.mark.parametrize("kind", ["alerts", "anomalies", "predictions", "changes"])
def test_only_what_is_announced_is_listened_to(db: DatabaseManager, kind: str) -> None:
    organization = OperationalDataQueries(db).create_organization(f"Listener {kind}", industry="x")[
        "organization_id"
    ]
    scope: TenantScope = db.tenant(organization)
    with scope.listen(kind, timeout_seconds=0.01) as news:
        assert list(news) == []
    with pytest.raises(InvalidInputError, match=rf"tenant\(organization_id\).listen\('{kind}'\)"):
        db.listen(kind)
    with pytest.raises(InvalidInputError, match="listen to one of alerts, anomalies, predictions, changes"):
        scope.listen(kind, "events")


def test_what_a_target_hears_of(db: DatabaseManager) -> None:
    organization = OperationalDataQueries(db).create_organization("Heard", industry="x")["organization_id"]
    with db.tenant(organization).listen("alerts", timeout_seconds=20) as news:
        OperationalDataQueries(db).raise_alert(
            organization, title="Look", severity="high", alert_type="example"
        )
        note = next(news)
    assert note.channel == "alerts"
    assert note.payload["severity"] == "high"
    assert json.dumps(note.payload)
