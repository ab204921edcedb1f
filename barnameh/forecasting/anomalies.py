"""Machine anomalies: failures predicted from readings that rise to a limit, bottlenecks, unusual readings."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np

from barnameh.forecasting.frames import Floats
from barnameh.forecasting.roles import save_model, version_of
from barnameh.forecasting.run import SQL
from db_utils import DatabaseManager, OperationalDataQueries

MODEL = "machine-watch"
DEFAULT_LIMITS = {"vibration_mm_s": 7.1}
"""ISO 10816-3, zone C to D of medium machines on rigid foundations, from memory; give your machine's."""
WINDOW = dt.timedelta(days=7)
TREND_HOURS = 24
LONGEST_STANDSTILL_HOURS = 72
AHEAD = dt.timedelta(days=3)
LEAST_RISE = 4.0
"""A level counts as risen if it is this many median deviations above the first day's."""
UNLIKE = 1e-5
"""A reading is unusual if its error is expected at most once in this many."""


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
    dry_run: bool = False,
) -> AnomalyRun:
    """Predict anomalies from the hours before `as_of` (aware; now); one prediction per day, machine and kind.

    failure: over the last 24 running hours the slope (Theil-Sen, 90 % bounds) is above 0, the level has
    risen, and the limit of the reading is reached within three days of running. bottleneck: twelve running
    hours above 90 % utilization, with efficiency 3 points below the first day's. performance: the last hour's
    error against the median of the week is as large once in 100,000. Older predictions are closed with their
    outcome: confirmed if the machine broke down, a false alarm if it had not by a day after.
    """
    until = (as_of or dt.datetime.now(dt.UTC)).replace(minute=0, second=0, microsecond=0)
    run = AnomalyRun(until)
    scope = db.tenant(organization_id)
    parameters = {"organization_id": organization_id, "as_of": until, "model_name": MODEL}
    levels: dict[tuple[UUID, str], dict[str, tuple[Floats, Floats]]] = {}
    hours: dict[tuple[UUID, str], dict[str, list[tuple[float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in scope.execute_query(SQL["hourly_metrics"], {**parameters, "window": WINDOW}):
        age = (row["hour"] - until).total_seconds() / 3600
        hours[row["resource_id"], row["resource_name"]][row["name"]].append((age, float(row["level"])))
    for machine, by_name in hours.items():
        # An idle machine's readings say nothing about its condition: only running hours count.
        ran = {age for age, busy in by_name.get("utilization_pct", []) if busy > 1}
        levels[machine] = {
            name: (np.array([a for a, _ in pairs]), np.array([v for _, v in pairs]))
            for name, told in by_name.items()
            if (pairs := [pair for pair in told if pair[0] in ran or "utilization_pct" not in by_name])
        }
    said = {
        (r["resource_id"], r["anomaly_type"])
        for r in scope.execute_query(SQL["predictions_of_a_day"], parameters)
    }
    for (resource_id, name), readings in levels.items():
        for found in (
            *(
                _failure(until, reading, *readings[reading], limit)
                for reading, limit in limits.items()
                if reading in readings
            ),
            _bottleneck(until, readings),
            *(
                _unlike(until, reading, *values)
                for reading, values in sorted(readings.items())
                if reading not in limits
            ),
        ):
            if found and (resource_id, found["anomaly_type"]) not in said:
                said.add((resource_id, found["anomaly_type"]))
                text = f"{name}: {found.pop('said')}"
                run.predictions.append({**found, "resource_id": resource_id, "description": text})
    model_version = version_of({"limits": dict(limits)})
    if dry_run:
        return run
    with scope.transaction() as tx:
        queries = OperationalDataQueries(tx)
        for row in tx.execute_query(SQL["open_predictions"], parameters):
            outcome = _outcome(row, until)
            if outcome is not None:
                queries.close_anomaly_prediction(
                    organization_id, row["anomaly_id"], outcome=outcome, closed_at=until,
                    occurred_at=row["failed_at"] if outcome == "confirmed" else None,
                )  # fmt: skip
                run.closed[outcome] = run.closed.get(outcome, 0) + 1
        if run.predictions:
            save_model(
                queries,
                organization_id,
                MODEL,
                model_version,
                kind="anomaly",
                config={"limits": dict(limits)},
            )
            run.written = queries.save_anomaly_predictions(
                organization_id,
                run.predictions,
                model_name=MODEL,
                model_version=model_version,
                available_at=until,
            )
    return run


def _outcome(row: Mapping[str, Any], until: dt.datetime) -> str | None:
    if row["anomaly_type"] == "failure" and row["failed_at"] is not None:
        return "confirmed"
    if row["predicted_for"] + dt.timedelta(days=1) > until:
        return None
    # The outcome of a bottleneck is not recorded.
    return "false_alarm" if row["anomaly_type"] == "failure" else "unknown"


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


def _unlike(until: dt.datetime, name: str, ages: Floats, values: Floats) -> dict[str, Any] | None:
    """Compare the last two hours' error with the same hours of earlier days, by a robust normal tail."""
    recent = ages >= -2
    if recent.sum() < 2 or (~recent).sum() < 72:
        return None
    hour = np.mod(ages, 24)
    typical = {h: float(np.median(values[~recent & (hour == h)])) for h in set(hour[~recent])}
    error = np.array(
        [v - typical.get(h, float(np.median(values[~recent]))) for v, h in zip(values, hour, strict=True)]
    )
    width = max(_deviation(error[~recent]), float(np.quantile(np.abs(error[~recent]), 0.99)) / 2.6)
    distance = float(np.min(np.abs(error[recent]))) / width
    tail = math.erfc(distance / math.sqrt(2))
    if tail > UNLIKE:
        return None
    return {
        "anomaly_type": "performance",
        "severity": "medium",
        "probability": 0.5,
        "predicted_for": until,
        "said": f"{name} in the last two hours deviates {distance:.0f} times as much as usual",
        "metadata": {"reading": name, "distance": round(distance, 2)},
    }
