"""The combination, on arrays alone."""

from __future__ import annotations

import datetime as dt
import uuid

import numpy as np
import pytest

from barnameh.forecasting.backtest import Trial, combine, disagreement, with_bounds

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


def noisy(shape: tuple[int, ...]) -> np.ndarray:
    return 100 + np.random.default_rng(0).normal(size=shape)


def test_targets_on_which_members_differ_have_wider_bounds() -> None:
    actual = noisy((14, 1, 30))
    one, other = np.full(actual.shape, 101.0), np.full(actual.shape, 99.0)
    one[-1, :, 20:], other[-1, :, 20:] = 110, 90
    trial = trial_of({"seasonal-naive": one, "seasonal-median": other}, actual)
    said = with_bounds(trial, np.full(actual.shape, 100.0), disagreement(trial, list(trial.said)))
    width = (said.upper - said.lower)[-1, 0]
    # 0.7 + 0.3 times a difference of about 7 times the usual, limited to 4.
    assert 1.5 * width[0] < width[-1] < 2.5 * width[0]
    assert ((actual >= said.lower) & (actual <= said.upper))[5:].mean() > 0.85


def test_bounds_widen_after_missed_targets_and_narrow_again(monkeypatch: pytest.MonkeyPatch) -> None:
    actual = noisy((30, 1, 30))
    actual[10:13] += 50 * np.arange(1, 4)[:, None, None]
    trial = trial_of({"seasonal-naive": np.full(actual.shape, 100.0)}, actual)
    # Where targets are not over at the next origin, the last one's misses are not known.
    overlapping = Trial(**{**vars(trial), "over_by": trial.over_by + 1})

    def width(one: Trial) -> np.ndarray:
        said = with_bounds(one, one.said["seasonal-naive"], np.ones(actual.shape))
        return (said.upper - said.lower)[:, 0, 0]

    widened, overlapped = width(trial), width(overlapping)
    monkeypatch.setattr("barnameh.forecasting.backtest.WIDENING", 0)
    ratio = widened / width(trial)
    assert ratio[13] > 1.1 * ratio[10]
    assert ratio[29] < ratio[13] / 1.1
    assert (overlapped == width(overlapping)).all()
