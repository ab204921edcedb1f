"""Unusual readings on generated series: what is found, at which reading, and how rarely noise is."""

from __future__ import annotations

import numpy as np
import pytest

from barnameh.forecasting.anomalies import UNUSUAL_AT
from barnameh.forecasting.unusual import surprise

PER_DAY = 288
DAYS = 10
COUNT = DAYS * PER_DAY
TIME = np.arange(COUNT)
DAILY = 60 + 10 * np.sin(2 * np.pi * TIME / PER_DAY)


def noise(seed: int = 0, count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


def alarms(values: np.ndarray) -> list[int]:
    """Positions of alarms, at most one a day."""
    found: list[int] = []
    for position in np.flatnonzero(surprise(values, PER_DAY) >= UNUSUAL_AT).tolist():
        if not found or position - found[-1] >= PER_DAY:
            found.append(position)
    return found


def test_a_level_shift_is_found_within_the_hour_and_told_once() -> None:
    values = DAILY + noise()
    values[8 * PER_DAY :] += 25
    (position,) = alarms(values)
    assert 8 * PER_DAY <= position < 8 * PER_DAY + 12


def test_a_spike_is_found_where_it_is() -> None:
    values = DAILY + noise()
    values[7 * PER_DAY + 100] += 60
    (position,) = alarms(values)
    assert position == 7 * PER_DAY + 100


def test_a_value_usual_at_noon_is_unusual_at_midnight() -> None:
    # At midnight it is 60 and at six in the morning 70: the level alone is nothing new.
    values = DAILY + 0.3 * noise()
    at = 8 * PER_DAY + 3 * PER_DAY // 4
    values[at : at + 24] = 66 + 0.3 * noise(1, 24)
    (position,) = alarms(values)
    assert at <= position < at + 12


def test_a_slow_drift_is_not_found() -> None:
    # The failure rule with a limit is for it.
    assert alarms(60 + 0.002 * TIME + noise()) == []


@pytest.mark.parametrize("kind", ["white", "daily", "shifts"])
def test_noise_alarms_no_more_often_than_documented(kind: str) -> None:
    total, weeks = 0, 0.0
    for seed in range(12):
        values = 60 + noise(seed)
        if kind == "daily":
            values += DAILY
        if kind == "shifts":
            values[(TIME % PER_DAY < 72) | (TIME // PER_DAY % 7 >= 5)] = np.nan
        total += len(alarms(values))
        weeks += (DAYS - 1) / 7
    assert total / weeks < 0.45


def test_later_readings_change_nothing_and_gaps_are_silent() -> None:
    values = DAILY + noise()
    values[3 * PER_DAY : 4 * PER_DAY] = np.nan
    values[::7] = np.nan
    values[9 * PER_DAY :] *= 3
    whole = surprise(values, PER_DAY)
    assert np.isfinite(whole).all()
    assert (whole[~np.isfinite(values)] == 0).all()
    for count in (1, PER_DAY, 5 * PER_DAY + 17, 9 * PER_DAY):
        assert np.array_equal(surprise(values[:count], PER_DAY), whole[:count])


@pytest.mark.parametrize(
    "values", [np.full(COUNT, np.nan), np.full(COUNT, 5.0), np.array([1.0]), np.array([])]
)
def test_nothing_is_said_of_nothing(values: np.ndarray) -> None:
    assert surprise(values, PER_DAY).tolist() == [0.0] * len(values)


def test_a_constant_reading_that_changes_is_found() -> None:
    values = np.full(COUNT, 5e9)
    values[6 * PER_DAY :] *= 1.05
    assert alarms(values)[0] in range(6 * PER_DAY, 6 * PER_DAY + 3)
