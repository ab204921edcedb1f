"""Overdue sources, and sources whose last run failed, are found."""

from __future__ import annotations

from db_utils.ops.doctor import Severity
from tests.integration.doctor.support import BAD, ailment, ask, execute, paste_in_shell, value, well

CHECK = "connector-runs"
_SCHEDULE = """
    INSERT INTO service_schedules
        (organization_id, task, location_id, run_every, created_at, next_run_at, last_started_at, last_succeeded_at)
    SELECT l.organization_id, 'fetch holidays', l.location_id, interval '1 day', now() - interval '9 days',
        now() - interval '1 hour', {ended}, {ended}
    FROM locations AS l
    ORDER BY l.organization_id, l.location_id
    LIMIT 1
"""


def test_a_source_that_was_not_asked_in_time(url: str) -> None:
    assert well(url, CHECK)
    execute(url, _SCHEDULE.format(ended="now() - interval '47 hours'"))
    assert well(url, CHECK)
    execute(url, "UPDATE service_schedules SET last_succeeded_at = now() - interval '49 hours'")
    late = ailment(url, CHECK)
    assert late.severity == Severity.WARNING
    assert "last succeeded 2.0 days ago" in late.found
    assert abs(late.figures["age_seconds"] - 49 * 3600) < 600
    assert late.figures["every_seconds"] == 86_400
    # The printed command runs due tasks.
    paste_in_shell(url, late.fix)
    assert well(url, CHECK)
    assert value(url, "SELECT count(*) FROM external_factors WHERE name = 'public_holiday'") > 0


def test_one_that_never_had_a_good_run_is_as_old_as_its_schedule(url: str) -> None:
    execute(url, _SCHEDULE.format(ended="NULL"))
    assert "has not succeeded since it was scheduled 9.0 days ago" in ailment(url, CHECK).found
    execute(url, "UPDATE service_schedules SET is_enabled = false")
    assert well(url, CHECK)


def test_a_failure_is_told_with_its_reason(url: str) -> None:
    execute(url, _SCHEDULE.format(ended="now()"))
    # A worker is running it: nothing is wrong yet.
    execute(url, "UPDATE service_schedules SET last_error = 'interrupted'")
    assert well(url, CHECK)
    execute(url, "UPDATE service_schedules SET last_error = 'the source refuses: 429'")
    assert "the last run failed: the source refuses: 429" in ailment(url, CHECK).found


def test_many_are_summed_up(url: str) -> None:
    execute(
        url,
        "INSERT INTO service_schedules (organization_id, task, run_every, created_at) SELECT organization_id, 'fetch ' || chr(96 + n), "
        "interval '1 hour', now() - interval '1 day' FROM (SELECT organization_id FROM organizations ORDER BY 1 LIMIT 1) AS o "
        "CROSS JOIN generate_series(1, 25) AS n",
    )
    bad = [f for f in ask(url, CHECK) if f.severity in BAD]
    assert len(bad) == 21
    assert bad[-1].figures == {"sources": 5}


def test_a_database_of_an_older_schema_has_none(url: str) -> None:
    execute(url, "DROP TABLE service_schedules CASCADE")
    assert well(url, CHECK)
