"""Attendance that plain SQL wrote twice for one employee and shift."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Severity, check
from db_utils.sql_blocks import sql_beside

_SQL = sql_beside(__name__)


@check("double-attendance")
def double_attendance(context: CheckContext) -> Findings:
    """Does an employee have two attendance rows for one shift?

    Of the last 35 days. `record_attendance` moves the existing row; plain SQL with another time adds a second
    one.
    """
    (there,) = context.rows("SELECT to_regclass('public.employee_attendance') IS NOT NULL AS there")
    if not there["there"]:
        return
    for row in context.rows(_SQL["double"]):
        yield Finding(
            Severity.WARNING,
            f"organization {row['organization_id']} has {row['too_many']:,} more attendance rows than employees in their shifts, "
            f"for example in shift {row['shift_id']}",
            "Only the later row of each employee counts. Delete the other, and write with record_attendance, which corrects the existing "
            "row.",
            figures={"rows": row["too_many"]},
        )
