"""Resource metrics: utilization, efficiency and downtime, sampled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Literal

from db_utils.operational.arguments import Id, choice_of, flag_of, optional_uuid, past, uuid_of
from db_utils.operational.records import MetricRecord, encoded_rows
from db_utils.operational.runner import QueryRunner
from db_utils.values import Row


class MetricQueries(QueryRunner):
    """Resource metrics."""

    def record_resource_metrics(
        self, organization_id: Id, metrics: Iterable[MetricRecord], *, replace: bool = False
    ) -> int:
        """Which of these samples are new, or differ from what was recorded?

        Returns how many rows were written; all or none. A sample of the same resource and time is kept as it is, or
        corrected where it differs with `replace=True`; the same samples may be sent again. Only what is given is
        written: a key that a sample does not have leaves what is recorded as it is. Keys: see `MetricRecord`. Raises
        `InvalidInputError` for two samples of one resource and time in one call, `NotFoundError` for an unknown
        resource.
        """
        flag_of(replace, "replace")
        return self._write_pages(
            "record_resource_metrics",
            {"organization_id": uuid_of(organization_id, "organization_id"), "replace": replace},
            encoded_rows(MetricRecord, metrics, "metrics", with_none=True),
            "metrics",
            key=("resource_id", "time"),
            only_given=True,
        )

    def get_resource_metrics(
        self,
        organization_id: Id,
        *,
        resource_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What did the samples of a period say?

        Every sample whose time lies in the last `days` times 24 hours (default 1), or `start` <= time < `end` (aware; no
        `end`: up to the newest): at a minute's sampling 1,440 a day and resource. Rows oldest first, then by resource:
        `time` (UTC; start of the sample), `resource_id`, `utilization_pct` and `efficiency_pct` (0 to 100, None where
        not measured), `downtime_minutes`, `sample_minutes` (what the sample speaks for), `metadata` (dict). Empty:
        no sample.
        """
        return self._read(
            "get_resource_metrics",
            uuid_of(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                **past(days, start, end, default_days=1),
            },
        )

    def get_latest_resource_metrics(
        self, organization_id: Id, *, location_id: Id | None = None, resource_id: Id | None = None
    ) -> list[Row]:
        """What did the newest sample of each resource say?

        Rows by name: `resource_id`, `location_id`, `name`, `time` (UTC), `utilization_pct` and `efficiency_pct` (0 to
        100, None where not measured), `downtime_minutes`, `sample_minutes`, `metadata` (dict). A resource without a
        sample has no row. Empty: no sample at all.
        """
        return self._read(
            "get_latest_resource_metrics",
            uuid_of(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
            },
        )

    def get_resource_utilization(
        self,
        organization_id: Id,
        *,
        bucket: Literal["hour", "day"] = "hour",
        resource_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """How busy was each resource, hour by hour or day by day?

        Read from rollups: UTC hours or UTC days that begin in the period (the last `days` times 24 hours, default 7, or
        `start` <= bucket < `end`, aware). Rows by bucket and resource: `bucket` (its start, UTC), `resource_id`,
        `utilization_pct` (mean over the minutes measured), `utilization_pct_min`, `utilization_pct_max`,
        `efficiency_pct` (mean over the minutes measured; all 0 to 100, None where not measured), `downtime_minutes`,
        `sample_minutes`, `sample_count`. A bucket without a sample has no row. Empty: no sample.
        """
        choice_of(bucket, "bucket", ("hour", "day"))
        return self._read(
            f"get_resource_utilization_{bucket}",
            uuid_of(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                **past(days, start, end, default_days=7),
            },
        )

    def get_resource_utilization_summary(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """How busy was each resource, busiest first?

        Read from the hourly rollup: UTC hours that begin in the period (the last `days` times 24 hours, default 7, or
        `start` <= hour < `end`, aware). One row a resource, retired ones without samples left out: `resource_id`,
        `location_id`, `name`, `resource_type`, `utilization_pct` (mean over the minutes measured),
        `utilization_pct_min`, `utilization_pct_max`, `efficiency_pct` (mean over the minutes measured; all 0 to 100, None
        where not measured, these last), `downtime_minutes` (None without samples), `sample_minutes` and `sample_count`
        (0 without samples). Empty: no resource.
        """
        return self._read(
            "get_resource_utilization_summary",
            uuid_of(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                **past(days, start, end, default_days=7),
            },
        )
