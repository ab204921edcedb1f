"""Duplicate attendance."""

from __future__ import annotations

from tests.integration.doctor.support import ailment, execute, well

_TWICE = """
    INSERT INTO employee_attendance (organization_id, time, employee_id, shift_id, status)
    SELECT a.organization_id, a.time + n * interval '1 minute', a.employee_id, a.shift_id, 'late'
    FROM (
        SELECT * FROM employee_attendance
        WHERE shift_id IS NOT NULL AND time < now() - interval '1 hour' ORDER BY time DESC, employee_id LIMIT 1
    ) AS a
    CROSS JOIN generate_series(7, 8) AS n
"""


def test_two_attendances_for_one_shift_are_found(url: str) -> None:
    assert well(url, "double-attendance")
    execute(url, _TWICE)
    assert ailment(url, "double-attendance").figures == {"rows": 2}
