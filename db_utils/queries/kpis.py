"""KPIs according to ISO 22400-2, each with its inputs."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal, TypeAlias

from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import (
    Id,
    choice_of,
    optional_time,
    optional_uuid,
    past,
    past_until_now,
    whole_of,
)
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

TrendBucket: TypeAlias = Literal["hour", "day", "week", "month"]
TrendSubject: TypeAlias = Literal["organization", "location", "resource"]

MAX_TREND_DAYS = 366
MAX_TREND_BUCKETS = 1_000
_BUCKETS = {
    "hour": dt.timedelta(hours=1),
    "day": dt.timedelta(days=1),
    "week": dt.timedelta(days=7),
    "month": dt.timedelta(days=28),
}


class KpiQueries(QueryRunner):
    """KPIs.

    Every row has `kpi`, `value` and `unit`, `numerator` and `denominator` with `numerator_unit` and
    `denominator_unit`, `coverage_pct` (share of the expected data that exists, 0 to 100; None where nothing
    was planned) and `reason` (why `value` is None; a KPI that cannot be computed is never 0 or 100).
    """

    def get_kpi_summary(
        self,
        organization_id: Id,
        *,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What are the organization's KPIs?

        Of the last `days` times 24 hours (default 7), or of `start` <= time < `end` (aware; no `end`: now).
        Twelve rows, always in this order: availability, effectiveness, quality_ratio, oee,
        utilisation_efficiency, throughput_rate, scrap_ratio, mtbf, mttr (ISO 22400-2), plan_attainment,
        attendance_rate, forecast_wape. Columns: `kpi`, `value`, `unit` (%, h or a quantity per h),
        `numerator`, `numerator_unit`, `denominator`, `denominator_unit`, `coverage_pct`, `reason` (see the
        class), `period_start`, `period_end` (UTC). Read from rollups: the cost depends on the hours of the
        period, not on its events.
        """
        organization = parse_uuid(organization_id, "organization_id")
        rows = self._read("get_kpi_summary", organization, past_until_now(days, start, end, default_days=7))
        if self.answers_frames or all(row["value"] is None for row in rows):
            # The SQL function returns rows for any organization, with reasons.
            self._require_organization(organization)
        return rows

    def get_location_kpis(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What are the KPIs of each location?

        Period as in `get_kpi_summary`. Twelve rows a location, by its name: `location_id`, `location_name`, `kpi`,
        `value`, `unit`, `numerator`, `numerator_unit`, `denominator`, `denominator_unit`, `coverage_pct`, `reason`.
        Empty: no such location.
        """
        return self._read(
            "get_location_kpis",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                **past_until_now(days, start, end, default_days=7),
            },
        )

    def get_resource_kpis(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        resource_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What are the KPIs of each resource?

        Period as in `get_kpi_summary`. Twelve rows a resource (attendance and WAPE with a reason instead), by its name,
        retired ones left out: `location_id`, `resource_id`, `resource_name`, `kpi`, `value`, `unit`, `numerator`,
        `numerator_unit`, `denominator`, `denominator_unit`, `coverage_pct`, `reason`. Empty: no such resource.
        """
        return self._read(
            "get_resource_kpis",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
                **past_until_now(days, start, end, default_days=7),
            },
        )

    def get_shift_kpis(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What are the KPIs of each shift that starts in the period?

        Period: the last `days` times 24 hours (default 7), or `start` <= starts_at < `end` (aware; no `end`: now). Twelve
        rows a shift (plans and WAPE with a reason instead), by its start, location and name: `shift_id`, `location_id`,
        `shift_name`, `starts_at` (UTC), `kpi`, `value`, `unit`, `numerator`, `numerator_unit`, `denominator`,
        `denominator_unit`, `coverage_pct`, `reason`. Empty: no shift.
        """
        return self._read(
            "get_shift_kpis",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                **past_until_now(days, start, end, default_days=7),
            },
        )

    def get_kpi_trend(
        self,
        organization_id: Id,
        *,
        bucket: TrendBucket = "day",
        by: TrendSubject = "organization",
        location_id: Id | None = None,
        resource_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """How did the KPIs develop, by local bucket?

        `bucket` is hour, day, week (from Monday) or month in local time of the organization, or of the
        location if rows are `by` location or resource: the day of a clock change has 23 or 25 hours. For the
        last `days` local days that are over (default 7, at most 366), or the whole buckets that cover `start`
        to `end` (aware; no `end`: now), which may extend beyond both; the current bucket counts up to now. At
        most 1,000 buckets. Twelve rows a bucket and subject as in `get_kpi_summary`, oldest bucket first,
        then by the names of location and resource: `day` (date) and `local_start` (local time, without zone)
        of its beginning, `location_id`, `location_name`, `resource_id`, `resource_name` (None where rows are
        not by them), `kpi`, `value`, `unit`, `numerator`, `numerator_unit`, `denominator`,
        `denominator_unit`, `coverage_pct`, `reason`, `period_start`, `period_end` (UTC).
        """
        level = choice_of(by, "by", ("organization", "location", "resource"))
        place, machine = optional_uuid(location_id, "location_id"), optional_uuid(resource_id, "resource_id")
        if level == "organization" and (place or machine):
            raise InvalidInputError("location_id and resource_id need by='location' or by='resource'")
        if level == "location" and machine:
            raise InvalidInputError("resource_id needs by='resource'")
        return self._read(
            "get_kpi_trend",
            parse_uuid(organization_id, "organization_id"),
            {
                "grouping_level": level,
                "bucket": choice_of(bucket, "bucket", tuple(_BUCKETS)),
                "location_id": place,
                "resource_id": machine,
                **_trend_period(days, start, end, _BUCKETS[bucket]),
            },
        )


def _trend_period(days: object, start: object, end: object, length: dt.timedelta) -> dict[str, Any]:
    """Return the parameters days, period_start and period_end: either the first or the others are set."""
    if start is None and end is None:
        count = whole_of(7 if days is None else days, "days", 1, MAX_TREND_DAYS)
        period: dict[str, Any] = {"days": count, "period_start": None, "period_end": None}
        span = dt.timedelta(days=count)
    else:
        past(days, start, end, default_days=7)  # refuses contradictory arguments
        first, last = optional_time(start, "start"), optional_time(end, "end")
        period = {"days": None, "period_start": first, "period_end": last}
        span = (last or dt.datetime.now(dt.UTC)) - (first or dt.datetime.now(dt.UTC))
    if span / length > MAX_TREND_BUCKETS:
        raise InvalidInputError(
            f"the period makes more than {MAX_TREND_BUCKETS:,} buckets: give a shorter one or a longer bucket"
        )
    return period
