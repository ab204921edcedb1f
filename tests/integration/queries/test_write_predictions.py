"""Predictions and factors, saved once and never overwritten: as the owner, in a tenant scope, and inside a caller's transaction."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest

from db_utils.errors import (
    InvalidInputError,
    NotFoundError,
    UniqueViolationError,
)
from db_utils.queries import DifferentValuesError, WrongStateError
from tests.support.write_site import DAY, HOUR, NOON, RUN, Site, refused


def forecasts(site: Site, count: int = 5, quantity: int = 10) -> list[Any]:
    return [
        {
            "product_id": "P",
            "location_id": site.location,
            "target_time": NOON + (1 + number) * DAY,
            "predicted_quantity": quantity + number,
            "lower_bound": 1,
            "upper_bound": 99.5,
        }
        for number in range(count)
    ]


def test_a_forecast_run_is_saved_once(site: Site) -> None:
    q, o = site.queries, site.organization
    assert q.save_demand_forecasts(o, forecasts(site), **RUN) == 5
    assert q.save_demand_forecasts(o, forecasts(site), **RUN) == 0
    assert q.save_demand_forecasts(o, forecasts(site, 7), **RUN) == 2
    stored = q.get_current_demand_forecasts(o, start=NOON)
    assert [row["predicted_quantity"] for row in stored] == [10, 11, 12, 13, 14, 15, 16]
    assert {row["target_interval"] for row in stored} == {DAY}
    assert {row["interval_coverage_pct"] for row in stored} == {90}


@pytest.mark.parametrize(
    "change",
    [
        {"predicted_quantity": 10.001},
        {"lower_bound": None, "upper_bound": None},
        {"interval_coverage_pct": 80},
        {"metadata": {"why": "second thoughts"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_said_cannot_be_said_otherwise(site: Site, change: dict[str, Any]) -> None:
    q, o = site.queries, site.organization
    q.save_demand_forecasts(o, forecasts(site, 3), **RUN)
    other = [{**forecasts(site)[0], **change}, forecasts(site)[4]]
    refused(
        site,
        DifferentValuesError,
        lambda: q.save_demand_forecasts(o, other, **RUN),
        "saved before with other values.*product_id P.*save a newer run",
    )
    refused(site, UniqueViolationError, lambda: q.save_demand_forecasts(o, other, **RUN))
    assert site.count("demand_forecasts") == 3, "nothing of the refused run was kept"
    newer = {**RUN, "available_at": NOON + HOUR}
    assert q.save_demand_forecasts(o, other, **newer) == 2
    assert site.count("demand_forecasts") == 5, "a newer run erases nothing"


def test_a_run_that_contradicts_itself_is_refused(site: Site) -> None:
    twice = [forecasts(site)[0], {**forecasts(site)[0], "predicted_quantity": 11}]
    refused(
        site,
        InvalidInputError,
        lambda: site.queries.save_demand_forecasts(site.organization, twice, **RUN),
    )


def test_days_and_their_week_are_one_run(site: Site) -> None:
    q, o = site.queries, site.organization
    week = {**forecasts(site)[0], "target_interval": 7 * DAY, "predicted_quantity": 70}
    hour = {**forecasts(site)[0], "target_interval": HOUR}
    assert q.save_demand_forecasts(o, [*forecasts(site, 7), week, hour], **RUN) == 9
    assert q.save_demand_forecasts(o, [week], **RUN) == 0
    stored = q.get_current_demand_forecasts(o, start=NOON)
    assert [row["target_interval"] for row in stored if row["target_time"] == NOON + DAY] == [
        HOUR,
        DAY,
        7 * DAY,
    ]
    refused(
        site,
        InvalidInputError,
        lambda: q.save_demand_forecasts(
            o, [forecasts(site)[0], {**forecasts(site)[0], "target_interval": DAY}], **RUN
        ),
        "rows 1 and 2 have the same",
    )


def test_a_forecast_of_hours(site: Site) -> None:
    row = {**forecasts(site)[0], "target_interval": dt.timedelta(hours=1, minutes=30, microseconds=5)}
    assert site.queries.save_demand_forecasts(site.organization, [row], **RUN) == 1
    (stored,) = site.queries.get_demand_forecasts_as_of(site.organization, as_of=NOON)
    assert stored["target_interval"] == row["target_interval"]


def anomaly(site: Site, **changes: Any) -> Any:
    return {
        "resource_id": site.resource,
        "anomaly_type": "bottleneck",
        "severity": "high",
        "probability": 0.75,
        "predicted_for": NOON + DAY,
        "description": "the press is slow",
        **changes,
    }


def test_an_anomaly_run_is_saved_once(site: Site) -> None:
    q, o = site.queries, site.organization
    run = [anomaly(site), anomaly(site, anomaly_type="failure", metadata={"hours": 5})]
    assert q.save_anomaly_predictions(o, run, **RUN) == 2
    assert q.save_anomaly_predictions(o, run, **RUN) == 0
    refused(
        site,
        DifferentValuesError,
        lambda: q.save_anomaly_predictions(o, [anomaly(site, probability=0.5)], **RUN),
    )
    assert q.save_anomaly_predictions(o, run, **{**RUN, "model_version": "2"}) == 2
    assert len(q.get_active_anomaly_predictions(o)) == 4
    assert len(q.get_recent_bottlenecks(o)) == 2
    own = uuid.uuid4()
    assert q.save_anomaly_predictions(o, [anomaly(site, anomaly_id=own, probability=1)], **RUN) == 1
    assert q.get_active_anomaly_predictions(o)[0]["anomaly_id"] == own


def test_an_anomaly_is_acknowledged_then_closed_once(site: Site) -> None:
    q, o = site.queries, site.organization
    first, second = uuid.uuid4(), uuid.uuid4()
    q.save_anomaly_predictions(o, [anomaly(site, anomaly_id=first), anomaly(site, anomaly_id=second)], **RUN)
    assert q.acknowledge_anomaly_prediction(o, first)["status"] == "acknowledged"
    with pytest.raises(WrongStateError, match="is acknowledged: only an active one") as wrong:
        q.acknowledge_anomaly_prediction(o, first)
    assert wrong.value.status == "acknowledged"
    assert [row["anomaly_id"] for row in q.get_active_anomaly_predictions(o)] == [second]

    closed = q.close_anomaly_prediction(
        o, first, outcome="confirmed", occurred_at=NOON + DAY, closed_at=NOON + 2 * DAY
    )
    assert (closed["status"], closed["outcome"]) == ("closed", "confirmed")
    assert (closed["occurred_at"], closed["closed_at"]) == (NOON + DAY, NOON + 2 * DAY)
    assert q.close_anomaly_prediction(o, second, outcome="false_alarm")["occurred_at"] is None
    for call in (
        lambda: q.close_anomaly_prediction(o, first, outcome="unknown"),
        lambda: q.acknowledge_anomaly_prediction(o, second),
    ):
        with pytest.raises(WrongStateError, match="is closed"):
            call()
    for call in (
        lambda: q.close_anomaly_prediction(o, uuid.uuid4(), outcome="unknown"),
        lambda: q.acknowledge_anomaly_prediction(o, uuid.uuid4()),
    ):
        with pytest.raises(NotFoundError, match="anomaly prediction"):
            call()
    (score,) = q.get_anomaly_prediction_scores(o, start=NOON, end=NOON + 3 * DAY)
    assert (score["confirmed_count"], score["false_alarm_count"], score["precision_pct"]) == (1, 1, 50)


def test_an_absence_run_is_saved_once(site: Site) -> None:
    q, o, day = site.queries, site.organization, NOON.date() + DAY
    run: list[Any] = [
        {"target_date": day, "employee_id": site.employee, "absence_probability": 0.25},
        {"target_date": day, "location_id": site.location, "expected_absences": 1.5},
    ]
    assert q.save_absence_forecasts(o, run, **RUN) == 2
    assert q.save_absence_forecasts(o, run, **RUN) == 0
    refused(
        site,
        DifferentValuesError,
        lambda: q.save_absence_forecasts(o, [{**run[1], "expected_absences": 2}], **RUN),
        "location_id",
    )
    rows = q.get_current_absence_forecasts(o, first_date=day)
    assert [row["expected_absences"] for row in rows] == [Decimal("1.5"), None]
    for mixed in (
        {"target_date": day},
        {"target_date": day, "employee_id": site.employee, "expected_absences": 1},
        {**run[0], **run[1]},
        {**run[0], "location_id": site.location},
    ):
        with pytest.raises(InvalidInputError, match="give employee_id and absence_probability"):
            q.save_absence_forecasts(o, [mixed], **RUN)


def test_factors_are_recorded_once_and_corrected_by_a_later_reading(site: Site) -> None:
    q, o = site.queries, site.organization
    reading: Any = {
        "time": NOON,
        "factor_type": "weather",
        "name": "temperature",
        "value": 20.5,
        "unit": "celsius",
        "available_at": NOON - DAY,
    }
    here = {**reading, "location_id": site.location, "value": 19}
    assert q.record_external_factors(o, [reading, here]) == 2
    assert q.record_external_factors(o, [reading, here]) == 0
    refused(
        site,
        DifferentValuesError,
        lambda: q.record_external_factors(o, [{**reading, "value": 21}]),
        "temperature",
    )
    refused(site, DifferentValuesError, lambda: q.record_external_factors(o, [{**here, "unit": "kelvin"}]))
    later = {**reading, "value": 21, "available_at": NOON}
    assert q.record_external_factors(o, [later]) == 1

    def values(**arguments: Any) -> list[Decimal]:
        return [row["value"] for row in q.get_external_factors(o, start=NOON, end=NOON + HOUR, **arguments)]

    assert values() == [19, 21]
    assert values(as_of=NOON - HOUR) == [19, Decimal("20.5")]
    assert values(as_of=NOON - 2 * DAY) == []
