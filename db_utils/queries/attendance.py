"""Attendance: presence and absence of employees, and attendance rates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from db_utils.connections.executor import Executor
from db_utils.queries.arguments import Id, Number, flag_of, number_of, optional_uuid, past
from db_utils.queries.duplicates import once_each
from db_utils.queries.loader import query
from db_utils.queries.records import AttendanceRecord, as_json
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row


class AttendanceQueries(QueryRunner):
    """Attendance."""

    def record_attendance(
        self, organization_id: Id, attendance: Iterable[AttendanceRecord], *, replace: bool = True
    ) -> int:
        """Record attendance and return how many rows are new or changed.

        Returns how many rows were written; all or none. A row of the same employee and time is corrected
        where it differs, or kept with `replace=False`; so is the row of the same employee and `shift_id` at
        another time, which moves. The same rows may be sent again. Only given keys are written: a key that a
        row lacks leaves the recorded value unchanged; but an absent employee has worked 0 hours, and when an
        absence is corrected to attendance the hours are unknown until given. Keys: see `AttendanceRecord`.
        Raises `InvalidInputError` for two rows of one employee and time, or of one employee and shift, in one
        call, `NotFoundError` for an unknown employee or shift.
        """
        organization = parse_uuid(organization_id, "organization_id")
        flag_of(replace, "replace")

        def remove_moved(db: Executor, page: list[dict[str, Any]]) -> None:
            if "shift_id" in page[0]:
                db.execute(
                    query("remove_moved_attendance").sql,
                    {"organization_id": organization, "attendance": as_json(page)},
                )

        return self._write_pages(
            "record_attendance",
            {"organization_id": organization, "replace": replace},
            once_each(
                self._rows(organization, AttendanceRecord, attendance, "attendance", with_none=True),
                ("employee_id", "shift_id"),
                "attendance",
                only_with="shift_id",
            ),
            "attendance",
            key=("employee_id", "time"),
            only_given=True,
            after=remove_moved if replace else None,
        )

    def get_attendance(
        self,
        organization_id: Id,
        *,
        employee_id: Id | None = None,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """Who came to work, and who did not, newest first?

        Scheduled work that began in the last `days` times 24 hours (default 7), or `start` <= time < `end`
        (aware; no `end`: up to the newest). Rows by time, then employee: `time` (UTC), `employee_id`,
        `full_name`, `location_id` (where they were based then), `shift_id` (None if it was no shift),
        `status` (present, late, remote, absent, sick or vacation), `scheduled_hours`, `hours_worked` (None
        where not known), `performance_score` (0 to 100, None if absent or not rated), `metadata` (dict).
        Empty: nothing was recorded.
        """
        return self._read(
            "get_attendance",
            parse_uuid(organization_id, "organization_id"),
            {
                "employee_id": optional_uuid(employee_id, "employee_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                **past(days, start, end, default_days=7),
            },
        )

    def get_attendance_rate(
        self,
        organization_id: Id,
        *,
        employee_id: Id | None = None,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """How regularly did each employee come to work, by the organization's local month?

        Period: the current local month, or the last `days` times 24 hours, or `start` <= time < `end`
        (aware); a month at its edge counts with the part inside; with `location_id`, the work due while they
        were based there. Rows by month, then full name: `month` (date, its first day), `employee_id`,
        `full_name`, `location_id` (where they were last based in it), `attendance_rate` (0 to 100: attended
        of scheduled), `attended_count` (present, late or remote), `scheduled_count` (vacation does not
        count), `hours_worked` (of the `hours_known_count` records whose hours are known, None without any),
        `performance_score_mean` (0 to 100, None where not rated). Up to now; no work is due outside
        employment. Empty: no work was due.
        """
        return self._read(
            "get_attendance_rate",
            parse_uuid(organization_id, "organization_id"),
            {
                "employee_id": optional_uuid(employee_id, "employee_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                **_this_month_or(days, start, end),
            },
        )

    def get_low_attendance(
        self,
        organization_id: Id,
        *,
        below_pct: Number = 90,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """Which employees have low attendance, lowest rate first?

        Period: the organization's current local month, or the last `days` times 24 hours, or `start` <= time
        < `end` (aware). Rows of those below `below_pct`: `employee_id`, `full_name`, `location_id` (where
        they were last based), `attendance_rate` (0 to 100), `attended_count`, `scheduled_count` (vacation
        does not count). Up to now; no work is due outside employment. Empty: no such employee.
        """
        return self._read(
            "get_low_attendance",
            parse_uuid(organization_id, "organization_id"),
            {
                "below_pct": number_of(below_pct, "below_pct"),
                "location_id": optional_uuid(location_id, "location_id"),
                **_this_month_or(days, start, end),
            },
        )


def _this_month_or(days: object, start: object, end: object) -> dict[str, object]:
    """Return the given period; without one, the organization's local month, which the server computes."""
    this_month = days is None and start is None and end is None
    edges = past(days, start, end, default_days=31)
    return {**edges, "period_start": None if this_month else edges["period_start"], "this_month": this_month}
