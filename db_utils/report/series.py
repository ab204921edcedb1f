"""Queries of the report in addition to the prebuilt ones: daily and hourly sums, computed as those do."""

from __future__ import annotations

from db_utils.queries.loader import query
from db_utils.sql_blocks import sql_beside

READ_AT = "SELECT now() AS read_at"

_SQL = sql_beside(__name__)
DATA_EXTENT = _SQL["data_extent"]


def utilization_by_hour() -> str:
    """Mean over the minutes measured, by local hour of the resource's location at that time."""
    hours = query("get_resource_utilization").sql.rstrip().rstrip(";")
    return f"""
SELECT
    r.resource_id,
    r.name AS resource_name,
    r.resource_type,
    l.name AS location_name,
    extract(hour FROM u.bucket AT TIME ZONE z.timezone)::integer AS hour,
    sum(u.utilization_pct * u.utilization_minutes) / nullif(sum(u.utilization_minutes), 0) AS utilization_pct,
    sum(u.utilization_minutes) AS measured_minutes
FROM (
{hours}
) AS u
JOIN resource_history AS h
    ON h.organization_id = %(organization_id)s
    AND h.resource_id = u.resource_id
    AND h.valid_from <= u.bucket
    AND h.valid_to > u.bucket
JOIN location_history AS z
    ON z.organization_id = %(organization_id)s
    AND z.location_id = h.location_id
    AND z.valid_from <= u.bucket
    AND z.valid_to > u.bucket
JOIN resources AS r
    ON r.organization_id = %(organization_id)s
    AND r.resource_id = u.resource_id
JOIN locations AS l
    ON l.organization_id = %(organization_id)s
    AND l.location_id = r.location_id
GROUP BY
    r.resource_id,
    r.name,
    r.resource_type,
    l.name,
    hour
ORDER BY
    l.name,
    r.name,
    r.resource_id,
    hour
"""


STOPS = _SQL["stops"]

ATTENDANCE_BY_DAY = _SQL["attendance_by_day"]

ANOMALY_PREDICTIONS = _SQL["anomaly_predictions"]

COVERAGE = _SQL["coverage"]
