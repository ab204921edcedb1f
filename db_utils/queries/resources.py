"""Resources: machines, vehicles and equipment."""

from __future__ import annotations

import datetime as dt

from db_utils.queries.arguments import (
    Id,
    Metadata,
    Number,
    choice_of,
    flag_of,
    metadata_of,
    optional_choice,
    optional_number,
    optional_text,
    optional_time,
    optional_uuid,
    text_of,
)
from db_utils.queries.codes import checked_code
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row, dump_json

RESOURCE_STATUSES = ("running", "idle", "maintenance", "down", "retired")


class ResourceQueries(QueryRunner):
    """Resources and their current state."""

    def create_resource(
        self,
        organization_id: Id,
        name: str,
        *,
        location_id: Id,
        resource_type: str,
        status: str = "running",
        rated_capacity_per_hour: Number | None = None,
        capacity_unit: str | None = None,
        metadata: Metadata | None = None,
        resource_code: str | None = None,
        resource_id: Id | None = None,
        in_service_from: dt.datetime | None = None,
    ) -> Row:
        """Create a resource and return its row.

        `status` is running, idle, maintenance, down or retired; `rated_capacity_per_hour` is in
        `capacity_unit`, above 0; `resource_code` is the customer's own code, accepted wherever its id is. It
        counts as in service from the beginning, or from `in_service_from` (aware, not in the future). Returns
        the row: `resource_id`, `resource_code`, `location_id`, `name`, `resource_type`, `status`,
        `rated_capacity_per_hour`, `capacity_unit`, `metadata` (dict), `created_at`, `updated_at`. Raises
        `UniqueViolationError` where the organization has a resource of this name or code, `NotFoundError` for
        an unknown location.
        """
        organization = parse_uuid(organization_id, "organization_id")
        since = optional_time(in_service_from, "in_service_from")
        parameters = {
            "organization_id": organization,
            "resource_id": optional_uuid(resource_id, "resource_id"),
            "resource_code": checked_code(resource_code, "resource_code"),
            "location_id": parse_uuid(location_id, "location_id"),
            "name": text_of(name, "name"),
            "resource_type": text_of(resource_type, "resource_type"),
            "status": choice_of(status, "status", RESOURCE_STATUSES),
            "rated_capacity_per_hour": optional_number(rated_capacity_per_hour, "rated_capacity_per_hour"),
            "capacity_unit": optional_text(capacity_unit, "capacity_unit"),
            "metadata": metadata_of(metadata, "metadata"),
        }
        if since is None:
            return self._create("create_resource", parameters)
        before = {"period_start": None, "period_end": since, "changes": dump_json({"is_in_service": False})}
        with self._db.transaction() as transaction:
            created = self._create("create_resource", parameters, transaction)
            subject = {"organization_id": organization, "resource_id": created["resource_id"]}
            self._change("correct_resource_history", {**subject, **before}, transaction)
        return created

    def get_or_create_resource(
        self,
        organization_id: Id,
        resource_code: str,
        *,
        location_id: Id,
        resource_type: str,
        name: str | None = None,
        status: str = "running",
        rated_capacity_per_hour: Number | None = None,
        capacity_unit: str | None = None,
        metadata: Metadata | None = None,
        in_service_from: dt.datetime | None = None,
    ) -> Row:
        """Return the resource with this code, creating it if it does not exist.

        An existing one with this code or name is left unchanged. `name` defaults to the code. Arguments, row
        and errors as in `create_resource`.
        """
        return self._get_or_create(
            organization_id,
            "resource_id",
            resource_code,
            lambda q, found: q.get_resources(organization_id, resource_id=found),
            lambda q, code: q.create_resource(
                organization_id,
                code if name is None else name,
                location_id=location_id,
                resource_type=resource_type,
                status=status,
                rated_capacity_per_hour=rated_capacity_per_hour,
                capacity_unit=capacity_unit,
                metadata=metadata,
                resource_code=code,
                in_service_from=in_service_from,
            ),
        )

    def get_resources(
        self,
        organization_id: Id,
        *,
        resource_id: Id | None = None,
        location_id: Id | None = None,
        resource_type: str | None = None,
        status: str | None = None,
    ) -> list[Row]:
        """Which machines, vehicles and equipment does the organization have?

        Rows by name: `resource_id`, `resource_code`, `location_id`, `name`, `resource_type`, `status`,
        `rated_capacity_per_hour` (in `capacity_unit`; None where not known), `capacity_unit`, `metadata`
        (dict), `created_at`, `updated_at`. Includes retired ones. Empty: none of these.
        """
        return self._read(
            "get_resources",
            parse_uuid(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                "resource_type": optional_text(resource_type, "resource_type"),
                "status": optional_choice(status, "status", RESOURCE_STATUSES),
            },
        )

    def get_resource_status(
        self, organization_id: Id, *, location_id: Id | None = None, resource_id: Id | None = None
    ) -> list[Row]:
        """What is each resource doing now: its status, newest event and newest metrics?

        Rows by name: `resource_id`, `location_id`, `name`, `resource_type`, `status` (as set by the
        application), `last_event_at`, `last_event_type`, `last_event_cause`, `last_metric_at`,
        `utilization_pct` and `efficiency_pct` (0 to 100) and `downtime_minutes` of the newest sample; None
        where there is no event or no sample. Events and samples in the future by the database's clock are
        ignored. Empty: no such resource.
        """
        return self._read(
            "get_resource_status",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
            },
        )

    def set_resource_code(self, organization_id: Id, resource_id: Id, *, resource_code: str | None) -> Row:
        """Set or remove the code of a resource and return the row.

        The resource can be named by it from then on; None removes the code. Returns the row as
        `get_resources` does. Raises `NotFoundError` where the organization has no such resource,
        `UniqueViolationError` where another has the code.
        """
        return self._change_one(
            "set_resource_code",
            "resource",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "resource_id": parse_uuid(resource_id, "resource_id"),
                "resource_code": checked_code(resource_code, "resource_code"),
            },
            ("resource_id",),
        )

    def set_resource_status(
        self, organization_id: Id, resource_id: Id, *, status: str, effective_at: dt.datetime | None = None
    ) -> Row:
        """Set the status of a resource and return its row.

        `status` is running, idle, maintenance, down or retired. It is in service, or retired, from
        `effective_at` on (aware, not in the future; default now); earlier figures stay. Returns the row as
        `get_resources` does. Raises `InvalidDataError` for a time in the future, `NotFoundError` where the
        organization has no such resource.
        """
        return self._change_one(
            "set_resource_status",
            "resource",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "resource_id": parse_uuid(resource_id, "resource_id"),
                "status": choice_of(status, "status", RESOURCE_STATUSES),
                "effective_at": optional_time(effective_at, "effective_at"),
            },
            ("resource_id",),
        )

    def move_resource(
        self,
        organization_id: Id,
        resource_id: Id,
        *,
        location_id: Id,
        effective_at: dt.datetime | None = None,
    ) -> Row:
        """Move a resource to this location and return its row.

        From `effective_at` on (aware, not in the future; default now); earlier figures stay with the former
        location. Its events since then recorded at the former location move with it. Returns the row as
        `get_resources` does. Raises `InvalidDataError` for a time in the future, `NotFoundError` for an
        unknown resource or location.
        """
        return self._change_one(
            "move_resource",
            "resource",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "resource_id": parse_uuid(resource_id, "resource_id"),
                "location_id": parse_uuid(location_id, "location_id"),
                "effective_at": optional_time(effective_at, "effective_at"),
            },
            ("resource_id",),
        )

    def rerate_resource(
        self,
        organization_id: Id,
        resource_id: Id,
        *,
        rated_capacity_per_hour: Number | None,
        capacity_unit: str | None = None,
        effective_at: dt.datetime | None = None,
    ) -> Row:
        """Set the rated capacity of a resource and return its row.

        `rated_capacity_per_hour` (None: not known) is in `capacity_unit` (None: the one it has), from
        `effective_at` on (aware, not in the future; default now); earlier figures keep the former capacity.
        Returns the row as `get_resources` does. Raises `CheckViolationError` for a capacity that is not above
        0, `InvalidDataError` for a time in the future, `NotFoundError` for an unknown resource.
        """
        return self._change_one(
            "rerate_resource",
            "resource",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "resource_id": parse_uuid(resource_id, "resource_id"),
                "rated_capacity_per_hour": optional_number(
                    rated_capacity_per_hour, "rated_capacity_per_hour"
                ),
                "capacity_unit": optional_text(capacity_unit, "capacity_unit"),
                "effective_at": optional_time(effective_at, "effective_at"),
            },
            ("resource_id",),
        )

    def correct_resource_history(
        self,
        organization_id: Id,
        resource_id: Id,
        *,
        start: dt.datetime | None,
        end: dt.datetime,
        location_id: Id | None = None,
        rated_capacity_per_hour: Number | None = None,
        capacity_unit: str | None = None,
        is_in_service: bool | None = None,
    ) -> list[Row]:
        """Correct the history of a resource in a past period and return it.

        The given values held from `start` (aware; None: from the beginning) until before `end`, which is not
        in the future; other values, and the present, stay. Returns the rows of `get_resource_history`. Raises
        `InvalidInputError` if nothing is given, `InvalidDataError` for an `end` in the future or not after
        `start`, `NotFoundError` for an unknown resource or location.
        """
        capacity = optional_number(rated_capacity_per_hour, "rated_capacity_per_hour")
        return self._correct_history(
            "correct_resource_history",
            parse_uuid(organization_id, "organization_id"),
            parse_uuid(resource_id, "resource_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "rated_capacity_per_hour": capacity,
                "capacity_unit": optional_text(capacity_unit, "capacity_unit"),
                "is_in_service": None if is_in_service is None else flag_of(is_in_service, "is_in_service"),
            },
            start,
            end,
        )

    def get_resource_history(self, organization_id: Id, resource_id: Id) -> list[Row]:
        """Which location, rated capacity and service status did a resource have, and when?

        Rows, oldest first, each beginning where the one before ends: `valid_from` (UTC; None: from the
        beginning), `valid_to` (not included; None: until now), `location_id`, `rated_capacity_per_hour` (in
        `capacity_unit`; None where not known), `capacity_unit`, `is_in_service`, `recorded_at` (when it was
        recorded or last corrected). Empty: no such resource.
        """
        return self._read(
            "get_resource_history",
            parse_uuid(organization_id, "organization_id"),
            {"resource_id": parse_uuid(resource_id, "resource_id")},
        )
