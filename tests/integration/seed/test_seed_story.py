"""The sample data is consistent, whatever the day it is loaded: tables agree with each other."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support.seed_story import (
    LOGISTICS,
    MANUFACTURING,
    PARIS,
    Story,
    events_by_resource,
    local_day,
    midnight,
)

LINE_2 = "11111111-1111-1111-0002-000000000002"


def test_nothing_is_dated_after_the_anchor(story: Story) -> None:
    instants = {
        "operational_events": "time + make_interval(mins => duration_minutes::integer)",
        "demand_history": "time",
        "resource_metrics": "time + make_interval(mins => sample_minutes::integer)",
        # Hours have two decimals: half of the last digit is 18 seconds.
        "employee_attendance": "time + make_interval(secs => hours_worked * 3600 - 18)",
        "demand_forecasts": "available_at",
        "absence_forecasts": "available_at",
        "external_factors": "available_at",
        "anomaly_predictions": "greatest(available_at, occurred_at, closed_at)",
        "alerts": "greatest(created_at, acknowledged_at, resolved_at)",
        "optimization_runs": "greatest(started_at, finished_at)",
    }
    late = {t: story.column(f"SELECT max({expression}) FROM {t}")[0] for t, expression in instants.items()}
    assert {table: instant for table, instant in late.items() if instant > story.anchor} == {}
    assert not story.column(
        "SELECT plan_id FROM production_plans WHERE actual_quantity IS NOT NULL AND plan_date > %s",
        story.today,
    )


def test_events_of_a_resource_never_overlap(story: Story) -> None:
    for events in events_by_resource(story).values():
        lasting = [e for e in events if e["duration_minutes"] > 0]
        assert all(before["ends_at"] <= after["time"] for before, after in pairwise(lasting))
        # Events without duration happen while the resource produces.
        producing = [(e["time"], e["ends_at"]) for e in lasting if e["event_type"] == "production"]
        moments = [e["time"] for e in events if e["duration_minutes"] == 0]
        assert moments
        assert all(any(start <= moment < end for start, end in producing) for moment in moments)


def test_events_lie_in_shifts(story: Story) -> None:
    outside = story.rows(
        "SELECT e.event_id FROM operational_events AS e WHERE e.resource_id IS NOT NULL AND NOT "
        "tstzrange(e.time, e.time + make_interval(mins => e.duration_minutes::integer), '[]') <@ ("
        "SELECT range_agg(tstzrange(s.starts_at, s.ends_at, '[]')) FROM shifts AS s "
        "WHERE s.organization_id = e.organization_id AND s.location_id = e.location_id)"
    )
    assert outside == []


def test_metrics_tell_the_same_story_as_events(story: Story) -> None:
    """Minute by minute: busy while producing, down while broken or maintained, nothing else otherwise."""
    contradictions = story.rows(
        """
        WITH minutes AS (
            SELECT
                e.resource_id,
                e.time + make_interval(mins => n) AS time,
                e.event_type
            FROM operational_events AS e
            CROSS JOIN LATERAL generate_series(0, e.duration_minutes::integer - 1) AS n
            WHERE e.time > %s
                AND e.resource_id IS NOT NULL
        )
        SELECT
            e.event_type,
            count(*) AS minutes
        FROM resource_metrics AS m
        LEFT JOIN minutes AS e
            ON e.resource_id = m.resource_id
            AND e.time = m.time
        WHERE CASE
            WHEN e.event_type = 'production' THEN
                m.utilization_pct = 0 OR m.efficiency_pct IS NULL OR m.downtime_minutes > 0
            WHEN e.event_type IN ('breakdown', 'maintenance') THEN
                m.utilization_pct > 0
                OR m.efficiency_pct IS NOT NULL
                OR m.downtime_minutes <> m.sample_minutes
            ELSE m.utilization_pct > 0 OR m.efficiency_pct IS NOT NULL OR m.downtime_minutes > 0
        END
        GROUP BY e.event_type
        """,
        story.anchor - timedelta(days=9),
    )
    assert contradictions == []


def test_quantity_follows_capacity_and_metrics(story: Story) -> None:
    """Quantity = rated capacity x time x utilization x efficiency, within 2 percent."""
    since = story.last_minute - timedelta(hours=167)
    from_metrics = story.rows(
        """
        SELECT
            m.resource_id,
            sum(r.rated_capacity_per_hour / 60 * m.utilization_pct / 100 * m.efficiency_pct / 100) AS quantity
        FROM operational_events AS e
        JOIN resources AS r USING (organization_id, resource_id)
        CROSS JOIN LATERAL generate_series(0, e.duration_minutes::integer - 1) AS n
        JOIN resource_metrics AS m
            ON m.resource_id = e.resource_id
            AND m.time = e.time + make_interval(mins => n)
        WHERE e.event_type = 'production'
            AND e.time >= %s
        GROUP BY m.resource_id
        """,
        since,
    )
    made = {
        resource_id: sum(
            e["quantity"] for e in events if e["event_type"] == "production" and e["time"] >= since
        )
        for resource_id, events in events_by_resource(story).items()
    }
    assert {row["resource_id"] for row in from_metrics} == set(made)
    for row in from_metrics:
        assert float(made[row["resource_id"]]) == pytest.approx(float(row["quantity"]), rel=0.02)


def test_status_of_each_resource_is_what_it_did_last(story: Story) -> None:
    means = {"production": "running", "breakdown": "down", "maintenance": "maintenance"}
    events = events_by_resource(story)
    statuses = {
        r["resource_id"]: r["status"] for r in story.rows("SELECT resource_id, status FROM resources")
    }
    for resource_id, status in statuses.items():
        lasting = [
            e for e in events[resource_id] if e["duration_minutes"] and e["ends_at"] == story.last_minute
        ]
        assert status == (means.get(lasting[0]["event_type"], "idle") if lasting else "idle")
    assert "down" in statuses.values()


def test_plans_were_made_of_good_pieces(story: Story) -> None:
    good: dict[Any, Any] = defaultdict(int)
    for resource_id, events in events_by_resource(story).items():
        for e in events:
            if e["event_type"] == "production":
                good[resource_id, e["product_id"], local_day(e["time"])] += (
                    e["quantity"] - e["scrap_quantity"]
                )
    plans = story.rows(
        "SELECT resource_id, product_id, plan_date, actual_quantity, status FROM production_plans"
    )
    completed = [p for p in plans if p["status"] == "completed"]
    assert sorted({p["plan_date"] for p in completed}) == story.days(-30, -1)
    for plan in (p for p in plans if p["status"] in ("completed", "in_progress")):
        assert plan["actual_quantity"] == good[plan["resource_id"], plan["product_id"], plan["plan_date"]]
    assert sorted({p["plan_date"] for p in plans if p["status"] == "planned"}) == story.days(1, 14)


def test_who_is_away_works_no_hours(story: Story) -> None:
    attendance = story.rows(
        """
        SELECT
            t.time,
            t.status,
            t.hours_worked,
            t.scheduled_hours,
            t.performance_score,
            a.status AS assigned,
            s.starts_at,
            s.ends_at,
            (
                SELECT count(*)
                FROM operational_events AS e
                WHERE e.organization_id = t.organization_id
                    AND e.employee_id = t.employee_id
                    AND e.time >= s.starts_at
                    AND e.time < s.ends_at
            ) AS events
        FROM employee_attendance AS t
        JOIN shifts AS s USING (organization_id, shift_id)
        JOIN shift_assignments AS a USING (organization_id, shift_id, employee_id)
        """
    )
    assert len(attendance) == len(
        story.column("SELECT shift_id FROM shift_assignments WHERE starts_at <= %s", story.anchor)
    )
    for row in attendance:
        assert row["time"] == row["starts_at"]
        assert row["scheduled_hours"] * 3600 == int((row["ends_at"] - row["starts_at"]).total_seconds())
        if row["status"] in ("present", "late"):
            assert row["assigned"] == ("completed" if row["ends_at"] <= story.last_minute else "confirmed")
            assert row["performance_score"] is not None
        else:
            assert row["assigned"] == ("cancelled" if row["status"] == "vacation" else "absent")
            assert (row["hours_worked"], row["performance_score"], row["events"]) == (0, None, 0)
    employees = story.column("SELECT employee_id FROM employees")
    assert len(set(story.column("SELECT employee_id FROM employee_attendance"))) == len(employees)


def test_attendance_is_low_this_month(story: Story) -> None:
    """From the first minute of a month on, in both organizations."""
    this_month = story.today.replace(day=1)
    low = story.rows(
        "SELECT organization_id, attendance_rate FROM employee_attendance_rate "
        "WHERE month = date_trunc('month', %s::date) AND attendance_rate < 90",
        this_month,
    )
    assert {str(row["organization_id"]) for row in low} == {MANUFACTURING, LOGISTICS}


def test_the_bottleneck_can_be_seen(story: Story) -> None:
    predicted = story.rows(
        "SELECT resource_id, available_at, predicted_for FROM anomaly_predictions "
        "WHERE anomaly_type = 'bottleneck' AND status = 'active' AND severity IN ('high', 'critical')"
    )
    assert [str(p["resource_id"]) for p in predicted] == [LINE_2]
    assert predicted[0]["predicted_for"] > story.anchor

    def while_busy(start_hours_ago: int, end_hours_ago: int) -> tuple[float, float]:
        busy = story.rows(
            "SELECT avg(utilization_pct) AS utilization, avg(efficiency_pct) AS efficiency "
            "FROM resource_metrics "
            "WHERE resource_id = %s AND utilization_pct > 0 AND time >= %s AND time < %s",
            LINE_2,
            story.anchor - timedelta(hours=start_hours_ago),
            story.anchor - timedelta(hours=end_hours_ago),
        )[0]
        return float(busy["utilization"]), float(busy["efficiency"])

    days = [while_busy(hours + 24, hours) for hours in (120, 72, 48, 24, 0)]
    assert [u for u, _ in days] == sorted(u for u, _ in days), "utilization climbs"
    assert [e for _, e in days] == sorted((e for _, e in days), reverse=True), "efficiency falls"
    assert days[0][0] < 85
    assert days[-1][0] >= 95
    assert days[-1][1] < 80


def test_outcomes_of_predictions_are_true(story: Story) -> None:
    breakdowns = {
        resource_id: [(e["time"], e["ends_at"]) for e in events if e["event_type"] == "breakdown"]
        for resource_id, events in events_by_resource(story).items()
    }
    closed = story.rows(
        "SELECT * FROM anomaly_predictions WHERE anomaly_type = 'failure' AND status = 'closed'"
    )
    for p in closed:
        if p["outcome"] == "confirmed":
            assert any(
                start <= p["occurred_at"] < end and p["available_at"] < start
                for start, end in breakdowns[p["resource_id"]]
            )
        else:
            assert p["outcome"] == "false_alarm"
            assert all(
                abs(start - p["predicted_for"]) > timedelta(hours=24)
                for start, _ in breakdowns[p["resource_id"]]
            )
    assert sorted(p["outcome"] for p in closed) == ["confirmed"] * 2 + ["false_alarm"] * 2
    alerts = story.rows(
        "SELECT a.created_at, p.available_at "
        "FROM alerts AS a JOIN anomaly_predictions AS p USING (organization_id, anomaly_id)"
    )
    assert alerts
    assert all(a["created_at"] >= a["available_at"] for a in alerts)


def test_shifts_keep_local_time(story: Story) -> None:
    """Eight hours of local time, whatever the clock changes; the factory's night shift crosses midnight."""
    hours = set()
    for s in story.rows("SELECT name, starts_at, ends_at FROM shifts"):
        start, end = (s[name].astimezone(PARIS).replace(tzinfo=None) for name in ("starts_at", "ends_at"))
        assert end - start == timedelta(hours=8)
        hours.add((s["ends_at"] - s["starts_at"]) // timedelta(hours=1))
        assert (s["name"] != "Night") or end.date() > start.date()
    # A shift absorbs the hour that its day lost or gained.
    days = [
        (midnight(day + timedelta(days=1)).timestamp() - midnight(day).timestamp()) / 3600
        for day in story.days(-30, 14)
    ]
    assert hours == {length - 16 for length in days}
