"""The combination, on arrays alone."""

from __future__ import annotations

import datetime as dt
import uuid

import numpy as np

from barnameh.forecasting.backtest import Trial, combine

PLACE = uuid.UUID(int=1)


def trial_of(said: dict[str, np.ndarray], actual: np.ndarray) -> Trial:
    """A trial whose targets are all over at the origin after their own."""
    origins = tuple(
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + n * dt.timedelta(days=1) for n in range(len(actual))
    )
    over_by = np.broadcast_to(np.arange(1, len(actual) + 1)[:, None, None], actual.shape)
    series = tuple((f"P{n}", PLACE) for n in range(actual.shape[1]))
    enough = np.ones(len(series), dtype=bool)
    return Trial(origins, series, said, actual, over_by, np.ones(len(series)), enough)


def test_a_member_that_has_just_begun_to_forecast_gets_no_weight() -> None:
    shape = (6, 2, 3)
    actual = np.full(shape, 10.0)
    new = np.full(shape, np.nan)
    new[-1] = 1_000
    said = {
        "seasonal-naive": np.full(shape, 12.0),
        "seasonal-median": np.full(shape, 11.0),
        "boosted-trees": new,
    }
    combined, weights = combine(trial_of(said, actual), list(said))
    assert combined.min() >= 11
    assert combined.max() <= 12
    assert all("boosted-trees" not in one for one in weights)
