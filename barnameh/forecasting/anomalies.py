"""Machine anomalies: failures predicted from readings that rise to a limit, bottlenecks, unusual readings."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np

from barnameh.forecasting.frames import Floats
from barnameh.forecasting.roles import save_model, version_of
from barnameh.forecasting.run import SQL
from barnameh.forecasting.unusual import DAYS_BACK, STEP, WINDOW_POINTS, surprise
from db_utils import DatabaseManager, OperationalDataQueries

MODEL = "machine-watch"
DEFAULT_LIMITS = {"vibration_mm_s": 7.1}
"""ISO 10816-3, zone C to D of medium machines on rigid foundations, from memory; give your machine's."""
DAY = dt.timedelta(days=1)
WINDOW = WINDOW_POINTS * STEP + DAYS_BACK * DAY + DAY
"""What is read: the window of the last day's readings, and the days before it that explain its first errors."""
WEEK_HOURS = 168
TREND_HOURS = 24
LONGEST_STANDSTILL_HOURS = 72
AHEAD = dt.timedelta(days=3)
LEAST_RISE = 4.0
"""A level counts as risen if it is this many median deviations above the first day's."""
UNUSUAL_AT = 7.0
"""Standard deviations from which a reading is unusual; chosen on half of the files of NAB, see BENCHMARKS.md."""

Hours = tuple[Floats, Floats]
"""Ages of running hours (-1 is the last one), and the median of a reading in each."""


@dataclass
class AnomalyRun:
    """The result of a run: new predictions, and older ones closed with their outcome."""

    available_at: dt.datetime
    predictions: list[Any] = field(default_factory=list)
    written: int = 0
    closed: dict[str, int] = field(default_factory=dict)


def detect_anomalies(
    db: DatabaseManager,
    organization_id: UUID,
    *,
    as_of: dt.datetime | None = None,
    limits: Mapping[str, float] = DEFAULT_LIMITS,
    unusual_at: float = UNUSUAL_AT,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> AnomalyRun:
    """Predict anomalies from the readings before `as_of` (aware; now); one prediction per day, machine and kind.

    failure: over the last 24 running hours the slope (Theil-Sen, 90 % bounds) is above 0, the level has
    risen, and the limit of the reading is reached within three days of running. bottleneck: twelve running
    hours above 90 % utilization, with efficiency 3 points below the first day's. performance: a reading of the
    last day is `unusual_at` standard deviations from what the days before it suggest (see `surprise`).
    Older predictions are closed by what happened: a failure or an unusual reading is confirmed by a breakdown,
    and a false alarm a day after its time; a bottleneck is confirmed if the machine stayed as busy.
    """
    until = (as_of or dt.datetime.now(dt.UTC)).replace(minute=0, second=0, microsecond=0)
    run = AnomalyRun(until)
    scope = db.tenant(organization_id)
    parameters = {"organization_id": organization_id, "as_of": until, "model_name": MODEL}
    said = {
        (row["resource_id"], row["anomaly_type"]): row
        for row in scope.execute_query(SQL["newest_predictions"], parameters)
    }
    utilization: dict[UUID, Hours] = {}
    machines = scope.execute_query(SQL["machines"], parameters)
    for number, machine in enumerate(machines):
        resource_id = machine["resource_id"]
        told = scope.execute_query(
            SQL["five_minute_metrics"],
            {**parameters, "resource_id": resource_id, "window": WINDOW, "step": STEP},
        )
        hours, readings = _running(told)
        if "utilization_pct" in hours:
            utilization[resource_id] = hours["utilization_pct"]
        week = {
            name: (ages[ages >= -WEEK_HOURS], values[ages >= -WEEK_HOURS])
            for name, (ages, values) in hours.items()
        }
        last = said.get((resource_id, "performance"))
        since = max(until - DAY, last["predicted_for"] + DAY) if last else until - DAY
        everything = (
            *(_failure(until, name, *week[name], limit) for name, limit in limits.items() if name in week),
            _bottleneck(until, week),
            _unusual(until, since, readings, unusual_at),
        )
        told_today = {
            kind
            for (one, kind), row in said.items()
            if one == resource_id and row["available_at"] > until - DAY
        } - {"performance"}
        for found in filter(None, everything):
            if found["anomaly_type"] not in told_today:
                told_today.add(found["anomaly_type"])
                text = f"{machine['name']}: {found.pop('said')}"
                run.predictions.append({**found, "resource_id": resource_id, "description": text})
        progress(number + 1, len(machines))
    if dry_run:
        return run
    config = {"limits": dict(limits), "unusual_at": unusual_at}
    model_version = version_of(config)
    with scope.transaction() as tx:
        queries = OperationalDataQueries(tx)
        for row in tx.execute_query(SQL["open_predictions"], parameters):
            outcome, occurred_at = _outcome(row, until, utilization.get(row["resource_id"]))
            if outcome is not None:
                queries.close_anomaly_prediction(
                    organization_id,
                    row["anomaly_id"],
                    outcome=outcome,
                    closed_at=until,
                    occurred_at=occurred_at,
                )
                run.closed[outcome] = run.closed.get(outcome, 0) + 1
        if run.predictions:
            save_model(queries, organization_id, MODEL, model_version, kind="anomaly", config=config)
            run.written = queries.save_anomaly_predictions(
                organization_id,
                run.predictions,
                model_name=MODEL,
                model_version=model_version,
                available_at=until,
            )
    return run


def _running(rows: list[dict[str, Any]]) -> tuple[dict[str, Hours], dict[str, Floats]]:
    """Return each reading by hour and by five minutes, of the hours in which the machine ran.

    An idle machine's readings say nothing about its condition: its own samples are not read, and those of
    sensors that do not tell whether it ran count only in hours in which it did.
    """
    readings: dict[str, Floats] = {}
    for row in rows:
        readings[row["name"]] = np.full(WINDOW // STEP, np.nan)
        readings[row["name"]][row["buckets"]] = row["levels"]
    an_hour = dt.timedelta(hours=1) // STEP
    levels = {name: _medians(values.reshape(-1, an_hour)) for name, values in readings.items()}
    busy = levels.get("utilization_pct")
    hours: dict[str, Hours] = {}
    for name, level in levels.items():
        ran = np.isfinite(level) if busy is None else np.isfinite(level) & np.isfinite(busy)
        readings[name] = np.where(np.repeat(ran, an_hour), readings[name], np.nan)
        hours[name] = (np.flatnonzero(ran).astype(np.float64) - len(level), level[ran])
    return {name: one for name, one in hours.items() if len(one[0])}, readings


def _medians(rows: Floats) -> Floats:
    """The median of each row's known values; NaN if there are none."""
    known = np.isfinite(rows).any(axis=1)
    medians = np.full(len(rows), np.nan)
    if known.any():
        medians[known] = np.nanmedian(rows[known], axis=1)
    return medians


def _outcome(
    row: Mapping[str, Any], until: dt.datetime, busy: Hours | None
) -> tuple[str | None, dt.datetime | None]:
    """What became of a prediction, and when it occurred; None while it is open."""
    if row["anomaly_type"] != "bottleneck" and row["failed_at"] is not None:
        return "confirmed", row["failed_at"]
    if row["predicted_for"] + DAY > until:
        return None, None
    if row["anomaly_type"] != "bottleneck":
        return "false_alarm", None
    first, last = ((row[at] - until) / dt.timedelta(hours=1) for at in ("available_at", "predicted_for"))
    after = busy[1][(busy[0] >= first) & (busy[0] < last)] if busy else ()
    if not len(after):
        return "unknown", None
    return ("confirmed", row["predicted_for"]) if np.median(after) > 90 else ("false_alarm", None)


def _deviation(values: Floats) -> float:
    return max(
        1.4826 * float(np.median(np.abs(values - np.median(values)))),
        1e-3 * abs(float(np.median(values))),
        1e-9,
    )


def _failure(
    until: dt.datetime, name: str, ages: Floats, values: Floats, limit: float
) -> dict[str, Any] | None:
    if len(values) < 2 * TREND_HOURS or ages.max() < -LONGEST_STANDSTILL_HOURS:
        return None
    first, y = values[:TREND_HOURS], values[-TREND_HOURS:]
    x = np.arange(TREND_HOURS, dtype=np.float64)
    i, j = np.triu_indices(len(x), 1)
    slopes = np.sort((y[j] - y[i]) / (x[j] - x[i]))
    count = len(x)
    # Bounds of the Theil-Sen slope from Kendall's variance (Sen, 1968).
    reach = 1.645 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = slopes[max(int((len(slopes) - reach) / 2), 0)]
    slope, level = float(np.median(slopes)), float(np.median(y[-3:]))
    risen = level - float(np.median(first))
    if low <= 0 or risen < LEAST_RISE * _deviation(first):
        return None
    left = (limit - level) / slope
    if left > AHEAD.total_seconds() / 3600:
        return None
    left = max(left, 1.0)
    return {
        "anomaly_type": "failure",
        "severity": "critical" if left < 24 else "high",
        "probability": round(1 / (1 + math.exp((left - 48) / 24)), 2),
        "predicted_for": until + dt.timedelta(hours=round(left)),
        "said": f"{name} rises by {slope:.3g} an hour and reaches {limit:g} in about {left:.0f} hours (now {level:.2f})",
        "metadata": {
            "reading": name,
            "limit": limit,
            "slope_per_hour": round(slope, 6),
            "slope_low": round(float(low), 6),
        },
    }


def _bottleneck(until: dt.datetime, readings: Mapping[str, tuple[Floats, Floats]]) -> dict[str, Any] | None:
    if "utilization_pct" not in readings or "efficiency_pct" not in readings:
        return None
    ages, busy = readings["utilization_pct"]
    _, efficiency = readings["efficiency_pct"]
    if len(busy) < 36 or len(efficiency) < 36 or ages.max() < -LONGEST_STANDSTILL_HOURS:
        return None
    level = float(np.median(busy[-12:]))
    lost = float(np.median(efficiency[:24]) - np.median(efficiency[-12:]))
    if level <= 90 or lost < 3:
        return None
    return {
        "anomaly_type": "bottleneck",
        "severity": "high",
        "probability": round(min(0.95, 0.6 + 0.05 * lost), 2),
        "predicted_for": until + dt.timedelta(hours=12),
        "said": f"busy {level:.0f} % of its last twelve hours, and {lost:.1f} points less efficient than a week ago",
        "metadata": {"utilization_pct": round(level, 2), "efficiency_lost_points": round(lost, 2)},
    }


def _unusual(
    until: dt.datetime, since: dt.datetime, readings: Mapping[str, Floats], unusual_at: float
) -> dict[str, Any] | None:
    """The most unusual reading since a time, told at the first moment at which it was unusual."""
    strongest: tuple[float, dict[str, Any]] | None = None
    for name, values in sorted(readings.items()):
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < 2:
            continue
        # Readings that come every quarter of an hour are judged as such; steps divide a day.
        apart = max(1, float(np.median(np.diff(known))))
        step = max(one for one in (1, 2, 3, 4, 6, 12, 24, 48, 144, 288) if one <= apart)
        coarse = values[len(values) % step :].reshape(-1, step)
        number = np.isfinite(coarse).sum(axis=1)
        series = np.divide(
            np.nansum(coarse, axis=1), number, out=np.full(len(coarse), np.nan), where=number > 0
        )
        ends = np.array([until - step * STEP * left for left in range(len(series))][::-1])
        found = surprise(series, DAY // (step * STEP))
        found[ends <= since] = 0
        over = np.flatnonzero(found >= unusual_at)
        if len(over) and (strongest is None or found.max() > strongest[0]):
            first, most, usual = over[0], int(found.argmax()), float(np.nanmedian(series[: over[0]]))
            told = (
                f"{name} is unusual since {ends[first]:%Y-%m-%d %H:%M} UTC: {series[most]:.4g} at {ends[most]:%H:%M}, "
                f"{found.max():.0f} standard deviations from the days before (median {usual:.4g})"
            )
            prediction = {
                "anomaly_type": "performance",
                "severity": "medium",
                "probability": 0.5,
                "predicted_for": ends[first],
                "said": told,
                "metadata": {"reading": name, "deviations": round(float(found.max()), 2)},
            }
            strongest = float(found.max()), prediction
    return strongest[1] if strongest else None
