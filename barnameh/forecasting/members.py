"""The members of the combination: each forecasts every series from a frame alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from barnameh.forecasting.frames import DemandFrame, Floats, Panel, Whole

MOST_ROWS = 120_000
"""Maximum number of rows for training the trees, sampled with a fixed seed."""
LEAST_TREE_BUCKETS, LEAST_TREE_WEEKS = 1_000, 300
"""Boosted trees were useless with fewer buckets of history in total; a week says more than a day."""
_ALPHAS = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.55, 0.8])


class DemandModel(Protocol):
    """A custom model: learns from a frame, and forecasts its targets.

    `fit` is called before each `predict`, at every origin, with the same frame. `predict` returns one array
    per panel, by product and step, in the unit of the demand; NaN where it has no forecast. The model is
    backtested like the others, starts as a challenger, and is published by the same rules. Change `version`
    whenever its forecasts change.
    """

    name: str
    version: str

    def fit(self, frame: DemandFrame) -> None:
        """Learn from what was known at `frame.as_of`."""

    def predict(self, frame: DemandFrame) -> list[Floats]:
        """Return the forecasts."""
        ...


def _targets(panel: Panel) -> Whole:
    return np.arange(panel.first_target, panel.first_target + panel.horizon)


def _seasonal(panel: Panel) -> Floats:
    """Return the values one, two … seasons before, by product, step and season; NaN if there is none."""
    back = panel.seasons_back(_targets(panel), np.full(panel.horizon, panel.over_count))
    return np.where(back >= 0, panel.demand[:, np.maximum(back, 0)], np.nan)


def _last(panel: Panel) -> Floats:
    """Each series' last known value, as a column; 0 where there is none."""
    known = np.isfinite(panel.demand)
    at = np.where(known.any(axis=1), known.shape[1] - 1 - known[:, ::-1].argmax(axis=1), 0)
    return np.nan_to_num(panel.demand[np.arange(len(at)), at])[:, None]


def seasonal_naive(panel: Panel) -> Floats:
    """Return the last known seasonal value; the last value if there is none."""
    values = _seasonal(panel)
    known = np.isfinite(values)
    first = np.take_along_axis(values, known.argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
    return np.where(known.any(axis=2), first, _last(panel))


def seasonal_median(panel: Panel) -> Floats:
    """Return the median of the last four known seasonal values."""
    values = _seasonal(panel)
    rank = np.isfinite(values).cumsum(axis=2)
    values = np.where(rank <= 4, values, np.nan)
    none = ~np.isfinite(values).any(axis=2)
    values[none] = 0
    return np.where(none, _last(panel), np.nanmedian(values, axis=2))


def _calendar(panel: Panel) -> Floats:
    """Features of each bucket's local time: trend, weekday, hour, month."""
    local = panel.local()
    count = len(local)
    columns = [np.ones(count), (np.arange(count) - panel.over_count) / max(panel.over_count, 1)]
    if panel.bucket != "week":
        columns += [np.array([float(t.weekday() == day) for t in local]) for day in range(7)]
    if panel.bucket in ("quarter_hour", "half_hour", "hour"):
        hours = np.array([t.hour + t.minute / 60 for t in local])
        weekend = np.array([float(t.weekday() >= 5) for t in local])
        for k in range(1, 9):
            for wave in (np.sin(2 * np.pi * k * hours / 24), np.cos(2 * np.pi * k * hours / 24)):
                columns += [wave, wave * weekend]
    days = (panel.ends[panel.over_count - 1] - panel.starts[0]).days
    if days >= 540:
        year = np.array([t.timetuple().tm_yday for t in local]) * 2 * np.pi / 365.25
        for k in (1, 2, 3):
            columns += [np.sin(k * year), np.cos(k * year)]
    return np.stack(columns, axis=1)


def log_ridge(panel: Panel) -> Floats:
    """Ridge regression of log(1 + demand) on calendar, trend and known factors; recent buckets count more."""
    known = np.isfinite(panel.demand)
    observed = np.log1p(np.where(known, panel.demand, 0))
    calendar = _calendar(panel)
    usable = panel.usable()
    age = np.arange(panel.over_count)[::-1]
    weight = known * 0.5 ** (age / max(26 * panel.season, 3 * panel.horizon))
    targets = _targets(panel)
    forecast = np.empty((len(panel.products), panel.horizon))
    solved: dict[bytes, tuple[Floats, Floats]] = {}
    for step in range(panel.horizon):
        columns = [calendar]
        for name in sorted(panel.factors):
            if usable[name][step]:
                values = panel.factors[name][:, step].copy()
                # Targets use the value at their own step, and history the value at the same step.
                mean = np.nanmean(values[: panel.over_count])
                values = np.where(np.isfinite(values), values, mean)
                spread = values[: panel.over_count].std()
                if spread > 0:
                    columns.append(((values - mean) / spread)[:, None])
        design = np.concatenate(columns, axis=1)
        past = design[: panel.over_count]
        key = past.tobytes()
        if key not in solved:
            gram = np.einsum("tp,st,tq->spq", past, weight, past, optimize=True)
            moment = np.einsum("tp,st->sp", past, weight * observed, optimize=True)
            penalty = np.ones(past.shape[1])
            penalty[0], penalty[1] = 1e-6, 3.0
            beta = np.linalg.solve(gram + np.diag(penalty), moment[:, :, None])[:, :, 0]
            recent = slice(max(panel.over_count - max(panel.season, 4), 0), panel.over_count)
            missed = np.where(known, observed - beta @ past.T, 0)[:, recent].sum(axis=1)
            level = 0.5 * missed / np.maximum(known[:, recent].sum(axis=1), 1)
            solved[key] = beta, level
        beta, level = solved[key]
        forecast[:, step] = np.expm1(np.minimum(beta @ design[targets[step]] + level, 700))
    most = 3 * np.nanmax(np.where(known, panel.demand, 0), axis=1, keepdims=True)
    return np.clip(np.nan_to_num(forecast), 0, most)


def theta(panel: Panel) -> Floats:
    """Deseasonalize by shares, smooth exponentially with half of the trend, and restore the seasons.

    A series with many zeros, or less than three seasons, uses the median of its seasons instead.
    """
    season, count = panel.season, panel.over_count
    fallback = seasonal_median(panel)
    if count < 3 * season or count < 8:
        return fallback
    length = min(count, max(60 * season, 120) if season < 100 else 26 * season)
    known = np.isfinite(panel.demand[:, -length:])
    values = np.where(known, panel.demand[:, -length:], 0)
    many_zeros = (np.where(known, values, np.nan) <= 0).sum(axis=1) + (~known).sum(axis=1) > 0.1 * length
    positions = np.arange(length)
    filled = np.stack(
        [
            np.interp(positions, positions[k], v[k]) if k.any() else v
            for k, v in zip(known, values, strict=True)
        ]
    )
    offset = count - length
    phase = (np.arange(len(panel.starts)) - offset) % season
    index = np.ones((len(filled), season))
    if season > 1:
        sums = np.cumsum(np.concatenate([np.zeros((len(filled), 1)), filled], axis=1), axis=1)
        around = np.clip(positions - season // 2, 0, length - season)
        level = (sums[:, around + season] - sums[:, around]) / season
        share = filled / np.maximum(level, 1e-9)
        recent = positions >= length - 10 * season
        for one in range(season):
            index[:, one] = np.median(share[:, recent & (phase[offset : offset + length] == one)], axis=1)
        index = np.maximum(index / np.maximum(index.mean(axis=1, keepdims=True), 1e-9), 0.02)
    plain = filled / index[:, phase[offset : offset + length]]
    level = np.repeat(plain[:, :1], len(_ALPHAS), axis=1)
    squared = np.zeros_like(level)
    for position in range(1, length):
        error = plain[:, position : position + 1] - level
        squared += error**2
        level += _ALPHAS * error
    best = level[np.arange(len(level)), squared.argmin(axis=1)]
    centred = positions - positions.mean()
    slope = (plain @ centred) / (centred**2).sum()
    targets = _targets(panel)
    ahead = targets - count + 1
    forecast = (best[:, None] + 0.5 * slope[:, None] * ahead) * index[:, phase[targets]]
    return np.where(many_zeros[:, None], fallback, np.maximum(forecast, 0))


def trees(frame: DemandFrame) -> list[Floats] | None:
    """Gradient-boosted trees over all series and steps, as known at each step; None with too little data."""
    least = LEAST_TREE_WEEKS if frame.bucket == "week" else LEAST_TREE_BUCKETS
    if sum(len(panel.products) * panel.over_count for panel in frame.panels) < least:
        return None
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits  # a dependency of scikit-learn
    except ImportError:
        return None
    names = sorted({name for panel in frame.panels for name in panel.factors})
    share = MOST_ROWS / max(sum(p.demand.size * p.horizon for p in frame.panels), 1)
    rng = np.random.default_rng(0)
    learnt, outcomes = [], []
    for panel in frame.panels:
        gap = panel.first_target - panel.over_count
        known = _Known.of(panel)
        for step in range(1, panel.horizon + 1):
            first = min(max(panel.season, 4) + step + gap, panel.over_count)
            series, position = np.nonzero(np.isfinite(panel.demand[:, first:]))
            chosen = np.flatnonzero(rng.random(len(series)) < share)
            series, position = series[chosen], position[chosen] + first
            rows, scale = _features(panel, known, series, position, step, gap, names)
            learnt.append(rows)
            outcomes.append(np.log1p(panel.demand[series, position]) - np.log1p(scale))
    features, outcome = np.concatenate(learnt), np.concatenate(outcomes)
    if len(outcome) < 200:
        return None
    # scikit-learn 1.9 fails on a column without values.
    there = np.isfinite(features).any(axis=0)
    model = HistGradientBoostingRegressor(
        max_iter=180,
        learning_rate=0.07,
        max_leaf_nodes=24,
        min_samples_leaf=20,
        early_stopping=False,
        random_state=0,
    )
    # One thread: with so few rows each step takes less than a millisecond, after which all threads wait for
    # the slowest, which takes long next to a busy database.
    with threadpool_limits(1, user_api="openmp"):
        model.fit(features[:, there], outcome)
        return [
            _predicted(panel, names, lambda rows: model.predict(rows[:, there])) for panel in frame.panels
        ]


def _predicted(panel: Panel, names: list[str], predict: Callable[[Floats], Floats]) -> Floats:
    gap = panel.first_target - panel.over_count
    known, series = _Known.of(panel), np.arange(len(panel.products))
    parts = [
        _features(panel, known, series, np.full(len(series), panel.first_target + step - 1), step, gap, names)
        for step in range(1, panel.horizon + 1)
    ]
    outcome: Floats = predict(np.concatenate([rows for rows, _ in parts]))
    forecast: Floats = np.expm1(outcome + np.log1p(np.concatenate([scale for _, scale in parts])))
    return np.maximum(forecast, 0).reshape(panel.horizon, len(series)).T


@dataclass(frozen=True)
class _Known:
    """Inputs of all steps' features: running sums and counts of each series' demand, and the calendar."""

    sums: Floats
    counts: Floats
    calendar: Floats

    @classmethod
    def of(cls, panel: Panel) -> _Known:
        zero = np.zeros((len(panel.products), 1))
        calendar = [
            [t.weekday(), t.hour + t.minute / 60, t.timetuple().tm_yday, t.day] for t in panel.local()
        ]
        return cls(
            np.concatenate([zero, np.nancumsum(panel.demand, axis=1)], axis=1),
            np.concatenate([zero, np.isfinite(panel.demand).cumsum(axis=1)], axis=1),
            np.array(calendar),
        )


def _features(
    panel: Panel, known: _Known, series: Whole, position: Whole, step: int, gap: int, names: list[str]
) -> tuple[Floats, Floats]:
    """Features known `step` buckets before each position, and the level to which they relate."""
    known_until = np.maximum(position - step - gap + 1, 0)
    once, inverse = np.unique(position, return_inverse=True)
    back = panel.seasons_back(once, np.maximum(once - step - gap + 1, 0))[inverse][:, :4]
    lags = np.where(back >= 0, panel.demand[series[:, None], np.maximum(back, 0)], np.nan)

    def mean(length: int) -> Floats:
        start = np.maximum(known_until - length, 0)
        number = known.counts[series, known_until] - known.counts[series, start]
        total = known.sums[series, known_until] - known.sums[series, start]
        average: Floats = np.divide(total, number, out=np.full(len(series), np.nan), where=number > 0)
        return average

    season = max(panel.season, 4)
    scale = np.nan_to_num(mean(4 * season))
    base = np.log1p(scale)[:, None]
    # A level from before the start of the series would be meaningless.
    columns = [
        np.log1p(lags) - base,
        np.log1p(np.nanmedian(np.where(np.isfinite(lags).any(axis=1, keepdims=True), lags, 0), axis=1))[
            :, None
        ]
        - base,
        np.log1p(np.stack([mean(1), mean(season)], axis=1)) - base,
        base,
        np.full((len(series), 1), step),
        known.calendar[position],
    ]
    usable = panel.usable()
    for name in names:
        use = name in panel.factors and usable[name][step - 1]
        values = panel.factors[name][position, step - 1] if use else np.full(len(series), np.nan)
        columns.append(values[:, None])
    return np.concatenate(columns, axis=1), scale


def members(frame: DemandFrame) -> dict[str, list[Floats]]:
    """Return each member's forecasts for every panel; members without enough data are omitted."""
    said = {
        name: [make(panel) for panel in frame.panels]
        for name, make in (
            ("seasonal-naive", seasonal_naive),
            ("seasonal-median", seasonal_median),
            ("log-ridge", log_ridge),
            ("theta", theta),
        )
    }
    boosted = trees(frame)
    if boosted is not None:
        said["boosted-trees"] = boosted
    return said
