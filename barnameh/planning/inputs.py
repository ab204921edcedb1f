"""Reads the inputs of a roster in one snapshot, and computes their fingerprint."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from barnameh.errors import UsageError
from barnameh.planning.model import Contract, Roster, Shift, Standing, Weights, Worker
from barnameh.statements import statements
from db_utils import Transaction

SQL = statements(Path(__file__).with_name("inputs.sql"))
REACH = dt.timedelta(days=16)
"""How far around the window to read assignments: two weeks of consecutive days, and whole weeks of hours."""
EVER = dt.datetime(1, 1, 2, tzinfo=dt.UTC)
FOREVER = dt.datetime(9999, 12, 30, tzinfo=dt.UTC)
_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Contract) if f.name != "valid_from"}


@dataclass(frozen=True)
class WhatIf:
    """Trial changes of the inputs; their plan is not saved as a proposal unless requested."""

    contract: Mapping[str, float] = field(default_factory=dict)
    """Contract figures for everyone, such as max_hours_per_week."""
    without: frozenset[UUID] = frozenset()
    """Employees to leave out."""
    extra: tuple[tuple[str, UUID], ...] = ()
    """Additional employees: a skill and a location each."""
    ignore_skills: bool = False
    anywhere: bool = False
    """Everyone may work at every location."""


@dataclass(frozen=True)
class Inputs:
    """A roster as read, with its origin."""

    roster: Roster
    fingerprint: str
    window_start: dt.datetime
    window_end: dt.datetime
    location_id: UUID | None


def read_roster(
    tx: Transaction,
    organization_id: UUID,
    window_start: dt.datetime,
    window_end: dt.datetime,
    *,
    location_id: UUID | None = None,
    weights: Weights | None = None,
    lock: bool = False,
) -> Inputs:
    """Read in one snapshot the shifts that begin in the window, possible workers and existing assignments.

    With `lock` none of it can change until the transaction ends.
    """
    scope = {
        "organization_id": organization_id,
        "location_id": location_id,
        "window_start": window_start,
        "window_end": window_end,
        "reach": REACH,
    }
    if lock:
        for name in ("shifts", "employees", "contracts", "unavailability", "assignments"):
            tx.execute_query(SQL[f"lock_{name}"], scope)
    (organization,) = tx.execute_query(SQL["organization"], scope)
    shifts = tx.execute_query(SQL["shifts"], scope)
    workers = tx.execute_query(SQL["workers"], scope)
    away = tx.execute_query(SQL["unavailability"], scope)
    standing = tx.execute_query(SQL["standing"], scope)
    absences = tx.execute_query(SQL["absences"], scope)
    planning = organization["settings"].get("planning") or {}
    fingerprint = hashlib.sha256(
        json.dumps([shifts, workers, away, standing, planning], default=str, sort_keys=True).encode()
    ).hexdigest()
    roster = Roster(
        tuple(_shift(row) for row in shifts),
        _workers(workers, away, absences, planning),
        tuple(Standing(**row) for row in standing),
        weights or Weights.of(planning.get("weights", {})),
    )
    return Inputs(roster.sorted(), fingerprint, window_start, window_end, location_id)


def _shift(row: Mapping[str, Any]) -> Shift:
    priority = row["priority"]
    return Shift(
        row["shift_id"],
        row["location_id"],
        row["name"],
        row["starts_at"].astimezone(dt.UTC),
        row["ends_at"].astimezone(dt.UTC),
        row["required_employees"],
        frozenset(row["required_skills"]),
        priority if priority in (1, 2, 3, 4, 5) else 3,
        row["timezone"],
    )


def _workers(
    rows: list[dict[str, Any]],
    away: list[dict[str, Any]],
    absences: list[dict[str, Any]],
    planning: Mapping[str, Any],
) -> tuple[Worker, ...]:
    default = {name: _number(planning.get(name, value), name) for name, value in _DEFAULTS.items()}
    default["max_consecutive_days"] = int(default["max_consecutive_days"])
    hard: dict[UUID, list[tuple[dt.datetime, dt.datetime, str]]] = defaultdict(list)
    soft: dict[UUID, list[tuple[dt.datetime, dt.datetime, float]]] = defaultdict(list)
    likely: dict[UUID, dict[dt.date, float]] = defaultdict(dict)
    for row in away:
        span = (row["starts_at"].astimezone(dt.UTC), row["ends_at"].astimezone(dt.UTC))
        if row["is_hard"]:
            hard[row["employee_id"]].append((*span, row["reason"]))
        else:
            soft[row["employee_id"]].append((*span, float(row["weight"])))
    for row in absences:
        likely[row["employee_id"]][row["target_date"]] = row["probability"]
    found = []
    for row in rows:
        contracts = [
            Contract(dt.date.fromisoformat(c[0]), float(c[1]), float(c[2]), float(c[3]), int(c[4]))
            for c in row["contracts"]
        ]
        places = {UUID(place) for c in row["contracts"][-1:] for place in c[5]}
        found.append(
            Worker(
                row["employee_id"],
                row["full_name"],
                row["location_id"],
                row["timezone"],
                tuple(contracts) or (Contract(dt.date.min, **default),),
                frozenset(row["skills"]),
                frozenset({row["location_id"], *places}),
                tuple((_instant(a), _instant(b)) for a, b in row["employed"]),
                tuple(hard[row["employee_id"]]),
                tuple(soft[row["employee_id"]]),
                likely[row["employee_id"]],
            )
        )
    return tuple(found)


def _number(value: Any, name: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 366:
        raise UsageError(
            f"organizations.settings says planning.{name} is {value!r}: give a number of at least 0"
        )
    return value


def _instant(text: str) -> dt.datetime:
    if text in ("-infinity", "infinity"):
        return EVER if text[0] == "-" else FOREVER
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


def imagine(roster: Roster, what_if: WhatIf) -> Roster:
    """Return the roster with the changes applied."""
    places = frozenset(s.location_id for s in roster.shifts) | {w.location_id for w in roster.workers}
    zones = {w.location_id: w.timezone for w in roster.workers} | {
        s.location_id: s.timezone for s in roster.shifts
    }
    workers = []
    for w in roster.workers:
        if w.employee_id in what_if.without:
            w = dataclasses.replace(w, away=(*w.away, (EVER, FOREVER, "what if")))
        if what_if.anywhere:
            w = dataclasses.replace(w, places=places)
        workers.append(w)
    for n, (skill, place) in enumerate(what_if.extra):
        workers.append(
            Worker(
                UUID(int=n + 1),
                f"New {skill} {n + 1}",
                place,
                zones.get(place, "UTC"),
                (Contract(dt.date.min),),
                frozenset({skill}),
                frozenset({place}),
                ((EVER, FOREVER),),
            )
        )
    changes: dict[str, Any] = dict(what_if.contract)
    if changes:
        workers = [
            dataclasses.replace(w, contracts=tuple(dataclasses.replace(c, **changes) for c in w.contracts))
            for w in workers
        ]
    return dataclasses.replace(
        roster, workers=tuple(workers), skills_count=roster.skills_count and not what_if.ignore_skills
    ).sorted()
