"""Shared by roster and production runs: one at a time, recorded from start to proposal."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from barnameh import locks
from barnameh.errors import UsageError
from barnameh.planning.inputs import SQL
from barnameh.planning.solve import SOLVER
from db_utils import DatabaseManager, Json, OperationalDataQueries, TenantScope

DEFAULT_SECONDS = 30.0
PROGRESS_SECONDS = 1.0


@dataclass
class Proposal:
    """The result of a run. `run_id` is None after a dry run; `is_proposal`: whether it can be applied."""

    result: dict[str, Any]
    items: list[dict[str, Any]]
    run_id: UUID | None = None
    is_proposal: bool = False
    names: dict[UUID, str] = field(default_factory=dict)
    """Names of people and shifts, or of resources and, by plan, its product."""
    times: dict[UUID, tuple[dt.datetime, dt.datetime]] = field(default_factory=dict)
    """Of shifts."""

    @property
    def is_short(self) -> bool:
        """Whether places remain empty or skills missing."""
        after = self.result["kpis"]["after"]
        return bool(after["empty_places"] or after["missing_skills"])


@dataclass(frozen=True)
class Window:
    """The scope of a run: `start` <= time < `end` (aware), one location or all, and the seconds to search."""

    start: dt.datetime
    end: dt.datetime
    location_id: UUID | None
    seconds: float

    def __post_init__(self) -> None:
        """Raise `UsageError` for an invalid window."""
        if self.start >= self.end:
            raise UsageError("the window ends before it begins: give a later end, or more days")
        if not 0 <= self.seconds <= 86_400:
            raise UsageError(f"a limit of {self.seconds:g} s is invalid: give 0 to 86400")


def one_at_a_time(db: DatabaseManager, organization_id: UUID) -> AbstractContextManager[None]:
    """Lock planning for an organization, so that runs left behind by killed processes can be recognized."""
    busy = "another run is planning for this organization: wait for it to finish"
    return locks.held(db, f"barnameh plan {organization_id}", busy)


def fail_dead_runs(scope: TenantScope, organization_id: UUID) -> None:
    """Mark runs still recorded as running as killed, which they must be while this process holds the lock."""
    scope.execute(SQL["fail_dead_runs"], {"organization_id": organization_id})


@contextmanager
def recorded_run(
    scope: TenantScope,
    organization_id: UUID,
    window: Window,
    *,
    run_type: str,
    planning: str,
    parameters: Mapping[str, Any],
) -> Iterator[UUID]:
    """Record a run as started, and as failed, with the reason, if the block raises."""
    queries = OperationalDataQueries(scope)
    run_id: UUID = queries.start_optimization_run(
        organization_id,
        run_type=run_type,
        algorithm=SOLVER,
        parameters={
            "planning": planning,
            "window_start": window.start,
            "window_end": window.end,
            "location_id": window.location_id,
            "limit_seconds": window.seconds,
            **parameters,
        },
    )["run_id"]
    try:
        yield run_id
    except BaseException as error:
        queries.fail_optimization_run(
            organization_id, run_id, error_message=str(error)[:2000] or type(error).__name__
        )
        raise


def teller(scope: TenantScope, organization_id: UUID, run_id: UUID) -> Callable[[dict[str, object]], None]:
    """Records a run's progress, about once a second."""
    last = -math.inf

    def tell(state: dict[str, object]) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            found = {
                "organization_id": organization_id,
                "run_id": run_id,
                "result": Json({"progress": state}),
            }
            scope.execute(SQL["tell_progress"], found)

    return tell


def write_down(
    scope: TenantScope,
    organization_id: UUID,
    run_id: UUID,
    window: Window,
    proposal: Proposal,
    *,
    objective_unit: str,
    kind: str,
    fingerprint: str,
    is_proposal: bool = True,
) -> None:
    """Finish the run and, unless it was a trial, create its proposal, in one transaction."""
    with scope.transaction() as tx:
        inside = OperationalDataQueries(tx)
        inside.finish_optimization_run(
            organization_id,
            run_id,
            result=proposal.result,
            objective_value=proposal.result["objective"],
            objective_unit=objective_unit,
        )
        if is_proposal:
            inside.create_schedule_proposal(
                organization_id,
                run_id,
                kind=kind,
                location_id=window.location_id,
                window_start=window.start,
                window_end=window.end,
                fingerprint=fingerprint,
                items=proposal.items,
            )
    proposal.run_id, proposal.is_proposal = run_id, is_proposal
