"""Operational events: production, downtime and their causes."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any, Literal

from db_utils.connections.executor import Executor
from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import (
    MAX_ROWS,
    Id,
    Metadata,
    Number,
    choice_of,
    flag_of,
    optional_uuid,
    optional_word,
    past,
    past_until_now,
    whole_of,
)
from db_utils.queries.errors import MovedEventError
from db_utils.queries.loader import query
from db_utils.queries.records import EVENT_TYPES, EventRecord
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import event_identity, parse_uuid
from db_utils.values import Row


class EventQueries(QueryRunner):
    """Operational events."""

    def record_events(
        self, organization_id: Id, events: Iterable[EventRecord], *, replace: bool = False
    ) -> int:
        """Record events and return how many are new or changed.

        Returns how many rows were written; all or none. An existing event, by `event_id`, is not written
        again, so the same events may be sent again; with `replace=True` it is corrected where it differs,
        including its `time`: the event moves. Only given keys are written: a key that an event lacks leaves
        the recorded value unchanged. Keys: see `EventRecord`. Raises `InvalidInputError` for the same event
        twice in one call, `MovedEventError` for one recorded with another time without `replace`,
        `NotFoundError` for an unknown location, resource or employee.
        """
        flag_of(replace, "replace")
        organization = parse_uuid(organization_id, "organization_id")
        made_here: set[str] = set()

        def move(db: Executor, page: list[dict[str, Any]]) -> list[dict[str, Any]]:
            given = [row for row in page if row["event_id"] not in made_here]
            return _moved(db, organization, page, given, replace=replace) if given else page

        return self._write_pages(
            "record_events",
            {"organization_id": organization, "replace": replace},
            (
                _with_id(row, number, made_here)
                for number, row in enumerate(
                    self._rows(organization, EventRecord, events, "events", with_none=True), start=1
                )
            ),
            "events",
            key=("event_id",),
            only_given=True,
            before=move,
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
        """Record one event and return its event_id.

        As `record_events` for one event; sent again with the same `event_id` (an id or the producer's key) it
        is not written twice.
        """
        organization = parse_uuid(organization_id, "organization_id")
        identity = uuid.uuid4() if event_id is None else event_identity(organization, event_id)
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
        self.record_events(organization, [event])
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

        Events that began in the period: the last `days` times 24 hours (default 1), or `start` <= time <
        `end` (aware; no `end`: up to the newest). At most `limit` rows: `time` (UTC), `event_id`,
        `location_id`, `resource_id`, `employee_id`, `event_type`, `cause`, `product_id`, `quantity` (scrap
        included; in the resource's capacity_unit), `scrap_quantity`, `quality_score` (0 to 100),
        `duration_minutes`, `metadata` (dict); None where not known. Empty: nothing happened.
        """
        return self._read(
            "get_events",
            parse_uuid(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                "event_type": optional_word(event_type, "event_type", EVENT_TYPES),
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
        """How much was produced, by hour or by day?

        Whole local hours or days of the location that begin in the period (the last `days` times 24 hours,
        default 7, or `start` <= bucket < `end`, aware), up to now; an event across an edge counts with its
        share on each side, and minutes of downtime do not count: the figures are those of the KPIs of that
        day. Rows by bucket, location and resource (None: events that name none): `bucket` and `bucket_end`
        (UTC), `location_id`, `resource_id`, `event_count` (that began inside), `production_minutes`,
        `quantity` (scrap included) and `scrap_quantity` (in the resource's capacity_unit; None: not reported,
        or in two units), `quantity_per_production_hour` (over minutes whose quantity is known),
        `quality_score_mean` (0 to 100, None where not rated). A bucket without production has no row. Empty:
        nothing was produced.
        """
        return self._read(
            "get_production_rate",
            parse_uuid(organization_id, "organization_id"),
            {
                "bucket": choice_of(bucket, "bucket", ("hour", "day")),
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
        """Why were resources down, and for how long?

        Period: the last `days` times 24 hours (default 7), or `start` <= time < `end` (aware; no `end`: now).
        A stop across an edge counts with the minutes inside, and each minute counts once: maintenance takes
        precedence over breakdown, setup and idle, in this order, then the stop that began first. Stops
        without a resource do not count. Rows by minutes, most first: `event_type` (breakdown, idle, setup or
        maintenance), `cause` (None where not known), `event_count` (recorded stops that began inside;
        overlapping ones are one failure to `mttr`), `downtime_minutes`, `share_pct` (of all minutes in the
        answer, 0 to 100). Empty: no downtime.
        """
        return self._read(
            "get_downtime_by_cause",
            parse_uuid(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                **past_until_now(days, start, end, default_days=7),
            },
        )


def _with_id(row: dict[str, Any], number: int, made_here: set[str]) -> dict[str, Any]:
    if row.get("event_id") is None:
        row["event_id"] = str(uuid.uuid4())
        made_here.add(row["event_id"])
    if row.get("location_id") is None and row.get("resource_id") is None:
        raise InvalidInputError(
            f"events: row {number} lacks location_id: give it, or the resource_id of a resource there"
        )
    return row


def _moved(
    db: Executor,
    organization: uuid.UUID,
    page: list[dict[str, Any]],
    given: list[dict[str, Any]],
    *,
    replace: bool,
) -> list[dict[str, Any]]:
    """Prepare the rows: delete events recorded at another time, and keep values that a row lacks."""
    recorded = db.execute_query(
        query("get_events_at_other_times").sql,
        {
            "organization_id": organization,
            # As text: a list is sent item by item.
            "event_ids": f"{{{','.join([row['event_id'] for row in given])}}}",
            "times": f"{{{','.join([row['time'] for row in given])}}}",
        },
        primary=True,
    )
    if not recorded:
        return page
    if not replace:
        named = "; ".join(f"event_id {row['event_id']} at {row['time'].isoformat()}" for row in recorded[:3])
        more = f"; and {len(recorded) - 3} more" if len(recorded) > 3 else ""
        raise MovedEventError(
            f"events: recorded before with another time ({named}{more}): replace=True moves them; with another "
            "event_id they are separate events",
            sqlstate="23505",
        )
    earlier: dict[str, Row] = {}
    for row in recorded:
        key = {"organization_id": organization, "event_id": row["event_id"], "time": row["time"]}
        if not db.execute(query("remove_event").sql, key):
            raise MovedEventError(
                f"events: event_id {row['event_id']} was moved by another session meanwhile: read it and send it again",
                sqlstate="40001",
            )
        earlier[str(row["event_id"])] = row
    return [_filled(row, earlier.get(row["event_id"])) for row in page]


def _filled(row: dict[str, Any], earlier: Row | None) -> dict[str, Any]:
    if earlier is None:
        return row
    kept = {
        column: value if isinstance(value, dict) else str(value)
        for column, value in earlier.items()
        if value is not None
    }
    if row.get("resource_id", kept.get("resource_id")) != kept.get("resource_id"):
        del kept["location_id"]  # of another machine: its location at that time
    return kept | row
