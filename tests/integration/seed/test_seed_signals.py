"""What a data scientist finds in the sample data: seasons, external effects, realistic forecasts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from math import cos, pi
from statistics import mean
from typing import Any

import pytest

from tests.support.seed_story import LOGISTICS, MANUFACTURING, Story, local_day, midnight


def residuals(story: Story, product_id: str) -> list[tuple[dict[str, Any], float]]:
    """Each day's demand relative to the mean of its weekday, with the factors of the day."""
    rows = story.rows(
        """
        SELECT
            d.time,
            d.quantity,
            d.revenue,
            max(f.value) FILTER (WHERE f.name = 'public_holiday') AS holiday,
            max(f.value) FILTER (WHERE f.name = 'promotion') AS promotion,
            max(f.value) FILTER (WHERE f.metadata ->> 'kind' = 'reading') AS celsius
        FROM demand_history AS d
        JOIN external_factors AS f
            ON f.organization_id = d.organization_id
            AND f.time = d.time
            AND (f.location_id = d.location_id OR f.location_id IS NULL)
        WHERE d.product_id = %s
        GROUP BY d.time, d.quantity, d.revenue
        ORDER BY d.time
        """,
        product_id,
    )
    by_weekday = defaultdict(list)
    for row in rows:
        if not row["holiday"]:
            by_weekday[local_day(row["time"]).weekday()].append(float(row["quantity"]))
    return [
        (row, float(row["quantity"]) / mean(by_weekday[local_day(row["time"]).weekday()])) for row in rows
    ]


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    mx, my = mean(xs), mean(ys)
    shared = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True))
    return shared / (sum((x - mx) ** 2 for x in xs) * sum((y - my) ** 2 for y in ys)) ** 0.5


def test_demand_follows_calendar_and_weather(story: Story) -> None:
    for product_id in ("PRODUCT-A", "PRODUCT-B", "PRODUCT-C", "PARCEL-STD", "PARCEL-EXP"):
        days = residuals(story, product_id)
        usual = [(row, level) for row, level in days if not row["holiday"]]
        sundays, fridays = (
            [float(r["quantity"]) for r, _ in usual if local_day(r["time"]).weekday() == d] for d in (6, 4)
        )
        assert mean(sundays) < 0.85 * mean(fridays)
        assert all(level < 0.9 for row, level in days if row["holiday"])
        assert all(row["revenue"] > 0 for row, _ in days)
    promoted = residuals(story, "PRODUCT-A")
    assert mean(level for row, level in promoted if row["promotion"] and not row["holiday"]) > 1.1 * mean(
        level for row, level in promoted if not row["promotion"] and not row["holiday"]
    )
    # Differences of neighbouring days eliminate trend and season.
    parcels = [
        (float(row["celsius"]), level) for row, level in residuals(story, "PRODUCT-B") if not row["holiday"]
    ]
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(parcels)]
    assert correlation(*zip(*steps, strict=True)) > 0.2


# Level at the anchor, swing over the year and its peak (day of the year), growth per day.
LEVELS = {"PRODUCT-B": (1410, 0.18, 200, 0.0024), "PARCEL-STD": (38500, 0.16, 345, 0.0012)}


@pytest.mark.parametrize("product_id", LEVELS)
def test_demand_follows_trend_and_time_of_year(story: Story, product_id: str) -> None:
    level, swing, peak, growth = LEVELS[product_id]
    without_season = {
        local_day(row["time"]): float(row["quantity"])
        / (level * (1 + swing * cos(2 * pi * (local_day(row["time"]).timetuple().tm_yday - peak) / 365.25)))
        for row, _ in residuals(story, product_id)
        if not row["holiday"]
    }
    recent = mean(without_season[day] for day in story.days(-28, -1) if day in without_season)
    early = mean(without_season[day] for day in story.days(-90, -63) if day in without_season)
    assert recent == pytest.approx(1 - 14.5 * growth, rel=0.08)
    assert recent - early == pytest.approx(62 * growth, abs=0.07)


def test_forecasts_err_more_the_further_they_look(story: Story) -> None:
    for organization_id in (MANUFACTURING, LOGISTICS):
        accuracy = story.rows(
            "SELECT model_version, lead_time_days, wape_pct, interval_coverage_pct "
            "FROM demand_forecast_accuracy(%s, %s, %s)",
            organization_id,
            midnight(story.today - timedelta(days=30)),
            story.anchor,
        )
        wape = {
            (version, near): mean(
                float(a["wape_pct"])
                for a in accuracy
                if a["model_version"] == version and (a["lead_time_days"] <= 5) == near
            )
            for version in ("1.0", "2.0")
            for near in (True, False)
        }
        assert all(3 < value < 20 for value in wape.values())
        assert wape["1.0", True] < wape["1.0", False]
        assert wape["2.0", True] < wape["2.0", False]
        assert wape["2.0", True] + wape["2.0", False] < wape["1.0", True] + wape["1.0", False]
        assert 82 < mean(float(a["interval_coverage_pct"]) for a in accuracy) < 97


def test_weather_was_forecast_before_it_was_measured(story: Story) -> None:
    pairs = story.rows(
        "SELECT f.value - r.value AS error, f.available_at AS said, r.available_at AS measured, r.time "
        "FROM external_factors AS f "
        "JOIN external_factors AS r USING (organization_id, location_id, name, time) "
        "WHERE name = 'temperature' "
        "AND f.metadata ->> 'kind' = 'forecast' AND r.metadata ->> 'kind' = 'reading'"
    )
    assert len(pairs) == 3 * 90
    assert all(p["said"] < p["time"] < p["measured"] for p in pairs)
    assert 0.3 < mean(abs(float(p["error"])) for p in pairs) < 3
