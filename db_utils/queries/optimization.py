"""Optimization runs: their parameters and results."""

from __future__ import annotations

from typing import Any

from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import (
    MAX_ROWS,
    Id,
    Metadata,
    Number,
    choice_of,
    json_of,
    metadata_of,
    optional_choice,
    optional_number,
    optional_text,
    optional_uuid,
    text_of,
    whole_of,
)
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Json, Row

RUN_TYPES = (
    "shift_scheduling",
    "production_planning",
    "resource_allocation",
    "routing",
    "inventory",
    "other",
)
RUN_STATUSES = ("running", "completed", "failed", "cancelled")


class OptimizationQueries(QueryRunner):
    """Optimization runs."""

    def start_optimization_run(
        self,
        organization_id: Id,
        *,
        run_type: str,
        algorithm: str,
        parameters: Metadata | None = None,
        run_id: Id | None = None,
    ) -> Row:
        """Start an optimization run and return its row.

        `run_type` is shift_scheduling, production_planning, resource_allocation, routing, inventory or other. Returns the
        row: `run_id`, `run_type`, `algorithm`, `status` (running), `started_at` (UTC), `finished_at`,
        `objective_value`, `objective_unit` (None), `parameters` (dict), `result`, `error_message` (None). Raises
        `NotFoundError` for an unknown organization.
        """
        return self._create(
            "start_optimization_run",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "run_id": optional_uuid(run_id, "run_id"),
                "run_type": choice_of(run_type, "run_type", RUN_TYPES),
                "algorithm": text_of(algorithm, "algorithm"),
                "parameters": metadata_of(parameters, "parameters"),
            },
        )

    def finish_optimization_run(
        self,
        organization_id: Id,
        run_id: Id,
        *,
        result: Any,
        objective_value: Number | None = None,
        objective_unit: str | None = None,
    ) -> Row:
        """Finish a run with its result and return its row.

        `result` is any JSON value but None; `objective_value` is in `objective_unit`. Returns the row as
        `start_optimization_run` does. Raises `WrongStateError` if the run is no longer running,
        `NotFoundError` for an unknown one.
        """
        if result is None:
            raise InvalidInputError(
                "result is missing: a finished run needs one; fail_optimization_run is for a run without"
            )
        return self._end(
            "finish_optimization_run",
            organization_id,
            run_id,
            {
                "result": Json(json_of(result, "result")),
                "objective_value": optional_number(objective_value, "objective_value"),
                "objective_unit": optional_text(objective_unit, "objective_unit"),
            },
        )

    def fail_optimization_run(self, organization_id: Id, run_id: Id, *, error_message: str) -> Row:
        """Mark a run as failed, with the reason, and return its row.

        Returns the row as `start_optimization_run` does. Raises `WrongStateError` if the run is no longer
        running, `NotFoundError` for an unknown one.
        """
        return self._end(
            "fail_optimization_run",
            organization_id,
            run_id,
            {"error_message": text_of(error_message, "error_message")},
        )

    def cancel_optimization_run(self, organization_id: Id, run_id: Id) -> Row:
        """Cancel a run and return its row.

        Returns the row as `start_optimization_run` does. Raises `WrongStateError` if the run is no longer
        running, `NotFoundError` for an unknown one.
        """
        return self._end("cancel_optimization_run", organization_id, run_id, {})

    def _end(self, name: str, organization_id: Id, run_id: Id, parameters: dict[str, Any]) -> Row:
        return self._transition(
            name,
            "check_optimization_run",
            "optimization run",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "run_id": parse_uuid(run_id, "run_id"),
                **parameters,
            },
            only="only a running one can end",
            key=("run_id",),
        )

    def get_latest_optimization_runs(
        self,
        organization_id: Id,
        *,
        run_type: str | None = None,
        status: str | None = None,
        limit: int = 10,
    ) -> list[Row]:
        """What are the results of the newest optimization runs?

        At most `limit` rows, the last started first: `run_id`, `run_type`, `algorithm`, `status` (running,
        completed, failed or cancelled), `started_at`, `finished_at` (UTC; None while running),
        `duration_seconds`, `objective_value` (in `objective_unit`), `objective_unit`, `parameters` (dict),
        `result` (as given; None unless completed), `error_message` (None unless failed). Empty: no run.
        """
        return self._read(
            "get_latest_optimization_runs",
            parse_uuid(organization_id, "organization_id"),
            {
                "run_type": optional_choice(run_type, "run_type", RUN_TYPES),
                "status": optional_choice(status, "status", RUN_STATUSES),
                "row_limit": whole_of(limit, "limit", 1, MAX_ROWS),
            },
        )
