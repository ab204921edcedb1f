"""Rolling-origin backtests: what each model would have forecast at past origins, and how accurate that was.

Everything fitted at an origin (weights, intervals) uses only targets that had ended by then, so no model is
scored on targets that it has seen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from barnameh.forecasting.frames import LENGTHS, DemandFrame, Floats
from barnameh.forecasting.members import DemandModel, members

Flags = NDArray[np.bool_]
NAIVES = ("seasonal-naive", "seasonal-median")
COVERAGE = 0.9
QUANTILES = (0.05, 0.5, 0.95)
WORST_MEMBER = 1.15
"""Members with errors above this multiple of the better naive one's are excluded from the combination."""
ALONE = 0.97
"""A member replaces the combination if its error is below this share of the combination's."""
POOLED_BELOW = 60
"""With fewer residuals, a series' interval comes from all series, each scaled by its own errors."""
DISAGREEMENT, MOST_DIFFERING = 0.3, 4.0
"""Share of an interval's width that is proportional to how far the members differ, up to a multiple of the usual."""
WIDENING, MOST_WIDER = 0.2, 1.0
"""Change of the logarithm of the intervals' width per share of missed targets, and its maximum."""
LEAST_ORIGINS = 3


@dataclass(frozen=True)
class Trial:
    """Forecasts and outcomes at each origin: arrays by origin, series, step. The last origin is the run's."""

    origins: tuple[dt.datetime, ...]
    series: tuple[tuple[str, UUID], ...]
    said: dict[str, Floats]
    actual: Floats
    over_by: NDArray[np.int64]
    """The first origin at which each target has ended; the number of origins if none."""
    scale: Floats
    """The error of the last season's value in each series' history; never 0."""
    enough: Flags
    """Whether a series has two seasons and a horizon of history."""

    def known_at(self, origin: int) -> Flags:
        """Return the mask of outcomes known at this origin."""
        return np.isfinite(self.actual) & (self.over_by <= origin)

    @property
    def scored(self) -> range:
        """The scored origins: the later ones, for which earlier outcomes are known."""
        past = len(self.origins) - 1
        return range(min(max(LEAST_ORIGINS, past // 3), past), past)


@dataclass(frozen=True)
class Said:
    """One model's forecasts with bounds, by origin, series, step."""

    point: Floats
    lower: Floats
    upper: Floats


def origins_of(as_of: dt.datetime, count: int, bucket: str, horizon: int, timezone: str) -> list[dt.datetime]:
    """Return past origins, oldest first, in the organization's local time; the last is `as_of`.

    They are a whole number of buckets apart, and reach three horizons back in total.
    """
    length = LENGTHS[bucket]
    apart = max(1, (3 * horizon) // max(count, 1))
    if bucket in ("quarter_hour", "half_hour", "hour"):
        # At the same time of day, or each origin would see another part of the day.
        days = max(1, round(apart * length / dt.timedelta(days=1)))
        apart = days * (dt.timedelta(days=1) // length)
    zone = ZoneInfo(timezone)
    local = as_of.astimezone(zone)
    back = [apart * length * number for number in range(count, 0, -1)]
    return [(local - one).astimezone(dt.UTC) for one in back] + [as_of]


def run_trial(
    frames: Sequence[DemandFrame],
    models: Sequence[DemandModel] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Trial:
    """Run every model at every origin; the last frame is the run's own, which has the outcomes."""
    final = frames[-1]
    rows = {key: number for number, key in enumerate(final.series)}
    shape = (len(frames), len(rows), final.horizon)
    said: dict[str, Floats] = {}
    actual = np.full(shape, np.nan)
    over_by = np.full(shape, len(frames), dtype=np.int64)
    for number, frame in enumerate(frames):
        everything = members(frame) if frame.panels else {}
        for model in models:
            if frame.panels:
                model.fit(frame)
                everything[model.name] = [np.asarray(part, dtype=np.float64) for part in model.predict(frame)]
        for name, parts in everything.items():
            kept = said.setdefault(name, np.full(shape, np.nan))
            for panel, part in zip(frame.panels, parts, strict=True):
                if part.shape != (len(panel.products), panel.horizon):
                    raise ValueError(f"{name} gave {part.shape}, not {(len(panel.products), panel.horizon)}")
                for row, product in enumerate(panel.products):
                    if (product, panel.location_id) in rows:
                        kept[number, rows[product, panel.location_id]] = part[row]
        for panel in frame.panels:
            _outcomes(frames, number, panel.location_id, rows, actual, over_by)
        progress(number + 1, len(frames))
    return Trial(
        tuple(frame.as_of for frame in frames),
        tuple(final.series),
        said,
        actual,
        over_by,
        scales_of(final),
        np.array(
            [
                int(np.isfinite(panel.demand[row]).sum()) >= 2 * panel.season + panel.horizon
                for panel in final.panels
                for row in range(len(panel.products))
            ],
            dtype=bool,
        ),
    )


def _outcomes(
    frames: Sequence[DemandFrame],
    number: int,
    location_id: UUID,
    rows: dict[tuple[str, UUID], int],
    actual: Floats,
    over_by: NDArray[np.int64],
) -> None:
    """Fill in an origin's outcomes from the last frame, and the origin at which each is known."""
    panel = next(p for p in frames[number].panels if p.location_id == location_id)
    final = next((p for p in frames[-1].panels if p.location_id == location_id), None)
    if final is None:
        return
    at = {start: position for position, start in enumerate(final.starts[: final.over_count])}
    targets = slice(panel.first_target, panel.first_target + panel.horizon)
    positions = np.array([at.get(start, -1) for start in panel.starts[targets]])
    values = np.where(positions >= 0, final.demand[:, np.maximum(positions, 0)], np.nan)
    since = np.array(
        [
            next((later for later, frame in enumerate(frames) if frame.as_of >= end), len(frames))
            for end in panel.ends[targets]
        ]
    )
    for row, product in enumerate(final.products):
        actual[number, rows[product, location_id]] = values[row]
        over_by[number, rows[product, location_id]] = since


def scales_of(frame: DemandFrame) -> Floats:
    """Return the error of the last season's value in each series' history, with a floor; never 0."""
    scales = []
    for panel in frame.panels:
        season = panel.season
        error = np.abs(panel.demand[:, season:] - panel.demand[:, :-season])
        level = np.nan_to_num(np.nanmean(np.where(np.isfinite(panel.demand), panel.demand, np.nan), axis=1))
        known = np.isfinite(error).any(axis=1)
        error[~known] = 0
        mean = np.nanmean(error, axis=1) if error.shape[1] else np.zeros(len(level))
        # A floor, because a nearly constant series gives no scale.
        scales.append(np.maximum(mean, np.maximum(0.01 * level, 1e-6)))
    return np.concatenate(scales) if scales else np.zeros(0)


def _mean_errors(trial: Trial, point: Floats, origin: int) -> tuple[Floats, Floats]:
    """Return each series' scaled mean absolute error over targets known at an origin, and their number."""
    known = trial.known_at(origin) & np.isfinite(point)
    known[origin:] = False
    error = np.where(known, np.abs(point - trial.actual), 0).sum(axis=(0, 2))
    count = known.sum(axis=(0, 2))
    return error / np.maximum(count, 1) / trial.scale, count.astype(np.float64)


def combine(trial: Trial, names: Sequence[str]) -> tuple[Floats, list[dict[str, float]]]:
    """Return the combination at each origin, and each series' weights at the last one.

    A member's weight is 1/error², half from the series' own targets, half from all; see `WORST_MEMBER` and
    `ALONE`.
    """
    total = len(trial.origins)
    stack = np.stack([trial.said[name] for name in names])
    combined = np.full(stack.shape[1:], np.nan)
    weights = np.zeros((len(names), len(trial.series)))
    for origin in range(total):
        errors, counts = map(np.stack, zip(*(_mean_errors(trial, one, origin) for one in stack), strict=True))
        pooled = (errors * counts).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
        # A member without past targets (too little data until now) has proven nothing.
        pooled[counts.sum(axis=1) == 0] = np.inf
        share = counts / (counts + 20.0)
        # A few targets say little about a series.
        mixed = (0.5 * share) * errors + (1 - 0.5 * share) * pooled[:, None] + 1e-9
        bar = np.min([mixed[i] for i, name in enumerate(names) if name in NAIVES], axis=0)
        weights = np.where(mixed <= WORST_MEMBER * bar, mixed**-2.0, 0)
        if not counts.any():
            weights = np.stack([np.full(len(trial.series), float(n == "seasonal-median")) for n in names])
        weights = weights / weights.sum(axis=0)
        past = np.nansum(weights[:, None, :, None] * stack, axis=0)
        together, _ = _mean_errors(trial, past, origin)
        own_together = (0.5 * share[0]) * together + (1 - 0.5 * share[0]) * np.average(
            together, weights=counts[0] + 1e-9
        )
        best = mixed.argmin(axis=0)
        alone = mixed[best, np.arange(len(best))] < ALONE * own_together
        weights[:, alone] = np.eye(len(names))[:, best[alone]]
        there = np.isfinite(stack[:, origin])
        used = np.where(there, weights[:, :, None], 0)
        used = used / np.maximum(used.sum(axis=0), 1e-12)
        combined[origin] = np.nansum(used * np.nan_to_num(stack[:, origin]), axis=0)
    named = [
        {name: round(float(weights[i, s]), 4) for i, name in enumerate(names) if weights[i, s] > 0}
        for s in range(len(trial.series))
    ]
    return combined, named


def disagreement(trial: Trial, names: Sequence[str]) -> Floats:
    """Return how far the members differ at each target, as a multiple of the series' mean up to its origin."""
    stack = np.stack([trial.said[name] for name in names])
    known = np.isfinite(stack)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, stack, 0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, (stack - mean) ** 2, 0).sum(axis=0) / count)
    there = known.any(axis=0).sum(axis=2).cumsum(axis=0)
    usual = spread.sum(axis=2).cumsum(axis=0) / np.maximum(there, 1)
    multiple: Floats = np.minimum(spread / np.maximum(usual, 1e-9)[:, :, None], MOST_DIFFERING)
    return multiple


def with_bounds(trial: Trial, point: Floats, differing: Floats) -> Said:
    """Return split conformal bounds from the signed residuals of earlier origins, by third of the horizon.

    Residuals, and so the bounds, are scaled by how far the members differ (`disagreement`): a target on which
    they do, such as a holiday, is less certain. If all targets of an origin are over at the next one, its misses
    beyond 10 % widen the next one's bounds, and fewer narrow them again.
    """
    lower, upper = point.copy(), point.copy()
    third = np.minimum(np.arange(point.shape[2]) * 3 // point.shape[2], 2)
    width = trial.scale[None, :, None] * (1 - DISAGREEMENT + DISAGREEMENT * differing)
    residual = (trial.actual - point) / width
    wider = 0.0
    for origin in range(len(trial.origins)):
        known = trial.known_at(origin) & np.isfinite(residual)
        known[origin:] = False
        last = origin - 1
        if last >= LEAST_ORIGINS and known[last].any() and (trial.over_by[last] <= origin).all():
            missed = ((trial.actual < lower) | (trial.actual > upper))[last][known[last]].mean()
            wider = min(max(wider + WIDENING * (missed - (1 - COVERAGE)), 0.0), MOST_WIDER)
        for part in range(3):
            steps = np.flatnonzero(third == part)
            if not len(steps):
                continue
            mine, values = known[:, :, steps], residual[:, :, steps]
            low, high = _spread(values[mine])
            lows, highs = np.full(len(trial.series), low), np.full(len(trial.series), high)
            for series in np.flatnonzero(mine.sum(axis=(0, 2)) >= POOLED_BELOW):
                lows[series], highs[series] = _spread(values[:, series][mine[:, series]])
            at = width[origin][:, steps] * np.exp(wider)
            lower[origin][:, steps] = point[origin][:, steps] + np.minimum(lows, 0)[:, None] * at
            upper[origin][:, steps] = point[origin][:, steps] + np.maximum(highs, 0)[:, None] * at
    return Said(point, np.maximum(lower, 0), np.maximum(upper, 0))


def _spread(residuals: Floats) -> tuple[float, float]:
    """Return the 5 and 95 % quantiles of residuals, with the small-sample correction; -2 and 2 without any."""
    count = len(residuals)
    if count == 0:
        return -2.0, 2.0
    level = min(1.0, np.ceil((count + 1) * QUANTILES[2]) / count)
    return (
        float(np.quantile(residuals, 1 - level, method="lower")),
        float(np.quantile(residuals, level, method="higher")),
    )


@dataclass(frozen=True)
class Score:
    """A model's accuracy: see the columns of `forecast_backtests`."""

    target_count: int
    wape_pct: float | None
    mase: float | None
    pinball: float | None
    coverage_pct: float | None


def score(trial: Trial, said: Said, series: Sequence[int] | None = None, steps: slice = slice(None)) -> Score:
    """Score a model over the scored origins, for all series or some."""
    chosen = np.arange(len(trial.series)) if series is None else np.asarray(series)
    origins = np.asarray(trial.scored, dtype=np.int64)
    if not len(origins) or not len(chosen):
        return Score(0, None, None, None, None)
    at = np.ix_(origins, chosen)
    actual, point = trial.actual[at][..., steps], said.point[at][..., steps]
    lower, upper = said.lower[at][..., steps], said.upper[at][..., steps]
    known = trial.known_at(len(trial.origins) - 1)[at][..., steps] & np.isfinite(point)
    if not known.any():
        return Score(0, None, None, None, None)
    scale = np.broadcast_to(trial.scale[chosen][None, :, None], actual.shape)
    error = np.abs(actual - point)
    loss = np.mean(
        [
            np.maximum(q * (actual - bound), (q - 1) * (actual - bound)) / scale
            for q, bound in zip(QUANTILES, (lower, point, upper), strict=True)
        ],
        axis=0,
    )
    demanded = float(actual[known].sum())
    return Score(
        int(known.sum()),
        100 * float(error[known].sum()) / demanded if demanded > 0 else None,
        float((error / scale)[known].mean()),
        float(loss[known].mean()),
        100 * float(((actual >= lower) & (actual <= upper))[known].mean()),
    )


def errors_by_origin(trial: Trial, ours: Said, theirs: Said) -> tuple[Floats, Floats]:
    """Return both models' mean scaled errors on the same targets of each scored origin; NaN if there are none.

    Scaled, because the units of products differ.
    """
    known = trial.known_at(len(trial.origins) - 1) & np.isfinite(ours.point) & np.isfinite(theirs.point)
    there = known.any(axis=(1, 2))
    count = np.maximum(known.sum(axis=(1, 2)), 1)

    def mean(said: Said) -> Floats:
        scaled = np.abs(trial.actual - said.point) / trial.scale[None, :, None]
        return np.where(there, np.where(known, scaled, 0).sum(axis=(1, 2)) / count, np.nan)[
            list(trial.scored)
        ]

    return mean(ours), mean(theirs)
