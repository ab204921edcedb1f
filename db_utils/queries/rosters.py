"""Rosters: contracts, unavailability of employees, capabilities of resources."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal

from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import (
    Id,
    Number,
    always,
    choice_of,
    date_of,
    flag_of,
    list_of,
    number_of,
    optional_number,
    optional_text,
    optional_uuid,
    text_of,
    time_of,
    whole_of,
)
from db_utils.queries.errors import UnknownReferenceError
from db_utils.queries.loader import query
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

UNAVAILABILITY_REASONS = ("vacation", "sick", "training", "wish", "other")


class RosterQueries(QueryRunner):
    """Inputs of rosters and production plans other than shifts and plans."""

    def set_employee_contract(
        self,
        organization_id: Id,
        employee_id: Id,
        *,
        valid_from: dt.date,
        hours_per_week: Number = 40,
        max_hours_per_week: Number = 48,
        min_rest_hours: Number = 11,
        max_consecutive_days: int = 6,
        may_work_at: Iterable[Id] = (),
    ) -> Row:
        """Set an employee's contract from a given day and return its row.

        `valid_from` is a local day of the employee's location; the contract holds until the next one begins,
        and one of the same day is replaced. `hours_per_week` are the agreed hours, `max_hours_per_week` (a
        local week, Monday to Sunday) and `min_rest_hours` are elapsed hours, `max_consecutive_days` counts
        days on which a shift begins; `may_work_at` are further locations. Returns the row: these,
        `created_at`, `updated_at`. Raises `NotFoundError` for an unknown employee or location.
        """
        places = [parse_uuid(place, "may_work_at") for place in list_of(may_work_at, "may_work_at")]
        agreed = _within(hours_per_week, "hours_per_week", 168)
        most = _within(max_hours_per_week, "max_hours_per_week", 168)
        if agreed > most:
            raise InvalidInputError(f"hours_per_week is {agreed}: give at most max_hours_per_week, {most}")
        parameters = {
            "organization_id": parse_uuid(organization_id, "organization_id"),
            "employee_id": parse_uuid(employee_id, "employee_id"),
            "valid_from": date_of(valid_from, "valid_from"),
            "hours_per_week": agreed,
            "max_hours_per_week": most,
            "min_rest_hours": _within(min_rest_hours, "min_rest_hours", 48),
            "max_consecutive_days": whole_of(max_consecutive_days, "max_consecutive_days", 1, 366),
            "may_work_at": places,
        }
        known = self._db.execute_query(
            query("check_locations").sql,
            {"organization_id": parameters["organization_id"], "location_ids": places},
        )
        if unknown := sorted(set(places) - {row["location_id"] for row in known}):
            raise UnknownReferenceError(
                f"may_work_at names {unknown[0]}, which is not a location of this organization: create it first",
                column="may_work_at",
            )
        return self._create("set_employee_contract", parameters)

    def get_employee_contracts(self, organization_id: Id, *, employee_id: Id | None = None) -> list[Row]:
        """How much and where may employees work, and since when?

        Rows by employee and `valid_from`: `employee_id`, `valid_from`, `valid_to` (first local day of the next contract; None
        for the last), `hours_per_week`, `max_hours_per_week`, `min_rest_hours`, `max_consecutive_days`, `may_work_at` (list),
        `created_at`, `updated_at`. Empty: no contract; the defaults of planning hold.
        """
        return self._read(
            "get_employee_contracts",
            parse_uuid(organization_id, "organization_id"),
            {"employee_id": optional_uuid(employee_id, "employee_id")},
        )

    def record_unavailability(
        self,
        organization_id: Id,
        employee_id: Id,
        *,
        starts_at: dt.datetime,
        ends_at: dt.datetime,
        reason: str,
        is_hard: bool | None = None,
        weight: Number = 1,
        note: str | None = None,
    ) -> Row:
        """Record when an employee cannot work, or would rather not, and return the row.

        `starts_at` <= time < `ends_at` (aware). `reason` is vacation, sick, training, wish or other; by
        default a wish is soft and any other reason hard (`is_hard`). `weight` (0 to 100) is the importance of
        a wish. The same employee, start and reason again replaces the other values. Returns the row: these,
        `created_at`, `updated_at`. Raises `NotFoundError` for an unknown employee.
        """
        first, last = time_of(starts_at, "starts_at"), time_of(ends_at, "ends_at")
        if first >= last:
            raise InvalidInputError("ends_at must be after starts_at")
        why = choice_of(reason, "reason", UNAVAILABILITY_REASONS)
        return self._create(
            "record_unavailability",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "employee_id": parse_uuid(employee_id, "employee_id"),
                "starts_at": first,
                "ends_at": last,
                "reason": why,
                "is_hard": why != "wish" if is_hard is None else flag_of(is_hard, "is_hard"),
                "weight": _within(weight, "weight", 100),
                "note": optional_text(note, "note"),
            },
        )

    def remove_unavailability(
        self, organization_id: Id, employee_id: Id, *, starts_at: dt.datetime, reason: str
    ) -> Row:
        """Remove a time of unavailability and return its row.

        Returns the removed row, as `record_unavailability` does. Raises `NotFoundError` if there is none.
        """
        return self._change_one(
            "remove_unavailability",
            "unavailability of employee",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "employee_id": parse_uuid(employee_id, "employee_id"),
                "starts_at": time_of(starts_at, "starts_at"),
                "reason": choice_of(reason, "reason", UNAVAILABILITY_REASONS),
            },
            ("employee_id", "starts_at", "reason"),
        )

    def get_unavailability(
        self,
        organization_id: Id,
        *,
        employee_id: Id | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """Who cannot work, or would rather not, in the period?

        Times that touch `start` <= time < `end` (aware; all by default). Rows by `starts_at`, employee and reason: `employee_id`,
        `starts_at`, `ends_at` (UTC), `reason`, `is_hard`, `weight`, `note`, `created_at`, `updated_at`. Empty: nothing is known.
        """
        return self._read(
            "get_unavailability",
            parse_uuid(organization_id, "organization_id"),
            {"employee_id": optional_uuid(employee_id, "employee_id"), **always(start, end)},
        )

    def set_resource_capability(
        self,
        organization_id: Id,
        resource_id: Id,
        *,
        product_id: str,
        rate_per_hour: Number | None = None,
        setup_minutes: Number = 0,
    ) -> Row:
        """Record that a resource can make a product, and how fast, and return the row.

        `rate_per_hour` is the good quantity in an hour of production, in the product's own unit (None: as in
        the last 30 days); `setup_minutes` is 0 to 1440. Setting it again replaces both. Returns the row:
        `resource_id`, `product_id`, `rate_per_hour`, `setup_minutes`, `created_at`, `updated_at`. Raises
        `NotFoundError` for an unknown resource.
        """
        rate = optional_number(rate_per_hour, "rate_per_hour")
        if rate is not None and rate <= 0:
            raise InvalidInputError(
                f"rate_per_hour is {rate}: give a number above 0, or None to take it from past production"
            )
        return self._create(
            "set_resource_capability",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "resource_id": parse_uuid(resource_id, "resource_id"),
                "product_id": text_of(product_id, "product_id"),
                "rate_per_hour": rate,
                "setup_minutes": _within(setup_minutes, "setup_minutes", 1440),
            },
        )

    def remove_resource_capability(self, organization_id: Id, resource_id: Id, *, product_id: str) -> Row:
        """Remove a capability of a resource and return its row.

        Returns the removed row, as `set_resource_capability` does. Raises `NotFoundError` if there is none.
        """
        return self._change_one(
            "remove_resource_capability",
            "capability of resource",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "resource_id": parse_uuid(resource_id, "resource_id"),
                "product_id": text_of(product_id, "product_id"),
            },
            ("resource_id", "product_id"),
        )

    def get_resource_capabilities(
        self, organization_id: Id, *, resource_id: Id | None = None, product_id: str | None = None
    ) -> list[Row]:
        """Which resource can make which product, and how fast?

        Rows by resource and product: `resource_id`, `product_id`, `rate_per_hour` (in the product's own unit;
        None: as in the last 30 days), `setup_minutes`, `created_at`, `updated_at`. Empty: no capability.
        """
        return self._read(
            "get_resource_capabilities",
            parse_uuid(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "product_id": optional_text(product_id, "product_id"),
            },
        )


def _within(value: object, name: str, most: int) -> Decimal:
    number = number_of(value, name)
    if not 0 <= number <= most:
        raise InvalidInputError(f"{name} is {number}: give a number from 0 to {most}")
    return number
