"""Unusual readings: how far a reading is from what the days before it would have led one to expect.

Two distances are added, each in standard deviations of its own past. The level: the mean of the last hour, against
such means of the last two weeks. The error: what neither the hour before nor any of the last seven days at about
this time explains, so that a machine's daily rhythm is no error. A reading that is somewhat unusual in both ways
therefore counts as much as one that is very unusual in one.
"""

from __future__ import annotations

import datetime as dt

import numpy as np

from barnameh.forecasting.frames import Floats

STEP = dt.timedelta(minutes=5)
WINDOW_POINTS = 14 * 288
"""Two weeks of five-minute readings; of readings that come more rarely, as many as there are."""
RECENT_POINTS = 12
LEAST_POINTS = 288
"""Readings before the first one that is judged: a day of five-minute readings."""
DAYS_BACK = 7
NEAR = dt.timedelta(minutes=30)
"""Readings of earlier days within this time of the same time of day are what is usual at it."""
LEAST_SHARE = 1e-3
"""A standard deviation is at least this share of the mean: the first change of a constant reading has none."""


def surprise(values: Floats, per_day: int) -> Floats:
    """Return by how many standard deviations each reading differs from what came before it.

    `values` are readings at equal steps, `per_day` of them a day, oldest first; NaN if there is none. A
    reading is judged by earlier ones only: later ones never change the result. It is 0 for missing readings, in
    the first day, and until half an hour after a gap.
    """
    if not np.isfinite(values).any():
        return np.zeros(len(values))
    before = np.concatenate([[np.nan], _recent(values, 1)[:-1]])
    error = np.abs(values - before)
    near = max(1, round(per_day * (NEAR / dt.timedelta(days=1))))
    for day in range(1, DAYS_BACK + 1):
        for lag in range(max(day * per_day - near, 1), min(day * per_day + near + 1, len(values))):
            error[lag:] = np.fmin(error[lag:], np.abs(values[lag:] - values[:-lag]))
    # The first day has none before it: its errors would be the measure of all others.
    error[:per_day] = np.nan
    # The root, because errors have a long tail: without it noise alone would be surprising every few days.
    return np.where(np.isfinite(values), _distance(values) + _distance(np.sqrt(error)), 0.0)


def _sums(values: Floats) -> tuple[Floats, Floats]:
    known = np.isfinite(values)
    zero = np.zeros(1)
    return (
        np.concatenate([zero, np.cumsum(np.where(known, values, 0.0))]),
        np.concatenate([zero, np.cumsum(known)]),
    )


def _recent(values: Floats, least: int) -> Floats:
    """The mean of the known values among the recent points; NaN if there are fewer than `least`."""
    total, count = _sums(values)
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - RECENT_POINTS, 0)
    known = count[end] - count[start]
    mean: Floats = np.divide(
        total[end] - total[start], known, out=np.full(len(values), np.nan), where=known >= least
    )
    return mean


def _distance(values: Floats) -> Floats:
    """How many standard deviations the recent mean is from the recent means of the window before it."""
    recent = _recent(values, RECENT_POINTS // 2)
    known = recent[np.isfinite(recent)]
    if not len(known):
        return np.zeros(len(values))
    # Relative to one of them, because the squares of large numbers would drown their differences.
    recent = recent - known[0]
    total, count = _sums(recent)
    squares, _ = _sums(recent**2)
    end = np.maximum(np.arange(len(values)) - RECENT_POINTS, 0)
    start = np.maximum(end - WINDOW_POINTS, 0)
    number = count[end] - count[start]
    mean = (total[end] - total[start]) / np.maximum(number, 1)
    spread = np.sqrt(np.maximum((squares[end] - squares[start]) / np.maximum(number, 1) - mean**2, 0))
    spread = np.maximum(spread, LEAST_SHARE * np.abs(mean + known[0]) + 1e-9)
    judged = np.isfinite(recent) & (number >= LEAST_POINTS)
    return np.where(judged, np.abs(np.nan_to_num(recent) - mean) / spread, 0.0)
