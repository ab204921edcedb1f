"""Operational events: what happened, how much was produced, why machines stood still."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any, Literal

from db_utils.errors import InvalidInputError
from db_utils.operational.arguments import (
    MAX_ROWS,
    Id,
    Metadata,
    Number,
    choice_of,
    flag_of,
    optional_choice,
    optional_uuid,
    past,
    past_until_now,
    uuid_of,
    whole_of,
)
from db_utils.operational.records import EVENT_TYPES, EventRecord, encoded_rows
from db_utils.operational.runner import QueryRunner
from db_utils.values import Row


class EventQueries(QueryRunner):
    """Operational events."""

    def record_events(
        self, organization_id: Id, events: Iterable[EventRecord], *, replace: bool = False
    ) -> int:
        """Which of these events are new, or differ from what was recorded?

        Returns how many rows were written; all or none. An event that is there already, by `event_id` and `time`, is
        not written again, so the same events may be sent again; with `replace=True` what is there is corrected where it
        differs. Only what is given is written: a key that an event does not have leaves what is recorded as it is. Keys:
        see `EventRecord`. Raises `InvalidInputError` for the same event twice in one call, `NotFoundError` for an
        unknown location, resource or employee.
        """
        flag_of(replace, "replace")
        organization = uuid_of(organization_id, "organization_id")
        return self._write_pages(
            "record_events",
            {"organization_id": organization, "replace": replace},
            (
                _with_id(row, number)
                for number, row in enumerate(
                    encoded_rows(EventRecord, events, "events", with_none=True), start=1
                )
            ),
            "events",
            key=("event_id", "time"),
            only_given=True,
        )

    def record_event(
        self,
        organization_id: Id,
        *,
        time: dt.datetime,
        event_type: str,
        location_id: Id | None = None,
        resource_id: Id | None = None,
        employee_id: Id | None = None,
        cause: str | None = None,
        product_id: str | None = None,
        quantity: Number | None = None,
        scrap_quantity: Number | None = None,
        quality_score: Number | None = None,
        duration_minutes: Number | None = None,
        metadata: Metadata | None = None,
        event_id: Id | None = None,
    ) -> uuid.UUID:
        """Under which event_id is this event recorded?

        One event as in `record_events`; sent again under the same `event_id` and `time` it is not written twice.
        """
        identity = uuid.uuid4() if event_id is None else uuid_of(event_id, "event_id")
        event: EventRecord = {
            "time": time,
            "event_type": event_type,
            "event_id": identity,
            "location_id": location_id,
            "resource_id": resource_id,
            "employee_id": employee_id,
            "cause": cause,
            "product_id": product_id,
            "quantity": quantity,
            "scrap_quantity": scrap_quantity,
            "quality_score": quality_score,
            "duration_minutes": duration_minutes,
            "metadata": metadata,
        }
        self.record_events(organization_id, [event])
        return identity

    def get_events(
        self,
        organization_id: Id,
        *,
        resource_id: Id | None = None,
        location_id: Id | None = None,
        event_type: str | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        limit: int = 1_000,
    ) -> list[Row]:
        """What happened, newest first?

        Events that began in the period: the last `days` times 24 hours (default 1), or `start` <= time < `end` (aware;
        no `end`: up to the newest). At most `limit` rows: `time` (UTC), `event_id`, `location_id`, `resource_id`,
        `employee_id`, `event_type`, `cause`, `product_id`, `quantity` (scrap included; in the resource's
        capacity_unit), `scrap_quantity`, `quality_score` (0 to 100), `duration_minutes`, `metadata` (dict); None where
        not told. Empty: nothing happened.
        """
        return self._read(
            "get_events",
            uuid_of(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                "event_type": optional_choice(event_type, "event_type", EVENT_TYPES),
                "row_limit": whole_of(limit, "limit", 1, MAX_ROWS),
                **past(days, start, end, default_days=1),
            },
        )

    def get_production_rate(
        self,
        organization_id: Id,
        *,
        bucket: Literal["hour", "day"] = "hour",
        resource_id: Id | None = None,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """How much was produced, hour by hour or day by day?

        Read from rollups: UTC hours or UTC days that begin in the period (the last `days` times 24 hours, default 7, or
        `start` <= bucket < `end`, aware); an event counts whole in the bucket in which it began. Rows by bucket,
        location and resource: `bucket` (its start, UTC), `location_id`, `resource_id`, `event_count`,
        `production_minutes`, `quantity` (scrap included) and `scrap_quantity` (in the resource's capacity_unit),
        `quantity_per_production_hour` (None where production took no time), `quality_score_mean` (0 to 100, None where
        not rated). A bucket without production has no row. Empty: nothing was produced.
        """
        choice_of(bucket, "bucket", ("hour", "day"))
        return self._read(
            f"get_production_rate_{bucket}",
            uuid_of(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                **past(days, start, end, default_days=7),
            },
        )

    def get_downtime_by_cause(
        self,
        organization_id: Id,
        *,
        resource_id: Id | None = None,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """Why did resources stand still, and for how long?

        Period: the last `days` times 24 hours (default 7), or `start` <= time < `end` (aware; no `end`: now). A stop
        that reaches over an edge counts with the minutes inside. Rows by minutes, most first: `event_type` (breakdown,
        idle, setup or maintenance), `cause` (None where not told), `event_count` (stops that began inside),
        `downtime_minutes`, `share_pct` (of all minutes in the answer, 0 to 100). Empty: nothing stood still.
        """
        return self._read(
            "get_downtime_by_cause",
            uuid_of(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                **past_until_now(days, start, end, default_days=7),
            },
        )


def _with_id(row: dict[str, Any], number: int) -> dict[str, Any]:
    if row.get("event_id") is None:
        row["event_id"] = str(uuid.uuid4())
    if row.get("location_id") is None and row.get("resource_id") is None:
        raise InvalidInputError(
            f"events: row {number} lacks location_id: give it, or the resource_id of a resource there"
        )
    return row
