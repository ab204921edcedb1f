"""Nothing unknown at the origin changes the frame; each factor appears at its actual lead."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from barnameh.forecasting import DemandFrame
from db_utils.queries.loader import query
from tests.integration.forecasting.conftest import LAST, ORIGIN, Shop, days, make_shop, midnight, quantity_of

DAY = dt.timedelta(days=1)


def bits(frame: DemandFrame) -> list[Any]:
    """Everything that a model may look at, exactly."""
    return [
        (
            panel.starts, panel.products, panel.over_count, panel.first_target, panel.demand.tobytes(),
            {name: values.tobytes() for name, values in panel.factors.items()},
        )
        for panel in frame.panels
    ]  # fmt: skip


def said(shop: Shop) -> list[Any]:
    return [one.forecasts for one in shop.forecast(dry_run=True).series]


def test_what_was_not_known_then_changes_no_bit(shop: Shop) -> None:
    frame, forecasts = bits(shop.frame()), said(shop)
    # Corrected, deleted, late and later demand; a factor's revision, a later reading, one of another day.
    shop.record("A", {LAST: 9_999, LAST - 30 * DAY: 0})
    shop.db.execute(
        "DELETE FROM demand_history WHERE product_id = 'B' AND time = %s", (midnight(LAST - 5 * DAY),)
    )
    shop.record("B", {LAST - 4 * DAY: 7_777})
    shop.record("NEW", {LAST - number * DAY: 5 for number in range(3)})
    shop.db.execute("UPDATE demand_history SET recorded_at = %s WHERE product_id = 'NEW'", (ORIGIN + DAY,))
    shop.record("A", {LAST + DAY: 1_000})
    shop.factor("promotion", {LAST + 2 * DAY: 5}, dt.timedelta(0))
    shop.factor("temperature", {LAST + 2 * DAY: 99}, dt.timedelta(0))
    after = shop.frame()
    new = [number for number, (product, _) in enumerate(after.series) if product == "NEW"]
    assert not new or not np.isfinite(after.panels[0].demand[new]).any() or _only_loaded(shop)
    shop.db.execute("DELETE FROM demand_history WHERE product_id = 'NEW'")
    shop.db.execute("DELETE FROM demand_revisions WHERE product_id = 'NEW'")
    assert bits(shop.frame()) == frame
    assert said(shop) == forecasts


def _only_loaded(shop: Shop) -> bool:
    """A series whose first rows came later is loaded history: known when it happened, as in docs/forecasting.md."""
    rows = shop.queries.get_demand_history(shop.organization_id, "NEW", start=ORIGIN - 30 * DAY, end=ORIGIN)
    return all(row["recorded_at"] > ORIGIN for row in rows)


def test_a_correction_counts_from_when_it_was_made(shop: Shop) -> None:
    shop.record("A", {LAST: 9_999})
    (revision,) = shop.queries.get_demand_revisions(shop.organization_id, start=ORIGIN - 99 * DAY, end=ORIGIN)
    assert (revision["quantity"], revision["recorded_at"]) == (quantity_of("A", LAST), ORIGIN - 60 * DAY)
    then = shop.frame().panels[0]
    now = shop.frame(revision["replaced_at"]).panels[0]
    assert then.demand[0, then.over_count - 1] == quantity_of("A", LAST)
    assert now.demand[0, now.starts.index(midnight(LAST))] == 9_999


def test_a_late_row_counts_from_when_it_came(shop: Shop) -> None:
    gap = LAST + DAY
    shop.record("A", {gap: 77})
    came = ORIGIN + 3 * DAY
    shop.db.execute("UPDATE demand_history SET recorded_at = %s WHERE time = %s", (came, midnight(gap)))
    before, after = (shop.frame(at).panels[0] for at in (came - DAY / 24, came))
    assert np.isnan(before.demand[0, before.starts.index(midnight(gap))])
    assert after.demand[0, after.starts.index(midnight(gap))] == 77


def test_each_factor_stands_at_the_lead_that_it_has(shop: Shop) -> None:
    panel = shop.frame().panels[0]
    usable = panel.usable()
    assert usable["promotion"].all()
    # In history it is known on the day itself; no future day's value is.
    assert not usable["temperature"].any()
    # Computed one by one: what was known that long before each day, from the frame of one product and one lead.
    for step in (1, 2, 9):
        rows = shop.queries.get_demand_training_frame(
            shop.organization_id, "A", lead=midnight(LAST + step * DAY) - ORIGIN, start=panel.starts[0], end=ORIGIN,
            factor_names=["promotion", "temperature"],
        )  # fmt: skip
        for name in ("promotion", "temperature"):
            expected = [np.nan if row["factors"][name] is None else row["factors"][name] for row in rows]
            np.testing.assert_array_equal(panel.factors[name][: panel.over_count, step - 1], expected)


def test_a_forecast_of_weather_is_used_as_far_as_it_reaches(shop: Shop) -> None:
    # Announced three days before: known for the third day, not for the fourth; the same in history.
    ahead = days(123, LAST + 3 * DAY)
    shop.factor("forecast", {day: day.day / 3 for day in ahead}, 3 * DAY)
    assert shop.frame(horizon=5).panels[0].usable()["forecast"].tolist() == [True, True, True, False, False]


@pytest.mark.thorough
def test_another_organizations_rows_change_nothing(shop: Shop) -> None:
    frame, forecasts = bits(shop.frame()), said(shop)
    other = make_shop(shop.db, "Other")
    other.record("A", dict.fromkeys(days(), 1))
    other.factor("promotion", dict.fromkeys(days(), 1.0), 300 * DAY)
    assert bits(shop.frame()) == frame
    assert said(shop) == forecasts


def test_days_of_23_and_25_hours_are_days(bare: Shop) -> None:
    october = dt.date(2026, 10, 31)
    bare.record("A", {day: quantity_of("A", day) for day in days(60, october)})
    panel = bare.frame(midnight(october + DAY)).panels[0]
    lengths = {
        (end - start).total_seconds() / 3600 for start, end in zip(panel.starts, panel.ends, strict=True)
    }
    assert lengths == {24.0, 25.0}
    assert panel.demand[0].tolist() == [quantity_of("A", day) for day in days(60, october)]
    assert [t.hour for t in panel.local()] == [0] * len(panel.starts)


def test_hours_look_back_by_the_clock_on_the_wall(bare: Shop) -> None:
    start = dt.datetime(2026, 10, 12, tzinfo=dt.UTC)
    bare.queries.record_demand(
        bare.organization_id,
        [
            {
                "time": start + dt.timedelta(hours=h),
                "product_id": "A",
                "location_id": bare.location_id,
                "quantity": h,
            }
            for h in range(24 * 14)
        ],
    )
    panel = bare.frame(start + 14 * DAY, bucket="hour", horizon=24).panels[0]
    local = panel.local()
    positions = np.arange(panel.first_target, panel.first_target + 24)
    back = panel.seasons_back(positions, np.full(24, panel.over_count))[:, 0]
    assert [local[b] + dt.timedelta(weeks=1) for b in back] == [local[p] for p in positions]


def test_a_frame_costs_what_its_buckets_cost_whatever_the_planner_knows(bare: Shop) -> None:
    """Right after a load there are no statistics, and a planner that expects one row uses nested loops."""
    start, horizon, count = dt.datetime(2026, 10, 12, tzinfo=dt.UTC), 24, 24 * 10
    hours = [start + dt.timedelta(hours=h) for h in range(count)]
    bare.queries.record_demand(
        bare.organization_id,
        [{"time": t, "location_id": bare.location_id, "product_id": "A", "quantity": 1} for t in hours],
    )
    bare.queries.record_external_factors(
        bare.organization_id,
        [
            {
                "time": t, "location_id": bare.location_id, "factor_type": "weather", "name": "temperature", "unit": "C", "value": t.hour,
                "available_at": t,
            }
            for t in hours
        ],
    )  # fmt: skip
    until = hours[-1] + dt.timedelta(hours=1)
    parameters = {
        "organization_id": bare.organization_id, "as_of": until, "bucket": "hour", "horizon": horizon, "location_id": None,
        "products": None, "factor_names": None, "carry": dt.timedelta(hours=25), "delay": dt.timedelta(0),
        "period_start": start, "period_end": until + dt.timedelta(days=2),
    }  # fmt: skip
    with bare.db.transaction() as tx:
        tx.execute("SET LOCAL enable_hashjoin = off")
        tx.execute("SET LOCAL enable_mergejoin = off")
        explain = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "
        plan = tx.execute_query(explain + query("get_demand_frame_as_of").sql, parameters)[0]["QUERY PLAN"]

    def removed(node: dict[str, Any]) -> float:
        mine = node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"]
        return float(mine + sum(map(removed, node.get("Plans", ()))))

    # Each bucket's steps are compared with the readings of that bucket only.
    assert removed(plan[0]["Plan"]) <= (count + horizon) * horizon * (horizon + 3)
