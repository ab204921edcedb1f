"""External factors: weather, holidays, markets, each with the time at which it became known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from db_utils.queries.arguments import (
    FOREVER,
    Id,
    optional_choice,
    optional_text,
    optional_time,
    optional_uuid,
    past,
)
from db_utils.queries.records import FACTOR_TYPES, FactorRecord
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row


class ExternalFactorQueries(QueryRunner):
    """External factors."""

    def record_external_factors(self, organization_id: Id, factors: Iterable[FactorRecord]) -> int:
        """Record readings and return how many are new.

        Returns how many rows were written; all or none. Sending a reading twice stores it once; a correction
        is a reading with a later `available_at`. Keys: see `FactorRecord`. Raises `DifferentValuesError`
        where a reading was recorded before with another value, `NotFoundError` for an unknown organization or
        location.
        """
        organization = parse_uuid(organization_id, "organization_id")
        return self._write_pages(
            "record_external_factors",
            {"organization_id": organization},
            self._rows(organization, FactorRecord, factors, "factors"),
            "factors",
            key=("name", "location_id", "time", "available_at"),
            check="check_external_factors",
        )

    def get_external_factors(
        self,
        organization_id: Id,
        *,
        as_of: dt.datetime | None = None,
        factor_type: str | None = None,
        name: str | None = None,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """Which external readings were known at a given time?

        Of each reading the newest version with available_at <= `as_of` (aware; default: the newest of all).
        Readings for the last `days` times 24 hours (default 30) and all future times, or `start` <= time <
        `end` (aware). With `location_id` those of the location and those of the whole organization. Rows
        oldest first, then by name and location: `time` (UTC; the time it is about), `location_id` (None:
        whole organization), `factor_type` (weather, holiday, market, calendar, event or other), `name`,
        `value` (in `unit`), `unit`, `available_at`, `recorded_at`, `metadata` (dict). Empty: nothing was
        known.
        """
        return self._read(
            "get_external_factors",
            parse_uuid(organization_id, "organization_id"),
            {
                "as_of": optional_time(as_of, "as_of") or FOREVER,
                "factor_type": optional_choice(factor_type, "factor_type", FACTOR_TYPES),
                "name": optional_text(name, "name"),
                "location_id": optional_uuid(location_id, "location_id"),
                **past(days, start, end, default_days=30),
            },
        )
