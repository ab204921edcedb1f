"""Resource metrics: samples of utilization, efficiency and downtime."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Literal

from db_utils.queries.arguments import Id, choice_of, flag_of, optional_uuid, past
from db_utils.queries.records import MetricRecord
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row


class MetricQueries(QueryRunner):
    """Resource metrics."""

    def record_resource_metrics(
        self, organization_id: Id, metrics: Iterable[MetricRecord], *, replace: bool = False
    ) -> int:
        """Record samples of resources and return how many are new or changed.

        Returns how many rows were written; all or none. A sample of the same resource and time is kept as it
        is, or corrected where it differs with `replace=True`; the same samples may be sent again. Only given
        keys are written: a key that a sample lacks leaves the recorded value unchanged. Keys: see
        `MetricRecord`. Raises `InvalidInputError` for two samples of one resource and time in one call,
        `NotFoundError` for an unknown resource.
        """
        organization = parse_uuid(organization_id, "organization_id")
        flag_of(replace, "replace")
        return self._write_pages(
            "record_resource_metrics",
            {"organization_id": organization, "replace": replace},
            self._rows(organization, MetricRecord, metrics, "metrics", with_none=True),
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
        """Which resource metrics were sampled in a period?

        Every sample whose time is in the last `days` times 24 hours (default 1), or `start` <= time < `end`
        (aware; no `end`: up to the newest): at a minute's sampling 1,440 a day and resource. Rows oldest
        first, then by resource: `time` (UTC; start of the sample), `resource_id`, `utilization_pct` and
        `efficiency_pct` (0 to 100, None where not measured), `downtime_minutes`, `sample_minutes` (the time
        it covers), `metadata` (dict). Empty: no sample.
        """
        return self._read(
            "get_resource_metrics",
            parse_uuid(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                **past(days, start, end, default_days=1),
            },
        )

    def get_latest_resource_metrics(
        self, organization_id: Id, *, location_id: Id | None = None, resource_id: Id | None = None
    ) -> list[Row]:
        """What is the newest sample of each resource?

        Rows by name: `resource_id`, `location_id`, `name`, `time` (UTC), `utilization_pct` and `efficiency_pct` (0 to
        100, None where not measured), `downtime_minutes`, `sample_minutes`, `metadata` (dict). A resource without a
        sample has no row. Empty: no sample at all.
        """
        return self._read(
            "get_latest_resource_metrics",
            parse_uuid(organization_id, "organization_id"),
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
        """How busy was each resource, by hour or by day?

        Whole local hours or days of the resource's location at that time that begin in the period (the last
        `days` times 24 hours, default 7, or `start` <= bucket < `end`, aware), up to now. Rows by bucket and
        resource: `bucket` and `bucket_end` (UTC), `resource_id`, `utilization_pct` (mean over the minutes
        measured), `utilization_pct_min`, `utilization_pct_max`, `efficiency_pct` (mean over the minutes
        measured; all 0 to 100, None where not measured), `downtime_minutes` (None where not known),
        `sample_minutes` (covered by samples) and of these `utilization_minutes`, `efficiency_minutes`,
        `downtime_known_minutes`, and `sample_count` (samples whose time is in it). A sample covers the time
        up to the next one of its resource: its `sample_minutes`, or at most 60 without them; across the edge
        of a bucket it counts with its share. A bucket without coverage has no row. Empty: no sample.
        """
        choice_of(bucket, "bucket", ("hour", "day"))
        return self._read(
            "get_resource_utilization",
            parse_uuid(organization_id, "organization_id"),
            {
                "bucket_unit": bucket,
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

        In the last `days` times 24 hours (default 7), or `start` <= time < `end` (aware), up to now; for one
        location, while the resource was there. One row a resource, retired ones without samples left out:
        `resource_id`, `location_id` (where it is now), `name`, `resource_type`, `utilization_pct` (mean over
        the minutes measured), `utilization_pct_min`, `utilization_pct_max`, `efficiency_pct` (mean over the
        minutes measured; all 0 to 100, None where not measured, these last), `downtime_minutes` (None where
        not known), `sample_minutes` (covered by samples) and of these `utilization_minutes`,
        `efficiency_minutes`, `downtime_known_minutes`, and `sample_count` (all 0 without samples). What a
        sample covers: see `get_resource_utilization`. Empty: no resource.
        """
        return self._read(
            "get_resource_utilization_summary",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                **past(days, start, end, default_days=7),
            },
        )
