"""Production plans: planned and actual production."""

from __future__ import annotations

import datetime as dt

from db_utils.queries.arguments import (
    Id,
    Metadata,
    Number,
    date_of,
    local_days,
    metadata_of,
    number_of,
    optional_choice,
    optional_number,
    optional_uuid,
    text_of,
    whole_of,
)
from db_utils.queries.errors import WrongStateError
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

PLAN_STATUSES = ("planned", "in_progress", "completed", "cancelled")
_OPEN = ("planned", "in_progress")


class PlanQueries(QueryRunner):
    """Production plans."""

    def create_production_plan(
        self,
        organization_id: Id,
        product_id: str,
        *,
        location_id: Id,
        plan_date: dt.date,
        planned_quantity: Number,
        resource_id: Id | None = None,
        priority: int = 3,
        metadata: Metadata | None = None,
        plan_id: Id | None = None,
    ) -> Row:
        """Create a production plan and return its row.

        `plan_date` is the local day of the location on which it is due, `planned_quantity` above 0 in the product's own
        unit, `priority` 1 (first) to 5 (last). Returns the row: `plan_id`, `location_id`, `resource_id` (None while not
        decided), `product_id`, `plan_date`, `planned_quantity`, `actual_quantity` (None), `status` (planned),
        `priority`, `metadata` (dict), `created_at`, `updated_at`. Raises `NotFoundError` for an unknown location or
        resource.
        """
        return self._create(
            "create_production_plan",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "plan_id": optional_uuid(plan_id, "plan_id"),
                "location_id": parse_uuid(location_id, "location_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "product_id": text_of(product_id, "product_id"),
                "plan_date": date_of(plan_date, "plan_date"),
                "planned_quantity": number_of(planned_quantity, "planned_quantity"),
                "priority": whole_of(priority, "priority", 1, 5),
                "metadata": metadata_of(metadata, "metadata"),
            },
        )

    def record_plan_progress(self, organization_id: Id, plan_id: Id, *, actual_quantity: Number) -> Row:
        """Record how much of a plan has been produced so far and return the plan.

        `actual_quantity` is the total so far, not the increment; the plan becomes in_progress. Returns the
        row as `get_production_plans` does. Raises `WrongStateError` for a completed or cancelled plan,
        `NotFoundError` for an unknown one.
        """
        return self._transition(
            "record_plan_progress",
            "check_production_plan",
            "plan",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "plan_id": parse_uuid(plan_id, "plan_id"),
                "actual_quantity": number_of(actual_quantity, "actual_quantity"),
            },
            only="progress can only be recorded for a planned or in_progress one",
            key=("plan_id",),
        )

    def complete_production_plan(
        self, organization_id: Id, plan_id: Id, *, actual_quantity: Number | None = None
    ) -> Row:
        """Complete a plan and return its row.

        Without `actual_quantity`, the last recorded progress counts. Returns the row as
        `get_production_plans` does. Raises `WrongStateError` for a completed or cancelled plan or an unknown
        quantity, `NotFoundError` for an unknown plan.
        """
        parameters = {
            "organization_id": parse_uuid(organization_id, "organization_id"),
            "plan_id": parse_uuid(plan_id, "plan_id"),
        }
        rows = self._change(
            "complete_production_plan",
            {**parameters, "actual_quantity": optional_number(actual_quantity, "actual_quantity")},
        )
        if rows:
            return rows[0]
        status = self._status("check_production_plan", "plan", parameters)
        if status in _OPEN:
            only = "no progress was recorded, so give actual_quantity"
        else:
            only = "only a planned or in_progress one can be completed"
        raise WrongStateError(f"plan {parameters['plan_id']} is {status}: {only}", status=status)

    def cancel_production_plan(self, organization_id: Id, plan_id: Id) -> Row:
        """Cancel a plan and return its row.

        Returns the row as `get_production_plans` does. Raises `WrongStateError` for a completed or cancelled plan,
        `NotFoundError` for an unknown one.
        """
        return self._transition(
            "cancel_production_plan",
            "check_production_plan",
            "plan",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "plan_id": parse_uuid(plan_id, "plan_id"),
            },
            only="only a planned or in_progress one can be cancelled",
            key=("plan_id",),
        )

    def get_production_plans(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        resource_id: Id | None = None,
        status: str | None = None,
        days: int | None = None,
        first_date: dt.date | None = None,
        end_date: dt.date | None = None,
    ) -> list[Row]:
        """What is planned where and when, and how much of it was produced?

        Plans due on the last `days` days, today among them (default 7; today is the organization's), or on `first_date`
        <= day < `end_date` (no `end_date`: up to today). Rows by day, priority and product: `plan_id`, `location_id`,
        `resource_id` (None while not decided), `product_id`, `plan_date` (local day of the location),
        `planned_quantity` and `actual_quantity` (in the product's own unit; None while not known), `status` (planned,
        in_progress, completed or cancelled), `priority` (1 first to 5), `metadata` (dict), `created_at`, `updated_at`.
        Empty: no plan.
        """
        return self._read(
            "get_production_plans",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "status": optional_choice(status, "status", PLAN_STATUSES),
                **local_days(days, first_date, end_date, default_days=7),
            },
        )

    def get_production_efficiency(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        days: int | None = None,
        first_date: dt.date | None = None,
        end_date: dt.date | None = None,
    ) -> list[Row]:
        """How much of the planned quantity was produced, by location and local day?

        Completed plans of the last `days` days, today among them (default 30), or of `first_date` <= day <
        `end_date` (no `end_date`: up to today). Rows by day, then location: `location_id`, `plan_date` (local
        day), `plan_count`, `planned_quantity` and `actual_quantity` (over all products), `efficiency_pct`
        (100 * actual / planned, two decimals; above 100 if more was made), `reason` (why these are None:
        products with different units, see `upsert_product`). Empty: no plan was completed.
        """
        return self._read(
            "get_production_efficiency",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                **local_days(days, first_date, end_date, default_days=30),
            },
        )

    def get_plan_attainment(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        days: int | None = None,
        first_date: dt.date | None = None,
        end_date: dt.date | None = None,
    ) -> list[Row]:
        """How much of the quantity due was produced, by location and product?

        Plans whose local day is over, cancelled ones left out, of the last `days` days (default 30; today,
        not over yet, among them) or of `first_date` <= day < `end_date`. Rows by location, then product:
        `location_id`, `product_id`, `plan_count`, `reported_count` (plans whose quantity is known),
        `planned_quantity` (of these), `actual_quantity`, `attainment_pct` (100 * actual / planned; None where
        nothing was reported). Empty: no plan was due.
        """
        return self._read(
            "get_plan_attainment",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                **local_days(days, first_date, end_date, default_days=30),
            },
        )
