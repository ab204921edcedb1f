"""Employees and their skills."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import (
    Id,
    Metadata,
    flag_of,
    metadata_of,
    optional_date,
    optional_text,
    optional_time,
    optional_uuid,
    text_of,
    texts_of,
)
from db_utils.queries.codes import new_code
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row


class EmployeeQueries(QueryRunner):
    """Employees and their skills."""

    def create_employee(
        self,
        organization_id: Id,
        full_name: str,
        *,
        location_id: Id,
        employee_code: str,
        role: str,
        skills: Iterable[str] = (),
        is_active: bool = True,
        hired_on_date: dt.date | None = None,
        metadata: Metadata | None = None,
        employee_id: Id | None = None,
    ) -> Row:
        """Create an employee and return the row.

        Returns the row: `employee_id`, `location_id`, `employee_code`, `full_name`, `role`, `skills` (list),
        `is_active`, `hired_on_date`, `metadata` (dict), `created_at`, `updated_at`. An active employee is
        employed, since the local day `hired_on_date` if known. Raises `UniqueViolationError` where the
        organization has an employee of this code, `NotFoundError` for an unknown location.
        """
        return self._create(
            "create_employee",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "employee_id": optional_uuid(employee_id, "employee_id"),
                "location_id": parse_uuid(location_id, "location_id"),
                "employee_code": text_of(employee_code, "employee_code"),
                "full_name": text_of(full_name, "full_name"),
                "role": text_of(role, "role"),
                "skills": texts_of(skills, "skills"),
                "is_active": flag_of(is_active, "is_active"),
                "hired_on_date": optional_date(hired_on_date, "hired_on_date"),
                "metadata": metadata_of(metadata, "metadata"),
            },
        )

    def get_or_create_employee(
        self,
        organization_id: Id,
        employee_code: str,
        *,
        location_id: Id,
        full_name: str,
        role: str,
        skills: Iterable[str] = (),
        is_active: bool = True,
        hired_on_date: dt.date | None = None,
        metadata: Metadata | None = None,
    ) -> Row:
        """Return the employee with this code, creating the row if it does not exist.

        An existing one is left unchanged. Arguments, row and errors as in `create_employee`.
        """
        return self._get_or_create(
            organization_id,
            "employee_id",
            employee_code,
            lambda q, found: q.get_employees(organization_id, employee_id=found, include_inactive=True),
            lambda q, code: q.create_employee(
                organization_id,
                full_name,
                location_id=location_id,
                employee_code=code,
                role=role,
                skills=skills,
                is_active=is_active,
                hired_on_date=hired_on_date,
                metadata=metadata,
            ),
        )

    def get_employees(
        self,
        organization_id: Id,
        *,
        employee_id: Id | None = None,
        location_id: Id | None = None,
        skill: str | None = None,
        include_inactive: bool = False,
    ) -> list[Row]:
        """Which employees does the organization have, and who has this skill?

        Rows by full name: `employee_id`, `location_id`, `employee_code`, `full_name`, `role`, `skills`
        (list), `is_active` (employed now, or will be), `hired_on_date` (None where not known), `metadata`
        (dict), `created_at`, `updated_at`. Former employees are included only with `include_inactive`. Empty:
        no such employee.
        """
        return self._read(
            "get_employees",
            parse_uuid(organization_id, "organization_id"),
            {
                "employee_id": optional_uuid(employee_id, "employee_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                "skill": optional_text(skill, "skill"),
                "include_inactive": flag_of(include_inactive, "include_inactive"),
            },
        )

    def get_skills(self, organization_id: Id, *, location_id: Id | None = None) -> list[Row]:
        """Which skills exist, and how many active employees have each?

        Rows by skill: `skill`, `employee_count` (1 or more). Empty: no employee has any.
        """
        return self._read(
            "get_skills",
            parse_uuid(organization_id, "organization_id"),
            {"location_id": optional_uuid(location_id, "location_id")},
        )

    def set_employee_code(self, organization_id: Id, employee_id: Id, *, employee_code: str) -> Row:
        """Change an employee's code and return the row.

        The employee can be named by it from then on. Returns the row as `get_employees` does. Raises
        `NotFoundError` where the organization has no such employee, `UniqueViolationError` where another has
        the code.
        """
        return self._change_one(
            "set_employee_code",
            "employee",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "employee_id": parse_uuid(employee_id, "employee_id"),
                "employee_code": new_code(employee_code, "employee_code"),
            },
            ("employee_id",),
        )

    def set_employee_skills(self, organization_id: Id, employee_id: Id, *, skills: Iterable[str]) -> Row:
        """Replace the skills of an employee and return the row.

        Returns the row as `get_employees` does. Raises `NotFoundError` where the organization has no such employee.
        """
        return self._change_one(
            "set_employee_skills",
            "employee",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "employee_id": parse_uuid(employee_id, "employee_id"),
                "skills": texts_of(skills, "skills"),
            },
            ("employee_id",),
        )

    def move_employee(
        self,
        organization_id: Id,
        employee_id: Id,
        *,
        location_id: Id,
        effective_at: dt.datetime | None = None,
    ) -> Row:
        """Move an employee to this location and return the row.

        From `effective_at` on (aware, not in the future; default now); earlier figures stay with the former
        location. Returns the row as `get_employees` does. Raises `InvalidDataError` for a time in the future,
        `NotFoundError` for an unknown employee or location.
        """
        return self._change_one(
            "move_employee",
            "employee",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "employee_id": parse_uuid(employee_id, "employee_id"),
                "location_id": parse_uuid(location_id, "location_id"),
                "effective_at": optional_time(effective_at, "effective_at"),
            },
            ("employee_id",),
        )

    def end_employment(
        self,
        organization_id: Id,
        employee_id: Id,
        *,
        last_day: dt.date | None = None,
        effective_at: dt.datetime | None = None,
    ) -> Row:
        """End the employment of an employee and return the row.

        After `last_day` (a local day of their location) or from `effective_at` on (aware), both possibly in
        the future; default now. A former employee covers no shift, cannot be assigned and is not forecast;
        earlier records stay. `is_active` stays true until the end. Returns the row as `get_employees` does.
        Raises `NotFoundError` for an unknown employee.
        """
        return self._change_employment(
            "end_employment", organization_id, employee_id, {"last_day": last_day}, 1, effective_at
        )

    def resume_employment(
        self,
        organization_id: Id,
        employee_id: Id,
        *,
        first_day: dt.date | None = None,
        effective_at: dt.datetime | None = None,
    ) -> Row:
        """Resume the employment of an employee and return the row.

        From `first_day` (a local day of their location) or `effective_at` on (aware), both possibly in the
        future; default now. Returns the row as `get_employees` does. Raises `NotFoundError` for an unknown
        employee.
        """
        return self._change_employment(
            "resume_employment", organization_id, employee_id, {"first_day": first_day}, 0, effective_at
        )

    def _change_employment(
        self,
        name: str,
        organization_id: Id,
        employee_id: Id,
        on: Mapping[str, dt.date | None],
        days_after: int,
        effective_at: dt.datetime | None,
    ) -> Row:
        """Run a change effective `days_after` days after local day `on`, or at `effective_at`."""
        [(day_name, value)] = on.items()
        day = optional_date(value, day_name)
        if day is not None and effective_at is not None:
            raise InvalidInputError(f"give either {day_name} or effective_at")
        subject = {
            "organization_id": parse_uuid(organization_id, "organization_id"),
            "employee_id": parse_uuid(employee_id, "employee_id"),
        }
        since = optional_time(effective_at, "effective_at")
        if day is not None:
            starts = self._change("find_local_day_start", {**subject, "day": day, "days_after": days_after})
            since = starts[0]["day_start"] if starts else None
        return self._change_one(name, "employee", {**subject, "effective_at": since}, ("employee_id",))

    def correct_employee_history(
        self,
        organization_id: Id,
        employee_id: Id,
        *,
        start: dt.datetime | None,
        end: dt.datetime,
        location_id: Id | None = None,
        is_employed: bool | None = None,
    ) -> list[Row]:
        """Correct the history of an employee in a past period and return it.

        The given values held from `start` (aware; None: from the beginning) until before `end`, which is not
        in the future; other values, and the present, stay. Returns the rows of `get_employee_history`. Raises
        `InvalidInputError` if nothing is given, `InvalidDataError` for an `end` in the future or not after
        `start`, `NotFoundError` for an unknown employee or location.
        """
        return self._correct_history(
            "correct_employee_history",
            parse_uuid(organization_id, "organization_id"),
            parse_uuid(employee_id, "employee_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "is_employed": None if is_employed is None else flag_of(is_employed, "is_employed"),
            },
            start,
            end,
        )

    def get_employee_history(self, organization_id: Id, employee_id: Id) -> list[Row]:
        """Which location did an employee belong to, and when were they employed?

        Rows, oldest first, each beginning where the one before ends: `valid_from` (UTC; None: from the
        beginning; in the future for a planned begin or end of employment), `valid_to` (not included; None:
        until further notice), `location_id`, `is_employed`, `recorded_at` (when it was recorded or last
        corrected). Empty: no such employee.
        """
        return self._read(
            "get_employee_history",
            parse_uuid(organization_id, "organization_id"),
            {"employee_id": parse_uuid(employee_id, "employee_id")},
        )
