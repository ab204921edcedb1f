"""Resources: machines, vehicles and equipment."""

from __future__ import annotations

from db_utils.operational.arguments import (
    Id,
    Metadata,
    Number,
    choice_of,
    metadata_of,
    optional_choice,
    optional_number,
    optional_text,
    optional_uuid,
    text_of,
    uuid_of,
)
from db_utils.operational.runner import QueryRunner
from db_utils.values import Row

RESOURCE_STATUSES = ("running", "idle", "maintenance", "down", "retired")


class ResourceQueries(QueryRunner):
    """Resources and what they do now."""

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
        resource_id: Id | None = None,
    ) -> Row:
        """Which resource was just created?

        `status` is running, idle, maintenance, down or retired; `rated_capacity_per_hour` is in `capacity_unit`, above
        0. Returns the row: `resource_id`, `location_id`, `name`, `resource_type`, `status`,
        `rated_capacity_per_hour`, `capacity_unit`, `metadata` (dict), `created_at`, `updated_at`. Raises
        `UniqueViolationError` where the organization has a resource of this name, `NotFoundError` for an unknown
        location.
        """
        return self._create(
            "create_resource",
            {
                "organization_id": uuid_of(organization_id, "organization_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "location_id": uuid_of(location_id, "location_id"),
                "name": text_of(name, "name"),
                "resource_type": text_of(resource_type, "resource_type"),
                "status": choice_of(status, "status", RESOURCE_STATUSES),
                "rated_capacity_per_hour": optional_number(
                    rated_capacity_per_hour, "rated_capacity_per_hour"
                ),
                "capacity_unit": optional_text(capacity_unit, "capacity_unit"),
                "metadata": metadata_of(metadata, "metadata"),
            },
        )

    def get_resources(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        resource_type: str | None = None,
        status: str | None = None,
    ) -> list[Row]:
        """Which machines, vehicles and equipment does the organization have?

        Rows by name: `resource_id`, `location_id`, `name`, `resource_type`, `status`, `rated_capacity_per_hour` (in
        `capacity_unit`; None where not known), `capacity_unit`, `metadata` (dict), `created_at`, `updated_at`.
        Retired ones are among them. Empty: none of these.
        """
        return self._read(
            "get_resources",
            uuid_of(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "resource_type": optional_text(resource_type, "resource_type"),
                "status": optional_choice(status, "status", RESOURCE_STATUSES),
            },
        )

    def get_resource_status(
        self, organization_id: Id, *, location_id: Id | None = None, resource_id: Id | None = None
    ) -> list[Row]:
        """What does each resource do now: its status, its newest event and its newest metrics?

        Rows by name: `resource_id`, `location_id`, `name`, `resource_type`, `status` (as the application keeps it),
        `last_event_at`, `last_event_type`, `last_event_cause`, `last_metric_at`, `utilization_pct` and
        `efficiency_pct` (0 to 100) and `downtime_minutes` of the newest sample; None where there is no event or no
        sample. Empty: no such resource.
        """
        return self._read(
            "get_resource_status",
            uuid_of(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
            },
        )

    def set_resource_status(self, organization_id: Id, resource_id: Id, *, status: str) -> Row:
        """Which resource now has this status?

        `status` is running, idle, maintenance, down or retired. Returns the row as `get_resources` does. Raises
        `NotFoundError` where the organization has no such resource.
        """
        return self._change_one(
            "set_resource_status",
            "resource",
            {
                "organization_id": uuid_of(organization_id, "organization_id"),
                "resource_id": uuid_of(resource_id, "resource_id"),
                "status": choice_of(status, "status", RESOURCE_STATUSES),
            },
            ("resource_id",),
        )
