"""Employees and their skills."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from db_utils.operational.arguments import (
    Id,
    Metadata,
    flag_of,
    metadata_of,
    optional_date,
    optional_text,
    optional_uuid,
    text_of,
    texts_of,
    uuid_of,
)
from db_utils.operational.runner import QueryRunner
from db_utils.values import Row


class EmployeeQueries(QueryRunner):
    """Employees and what they can do."""

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
        """Which employee was just created?

        Returns the row: `employee_id`, `location_id`, `employee_code`, `full_name`, `role`, `skills` (list),
        `is_active`, `hired_on_date`, `metadata` (dict), `created_at`, `updated_at`. Raises `UniqueViolationError`
        where the organization has an employee of this code, `NotFoundError` for an unknown location.
        """
        return self._create(
            "create_employee",
            {
                "organization_id": uuid_of(organization_id, "organization_id"),
                "employee_id": optional_uuid(employee_id, "employee_id"),
                "location_id": uuid_of(location_id, "location_id"),
                "employee_code": text_of(employee_code, "employee_code"),
                "full_name": text_of(full_name, "full_name"),
                "role": text_of(role, "role"),
                "skills": texts_of(skills, "skills"),
                "is_active": flag_of(is_active, "is_active"),
                "hired_on_date": optional_date(hired_on_date, "hired_on_date"),
                "metadata": metadata_of(metadata, "metadata"),
            },
        )

    def get_employees(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        skill: str | None = None,
        include_inactive: bool = False,
    ) -> list[Row]:
        """Who works here, and who has this skill?

        Rows by full name: `employee_id`, `location_id`, `employee_code`, `full_name`, `role`, `skills` (list),
        `is_active`, `hired_on_date` (None where not known), `metadata` (dict), `created_at`, `updated_at`. Empty:
        nobody of these.
        """
        return self._read(
            "get_employees",
            uuid_of(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "skill": optional_text(skill, "skill"),
                "include_inactive": flag_of(include_inactive, "include_inactive"),
            },
        )

    def get_skills(self, organization_id: Id, *, location_id: Id | None = None) -> list[Row]:
        """Which skills are there, and how many active employees have each?

        Rows by skill: `skill`, `employee_count` (1 or more). Empty: nobody has any.
        """
        return self._read(
            "get_skills",
            uuid_of(organization_id, "organization_id"),
            {"location_id": optional_uuid(location_id, "location_id")},
        )

    def set_employee_skills(self, organization_id: Id, employee_id: Id, *, skills: Iterable[str]) -> Row:
        """Which employee now has exactly these skills?

        Returns the row as `get_employees` does. Raises `NotFoundError` where the organization has no such employee.
        """
        return self._change_one(
            "set_employee_skills",
            "employee",
            {
                "organization_id": uuid_of(organization_id, "organization_id"),
                "employee_id": uuid_of(employee_id, "employee_id"),
                "skills": texts_of(skills, "skills"),
            },
            ("employee_id",),
        )
