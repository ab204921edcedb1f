"""Demand: read what was known, backtest, publish forecasts no worse than naive, record the accuracy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from barnameh.errors import UsageError
from barnameh.forecasting import backtest as trials
from barnameh.forecasting.backtest import NAIVES, Said, Trial
from barnameh.forecasting.frames import LENGTHS, DemandFrame, Floats, Shape, read_frame
from barnameh.forecasting.members import DemandModel
from barnameh.forecasting.roles import champion_of, origin_count, save_models
from barnameh.forecasting.rules import (
    COMBINATION,
    LEAST_BETTER_SHARE,
    LEAST_GAIN,
    LEAST_PROMOTION_ORIGINS,
    better_naive,
    models_said,
    speaker_of,
)
from barnameh.statements import statements
from db_utils import DatabaseManager, OperationalDataQueries, Transaction
from db_utils.catalogue import DifferentValuesError

SQL = statements(Path(__file__).with_name("store.sql"))
DIGITS = 6

Progress = Callable[[int, int], None]


@dataclass
class SeriesResult:
    """The result for one series: the published model, and the reason if it is not the champion."""

    product_id: str
    location_id: UUID
    model_name: str
    reason: str | None
    wape_pct: float | None
    naive_wape_pct: float | None
    interval_coverage_pct: float | None
    weights: dict[str, float]
    forecasts: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class ForecastRun:
    """The result of a run. `attention` lists what was not published as expected; empty if all is well."""

    organization_id: UUID
    available_at: dt.datetime
    bucket: str
    horizon: int
    champion: str
    version: str
    origin_count: int = 0
    wape_pct: float | None = None
    naive_name: str = NAIVES[0]
    naive_wape_pct: float | None = None
    skill_pct: float | None = None
    interval_coverage_pct: float | None = None
    written: int = 0
    series: list[SeriesResult] = field(default_factory=list)
    factors_dropped: dict[str, str] = field(default_factory=dict)
    attention: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        return {
            **{name: value for name, value in vars(self).items() if name != "series"},
            "series": [vars(one) for one in self.series],
        }


def forecast_demand(
    db: DatabaseManager,
    organization_id: UUID,
    *,
    as_of: dt.datetime | None = None,
    bucket: str = "day",
    horizon: int = 14,
    products: Sequence[str] | None = None,
    origins: int | None = None,
    history: dt.timedelta = dt.timedelta(days=730),
    carry: dt.timedelta = dt.timedelta(0),
    delay: dt.timedelta = dt.timedelta(0),
    models: Sequence[DemandModel] = (),
    dry_run: bool = False,
    progress: Progress = lambda done, of: None,
) -> ForecastRun:
    """Forecast the demand of an organization, and publish it.

    With `as_of` (aware): what would have been published then, from what was known then. Only `products` are
    published, but all are learnt from. `models` are backtested along with the combination, and stored as
    challengers' shadow forecasts unless one is champion. Everything is written in one transaction in the
    organization's scope: a killed run writes nothing, and a repeated one writes once. A run is dated by the
    last time at which one of its inputs became known, or by `as_of` (now) if other forecasts have that date,
    because data were added under earlier times since. Raises `UsageError` if there is nothing to forecast from.
    """
    if bucket not in LENGTHS:
        raise UsageError(f"bucket is {bucket!r}: give one of {', '.join(LENGTHS)}")
    shape = Shape(bucket, horizon, history, carry, delay)
    scope = db.tenant(organization_id)
    queries = OperationalDataQueries(scope)
    until, dated = as_of or dt.datetime.now(dt.UTC), None
    while True:
        trial, frame = _tried(queries, organization_id, until, shape, origins, models, progress, dated)
        said, weights = models_said(trial, models)
        champion, roles, config = champion_of(queries, organization_id, models, shape, origins)
        run = ForecastRun(
            organization_id, frame.as_of, bucket, horizon, champion, config[champion][0], len(trial.scored)
        )
        wanted = None if products is None else set(products)
        if wanted is not None and (missing := wanted - {product for product, _ in trial.series}):
            run.attention.append(f"no data of {', '.join(sorted(missing))}: not forecast")
        _drop_notes(run, frame)
        _judge(run, trial, said, champion, weights, frame, wanted)
        if dry_run:
            return run
        try:
            with scope.transaction() as tx:
                _write(tx, run, trial, said, roles, config, frame, wanted)
        except DifferentValuesError:
            if frame.as_of >= until:
                raise
            # The run that was dated by the clock for this reason before, so that a repeated one writes once.
            (newest,) = scope.execute_query(
                SQL["newest_run"],
                {
                    "organization_id": organization_id,
                    "versions": [model_version for model_version, _ in config.values()],
                    "after": frame.as_of,
                    "until": until,
                },
            )
            dated = newest["available_at"] or until
        else:
            return run


def backtest_demand(
    db: DatabaseManager,
    organization_id: UUID,
    *,
    as_of: dt.datetime | None = None,
    bucket: str = "day",
    horizon: int = 14,
    origins: int | None = None,
    history: dt.timedelta = dt.timedelta(days=730),
    carry: dt.timedelta = dt.timedelta(0),
    delay: dt.timedelta = dt.timedelta(0),
    models: Sequence[DemandModel] = (),
    progress: Progress = lambda done, of: None,
) -> list[dict[str, Any]]:
    """Backtest all members, the combination and `models`; store the rows of the last two, and return all.

    Rows as in `get_forecast_backtests`, best first. Writes no forecast.
    """
    shape = Shape(bucket, horizon, history, carry, delay)
    scope = db.tenant(organization_id)
    if origin_count(shape, origins) <= trials.LEAST_ORIGINS:
        raise UsageError(
            f"a backtest needs more than {trials.LEAST_ORIGINS} origins: the first ones only set weights and intervals"
        )
    until = as_of or dt.datetime.now(dt.UTC)
    trial, _ = _tried(OperationalDataQueries(scope), organization_id, until, shape, origins, models, progress)
    said, _ = models_said(trial, models)
    _, _, config = champion_of(OperationalDataQueries(scope), organization_id, models, shape, origins)
    rows = _backtest_rows(trial, said, {name: v for name, (v, _) in config.items()}, shape)
    with scope.transaction() as tx:
        inside = OperationalDataQueries(tx)
        for name, (model_version, what) in config.items():
            inside.save_forecast_model(organization_id, name, model_version, kind="demand", config=what)
        inside.save_forecast_backtests(organization_id, rows)
    others = {name: "" for name in said if name not in config}
    rows += _backtest_rows(trial, said, others, shape)
    return sorted(rows, key=lambda row: (row["wape_pct"] is None, row["wape_pct"], row["model_name"]))


def promote_model(
    db: DatabaseManager,
    organization_id: UUID,
    model_name: str,
    *,
    models: Sequence[DemandModel] = (),
    **options: Any,
) -> tuple[bool, str]:
    """Make a challenger champion if it is better by the rule; return whether, and why.

    The rule: over at least 8 origins, better than the champion at 60 % of them and by 2 %, by the mean scaled
    error (MASE: products may differ in unit) on the same targets. `options`: `as_of`, `bucket`, `horizon`,
    `history`, `carry`, `delay`, `origins`, as in `forecast_demand`. Each target (horizon and bucket) has its
    own champion.
    """
    shape = Shape(
        **{
            name: options[name]
            for name in ("bucket", "horizon", "history", "carry", "delay")
            if name in options
        }
    )
    scope = db.tenant(organization_id)
    queries = OperationalDataQueries(scope)
    # As in the next run: the number of origins for this proof does not change the model.
    champion, roles, config = champion_of(queries, organization_id, models, shape, None)
    if model_name == champion:
        return False, f"{model_name} is already champion"
    if model_name not in config:
        raise UsageError(
            f"there is no model {model_name!r} to promote: give its code (--model package.module:name), or one of {', '.join(config)}"
        )
    trial, _ = _tried(
        queries,
        organization_id,
        options.get("as_of") or dt.datetime.now(dt.UTC),
        shape,
        options.get("origins"),
        models,
        lambda done, of: None,
    )
    said, _ = models_said(trial, models)
    ours, theirs = trials.errors_by_origin(trial, said[model_name], said[champion])
    known = np.isfinite(theirs) & np.isfinite(ours)
    if known.sum() < LEAST_PROMOTION_ORIGINS:
        return False, f"only {known.sum()} origins can be compared, {LEAST_PROMOTION_ORIGINS} are needed"
    better = float((ours < theirs)[known].mean())
    gain = 1 - float(ours[known].sum()) / max(float(theirs[known].sum()), 1e-12)
    reason = (
        f"better than {champion} at {100 * better:.0f} % of {known.sum()} origins, "
        f"mean scaled error {'lower' if gain >= 0 else 'higher'} by {100 * abs(gain):.1f} %"
    )
    if better < LEAST_BETTER_SHARE or gain < LEAST_GAIN:
        return False, f"{reason}; the rule is 60 % and 2 %"
    with scope.transaction() as tx:
        inside = OperationalDataQueries(tx)
        save_models(inside, organization_id, roles, config)
        inside.set_model_role(
            organization_id, model_name, config[model_name][0], role="champion", reason=reason
        )
    return True, reason


def _tried(
    queries: OperationalDataQueries,
    organization_id: UUID,
    until: dt.datetime,
    shape: Shape,
    origins: int | None,
    models: Sequence[DemandModel],
    progress: Progress,
    dated: dt.datetime | None = None,
) -> tuple[Trial, DemandFrame]:
    organization = queries.get_organization(organization_id)
    probe = read_frame(queries, organization_id, until, shape)
    if not probe.panels:
        raise UsageError(
            f"no demand of a whole {shape.bucket.replace('_', ' ')} was known at {until:%Y-%m-%d %H:%M %Z}: record demand first"
        )
    # The last time at which something became known, so that a repeated run gives the same result.
    count = origin_count(shape, origins)
    last = dated or probe.known_at
    times = trials.origins_of(last, count, shape.bucket, shape.horizon, organization["timezone"])
    frames = [read_frame(queries, organization_id, time, shape) for time in times]
    return trials.run_trial(frames, models, progress), frames[-1]


def _drop_notes(run: ForecastRun, frame: DemandFrame) -> None:
    run.factors_dropped.update(frame.left_out)
    for panel in frame.panels:
        for name, usable in panel.usable().items():
            if not usable.all():
                steps = "no step" if not usable.any() else f"{int(usable.sum())} of {len(usable)} steps"
                run.factors_dropped[name] = f"known early enough, before and now, for {steps}"


def _judge(
    run: ForecastRun,
    trial: Trial,
    said: Mapping[str, Said],
    champion: str,
    weights: list[dict[str, float]],
    frame: DemandFrame,
    wanted: set[str] | None,
) -> None:
    """Choose for each series the champion, or the better naive forecast if the champion is not better."""
    total = trials.score(trial, said[champion])
    run.naive_name, naive = better_naive(trial, said)
    run.wape_pct, run.interval_coverage_pct, run.naive_wape_pct = (
        total.wape_pct,
        total.coverage_pct,
        naive.wape_pct,
    )
    if total.wape_pct is not None and naive.wape_pct:
        run.skill_pct = 100 * (1 - total.wape_pct / naive.wape_pct)
    rows = [(panel, row) for panel in frame.panels for row in range(len(panel.products))]
    for number, (product, location_id) in enumerate(trial.series):
        if wanted is not None and product not in wanted:
            continue
        speaker, reason, own, bar = speaker_of(trial, said, champion, number)
        if reason is not None:
            run.attention.append(f"{product}: {speaker} is published instead of {champion}: {reason}")
        chosen = own if reason is None else bar
        result = SeriesResult(
            product, location_id, speaker, reason, own.wape_pct, bar.wape_pct, chosen.coverage_pct,
            weights[number] if speaker == COMBINATION else {},
        )  # fmt: skip
        result.forecasts = _rows_of(said[speaker], number, *rows[number])
        run.series.append(result)


def _rows_of(said: Said, number: int, panel: Any, row: int) -> list[dict[str, Any]]:
    def rounded(values: Floats, step: int) -> float:
        return round(max(float(values[-1, number, step]), 0.0), DIGITS)

    forecasts = []
    for step in range(panel.horizon):
        point = rounded(said.point, step)
        forecasts.append(
            {
                "product_id": panel.products[row],
                "location_id": panel.location_id,
                "target_time": panel.starts[panel.first_target + step],
                "predicted_quantity": point,
                "lower_bound": min(rounded(said.lower, step), point),
                "upper_bound": max(rounded(said.upper, step), point),
            }
        )
    return forecasts


def _write(
    tx: Transaction,
    run: ForecastRun,
    trial: Trial,
    said: Mapping[str, Said],
    roles: Mapping[str, str],
    config: Mapping[str, tuple[str, dict[str, Any]]],
    frame: DemandFrame,
    wanted: set[str] | None,
) -> None:
    queries = OperationalDataQueries(tx)
    org = run.organization_id
    save_models(queries, org, roles, config)
    versions = {name: v for name, (v, _) in config.items()}
    shape = Shape(run.bucket, run.horizon)
    backtests = _backtest_rows(trial, said, versions, shape, by_series={run.champion})
    reasons = {(one.product_id, one.location_id): one.reason for one in run.series}
    for row in backtests:
        row["reason"] = reasons.get((row["product_id"], row["location_id"])) or row["reason"]
    queries.save_forecast_backtests(org, backtests)
    interval = LENGTHS[run.bucket]

    def save(name: str, rows: list[dict[str, Any]], purpose: Any) -> int:
        whole: list[Any] = [{**row, "target_interval": interval} for row in rows]
        return queries.save_demand_forecasts(
            org, whole, model_name=name, model_version=versions.get(name, versions[COMBINATION]),
            available_at=run.available_at, purpose=purpose,
        )  # fmt: skip

    for name in sorted({one.model_name for one in run.series}):
        rows = [row for one in run.series if one.model_name == name for row in one.forecasts]
        run.written += save(name, rows, "published")
    places = [(panel, row) for panel in frame.panels for row in range(len(panel.products))]
    for name in config:
        if name != run.champion and roles.get(name) != "retired":
            rows = [
                row
                for number, place in enumerate(places)
                if np.isfinite(said[name].point[-1, number]).all()
                and (wanted is None or trial.series[number][0] in wanted)
                for row in _rows_of(said[name], number, *place)
            ]
            save(name, rows, "shadow")


def _backtest_rows(
    trial: Trial,
    said: Mapping[str, Said],
    versions: Mapping[str, str],
    shape: Shape,
    by_series: set[str] | None = None,
) -> list[Any]:
    """Rows for `save_forecast_backtests`: models in total, by third of the horizon, some also by series."""
    if not len(trial.scored):
        return []
    rows = []
    horizon = shape.horizon
    parts = {(0, horizon), *((horizon * k // 3, horizon * (k + 1) // 3) for k in range(3) if horizon >= 3)}
    for name, model_version in versions.items():
        for first, last in sorted(parts):
            rows.append(_backtest_row(trial, said, name, model_version, shape, slice(first, last), None))
        if name in (by_series or ()):
            for number in range(len(trial.series)):
                rows.append(_backtest_row(trial, said, name, model_version, shape, slice(0, horizon), number))
    return rows


def _backtest_row(
    trial: Trial,
    said: Mapping[str, Said],
    name: str,
    model_version: str,
    shape: Shape,
    steps: slice,
    number: int | None,
) -> dict[str, Any]:
    chosen = None if number is None else [number]
    naive_name, _ = better_naive(trial, said, chosen)
    own, naive = (trials.score(trial, said[one], chosen, steps) for one in (name, naive_name))
    skill = 100 * (1 - own.wape_pct / naive.wape_pct) if own.wape_pct is not None and naive.wape_pct else None
    ours, theirs = trials.errors_by_origin(trial, said[name], said[naive_name])
    product, place = (None, None) if number is None else trial.series[number]

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, DIGITS)

    return {
        "model_name": name,
        "model_version": model_version,
        "product_id": product,
        "location_id": place,
        "target_interval": LENGTHS[shape.bucket],
        "first_step": steps.start + 1,
        "last_step": steps.stop,
        "as_of": trial.origins[-1],
        "first_origin": trial.origins[trial.scored[0]],
        "last_origin": trial.origins[trial.scored[-1]],
        "origin_count": len(trial.scored),
        "better_origin_count": int((ours < theirs).sum()) if number is None else 0,
        "target_count": own.target_count,
        "wape_pct": rounded(own.wape_pct),
        "mase": rounded(own.mase),
        "pinball": rounded(own.pinball),
        "interval_coverage_pct": rounded(own.coverage_pct),
        "naive_name": naive_name,
        "naive_wape_pct": rounded(naive.wape_pct),
        "naive_pinball": rounded(naive.pinball),
        "skill_pct": rounded(skill),
        "reason": None if own.wape_pct is not None else "nothing was demanded, or nothing has an outcome",
    }
