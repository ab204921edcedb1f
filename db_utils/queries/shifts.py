"""Shifts: assignments, and gaps in staffing and skills."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping

from db_utils.errors import CheckViolationError, DbUtilsError, InvalidInputError
from db_utils.queries.arguments import (
    Id,
    Metadata,
    ahead,
    choice_of,
    metadata_of,
    optional_uuid,
    text_of,
    texts_of,
    time_of,
    whole_of,
)
from db_utils.queries.codes import checked_code
from db_utils.queries.errors import WrongStateError
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

ASSIGNMENT_STATUSES = ("scheduled", "confirmed", "completed", "absent", "cancelled")
_KEY = ("shift_id", "employee_id")


class ShiftQueries(QueryRunner):
    """Shifts and their assignments."""

    def create_shift(
        self,
        organization_id: Id,
        name: str,
        *,
        location_id: Id,
        starts_at: dt.datetime,
        ends_at: dt.datetime,
        required_employees: int = 1,
        required_skills: Iterable[str] = (),
        metadata: Metadata | None = None,
        shift_code: str | None = None,
        shift_id: Id | None = None,
    ) -> Row:
        """Create a shift and return its row.

        `starts_at` <= time < `ends_at` (aware), at most 25 hours, the length of a day on which the clock is
        set back. `shift_code` is the customer's own code of this single shift. Returns the row: `shift_id`,
        `shift_code`, `location_id`, `name`, `starts_at`, `ends_at`, `required_employees`, `required_skills`
        (list), `metadata` (dict), `created_at`, `updated_at`. Raises `UniqueViolationError` where the
        location has a shift of this name and start, or the organization one of this code, `NotFoundError` for
        an unknown location.
        """
        first, last = time_of(starts_at, "starts_at"), time_of(ends_at, "ends_at")
        if not first < last <= first + dt.timedelta(hours=25):
            raise InvalidInputError("ends_at must be after starts_at, and at most 25 hours")
        return self._create(
            "create_shift",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "shift_id": optional_uuid(shift_id, "shift_id"),
                "shift_code": checked_code(shift_code, "shift_code"),
                "location_id": parse_uuid(location_id, "location_id"),
                "name": text_of(name, "name"),
                "starts_at": first,
                "ends_at": last,
                "required_employees": whole_of(required_employees, "required_employees", 0, 1_000_000),
                "required_skills": texts_of(required_skills, "required_skills"),
                "metadata": metadata_of(metadata, "metadata"),
            },
        )

    def get_or_create_shift(
        self,
        organization_id: Id,
        shift_code: str,
        *,
        location_id: Id,
        starts_at: dt.datetime,
        ends_at: dt.datetime,
        name: str | None = None,
        required_employees: int = 1,
        required_skills: Iterable[str] = (),
        metadata: Metadata | None = None,
    ) -> Row:
        """Return the shift with this code, creating it if it does not exist.

        An existing one is left unchanged. `name` defaults to the code. Arguments, row and errors as in
        `create_shift`.
        """
        return self._get_or_create(
            organization_id,
            "shift_id",
            shift_code,
            lambda q, found: q._shift(organization_id, found),  # noqa: SLF001  queries of the same kind
            lambda q, code: q.create_shift(
                organization_id,
                code if name is None else name,
                location_id=location_id,
                starts_at=starts_at,
                ends_at=ends_at,
                required_employees=required_employees,
                required_skills=required_skills,
                metadata=metadata,
                shift_code=code,
            ),
        )

    def _shift(self, organization_id: Id, shift_id: uuid.UUID) -> list[Row]:
        organization = parse_uuid(organization_id, "organization_id")
        return self._read_rows("find_shift", organization, {"shift_id": shift_id})

    def get_shift_schedule(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        employee_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """Who works when: which shifts overlap the period, with one row per assigned employee?

        Period: from now on for `days` times 24 hours (default 7), or `start` to `end` (aware; no `end`: all
        that come). Rows by `starts_at`, location, name and employee: `shift_id`, `shift_code`, `location_id`,
        `name`, `starts_at`, `ends_at` (UTC), `required_employees`, `required_skills` (list), `employee_id`,
        `full_name`, `assignment_status` (scheduled, confirmed, completed, absent or cancelled). A shift
        without assignment has one row with None in the last three. Empty: no shift.
        """
        return self._read(
            "get_shift_schedule",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "employee_id": optional_uuid(employee_id, "employee_id"),
                **ahead(days, start, end, default_days=7),
            },
        )

    def get_shift_coverage_gaps(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """Which shifts of the period lack employees or skills?

        Period: from now on for `days` times 24 hours (default 7), or `start` to `end` (aware; no `end`: all
        that come). Absent and cancelled assignments do not count, nor do people who are not employed when the
        shift begins. Rows by `starts_at`, location and name: `shift_id`, `location_id`, `name`, `starts_at`,
        `ends_at` (UTC), `required_employees`, `assigned_employees`, `missing_employees` (0 or more),
        `missing_skills` (list: required, but no assigned employee has it). Empty: every shift has what it
        needs.
        """
        return self._read(
            "get_shift_coverage_gaps",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                **ahead(days, start, end, default_days=7),
            },
        )

    def set_shift_code(self, organization_id: Id, shift_id: Id, *, shift_code: str | None) -> Row:
        """Set or remove the code of a shift and return the row.

        The shift can be named by it from then on; None removes the code. Returns a row with the keys of
        `create_shift`'s. Raises `NotFoundError` where the organization has no such shift,
        `UniqueViolationError` where another has the code.
        """
        return self._change_one(
            "set_shift_code",
            "shift",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "shift_id": parse_uuid(shift_id, "shift_id"),
                "shift_code": checked_code(shift_code, "shift_code"),
            },
            ("shift_id",),
        )

    def assign_employee(
        self, organization_id: Id, shift_id: Id, *, employee_id: Id, status: str = "scheduled"
    ) -> Row:
        """Assign an employee to a shift and return the assignment.

        `status` is scheduled or confirmed. An employee removed from the shift may be assigned again. Returns
        the row: `shift_id`, `employee_id`, `status`, `starts_at`, `ends_at` (the shift's, UTC), `created_at`,
        `updated_at`. Raises `WrongStateError` where the employee is assigned already, or is not employed when
        the shift begins (`status` is "not employed"), `ExclusionViolationError` where another shift of the
        employee overlaps, `NotFoundError` for an unknown shift or employee.
        """
        parameters = {
            "organization_id": parse_uuid(organization_id, "organization_id"),
            "shift_id": parse_uuid(shift_id, "shift_id"),
            "employee_id": parse_uuid(employee_id, "employee_id"),
        }
        status = choice_of(status, "status", ("scheduled", "confirmed"))
        try:
            rows = self._change("assign_employee", {**parameters, "status": status})
        except CheckViolationError as error:
            raise _not_employed(error, parameters) from error
        if rows:
            return rows[0]
        found = self._status("check_assignment", "assignment", parameters)
        raise WrongStateError(
            f"employee {parameters['employee_id']} is already assigned to shift {parameters['shift_id']}, and {found}: "
            "set_assignment_status changes that",
            status=found,
        )

    def set_assignment_status(
        self, organization_id: Id, shift_id: Id, *, employee_id: Id, status: str
    ) -> Row:
        """Set the status of an assignment and return it.

        `status` is scheduled, confirmed, completed, absent or cancelled. Returns the row as `assign_employee` does.
        Raises `NotFoundError` where the employee is not assigned to the shift, `WrongStateError` where it was cancelled and
        the employee is not employed when the shift begins.
        """
        parameters = {
            "organization_id": parse_uuid(organization_id, "organization_id"),
            "shift_id": parse_uuid(shift_id, "shift_id"),
            "employee_id": parse_uuid(employee_id, "employee_id"),
        }
        status = choice_of(status, "status", ASSIGNMENT_STATUSES)
        try:
            return self._change_one(
                "set_assignment_status", "assignment", {**parameters, "status": status}, _KEY
            )
        except CheckViolationError as error:
            raise _not_employed(error, parameters) from error

    def unassign_employee(self, organization_id: Id, shift_id: Id, *, employee_id: Id) -> Row:
        """Remove an employee from a shift and return the removed assignment.

        The assignment is kept as cancelled. Returns the row as `assign_employee` does. Raises `WrongStateError` where it
        is completed, absent or cancelled already, `NotFoundError` where there is none.
        """
        return self._transition(
            "unassign_employee",
            "check_assignment",
            "assignment",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "shift_id": parse_uuid(shift_id, "shift_id"),
                "employee_id": parse_uuid(employee_id, "employee_id"),
            },
            only="only a scheduled or confirmed one can be cancelled",
            key=_KEY,
        )


def _not_employed(error: CheckViolationError, parameters: Mapping[str, uuid.UUID]) -> DbUtilsError:
    """Translate a refused assignment for the caller."""
    if error.constraint != "shift_assignments_employee_is_employed_check":
        return error
    return WrongStateError(
        f"employee {parameters['employee_id']} is not employed when shift {parameters['shift_id']} begins: "
        "resume_employment or correct_employee_history changes that",
        sqlstate=error.sqlstate,
        status="not employed",
    )
