"""Runs of connectors: fetch windows and store new information, each window in one transaction."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from barnameh import locks
from barnameh.connectors.client import Client
from barnameh.connectors.model import Factor, Place, Source, Window
from barnameh.errors import QuotaError, ServiceError, SourceError, UsageError
from barnameh.statements import statements
from db_utils import DatabaseManager, TenantScope, Transaction

SQL = statements(Path(__file__).with_name("store.sql"))
FIRST_WINDOW = dt.timedelta(days=90)
"""How far back the first run of a connector starts by default."""
LONGEST_CATCH_UP = dt.timedelta(days=366)
"""How far back a run catches up automatically; give a start to fetch older data."""
SHOWN_REFUSALS = 5
KEPT_RUNS = 1_000
"""For each source and place: eight months at four runs a day."""


@dataclass
class RunResult:
    """The result for one place: readings, new ones, impossible ones, and why it ended early if it did."""

    place: Place
    read: int = 0
    written: int = 0
    refused: int = 0
    refusals: list[str] = field(default_factory=list)
    """The first impossible readings, each with its place and time."""
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        return {
            "location": self.place.name,
            "location_id": None if self.place.location_id is None else str(self.place.location_id),
            "readings_read": self.read,
            "readings_written": self.written,
            "readings_refused": self.refused,
            "refusals": self.refusals,
            "error": self.error,
        }


def utc_now() -> dt.datetime:
    """Return the current time (UTC)."""
    return dt.datetime.now(dt.UTC)


def places(
    db: DatabaseManager, organization_id: UUID, source: Source, locations: Sequence[str] = ()
) -> list[Place]:
    """Return the places to fetch from a source: the given locations (names or ids), all, or the organization.

    Raises `UsageError` for an unknown location, or if the source does not depend on the location.
    """
    if not source.by_location:
        if locations:
            raise UsageError(f"{source.kind} of {source.name} applies everywhere: leave --location out")
        return [Place(None, "the organization", "UTC")]
    rows = db.tenant(organization_id).execute_query(
        SQL["places"], {"organization_id": organization_id, "locations": list(locations) or None}
    )
    found = {row["name"] for row in rows} | {str(row["location_id"]) for row in rows}
    if missing := [name for name in locations if name not in found]:
        raise UsageError(f"the organization has no location {missing[0]!r}")
    if not rows:
        raise UsageError("the organization has no locations: create one first")
    return [Place(**row) for row in rows]


def fetch(
    db: DatabaseManager,
    organization_id: UUID,
    source: Source,
    where: Sequence[Place],
    client: Client,
    *,
    window: Window | None = None,
    switch: bool = False,
    now: Callable[[], dt.datetime] = utc_now,
    stop: Callable[[], bool] = lambda: False,
) -> list[RunResult]:
    """Fetch a window for each place and store new information; return one result for each place.

    Without `window`: from the end of the last successful run, less the source's look-back, to as far ahead as
    the source reaches. Each part of the window is one transaction with its row in `connector_runs`, so a
    killed run can resume. If the source fails, the place's run ends with the reason in its result and in
    `connector_runs`; if the quota is used up, the places after it have no result. `stop` is called between
    parts. Raises `UsageError` if the place uses another source for this kind, unless `switch` is true.
    """
    scope = db.tenant(organization_id)
    results = []
    # One run per source at a time, on any machine: its limits apply per address, and two runs would race.
    busy = f"another run is querying {source.name}: wait for it to finish"
    with locks.held(db, f"barnameh connector {source.name}", busy):
        for place in where:
            result = RunResult(place)
            results.append(result)
            try:
                _choose(scope, organization_id, source, place, switch=switch)
                whole = window or _next_window(scope, organization_id, source, place, now())
                for part in whole.split(source.longest_window):
                    if stop():
                        break
                    _fetch_part(scope, organization_id, source, part, client, result, now)
            except QuotaError as error:
                result.error = str(error)
                break  # the quota is used up for the remaining places too
            except ServiceError as error:
                result.error = str(error)
            scope.execute(
                SQL["forget_runs"],
                {
                    "organization_id": organization_id,
                    "connector": source.name,
                    "location_id": place.location_id,
                    "kept": KEPT_RUNS,
                },
            )
    return results


def store_answer(
    db: DatabaseManager,
    organization_id: UUID,
    source: Source,
    place: Place,
    answer: bytes,
    *,
    switch: bool = False,
    now: Callable[[], dt.datetime] = utc_now,
) -> RunResult:
    """Store a saved answer of a source (`--from-file`) as if received now, checked as by `fetch`."""
    scope, result = db.tenant(organization_id), RunResult(place)
    _choose(scope, organization_id, source, place, switch=switch)
    asked_at = now()
    factors = _checked(source.parse(answer, place, asked_at), asked_at, result)
    if factors:
        times = [factor.time for factor in factors]
        window = Window(min(times), max(times) + dt.timedelta(microseconds=1))
        _write(scope, organization_id, source, window, factors, result, asked_at)
    return result


def _next_window(
    scope: TenantScope, organization_id: UUID, source: Source, place: Place, now: dt.datetime
) -> Window:
    row = scope.execute_query(
        SQL["last_good_end"],
        {
            "organization_id": organization_id,
            "connector": source.name,
            "location_id": place.location_id,
        },
    )[0]
    known_until = row["known_until"]
    start = (
        now - FIRST_WINDOW
        if known_until is None
        else max(known_until, now - LONGEST_CATCH_UP) - source.look_back
    )
    return Window(start.replace(minute=0, second=0, microsecond=0), now + source.ahead)


def _choose(scope: TenantScope, organization_id: UUID, source: Source, place: Place, *, switch: bool) -> None:
    """Ensure that the place uses only this source for this kind."""
    parameters = {
        "organization_id": organization_id,
        "kind": source.kind,
        "location_id": place.location_id,
        "connector": source.name,
        "switch": switch,
    }
    scope.execute(SQL["choose_source"], parameters)
    chosen = scope.execute_query(SQL["chosen_source"], parameters)[0]["connector"]
    if chosen != source.name:
        raise UsageError(
            f"{place.name} takes its {source.kind} from {chosen}: two sources under one name would mix; "
            f"use --switch to take it from {source.name} from now on"
        )


def _fetch_part(
    scope: TenantScope,
    organization_id: UUID,
    source: Source,
    part: Window,
    client: Client,
    result: RunResult,
    now: Callable[[], dt.datetime],
) -> None:
    asked_at = now()
    try:
        factors = _checked(source.fetch(part, result.place, client, asked_at), asked_at, result)
    except SourceError as error:
        with scope.transaction() as tx:
            _write_run(tx, organization_id, source, part, RunResult(result.place, error=str(error)), asked_at)
        raise
    _write(scope, organization_id, source, part, factors, result, asked_at)


def _checked(factors: Iterator[Factor], asked_at: dt.datetime, result: RunResult) -> list[Factor]:
    """Return the possible readings; count the others and list the first of them.

    Readings published before their usual delay are known from the hour of the request.
    """
    good = []
    known = asked_at.replace(minute=0, second=0, microsecond=0)
    for factor in factors:
        result.read += 1
        problem = factor.problem()
        if problem is None:
            good.append(factor if factor.available_at <= known else replace(factor, available_at=known))
            continue
        result.refused += 1
        if len(result.refusals) < SHOWN_REFUSALS:
            result.refusals.append(f"{result.place.name}, {factor.time:%Y-%m-%d %H:%M} UTC: {problem}")
    return good


def _write(
    scope: TenantScope,
    organization_id: UUID,
    source: Source,
    window: Window,
    factors: Sequence[Factor],
    result: RunResult,
    asked_at: dt.datetime,
) -> None:
    """Store readings and the run's row in one transaction."""
    part = RunResult(result.place, read=len(factors) + result.refused, refused=result.refused)
    part.error = "; ".join(result.refusals) or None
    with scope.transaction() as tx:
        if factors:
            times = [factor.time for factor in factors]
            part.written = tx.execute(
                SQL["write_readings"],
                {
                    "organization_id": organization_id,
                    "location_id": result.place.location_id,
                    "factor_type": source.factor_type,
                    "first": min(times),
                    "last": max(times),
                    "revised_at": asked_at.replace(minute=0, second=0, microsecond=0),
                    **_columns(factors),
                },
            )
        _write_run(tx, organization_id, source, window, part, asked_at)
    result.written += part.written


def _columns(factors: Sequence[Factor]) -> dict[str, object]:
    """Return the readings by column; names, units and metadata once, with a number (from 1) for each reading."""
    shared = {id(factor.metadata): factor.metadata for factor in factors}
    texts = {key: None if data is None else json.dumps(dict(data)) for key, data in shared.items()}
    kinds: dict[tuple[str, str, str | None], int] = {}
    numbers = [
        kinds.setdefault((factor.name, factor.unit, texts[id(factor.metadata)]), len(kinds) + 1)
        for factor in factors
    ]
    names, units, metadata = (list(column) for column in zip(*kinds, strict=True))
    # PostgreSQL without OpenSSL opens /dev/urandom for each generated UUID: a fifth of a first run's time.
    digits = os.urandom(16 * len(factors)).hex()
    return {
        "factor_id": _array(
            f"{digits[n : n + 12]}4{digits[n + 13 : n + 16]}8{digits[n + 17 : n + 32]}"
            for n in range(0, len(digits), 32)
        ),
        "names": names,
        "units": units,
        "metadata": metadata,
        "kind": _array(map(str, numbers)),
        "time": _array(factor.time.isoformat() for factor in factors),
        "value": _array(str(factor.value) for factor in factors),
        "available_at": _array(factor.available_at.isoformat() for factor in factors),
    }


def _array(texts: Iterable[str]) -> str:
    """Return an array literal of numbers, times or identifiers, which need no quotes."""
    return "{" + ",".join(texts) + "}"


def _write_run(
    tx: Transaction,
    organization_id: UUID,
    source: Source,
    window: Window,
    result: RunResult,
    asked_at: dt.datetime,
) -> None:
    tx.execute(
        SQL["write_run"],
        {
            "organization_id": organization_id,
            "connector": source.name,
            "location_id": result.place.location_id,
            "window_start": window.start,
            "window_end": window.end,
            "started_at": asked_at,
            "read": result.read,
            "written": result.written,
            "refused": result.refused,
            "error_message": result.error,
        },
    )
