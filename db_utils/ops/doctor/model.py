"""The doctor's findings, their severity, and the limits that determine it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from db_utils.errors import InvalidInputError

if TYPE_CHECKING:
    from db_utils.ops.doctor.context import CheckContext


class Severity(enum.IntEnum):
    """Severity of a finding; higher is more urgent."""

    OK = 0
    SKIPPED = 1
    """The check could not run, so nothing is known."""
    NOTE = 2
    """Worth knowing, nothing to do tonight."""
    WARNING = 3
    """Will hurt if it stays."""
    CRITICAL = 4
    """Hurts now, or data is at risk."""

    @property
    def label(self) -> str:
        """The word that people and scripts read."""
        return self.name.lower()


@dataclass(frozen=True)
class Fix:
    """The fix as text to paste, and where: psql, shell, redis-cli, .env or the command line."""

    text: str
    where: str = "psql"


@dataclass(frozen=True)
class Finding:
    """One thing that a check found. `figures` holds the numbers of `found` for scripts, units in their names."""

    severity: Severity
    found: str
    means: str = ""
    fix: Fix | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    check: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for a JSON document."""
        return {
            "severity": self.severity.label,
            "check": self.check,
            "found": self.found,
            "means": self.means,
            "fix": self.fix.text if self.fix else None,
            "fix_in": self.fix.where if self.fix else None,
            "figures": dict(self.figures),
        }


Findings = Iterator[Finding]


def ok(found: str, **figures: Any) -> Finding:
    """Return a finding that nothing is wrong, with the evidence."""
    return Finding(Severity.OK, found, figures=figures)


def skipped(why: str) -> Finding:
    """Return a finding that the check did not run, with the reason."""
    return Finding(Severity.SKIPPED, why)


@dataclass(frozen=True)
class Check:
    """One question to a server. `question` is the first line of its function's docstring."""

    name: str
    ask: Callable[[CheckContext], Findings]
    edition: str
    sees_everyone: bool

    @property
    def question(self) -> str:
        """What the check looks for."""
        return (self.ask.__doc__ or "").strip().partition("\n")[0]

    @property
    def explanation(self) -> str:
        """How it judges, and why: the rest of the docstring, as one paragraph."""
        return " ".join((self.ask.__doc__ or "").strip().partition("\n")[2].split())


def check(
    name: str, *, edition: str = "any", sees_everyone: bool = False
) -> Callable[[Callable[[CheckContext], Findings]], Check]:
    """Make a function that yields findings a check; no finding means that it passed.

    `edition` is "any", "timescaledb" (community and apache), "community" or "citus"; on others the check is
    reported as skipped. `sees_everyone` means that it needs to see other roles' sessions, which pg_monitor
    allows.
    """

    def register(function: Callable[[CheckContext], Findings]) -> Check:
        return Check(name, function, edition, sees_everyone)

    return register


@dataclass(frozen=True)
class Limit:
    """The value from which a figure is a warning, and the one from which it is critical (None: never)."""

    warning: float
    critical: float | None
    unit: str
    meaning: str
    source: str
    low_is_bad: bool = False

    @property
    def is_ordered(self) -> bool:
        """Whether the critical value is the worse one."""
        if self.critical is None:
            return True
        return self.critical <= self.warning if self.low_is_bad else self.critical >= self.warning

    def grade(self, value: float) -> Severity:
        """Return the severity of this value."""
        sign = -1 if self.low_is_bad else 1
        if self.critical is not None and sign * value >= sign * self.critical:
            return Severity.CRITICAL
        return Severity.WARNING if sign * value >= sign * self.warning else Severity.OK


def change_limits(limits: Mapping[str, Limit], changes: list[str]) -> dict[str, Limit]:
    """Return the limits after changes such as "disk-days=14" or "disk-days=14,3" (warning, critical).

    Raises `InvalidInputError`, which names the invalid change.
    """
    changed = dict(limits)
    for change in changes:
        name, _, text = change.partition("=")
        if name not in changed:
            raise InvalidInputError(f"unknown limit {name!r}: choose from {', '.join(sorted(changed))}")
        try:
            numbers = [float(part) for part in text.split(",")]
            if not 1 <= len(numbers) <= 2 or not all(0 <= number < 1e15 for number in numbers):
                raise ValueError
        except ValueError:
            raise InvalidInputError(
                f"invalid limit {change!r}: write {name}=WARNING or {name}=WARNING,CRITICAL, with numbers of 0 or more"
            ) from None
        limit = replace(changed[name], warning=numbers[0])
        if len(numbers) == 2:
            limit = replace(limit, critical=numbers[1])
        if limit.critical is not None and not limit.is_ordered:
            raise InvalidInputError(
                f"limit {change!r}: critical ({limit.critical:g} {limit.unit}) must be the worse of the two values: write "
                f"{name}=WARNING,CRITICAL"
            )
        changed[name] = limit
    return changed


def duration(seconds: float) -> str:
    """Return a number of seconds as readable text."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
