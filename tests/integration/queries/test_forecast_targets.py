"""A forecast's target is an interval, and a figure over products needs one unit."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.errors import CheckViolationError
from tests.support.write_site import DAY, HOUR, Site, refused

MONDAY = dt.datetime(2024, 6, 3, tzinfo=dt.UTC)
WEEK = 7 * DAY


def target(site: Site, day: float, quantity: int, **changes: Any) -> Any:
    return {
        "product_id": "A",
        "location_id": site.location,
        "target_time": MONDAY - 2 * HOUR + day * DAY,  # local midnight in Paris
        "predicted_quantity": quantity,
        **changes,
    }


def sold(site: Site, quantities: dict[int, int], product: str = "A") -> None:
    site.queries.record_demand(
        site.organization,
        [
            {
                "time": MONDAY + day * DAY + 9 * HOUR,
                "product_id": product,
                "location_id": site.location,
                "quantity": quantity,
            }
            for day, quantity in quantities.items()
        ],
    )


def saved(site: Site, rows: list[Any], ahead: dt.timedelta, name: str = "m") -> None:
    site.queries.save_demand_forecasts(
        site.organization, rows, model_name=name, model_version="1", available_at=MONDAY - ahead
    )


PERIOD: Any = {"start": MONDAY - 2 * HOUR, "end": MONDAY + WEEK - 2 * HOUR}


def wape(site: Site) -> Any:
    rows = site.queries.get_kpi_summary(site.organization, **PERIOD)
    return next(row for row in rows if row["kpi"] == "forecast_wape")


def test_days_and_weeks_are_judged_apart_and_no_sale_twice(site: Site) -> None:
    q, o = site.queries, site.organization
    saved(site, [target(site, day, 10) for day in range(7)], DAY)
    saved(site, [target(site, day, 11) for day in range(7)], DAY - HOUR)  # a newer run of the same day
    saved(site, [target(site, 0, 70, target_interval=WEEK)], DAY)
    sold(site, {day: 10 + 10 * (day == 0) for day in range(7)})
    rows = q.get_demand_forecast_accuracy(o, **PERIOD)
    assert [
        (row["target_interval"], row["lead_time_days"], row["target_count"], row["actual_quantity"])
        for row in rows
    ] == [
        *[(DAY, lead, 1, 10 + 10 * (lead == 1)) for lead in range(1, 8)],
        (WEEK, 1, 1, 80),
    ]
    assert [row["wape_pct"] for row in rows] == [45, *[10] * 6, Decimal("12.5")]
    kpi = wape(site)
    assert (kpi["denominator"], kpi["numerator"], kpi["coverage_pct"]) == (80, 9 + 6, 100)


def test_of_weeks_that_overlap_those_count_that_follow_each_other(site: Site) -> None:
    q, o = site.queries, site.organization
    for day in range(7):
        q.save_demand_forecasts(
            o,
            [target(site, day, 20, target_interval=2 * DAY)],
            model_name="rolling",
            model_version="1",
            available_at=MONDAY + (day - 1) * DAY,
        )
    sold(site, dict.fromkeys(range(9), 10))
    (row,) = q.get_demand_forecast_accuracy(o, **PERIOD)
    assert (row["target_count"], row["actual_quantity"]) == (3, 60), (
        "Monday, Wednesday and Friday; Sunday's is not over"
    )
    assert wape(site)["denominator"] == 60


def test_months_of_several_lengths_all_count_and_days_go_before_theirs(site: Site) -> None:
    month = [31, 28, 31]
    starts = [-31, 0, 28]
    rows = [
        target(site, first, length + 3, target_interval=length * DAY)
        for first, length in zip(starts, month, strict=True)
    ]
    saved(site, rows, 40 * DAY)
    sold(site, dict.fromkeys(range(-31, 59), 1))
    period: Any = {"start": MONDAY - 40 * DAY, "end": MONDAY + 70 * DAY}

    def figures() -> Any:
        kpi = next(
            row
            for row in site.queries.get_kpi_summary(site.organization, **period)
            if row["kpi"] == "forecast_wape"
        )
        return kpi["numerator"], kpi["denominator"]

    assert figures() == (9, 90)
    saved(site, [target(site, 3, 1)], 2 * DAY, "days")
    assert figures() == (6, 63), "the month is given by the day of the forecast"


def test_targets_without_a_row_are_told_or_filled(site: Site) -> None:
    q, o = site.queries, site.organization
    saved(site, [target(site, day, 10) for day in range(7)], DAY)
    sold(site, {0: 10})
    rows = q.get_demand_forecast_accuracy(o, **PERIOD)
    assert [(row["target_count"], row["no_outcome_count"]) for row in rows] == [(1, 0), *[(0, 1)] * 6]
    assert {row["reason"] for row in rows[1:]} == {"no demand recorded for these targets"}
    assert {row["wape_pct"] for row in rows[1:]} == {None}
    filled = q.get_demand_forecast_accuracy(o, fill_quantity=0, **PERIOD)
    assert [(row["target_count"], row["no_outcome_count"], row["bias"]) for row in filled] == [
        (1, 0, 0),
        *[(1, 0, 10)] * 6,
    ]
    assert {row["reason"] for row in filled[1:]} == {"nothing was demanded"}
    outcomes = q.get_demand_forecast_outcomes(o, fill_quantity=0, **PERIOD)
    assert [row["actual_quantity"] for row in outcomes] == [10, *[0] * 6]


def test_what_is_not_over_has_no_outcome(site: Site) -> None:
    q, o = site.queries, site.organization
    now = site.db.execute_query("SELECT now() AS now")[0]["now"]
    began = now - HOUR
    hour_ago: Any = {
        "product_id": "A",
        "location_id": site.location,
        "target_time": began,
        "predicted_quantity": 5,
    }
    run: Any = {"model_name": "m", "model_version": "1", "available_at": began - DAY}
    q.save_demand_forecasts(o, [hour_ago, {**hour_ago, "target_interval": HOUR / 2}], **run)
    q.record_demand(o, [{"time": began, "product_id": "A", "location_id": site.location, "quantity": 3}])
    found = q.get_demand_forecast_outcomes(o, start=began - HOUR, end=now + 3 * DAY, fill_quantity=0)
    assert [(row["is_over"], row["actual_quantity"]) for row in found] == [(True, 3), (False, None)]


def test_the_target_under_way_is_current(site: Site) -> None:
    q, o = site.queries, site.organization
    now = site.db.execute_query("SELECT now() AS now")[0]["now"]
    lengths = {"day": DAY, "week": WEEK, "hour": HOUR, "over": DAY}
    ago = {"day": 20 * HOUR, "week": 6 * DAY, "hour": HOUR / 2, "over": 30 * HOUR}
    rows: list[Any] = [
        {
            "product_id": name,
            "location_id": site.location,
            "target_time": now - ago[name],
            "target_interval": lengths[name],
            "predicted_quantity": 1,
        }
        for name in lengths
    ]
    q.save_demand_forecasts(o, rows, model_name="m", model_version="1", available_at=now - 8 * DAY)
    current = q.get_current_demand_forecasts(o)
    assert [row["product_id"] for row in current] == ["day", "hour", "week"]
    cached = q.get_cached_demand_forecast(o, "week", location_id=site.location)
    assert cached is not None
    assert [row["target_interval"] for row in cached.value] == [WEEK]
    over = q.get_cached_demand_forecast(o, "over", location_id=site.location)
    assert over is not None
    assert over.value == []


def test_products_that_count_differently_are_not_added_up(site: Site) -> None:
    q, o = site.queries, site.organization
    for product in "AB":
        saved(site, [target(site, 0, 10, product_id=product)], DAY)
        sold(site, {0: 9}, product)
    (row,) = q.get_demand_forecast_accuracy(o, **PERIOD)
    assert (row["actual_quantity"], row["reason"]) == (18, None), "not known to differ"
    assert q.upsert_product(o, "A", unit="pieces")["unit"] == "pieces"
    assert q.upsert_product(o, "A", name="Apples") | {"created_at": 0, "updated_at": 0} == {
        "product_id": "A",
        "name": "Apples",
        "unit": "pieces",
        "created_at": 0,
        "updated_at": 0,
    }
    q.upsert_product(o, "B", unit="kg")
    (row,) = q.get_demand_forecast_accuracy(o, **PERIOD)
    assert row["reason"] == "products are counted in different units: kg, pieces"
    assert {row[name] for name in ("actual_quantity", "wape_pct", "mae", "bias")} == {None}
    kpi = wape(site)
    assert (kpi["value"], kpi["denominator"]) == (None, None)
    assert kpi["reason"] == "products are counted in different units: kg, pieces"
    products = q.get_products(o, **PERIOD)
    assert [(p["product_id"], p["name"], p["unit"], p["quantity"]) for p in products] == [
        ("A", "Apples", "pieces", 9),
        ("B", None, "kg", 9),
    ]
    for product in "AB":
        plan = q.create_production_plan(
            o, product, location_id=site.location, plan_date=MONDAY.date(), planned_quantity=10
        )
        q.complete_production_plan(o, plan["plan_id"], actual_quantity=5)
    (made,) = q.get_production_efficiency(o, first_date=MONDAY.date(), end_date=MONDAY.date() + DAY)
    assert (made["efficiency_pct"], made["planned_quantity"], made["plan_count"]) == (None, None, 2)
    assert made["reason"] == "products are counted in different units: kg, pieces"


def test_a_series_of_a_factor_has_one_unit(site: Site) -> None:
    q, o = site.queries, site.organization

    def reading(hour: int, value: float, unit: str, **changes: Any) -> Any:
        return {
            "time": MONDAY + hour * HOUR,
            "factor_type": "weather",
            "name": "temperature",
            "value": value,
            "unit": unit,
            "available_at": MONDAY - 2 * DAY,
            **changes,
        }

    refused(
        site,
        CheckViolationError,
        lambda: q.record_external_factors(o, [reading(6, 20, "celsius"), reading(12, 68, "fahrenheit")]),
        "two units, celsius and fahrenheit: convert the values",
    )
    assert site.count("external_factors") == 0
    assert q.record_external_factors(o, [reading(6, 20, "celsius")]) == 1
    refused(
        site,
        CheckViolationError,
        lambda: q.record_external_factors(o, [reading(12, 68, "fahrenheit")]),
        "two units",
    )
    here = reading(12, 68, "fahrenheit", location_id=site.location)
    assert q.record_external_factors(o, [here]) == 1, "another series"


def test_units_that_are_mixed_already_are_left_out_with_a_reason(db: DatabaseManager) -> None:
    q = OperationalDataQueries(db)
    o = q.create_organization("Mixed", industry="x")["organization_id"]
    place = q.create_location(o, "Hill", location_type="region", timezone="UTC")["location_id"]
    q.record_demand(
        o,
        [
            {"time": MONDAY + day * DAY, "product_id": "A", "location_id": place, "quantity": 1}
            for day in range(2)
        ],
    )
    known: Any = {"factor_type": "weather", "available_at": MONDAY - 2 * DAY}
    q.record_external_factors(
        o,
        [
            {**known, "time": MONDAY, "name": "temperature", "value": 20, "unit": "celsius"},
            {**known, "time": MONDAY, "name": "rain", "value": 2, "unit": "mm"},
            {
                **known,
                "time": MONDAY + DAY,
                "name": "temperature",
                "value": 68,
                "unit": "fahrenheit",
                "location_id": place,
            },
        ],
    )
    frame = q.get_demand_training_frame(o, "A", start=MONDAY, end=MONDAY + 2 * DAY)
    assert [row["factors"] for row in frame] == [
        {"rain": 2.0, "temperature": None},
        {"rain": None, "temperature": None},
    ]
    assert [row["left_out"] for row in frame] == [{"temperature": "readings in celsius and fahrenheit"}] * 2


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_today_of_a_cached_absence_forecast_is_the_places(db: DatabaseManager, zone: str) -> None:
    q = OperationalDataQueries(db)
    o = q.create_organization("Far", industry="x")["organization_id"]
    place = q.create_location(o, "Isle", location_type="store", timezone=zone)["location_id"]
    now = db.execute_query("SELECT now() AS now, (now() AT TIME ZONE %s)::date AS today", (zone,))[0]
    rows: list[Any] = [
        {"location_id": place, "target_date": now["today"] + days * DAY, "expected_absences": 1}
        for days in (-1, 0, 13, 14)
    ]
    q.save_absence_forecasts(o, rows, model_name="m", model_version="1", available_at=now["now"] - 5 * DAY)
    cached = q.get_cached_absence_forecast(o, location_id=place)
    assert cached is not None
    assert [row["target_date"] for row in cached.value] == [now["today"], now["today"] + 13 * DAY]
