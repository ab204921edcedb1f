"""Absences: how likely is each employee to be away on each coming day?"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from barnameh.forecasting.roles import save_model, version_of
from barnameh.forecasting.run import DIGITS, SQL
from db_utils import DatabaseManager, OperationalDataQueries

MODEL = "absence-rate"
LEARNER = "absence-trees"
PRIOR_DAYS = 20.0
"""Days after which a person's own rate counts as much as the organization's."""
LEAST_LEARNT_DAYS = 2_000
HISTORY = dt.timedelta(days=730)


@dataclass
class AbsenceRun:
    """The result of a run."""

    available_at: dt.datetime
    model_name: str
    day_count: int
    forecasts: list[Any]
    written: int = 0


def forecast_absences(
    db: DatabaseManager,
    organization_id: UUID,
    *,
    as_of: dt.datetime | None = None,
    horizon: int = 14,
    dry_run: bool = False,
) -> AbsenceRun:
    """Forecast each employee's probability of absence by coming local day, and absences per location.

    Learns from days that had ended at `as_of` (aware; now), never from today's. Below 2,000 attended days:
    each person's rate, shrunk towards the overall rate (half and half at 20 days); above: boosted trees of
    rate, weekday and absence the day before, if scikit-learn is installed. Counts of absences cover those
    assigned to a shift that day. Forecasts begin tomorrow; the inputs change once a day, so a second run on a
    day writes nothing.
    """
    scope = db.tenant(organization_id)
    organization = OperationalDataQueries(scope).get_organization(organization_id)
    now = as_of or dt.datetime.now(dt.UTC)
    until = scope.execute_query(
        "SELECT local_day_start(local_date(%s, %s), %s) AS start",
        (now, organization["timezone"], organization["timezone"]),
    )[0]["start"]
    parameters = {"organization_id": organization_id, "as_of": until}
    days = scope.execute_query(SQL["attended_days"], {**parameters, "history": HISTORY})
    people = scope.execute_query(SQL["people_due"], {**parameters, "ahead": dt.timedelta(days=horizon + 2)})
    targets = [number + 1 for number in range(horizon)]
    own: dict[UUID, list[tuple[dt.date, bool]]] = defaultdict(list)
    for row in days:
        own[row["employee_id"]].append((row["day"], row["is_away"]))
    overall = (sum(row["is_away"] for row in days) + 0.5) / (len(days) + 10)
    rates = {
        person: (sum(away for _, away in past) + PRIOR_DAYS * overall) / (len(past) + PRIOR_DAYS)
        for person, past in own.items()
    }
    learnt = _learn(own, overall) if len(days) >= LEAST_LEARNT_DAYS else None
    name = MODEL if learnt is None else LEARNER
    forecasts: list[Any] = []
    expected: dict[tuple[UUID, dt.date], float] = defaultdict(float)
    for person in people:
        employee = person["employee_id"]
        rate = rates.get(employee, overall)
        past = own.get(employee, [])
        for ahead in targets:
            day = person["today"] + dt.timedelta(days=ahead)
            seen = _features(rate, past, day, ahead)
            probability = rate if learnt is None else float(learnt.predict_proba(np.array([seen]))[0, 1])
            probability = round(min(max(probability, 0.0), 1.0), DIGITS)
            forecasts.append(
                {"employee_id": employee, "target_date": day, "absence_probability": probability}
            )
            expected[person["location_id"], day] += probability * (day in person["due_days"])
    forecasts += [
        {"location_id": place, "target_date": day, "expected_absences": round(count, DIGITS)}
        for (place, day), count in sorted(expected.items(), key=str)
    ]
    run = AbsenceRun(until, name, len(days), forecasts)
    if not dry_run and forecasts:
        model_version = version_of({"horizon": horizon})
        with scope.transaction() as tx:
            queries = OperationalDataQueries(tx)
            reason = f"{len(days):,} attended days are known, {LEAST_LEARNT_DAYS:,} are needed to learn from"
            save_model(
                queries,
                organization_id,
                name,
                model_version,
                kind="absence",
                config={"target": f"{horizon} x day"},
                reason=reason,
            )
            run.written = queries.save_absence_forecasts(
                organization_id, forecasts, model_name=name, model_version=model_version, available_at=until
            )
    return run


def _features(rate: float, past: list[tuple[dt.date, bool]], day: dt.date, ahead: int) -> list[float]:
    last = past[-1] if past else None
    return [
        rate,
        day.weekday(),
        day.month,
        ahead,
        float(last[1]) if last else np.nan,
        float((day - last[0]).days) if last else np.nan,
    ]


def _learn(own: dict[UUID, list[tuple[dt.date, bool]]], overall: float) -> Any:
    """Fit trees on past days, each seen from 1 to 14 days before; None if scikit-learn is not installed."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        return None
    rows, away = [], []
    for number, (_, past) in enumerate(sorted(own.items(), key=str)):
        before = 0
        for position, (day, is_away) in enumerate(past):
            ahead = 1 + (position + number) % 14
            known = [
                one
                for one in past[max(position - ahead, 0) : position]
                if one[0] <= day - dt.timedelta(days=ahead)
            ]
            rate = (before + PRIOR_DAYS * overall) / (position + PRIOR_DAYS)
            rows.append(_features(rate, known, day, ahead))
            away.append(is_away)
            before += is_away
    if len(set(away)) < 2:
        return None
    model = HistGradientBoostingClassifier(
        max_iter=80, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=100, random_state=0
    )
    return model.fit(np.array(rows, dtype=np.float64), np.array(away))
