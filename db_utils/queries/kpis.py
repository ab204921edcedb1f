"""KPIs after ISO 22400-2, each with what it was computed from."""

from __future__ import annotations

import datetime as dt

from db_utils.queries.arguments import Id, optional_uuid, past_until_now, whole_of
from db_utils.queries.loader import query
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

MAX_TREND_DAYS = 366


class KpiQueries(QueryRunner):
    """KPIs.

    Every row of theirs has `kpi`, `value` and `unit`, `numerator` and `denominator` with `numerator_unit` and
    `denominator_unit`, `coverage_pct` (share of what should have data that has it, 0 to 100; None where nothing was
    planned) and `reason` (why `value` is None; a KPI that cannot be computed is never 0 and never 100).
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

        Of the last `days` times 24 hours (default 7), or of `start` <= time < `end` (aware; no `end`: now). Twelve rows, always
        in this order: availability, effectiveness, quality_ratio, oee, utilisation_efficiency, throughput_rate,
        scrap_ratio, mtbf, mttr (ISO 22400-2), plan_attainment, attendance_rate, forecast_wape. Columns: `kpi`,
        `value`, `unit` (%, h or a quantity per h), `numerator`, `numerator_unit`, `denominator`,
        `denominator_unit`, `coverage_pct`, `reason` (see the class), `period_start`, `period_end` (UTC). Read
        from rollups: the cost follows the hours of the period, not its events.
        """
        organization = parse_uuid(organization_id, "organization_id")
        rows = self._read("get_kpi_summary", organization, past_until_now(days, start, end, default_days=7))
        if all(row["value"] is None for row in rows):
            # The SQL function answers for any organization, with reasons.
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

    def get_kpi_trend(self, organization_id: Id, *, days: int = 7) -> list[Row]:
        """How did the organization's KPIs go, day by day?

        Of the last `days` local days that are over (1 to 366; the organization's time zone, so that the day of a
        daylight-saving change has 23 or 25 hours). Twelve rows a day as in `get_kpi_summary`, oldest day first: `day`
        (date), `kpi`, `value`, `unit`, `numerator`, `numerator_unit`, `denominator`, `denominator_unit`,
        `coverage_pct`, `reason`, `period_start`, `period_end` (UTC). One query a day, all in one transaction.
        """
        organization = parse_uuid(organization_id, "organization_id")
        count = whole_of(days, "days", 1, MAX_TREND_DAYS)
        rows: list[Row] = []
        with self._db.transaction() as transaction:
            local_days = transaction.execute_query(
                query("list_local_days").sql, {"organization_id": organization, "days": count}
            )
            for local_day in local_days:
                answer = transaction.execute_query(
                    query("get_kpi_summary").sql,
                    {
                        "organization_id": organization,
                        "period_start": local_day["starts_at"],
                        "period_end": local_day["ends_at"],
                    },
                )
                rows += [{"day": local_day["day"], **row} for row in answer]
        if not rows:
            self._require_organization(organization)
        return rows
