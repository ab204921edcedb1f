"""What a roster is made of: shifts, people, what stands already, and how much each wish weighs. Plain data, no solver."""

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
"""Assignments with these statuses stay; those that are scheduled may be taken back."""


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
        """Hours as they pass."""
        return (self.ends_at - self.starts_at).total_seconds() / 3600


@dataclass(frozen=True)
class Contract:
    """How much someone may work from a local day on; see `employee_contracts`."""

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
    """Locations of shifts that they may work, the own one among them."""
    employed: tuple[Span, ...] = ()
    away: tuple[tuple[dt.datetime, dt.datetime, str], ...] = ()
    """When they cannot work, and why."""
    wishes: tuple[tuple[dt.datetime, dt.datetime, float], ...] = ()
    """When they would rather not, and how much that counts."""
    absence: Mapping[dt.date, float] = field(default_factory=dict)
    """Probability of absence by local day."""

    def contract(self, day: dt.date) -> Contract:
        """The contract in force on a local day; before the first one, the first."""
        return max(
            (c for c in self.contracts if c.valid_from <= day), key=_valid_from, default=self.contracts[0]
        )


def _valid_from(contract: Contract) -> dt.date:
    return contract.valid_from


@dataclass(frozen=True)
class Standing:
    """An assignment that stands in the roster, of a shift that is to be planned or of another one near it."""

    shift_id: UUID
    employee_id: UUID
    status: str
    starts_at: dt.datetime
    ends_at: dt.datetime


@dataclass(frozen=True)
class Weights:
    """What one unit of each costs; a missing person weighs more than all else that filling the place could cost."""

    missing: float = 1000.0
    """A place without a person, at priority 3; half as much more or less at 1 and 5."""
    skill: float = 400.0
    """A required skill that no one in the crew has."""
    change: float = 80.0
    """Someone taken off a shift. Who comes instead is no cost of its own: nobody is replaced for nothing."""
    absence: float = 30.0
    """A person who is sure not to come."""
    hours: float = 1.0
    """An hour above the fair share; twice as much from 8 hours above on, four times from 24 on."""
    wish: float = 10.0
    """A shift against a wish of weight 1."""
    nights: float = 6.0
    """A night above the fair share; twice as much from the third on."""
    weekends: float = 6.0
    """A shift at a weekend above the fair share; twice as much from the third on."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Weights:
        """The defaults with these instead; `UsageError` for one that is unknown or negative."""
        names = {f.name for f in dataclasses.fields(cls)}
        for name, value in values.items():
            if name not in names:
                raise UsageError(f"there is no weight {name!r}: give one of {', '.join(sorted(names))}")
            if not isinstance(value, (int, float)) or not 0 <= value < 1e9:
                raise UsageError(f"weight {name} is {value!r}: give a number from 0 on")
        return cls(**values)


@dataclass(frozen=True)
class Roster:
    """A problem: who may work what, and what stands. The order of shifts and workers is that of their keys."""

    shifts: tuple[Shift, ...]
    workers: tuple[Worker, ...]
    standing: tuple[Standing, ...] = ()
    weights: Weights = Weights()
    skills_count: bool = True
    """False in a what-if that ignores skills."""

    def sorted(self) -> Roster:
        """The same with everything in one order, so that the same input gives the same plan."""
        return dataclasses.replace(
            self,
            shifts=tuple(sorted(self.shifts, key=lambda s: (s.starts_at, s.shift_id))),
            workers=tuple(sorted(self.workers, key=lambda w: w.employee_id)),
            standing=tuple(sorted(self.standing, key=lambda a: (a.starts_at, a.shift_id, a.employee_id))),
        )

    def is_released(self, standing: Standing, worker: Worker) -> bool:
        """Whether a pinned assignment of the future cannot be kept: the person is away or not employed then."""
        if standing.status != "confirmed":
            return False
        gone = any(a < standing.ends_at and b > standing.starts_at for a, b, _ in worker.away)
        return gone or not any(a <= standing.starts_at < b for a, b in worker.employed)

    def pinned(self) -> set[Pair]:
        """Assignments of the shifts that stay whatever the plan says."""
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
        """Assignments of the shifts as they stand: who is to come."""
        shifts = {s.shift_id for s in self.shifts}
        return {
            (a.shift_id, a.employee_id)
            for a in self.standing
            if a.shift_id in shifts and a.status in ("scheduled", "confirmed", "completed")
        }
