"""The data of a roster: shifts, people, existing assignments and weights. Plain data, no solver."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from barnameh.errors import UsageError

Span = tuple[dt.datetime, dt.datetime]
Pair = tuple[UUID, UUID]
"""Shift and employee."""

PINNED = frozenset({"confirmed", "completed", "absent"})
"""Assignments with these statuses stay; scheduled ones may be removed."""


@dataclass(frozen=True)
class Shift:
    """A shift to be staffed; times in UTC, `ends_at` not included."""

    shift_id: UUID
    location_id: UUID
    name: str
    starts_at: dt.datetime
    ends_at: dt.datetime
    required: int
    skills: frozenset[str] = frozenset()
    priority: int = 3
    timezone: str = "UTC"

    @property
    def hours(self) -> float:
        """Elapsed hours."""
        return (self.ends_at - self.starts_at).total_seconds() / 3600


@dataclass(frozen=True)
class Contract:
    """A person's working limits from a local day on; see `employee_contracts`."""

    valid_from: dt.date
    hours_per_week: float = 40.0
    max_hours_per_week: float = 48.0
    min_rest_hours: float = 11.0
    max_consecutive_days: int = 6


@dataclass(frozen=True)
class Worker:
    """A person: where and when they may work. `contracts` are in order and never empty; times half-open, in UTC."""

    employee_id: UUID
    name: str
    location_id: UUID
    timezone: str
    contracts: tuple[Contract, ...]
    skills: frozenset[str] = frozenset()
    places: frozenset[UUID] = frozenset()
    """Locations of shifts that they may work, including their own."""
    employed: tuple[Span, ...] = ()
    away: tuple[tuple[dt.datetime, dt.datetime, str], ...] = ()
    """Times at which they cannot work, with reasons."""
    wishes: tuple[tuple[dt.datetime, dt.datetime, float], ...] = ()
    """Times at which they prefer not to work, with weights."""
    absence: Mapping[dt.date, float] = field(default_factory=dict)
    """Probability of absence by local day."""

    def contract(self, day: dt.date) -> Contract:
        """Return the contract in force on a local day; before the first one, the first."""
        if len(self.contracts) == 1:
            return self.contracts[0]
        return max(
            (c for c in self.contracts if c.valid_from <= day), key=_valid_from, default=self.contracts[0]
        )


def _valid_from(contract: Contract) -> dt.date:
    return contract.valid_from


@dataclass(frozen=True)
class Standing:
    """An existing assignment, to a shift of the plan or to another one near it."""

    shift_id: UUID
    employee_id: UUID
    status: str
    starts_at: dt.datetime
    ends_at: dt.datetime


@dataclass(frozen=True)
class Weights:
    """Costs per unit; a missing person outweighs all other costs of filling the place."""

    missing: float = 1000.0
    """An empty place, at priority 3; 50 % more at 1, 50 % less at 5."""
    skill: float = 400.0
    """A required skill missing from the crew."""
    change: float = 80.0
    """A person removed from a shift. The replacement costs nothing extra."""
    absence: float = 30.0
    """A person certain to be absent."""
    hours: float = 1.0
    """An hour above the fair share; twice as much from 8 hours above on, four times from 24 on."""
    wish: float = 10.0
    """A shift against a wish of weight 1."""
    nights: float = 6.0
    """A night above the fair share; twice as much from the third on."""
    weekends: float = 6.0
    """A weekend shift above the fair share; twice as much from the third on."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Weights:
        """Return the weights with these replaced; `UsageError` if one is unknown or negative."""
        names = {f.name for f in dataclasses.fields(cls)}
        for name, value in values.items():
            if name not in names:
                raise UsageError(f"there is no weight {name!r}: give one of {', '.join(sorted(names))}")
            if not isinstance(value, (int, float)) or not 0 <= value < 1e9:
                raise UsageError(f"weight {name} is {value!r}: give a number of at least 0")
        return cls(**values)


@dataclass(frozen=True)
class Roster:
    """A problem: shifts, workers and existing assignments. Shifts and workers are ordered by their keys."""

    shifts: tuple[Shift, ...]
    workers: tuple[Worker, ...]
    standing: tuple[Standing, ...] = ()
    weights: Weights = Weights()
    skills_count: bool = True
    """False in a what-if that ignores skills."""

    def sorted(self) -> Roster:
        """Return the roster in canonical order, so that the same input gives the same plan."""
        return dataclasses.replace(
            self,
            shifts=tuple(sorted(self.shifts, key=lambda s: (s.starts_at, s.shift_id))),
            workers=tuple(sorted(self.workers, key=lambda w: w.employee_id)),
            standing=tuple(sorted(self.standing, key=lambda a: (a.starts_at, a.shift_id, a.employee_id))),
        )

    def is_released(self, standing: Standing, worker: Worker) -> bool:
        """Whether a future pinned assignment cannot stay, because the person is away or not employed then."""
        if standing.status != "confirmed":
            return False
        gone = any(a < standing.ends_at and b > standing.starts_at for a, b, _ in worker.away)
        return gone or not any(a <= standing.starts_at < b for a, b in worker.employed)

    def pinned(self) -> set[Pair]:
        """Return the assignments of the shifts that stay in any plan."""
        known = {w.employee_id: w for w in self.workers}
        shifts = {s.shift_id for s in self.shifts}
        return {
            (a.shift_id, a.employee_id)
            for a in self.standing
            if a.shift_id in shifts
            and a.status in PINNED
            and not (a.employee_id in known and self.is_released(a, known[a.employee_id]))
        }

    def present(self) -> set[Pair]:
        """Return the existing assignments of people expected to come."""
        shifts = {s.shift_id for s in self.shifts}
        return {
            (a.shift_id, a.employee_id)
            for a in self.standing
            if a.shift_id in shifts and a.status in ("scheduled", "confirmed", "completed")
        }
