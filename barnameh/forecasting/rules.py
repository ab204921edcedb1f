"""The rules for publishing a model's forecasts of a series, and for becoming champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from barnameh.forecasting import backtest as trials
from barnameh.forecasting.backtest import NAIVES, Said, Score, Trial
from barnameh.forecasting.members import DemandModel

COMBINATION = "combination"
LEAST_BETTER_SHARE, LEAST_GAIN, LEAST_PROMOTION_ORIGINS = 0.6, 0.02, 8
"""A challenger becomes champion if better at this share of origins, by this gain, over this many origins."""


def models_said(
    trial: Trial, models: Sequence[DemandModel]
) -> tuple[dict[str, Said], list[dict[str, float]]]:
    """Return forecasts with bounds of members, combination and `models`; and each series' weights."""
    own = {model.name for model in models}
    members = [name for name in trial.said if name not in own]
    point, weights = trials.combine(trial, members)
    # Without custom models: a bad one must not widen the others' intervals.
    differing = trials.disagreement(trial, members)
    said = {name: trials.with_bounds(trial, values, differing) for name, values in trial.said.items()}
    said[COMBINATION] = trials.with_bounds(trial, point, differing)
    return said, weights


def better_naive(
    trial: Trial, said: Mapping[str, Said], series: Sequence[int] | None = None
) -> tuple[str, Score]:
    """Return the better naive forecast by WAPE, for all series or some, and its score."""
    scores = {name: trials.score(trial, said[name], series) for name in NAIVES}
    name = min(
        NAIVES,
        key=lambda one: (scores[one].wape_pct is None, scores[one].wape_pct or scores[one].pinball or 0),
    )
    return name, scores[name]


def speaker_of(
    trial: Trial, said: Mapping[str, Said], champion: str, number: int
) -> tuple[str, str | None, Score, Score]:
    """Return the model to publish for a series, why not the champion (or None), and both models' scores."""
    name, bar = better_naive(trial, said, [number])
    own = trials.score(trial, said[champion], [number])
    reason = _refusal(bool(trial.enough[number]), own, bar, name)
    if not np.isfinite(said[champion].point[-1, number]).all():
        reason = f"{champion} has no forecast for some targets"
    return (champion if reason is None else name), reason, own, bar


def _refusal(enough: bool, own: Score, bar: Score, naive: str) -> str | None:
    """Why the champion is not published for a series; None if it is."""
    if not enough:
        return "less than two seasons and a horizon of history"
    if own.target_count == 0 or own.pinball is None or bar.pinball is None:
        return "no target of the backtest has an outcome"
    if own.wape_pct is not None and bar.wape_pct is not None and own.wape_pct > bar.wape_pct:
        return f"WAPE {own.wape_pct:.1f} % in the backtest, {naive} has {bar.wape_pct:.1f} %"
    if own.pinball > bar.pinball:
        return f"pinball loss {own.pinball:.3f} in the backtest, {naive} has {bar.pinball:.3f}"
    return None
