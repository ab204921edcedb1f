"""Forecasts, anomalies, absences, factors, runs and alerts: answers recomputed from raw rows."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from tests.support.query_calls import Facts, Raw
from tests.support.recompute import (
    DAY,
    Row,
    assert_rows,
    groups,
    local_day,
    mean,
    midnight,
    pick,
    ratio,
    total,
    within,
)

FORECAST = (
    "product_id",
    "location_id",
    "target_time",
    "target_interval",
    "predicted_quantity",
    "lower_bound",
    "upper_bound",
    "interval_coverage_pct",
    "model_name",
    "model_version",
    "available_at",
    "recorded_at",
)
"""Columns of forecasts as of a time; current ones also have `target_end`."""
ABSENCE = (
    "target_date",
    "location_id",
    "employee_id",
    "absence_probability",
    "expected_absences",
    "model_name",
    "model_version",
    "available_at",
    "recorded_at",
)
SEVERITIES = ["critical", "high", "medium", "low"]


def newest_of(rows: Sequence[Row], key: Callable[[Row], Any]) -> list[Row]:
    """The row that counts for each key: newest available_at, newest recorded_at, first model, last version."""
    chosen = []
    for candidates in groups(rows, key).values():
        candidates = sorted(candidates, key=lambda row: row["model_version"], reverse=True)
        candidates.sort(key=lambda row: row["model_name"])
        candidates.sort(key=lambda row: (row["available_at"], row["recorded_at"]), reverse=True)
        chosen.append(candidates[0])
    return chosen


def target_of(row: Row) -> tuple[Any, ...]:
    return (row["product_id"], row["location_id"], row["target_time"], row["target_interval"])


def end_of(row: Row, zones: dict[Any, ZoneInfo]) -> dt.datetime:
    """The end of a target of whole local days: the first quarter of an hour with that date."""
    zone, length = zones[row["location_id"]], row["target_interval"]
    assert length % DAY == dt.timedelta(0)
    day = row["target_time"].astimezone(zone).date() + length
    moment = row["target_time"] + length - dt.timedelta(hours=2)
    while moment.astimezone(zone).date() < day:
        moment += dt.timedelta(minutes=15)
    return moment


def zones_of(raw: Raw) -> dict[Any, ZoneInfo]:
    return {row["location_id"]: ZoneInfo(row["timezone"]) for row in raw["locations"]}


def test_current_demand_forecasts(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    start, end = facts.start, facts.now + 12 * DAY
    newest = newest_of(within(raw["demand_forecasts"], start, end, "target_time"), target_of)
    expected = [
        {**pick(row, *FORECAST), "target_end": end_of(row, zones_of(raw))}
        for row in sorted(newest, key=target_of)
    ]
    period = {"start": start, "end": end}
    assert expected
    assert queries.get_current_demand_forecasts(facts.organization_id, **period) == expected
    for column in ("product_id", "location_id"):
        value = expected[-1][column]
        answer = queries.get_current_demand_forecasts(facts.organization_id, **period, **{column: value})
        assert answer == [row for row in expected if row[column] == value]


def test_without_a_period_forecasts_are_what_comes(
    queries: OperationalDataQueries, facts: Facts, raw: Raw
) -> None:
    answer = queries.get_current_demand_forecasts(facts.organization_id)
    assert len(groups(answer, lambda row: (row["product_id"], row["location_id"]))) > 1
    under_way = [row for row in answer if row["target_time"] < facts.now]
    assert under_way, "today is one of them"
    assert min(row["target_end"] for row in under_way) > facts.now
    answer = [row for row in answer if row not in under_way]
    everything = queries.get_current_demand_forecasts(facts.organization_id, start=facts.now)
    assert {target_of(row) for row in answer} <= {target_of(row) for row in everything}
    assert max(row["target_time"] for row in everything) == max(
        row["target_time"] for row in raw["demand_forecasts"]
    )


@pytest.mark.parametrize("days_back", [0, 3, 11])
def test_demand_forecasts_as_of(
    queries: OperationalDataQueries, facts: Facts, raw: Raw, days_back: int
) -> None:
    as_of = facts.now - days_back * DAY
    known = [row for row in raw["demand_forecasts"] if row["available_at"] <= as_of]
    expected = [pick(row, *FORECAST) for row in sorted(newest_of(known, target_of), key=target_of)]
    assert queries.get_demand_forecasts_as_of(facts.organization_id, as_of=as_of) == expected
    period = {"start": as_of, "end": as_of + 5 * DAY, "product_id": facts.product_id}
    assert queries.get_demand_forecasts_as_of(facts.organization_id, as_of=as_of, **period) == [
        row
        for row in expected
        if row["product_id"] == facts.product_id and as_of <= row["target_time"] < as_of + 5 * DAY
    ]


def test_known_by_leaves_out_what_was_saved_later(
    queries: OperationalDataQueries, facts: Facts, raw: Raw
) -> None:
    saved = min(row["recorded_at"] for row in raw["demand_forecasts"])
    for ask in (
        queries.get_demand_forecasts_as_of,
        queries.get_absence_forecasts_as_of,
        queries.get_anomaly_predictions_as_of,
    ):
        assert ask(facts.organization_id, as_of=facts.now, known_by=saved - DAY) == []
        assert ask(facts.organization_id, as_of=facts.now, known_by=facts.now)


def outcomes(raw: Raw, start: dt.datetime, end: dt.datetime) -> list[dict[str, Any]]:
    """Predictions made in advance, and the outcomes."""
    zones = zones_of(raw)
    demand = groups(raw["demand_history"], lambda row: (row["product_id"], row["location_id"]))
    found = []
    for row in within(raw["demand_forecasts"], start, end, "target_time"):
        if row["available_at"] > row["target_time"]:
            continue
        zone, finish = zones[row["location_id"]], end_of(row, zones)
        lead = row["target_time"].astimezone(zone).date() - row["available_at"].astimezone(zone).date()
        happened = within(demand.get((row["product_id"], row["location_id"]), []), row["target_time"], finish)
        found.append(
            {
                **pick(
                    row,
                    "product_id",
                    "location_id",
                    "target_time",
                    "target_interval",
                    "model_name",
                    "model_version",
                    "available_at",
                ),
                "target_end": finish,
                "is_over": finish <= end,
                "lead_time_days": lead.days,
                **pick(row, "predicted_quantity", "lower_bound", "upper_bound"),
                "actual_quantity": total(r["quantity"] for r in happened) if finish <= end else None,
                "purpose": "published",
            }
        )
    return sorted(
        found, key=lambda row: (*target_of(row), row["available_at"], row["model_name"], row["model_version"])
    )


def test_demand_forecast_outcomes(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    expected = outcomes(raw, facts.month_ago, facts.end)
    answer = queries.get_demand_forecast_outcomes(facts.organization_id, start=facts.month_ago, end=facts.end)
    assert {row["actual_quantity"] is None for row in expected} == {True, False}
    assert_rows(answer, expected)


def test_outcomes_of_the_newest_forecasts(seeded: DatabaseManager, facts: Facts, raw: Raw) -> None:
    newest: dict[Any, Row] = {}
    for row in outcomes(raw, facts.month_ago, facts.end):  # oldest first
        newest[target_of(row)] = row
    answer = seeded.execute_query(
        "SELECT * FROM demand_forecast_outcomes(%s, %s, %s, newest_only => true) ORDER BY product_id, location_id, target_time",
        (facts.organization_id, facts.month_ago, facts.end),
    )
    assert len(newest) < len(outcomes(raw, facts.month_ago, facts.end))
    assert len(answer) == len(newest)
    assert {(*target_of(row), row["available_at"], row["actual_quantity"]) for row in answer} == {
        (*target_of(row), row["available_at"], row["actual_quantity"]) for row in newest.values()
    }


def test_demand_forecast_accuracy(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    newest: dict[Any, Row] = {}
    for row in outcomes(raw, facts.month_ago, facts.end):  # oldest first
        if row["is_over"]:
            group = (row["model_name"], row["model_version"], row["target_interval"], row["lead_time_days"])
            newest[group, target_of(row)] = row
    expected = []
    for (model, version, length, lead), targets in sorted(
        groups(newest.items(), lambda item: item[0][0]).items()
    ):
        rows = [row for _, row in targets if row["actual_quantity"] is not None]
        errors = [Fraction(row["predicted_quantity"]) - row["actual_quantity"] for row in rows]
        bounded = [row for row in rows if row["lower_bound"] is not None]
        inside = sum(row["lower_bound"] <= row["actual_quantity"] <= row["upper_bound"] for row in bounded)
        expected.append(
            {
                "model_name": model,
                "model_version": version,
                "target_interval": length,
                "lead_time_days": lead,
                "target_count": len(rows),
                "no_outcome_count": len(targets) - len(rows),
                "actual_quantity": total(row["actual_quantity"] for row in rows),
                "wape_pct": ratio(
                    total(map(abs, errors)), total(row["actual_quantity"] for row in rows), 100
                ),
                "mae": mean(map(abs, errors)),
                "bias": mean(errors),
                "interval_count": len(bounded),
                "interval_coverage_pct": ratio(inside, len(bounded), 100),
                "reason": None if rows else "no demand recorded for these targets",
                "purpose": "published",
            }
        )
    answer = queries.get_demand_forecast_accuracy(facts.organization_id, start=facts.month_ago, end=facts.end)
    assert len(expected) > 5
    assert_rows(answer, expected)


def likeliest_first(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-row["probability"], row["predicted_for"], row["anomaly_id"]))


def test_active_anomalies_and_bottlenecks(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    resources = raw.by_id("resources", "resource_id")
    everything = [
        {
            **{
                k: v
                for k, v in row.items()
                if k not in ("organization_id", "outcome", "occurred_at", "closed_at", "updated_at")
            },
            "resource_name": resources[row["resource_id"]]["name"],
            "location_id": resources[row["resource_id"]]["location_id"],
        }
        for row in likeliest_first(raw["anomaly_predictions"])
    ]
    active = [row for row in everything if row["status"] == "active"]
    still_open = [row for row in everything if row["status"] in ("active", "acknowledged")]
    assert queries.get_active_anomaly_predictions(facts.organization_id) == active
    assert (
        queries.get_active_anomaly_predictions(facts.organization_id, include_acknowledged=True) == still_open
    )
    for column in ("resource_id", "anomaly_type"):
        for value in {row[column] for row in active}:
            assert queries.get_active_anomaly_predictions(facts.organization_id, **{column: value}) == [
                row for row in active if row[column] == value
            ]
    severe = [
        row
        for row in active
        if row["anomaly_type"] == "bottleneck" and row["severity"] in ("high", "critical")
    ]
    assert severe
    assert queries.get_recent_bottlenecks(facts.organization_id) == [
        {k: v for k, v in row.items() if k not in ("anomaly_type", "status")} for row in severe
    ]


@pytest.mark.parametrize("days_back", [0, 2, 8, 20])
def test_anomalies_as_of(queries: OperationalDataQueries, facts: Facts, raw: Raw, days_back: int) -> None:
    as_of = facts.now - days_back * DAY
    columns = (
        "anomaly_id",
        "resource_id",
        "anomaly_type",
        "severity",
        "probability",
        "predicted_for",
        "description",
        "model_name",
        "model_version",
        "available_at",
        "recorded_at",
    )
    expected = [
        pick(row, *columns)
        for row in likeliest_first(raw["anomaly_predictions"])
        if row["available_at"] <= as_of and (row["closed_at"] is None or row["closed_at"] > as_of)
    ]
    assert queries.get_anomaly_predictions_as_of(facts.organization_id, as_of=as_of) == expected


def test_anomaly_scores(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    start, end = facts.month_ago, facts.now + 9 * DAY
    breakdowns = [
        row for row in within(raw["operational_events"], start, end) if row["event_type"] == "breakdown"
    ]
    expected = []
    for (kind, model, version), rows in sorted(
        groups(
            within(raw["anomaly_predictions"], start, end, "predicted_for"),
            lambda row: (row["anomaly_type"], row["model_name"], row["model_version"]),
        ).items()
    ):
        confirmed = [row for row in rows if row["outcome"] == "confirmed"]
        alarms = sum(row["outcome"] == "false_alarm" for row in rows)
        announced = {
            (breakdown["resource_id"], breakdown["time"])
            for breakdown in breakdowns
            for row in raw["anomaly_predictions"]
            if row["outcome"] == "confirmed"
            and row["anomaly_type"] == "failure"
            and (row["model_name"], row["model_version"]) == (model, version)
            and row["resource_id"] == breakdown["resource_id"]
            and row["available_at"] < breakdown["time"]
            and breakdown["time"]
            <= row["occurred_at"]
            <= breakdown["time"] + dt.timedelta(minutes=float(breakdown["duration_minutes"]))
        }
        of_failures = kind == "failure"
        expected.append(
            {
                "anomaly_type": kind,
                "model_name": model,
                "model_version": version,
                "prediction_count": len(rows),
                "confirmed_count": len(confirmed),
                "false_alarm_count": alarms,
                "unknown_count": sum(row["outcome"] == "unknown" for row in rows),
                "open_count": sum(row["outcome"] is None for row in rows),
                "precision_pct": ratio(len(confirmed), len(confirmed) + alarms, 100),
                "breakdown_count": len(breakdowns) if of_failures else None,
                "predicted_breakdown_count": len(announced) if of_failures else None,
                "recall_pct": ratio(len(announced), len(breakdowns), 100) if of_failures else None,
                "lead_time_minutes_mean": mean(
                    Fraction(
                        (row["occurred_at"] - row["available_at"]) // dt.timedelta(microseconds=1), 60_000_000
                    )
                    for row in confirmed
                ),
            }
        )
    answer = queries.get_anomaly_prediction_scores(facts.organization_id, start=start, end=end)
    assert any(row["predicted_breakdown_count"] for row in expected)
    assert_rows(answer, expected)


def subject_of(row: Row) -> tuple[Any, ...]:
    """Day, then locations before employees, as a database sorts NULLs last."""
    return (
        row["target_date"],
        row["location_id"] is None,
        str(row["location_id"]),
        str(row["employee_id"]),
    )


def test_current_absence_forecasts(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    first, end = facts.today - 9 * DAY, facts.today + 6 * DAY
    rows = [row for row in raw["absence_forecasts"] if first <= row["target_date"] < end]
    expected = [pick(row, *ABSENCE) for row in sorted(newest_of(rows, subject_of), key=subject_of)]
    dates = {"first_date": first, "end_date": end}
    assert expected
    assert queries.get_current_absence_forecasts(facts.organization_id, **dates) == expected
    for column, value in (("location_id", facts.location_id), ("employee_id", facts.employee_id)):
        answer = queries.get_current_absence_forecasts(facts.organization_id, **dates, **{column: value})
        assert answer == [row for row in expected if row[column] == value]


def test_days_of_absences_begin_with_the_organizations_today(
    queries: OperationalDataQueries, facts: Facts
) -> None:
    zone = ZoneInfo(str(queries.get_organization(facts.organization_id)["timezone"]))
    today = dt.datetime.now(zone).date()
    answer = queries.get_current_absence_forecasts(facts.organization_id, days=3)
    assert {row["target_date"] for row in answer} <= {today, today + DAY, today + 2 * DAY}
    assert min(row["target_date"] for row in answer) == today


@pytest.mark.parametrize("days_back", [0, 4])
def test_absence_forecasts_as_of(
    queries: OperationalDataQueries, facts: Facts, raw: Raw, days_back: int
) -> None:
    as_of = facts.now - days_back * DAY
    rows = [row for row in raw["absence_forecasts"] if row["available_at"] <= as_of]
    expected = [pick(row, *ABSENCE) for row in sorted(newest_of(rows, subject_of), key=subject_of)]
    assert expected
    assert queries.get_absence_forecasts_as_of(facts.organization_id, as_of=as_of) == expected
    first, end = facts.today - 3 * DAY, facts.today + DAY
    assert queries.get_absence_forecasts_as_of(
        facts.organization_id, as_of=as_of, first_date=first, end_date=end
    ) == [row for row in expected if first <= row["target_date"] < end]


def test_absence_forecast_accuracy(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    first, end = facts.today - 25 * DAY, facts.today
    people = raw.by_id("employees", "employee_id")
    zones = {row["location_id"]: row["timezone"] for row in raw["locations"]}
    away: dict[tuple[Any, dt.date], bool] = {}
    for row in raw["employee_attendance"]:
        if row["status"] != "vacation":
            zone = zones[people[row["employee_id"]]["location_id"]]
            key = (row["employee_id"], local_day(row["time"], zone))
            away[key] = away.get(key, False) or row["status"] in ("absent", "sick")
    pairs: dict[tuple[Any, ...], list[tuple[Fraction, int]]] = {}
    for row in raw["absence_forecasts"]:
        lead = math.floor((midnight(row["target_date"], "UTC") - row["available_at"]) / DAY)
        if not first <= row["target_date"] < end or lead < 0:
            continue
        if row["employee_id"] is not None:
            happened = [away[key] for key in away if key == (row["employee_id"], row["target_date"])]
            said = row["absence_probability"]
        else:
            happened = [
                value
                for (employee, day), value in away.items()
                if day == row["target_date"] and people[employee]["location_id"] == row["location_id"]
            ]
            said = row["expected_absences"]
        if happened:
            subject = "location" if row["employee_id"] is None else "employee"
            key = (subject, row["model_name"], row["model_version"], lead)
            pairs.setdefault(key, []).append((Fraction(said), sum(happened)))
    expected = []
    for (subject, model, version, lead), said_and_done in sorted(pairs.items()):
        errors = [said - done for said, done in said_and_done]
        expected.append(
            {
                "subject": subject,
                "model_name": model,
                "model_version": version,
                "lead_time_days": lead,
                "target_count": len(errors),
                "actual_absences": total(done for _, done in said_and_done),
                "mae": mean(map(abs, errors)),
                "bias": mean(errors),
                "wape_pct": ratio(total(map(abs, errors)), total(done for _, done in said_and_done), 100),
                "brier_score": mean(error**2 for error in errors) if subject == "employee" else None,
            }
        )
    answer = queries.get_absence_forecast_accuracy(facts.organization_id, first_date=first, end_date=end)
    assert {row["subject"] for row in expected} == {"employee", "location"}
    assert_rows(answer, expected)


def reading_of(row: Row) -> tuple[Any, ...]:
    return (row["time"], row["name"], row["location_id"] is None, str(row["location_id"]))


@pytest.mark.parametrize("days_back", [None, 0, 6])
def test_external_factors(
    queries: OperationalDataQueries, facts: Facts, raw: Raw, days_back: int | None
) -> None:
    start, end = facts.start, facts.now + 12 * DAY
    as_of = None if days_back is None else facts.now - days_back * DAY
    known = [
        row
        for row in within(raw["external_factors"], start, end)
        if as_of is None or row["available_at"] <= as_of
    ]
    expected = [
        {
            k: v
            for k, v in row.items()
            if k not in ("organization_id", "factor_id", "model_name", "model_version")
        }
        for row in sorted(
            newest_of([{**row, "model_name": "", "model_version": ""} for row in known], reading_of),
            key=reading_of,
        )
    ]
    period = {"start": start, "end": end, "as_of": as_of}
    assert expected
    assert queries.get_external_factors(facts.organization_id, **period) == expected
    for column in ("factor_type", "name"):
        for value in {row[column] for row in expected}:
            answer = queries.get_external_factors(facts.organization_id, **period, **{column: value})
            assert answer == [row for row in expected if row[column] == value]
    here = queries.get_external_factors(facts.organization_id, **period, location_id=facts.location_id)
    assert here == [row for row in expected if row["location_id"] in (None, facts.location_id)]


def test_optimization_runs(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    expected = []
    for row in sorted(
        raw["optimization_runs"], key=lambda row: (-row["started_at"].timestamp(), row["run_id"])
    ):
        kept = {k: v for k, v in row.items() if k not in ("organization_id", "created_at", "updated_at")}
        taken = None if row["finished_at"] is None else row["finished_at"] - row["started_at"]
        kept["duration_seconds"] = (
            None if taken is None else Fraction(taken // dt.timedelta(microseconds=1), 1_000_000)
        )
        expected.append(kept)
    assert_rows(queries.get_latest_optimization_runs(facts.organization_id), expected[:10])
    assert_rows(queries.get_latest_optimization_runs(facts.organization_id, limit=2), expected[:2])
    for column in ("run_type", "status"):
        for value in {row[column] for row in expected}:
            answer = queries.get_latest_optimization_runs(facts.organization_id, limit=99, **{column: value})
            assert_rows(answer, [row for row in expected if row[column] == value])


def test_alerts(queries: OperationalDataQueries, facts: Facts, raw: Raw) -> None:
    newest_first = [
        {k: v for k, v in row.items() if k not in ("organization_id", "updated_at")}
        for row in sorted(raw["alerts"], key=lambda row: (-row["created_at"].timestamp(), row["alert_id"]))
    ]
    expected = within(newest_first, facts.month_ago, facts.end, "created_at")
    period = {"start": facts.month_ago, "end": facts.end}
    assert expected
    assert queries.get_alerts(facts.organization_id, **period) == expected
    assert queries.get_alerts(facts.organization_id, **period, limit=1) == expected[:1]
    for column in ("resource_id", "status", "severity"):
        for value in {row[column] for row in expected if row[column] is not None}:
            answer = queries.get_alerts(facts.organization_id, **period, **{column: value})
            assert answer == [row for row in expected if row[column] == value]

    names = {row["resource_id"]: row["name"] for row in raw["resources"]}
    still_open = sorted(
        (
            {
                **{k: v for k, v in row.items() if k not in ("resolved_at", "resolution", "metadata")},
                "resource_name": names.get(row["resource_id"]),
            }
            for row in newest_first
            if row["status"] != "resolved"
        ),
        key=lambda row: SEVERITIES.index(row["severity"]),
    )
    assert queries.get_active_alerts(facts.organization_id) == still_open
    for column in ("severity", "resource_id"):
        for value in {row[column] for row in still_open if row[column] is not None}:
            answer = queries.get_active_alerts(facts.organization_id, **{column: value})
            assert answer == [row for row in still_open if row[column] == value]
