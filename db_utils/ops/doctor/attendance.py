"""Attendance that plain SQL wrote twice for one employee and shift."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Severity, check

# A unique key of a hypertable holds the time, so the database cannot refuse these.
_DOUBLE = """
    SELECT
        d.organization_id,
        sum(d.row_count - 1)::bigint AS too_many,
        min(d.shift_id::text) AS shift_id
    FROM (
        SELECT
            a.organization_id,
            a.employee_id,
            a.shift_id,
            count(*) AS row_count
        FROM public.employee_attendance AS a
        WHERE a.shift_id IS NOT NULL
            AND a.time >= now() - interval '35 days'
        GROUP BY a.organization_id, a.employee_id, a.shift_id
        HAVING count(*) > 1
    ) AS d
    GROUP BY d.organization_id
    ORDER BY too_many DESC, d.organization_id
    LIMIT 20
"""


@check("double-attendance")
def double_attendance(context: CheckContext) -> Findings:
    """Does an employee have two attendance rows for one shift?

    Of the last 35 days. `record_attendance` moves the row that is there; plain SQL at another time adds a second one.
    """
    (there,) = context.rows("SELECT to_regclass('public.employee_attendance') IS NOT NULL AS there")
    if not there["there"]:
        return
    for row in context.rows(_DOUBLE):
        yield Finding(
            Severity.WARNING,
            f"organization {row['organization_id']} has {row['too_many']:,} more attendance rows than employees in their shifts, of "
            f"shift {row['shift_id']} for one",
            "The later row of each counts. Delete the other, and write with record_attendance, which corrects the row that is there.",
            figures={"rows": row["too_many"]},
        )
