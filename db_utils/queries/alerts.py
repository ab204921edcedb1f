"""Alerts: raised, acknowledged, resolved."""

from __future__ import annotations

import datetime as dt

from db_utils.queries.arguments import (
    MAX_ROWS,
    Id,
    Metadata,
    choice_of,
    metadata_of,
    optional_choice,
    optional_text,
    optional_uuid,
    past,
    text_of,
    whole_of,
)
from db_utils.queries.records import SEVERITIES
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

ALERT_STATUSES = ("active", "acknowledged", "resolved")


class AlertQueries(QueryRunner):
    """Alerts."""

    def raise_alert(
        self,
        organization_id: Id,
        title: str,
        *,
        severity: str,
        alert_type: str,
        message: str | None = None,
        location_id: Id | None = None,
        resource_id: Id | None = None,
        anomaly_id: Id | None = None,
        metadata: Metadata | None = None,
        alert_id: Id | None = None,
    ) -> Row:
        """Raise an alert and return its row.

        `severity` is low, medium, high or critical; `alert_type` any word that the application chooses, such
        as resource_down. Listeners are notified once it is committed. Returns the row: `alert_id`,
        `created_at` (UTC), `severity`, `alert_type`, `title`, `message`, `status` (active), `location_id`,
        `resource_id`, `anomaly_id`, `acknowledged_at`, `acknowledged_by`, `resolved_at`, `resolution` (None),
        `metadata` (dict). Raises `NotFoundError` for an unknown organization, location, resource or anomaly
        prediction.
        """
        return self._create(
            "raise_alert",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "alert_id": optional_uuid(alert_id, "alert_id"),
                "severity": choice_of(severity, "severity", SEVERITIES),
                "alert_type": text_of(alert_type, "alert_type"),
                "title": text_of(title, "title"),
                "message": optional_text(message, "message"),
                "location_id": optional_uuid(location_id, "location_id"),
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "anomaly_id": optional_uuid(anomaly_id, "anomaly_id"),
                "metadata": metadata_of(metadata, "metadata"),
            },
        )

    def acknowledge_alert(
        self, organization_id: Id, alert_id: Id, *, acknowledged_by: str | None = None
    ) -> Row:
        """Acknowledge an alert and return its row.

        `acknowledged_by` is the user, as the application names its users. Returns the row as `raise_alert`
        does. Raises `WrongStateError` if it is already acknowledged or resolved, `NotFoundError` for an
        unknown alert.
        """
        return self._transition(
            "acknowledge_alert",
            "check_alert",
            "alert",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "alert_id": parse_uuid(alert_id, "alert_id"),
                "acknowledged_by": optional_text(acknowledged_by, "acknowledged_by"),
            },
            only="only an active one can be acknowledged",
            key=("alert_id",),
        )

    def resolve_alert(self, organization_id: Id, alert_id: Id, *, resolution: str | None = None) -> Row:
        """Resolve an alert and return its row.

        An active or acknowledged alert can be resolved; `resolution` is a text for people. Returns the row as
        `raise_alert` does. Raises `WrongStateError` if it is already resolved, `NotFoundError` for an unknown
        alert.
        """
        return self._transition(
            "resolve_alert",
            "check_alert",
            "alert",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "alert_id": parse_uuid(alert_id, "alert_id"),
                "resolution": optional_text(resolution, "resolution"),
            },
            only="only an active or acknowledged one can be resolved",
            key=("alert_id",),
        )

    def get_active_alerts(
        self, organization_id: Id, *, severity: str | None = None, resource_id: Id | None = None
    ) -> list[Row]:
        """Which alerts are not resolved yet, most severe first?

        Active and acknowledged ones. Rows by severity, then newest first: `alert_id`, `created_at` (UTC),
        `severity`, `alert_type`, `title`, `message`, `status` (active or acknowledged), `location_id`,
        `resource_id`, `resource_name`, `anomaly_id`, `acknowledged_at`, `acknowledged_by`; None where not
        known. Empty: no open alert.
        """
        return self._read(
            "get_active_alerts",
            parse_uuid(organization_id, "organization_id"),
            {
                "severity": optional_choice(severity, "severity", SEVERITIES),
                "resource_id": optional_uuid(resource_id, "resource_id"),
            },
        )

    def get_alerts(
        self,
        organization_id: Id,
        *,
        resource_id: Id | None = None,
        status: str | None = None,
        severity: str | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        limit: int = 1_000,
    ) -> list[Row]:
        """Which alerts were raised, newest first?

        Raised in the last `days` times 24 hours (default 30), or `start` <= created_at < `end` (aware; no
        `end`: up to the newest). At most `limit` rows: `alert_id`, `created_at` (UTC), `severity`,
        `alert_type`, `title`, `message`, `status` (active, acknowledged or resolved), `location_id`,
        `resource_id`, `anomaly_id`, `acknowledged_at`, `acknowledged_by`, `resolved_at`, `resolution`,
        `metadata` (dict); None where not known. Empty: none was raised.
        """
        return self._read(
            "get_alerts",
            parse_uuid(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "status": optional_choice(status, "status", ALERT_STATUSES),
                "severity": optional_choice(severity, "severity", SEVERITIES),
                "row_limit": whole_of(limit, "limit", 1, MAX_ROWS),
                **past(days, start, end, default_days=30),
            },
        )
