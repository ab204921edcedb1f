"""Monitors published forecasts: are they as accurate as in the backtest, and is demand still recorded?"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from barnameh.forecasting.backtest import COVERAGE
from barnameh.forecasting.frames import LENGTHS
from barnameh.forecasting.run import SQL
from db_utils import DatabaseManager, OperationalDataQueries, Transaction

WATCHED = dt.timedelta(days=28)
LEAST_TARGETS = 14
WORSE_THAN_BACKTEST = 1.5
MOST_TRACKING = 4.0
COVERAGE_SHORTFALL = 15.0
LATE_AFTER = dt.timedelta(days=3)


@dataclass(frozen=True)
class Finding:
    """An alert to be open: its subject by identifiers, and as people call it."""

    subject: str
    called: str
    title: str
    message: str
    location_id: UUID


@dataclass
class Watch:
    """The result of a monitor run: alerts opened, resolved, and open now."""

    opened: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


def monitor(
    db: DatabaseManager,
    organization_id: UUID,
    *,
    now: dt.datetime | None = None,
    late_after: dt.timedelta = LATE_AFTER,
) -> Watch:
    """Compare the last 28 days with the backtest; open and resolve the alerts `forecast_drift` and `demand_late`.

    Drift: WAPE above 1.5 times that of the backtest from before these days, |sum of errors| above 4 times the series' own mean error, or
    coverage more than 15 points below 90. Late: a location that had demand has had none for `late_after`.
    There is one open alert per model and product, or per location; it is resolved on recovery.
    """
    until = now or dt.datetime.now(dt.UTC)
    watch = Watch()
    with db.tenant(organization_id).transaction() as tx:
        queries = OperationalDataQueries(tx)
        _settle(tx, organization_id, "forecast_drift", _drift(queries, organization_id, until), watch)
        _settle(tx, organization_id, "demand_late", _late(tx, organization_id, until, late_after), watch)
    return watch


def _drift(queries: OperationalDataQueries, organization_id: UUID, until: dt.datetime) -> list[Finding]:
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in queries.get_demand_forecast_outcomes(organization_id, start=until - WATCHED, end=until):
        if row["purpose"] == "published" and row["actual_quantity"] is not None:
            newest[row["product_id"], row["location_id"], row["target_time"], row["target_interval"]] = row
    if not newest:
        return []
    # A backtest made since then has the drift in it, and promises as little as was kept.
    first = min(row["available_at"] for row in newest.values())
    promised: dict[tuple[Any, ...], dict[str, Any]] = {}
    for rows in (
        queries.get_forecast_backtests(organization_id, by_series=True, as_of=first),
        queries.get_forecast_backtests(organization_id, by_series=True),
    ):
        own: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            key = row["product_id"], row["location_id"], row["target_interval"]
            if key not in own or own[key]["as_of"] < row["as_of"]:
                own[key] = row
        promised = own | promised
    series: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for (product, place, _, interval), row in newest.items():
        series.setdefault((product, place, interval), []).append(row)
    places = {row["location_id"]: row for row in queries.get_locations(organization_id)}
    findings = []
    for key, rows in sorted(series.items(), key=lambda item: str(item[0])):
        backtest = promised.get(key)
        if backtest is None or len(rows) < LEAST_TARGETS:
            continue
        errors = [float(row["predicted_quantity"] - row["actual_quantity"]) for row in rows]
        absolute = [abs(error) for error in errors]
        demanded = sum(float(row["actual_quantity"]) for row in rows)
        said = []
        # If the naive forecast was published, compare with its backtest.
        is_naive = rows[-1]["model_name"] == backtest["naive_name"]
        promise = backtest["naive_wape_pct" if is_naive else "wape_pct"]
        if demanded and promise is not None:
            wape = 100 * sum(absolute) / demanded
            if wape > WORSE_THAN_BACKTEST * float(promise):
                said.append(f"WAPE {wape:.1f} %, against {promise:.1f} % in the backtest")
        # The sum of independent errors grows with the root of their number, hence the scaling.
        mean = sum(absolute) / len(rows)
        if mean and abs(sum(errors)) / (mean * len(rows) ** 0.5) > MOST_TRACKING:
            said.append(f"{'above' if sum(errors) > 0 else 'below'} actual demand throughout")
        bounded = [row for row in rows if row["lower_bound"] is not None]
        if len(bounded) >= LEAST_TARGETS:
            held = [row["lower_bound"] <= row["actual_quantity"] <= row["upper_bound"] for row in bounded]
            coverage = 100 * sum(held) / len(held)
            if coverage < 100 * COVERAGE - COVERAGE_SHORTFALL:
                said.append(f"the 90 % interval covered {coverage:.0f} %")
        if said:
            place = _called(places[key[1]])
            findings.append(
                Finding(
                    f"{key[0]} at {key[1]}, by {_length(key[2])}",
                    f"{key[0]} at {place}, by {_length(key[2])}",
                    f"Forecasts of {key[0]} at {place} are worse than their backtest",
                    f"Last {WATCHED.days} days: {'; '.join(said)}. "
                    "Run barnameh forecast backtest, and check what changed.",
                    key[1],
                )
            )
    return findings


def _called(place: dict[str, Any]) -> str:
    """A location's name, with its code if it has one."""
    return f"{place['name']} ({place['location_code']})" if place["location_code"] else str(place["name"])


def _length(interval: dt.timedelta) -> str:
    return next((name for name, length in LENGTHS.items() if length == interval), str(interval))


def _late(tx: Transaction, organization_id: UUID, until: dt.datetime, after: dt.timedelta) -> list[Finding]:
    return [
        Finding(
            str(row["location_id"]),
            _called(row),
            f"No demand of {_called(row)} since {row['newest']:%Y-%m-%d %H:%M} UTC",
            "Forecasts use older data: check whether the sales feed is still running.",
            row["location_id"],
        )
        for row in tx.execute_query(
            SQL["newest_demand"], {"organization_id": organization_id, "as_of": until}
        )
        if row["newest"] is not None and row["newest"] < until - after
    ]


def _settle(
    tx: Transaction, organization_id: UUID, alert_type: str, findings: list[Finding], watch: Watch
) -> None:
    """Keep one open alert per finding; resolve the others."""
    queries = OperationalDataQueries(tx)
    parameters = {"organization_id": organization_id, "alert_type": alert_type}
    found = {finding.subject: finding for finding in findings}
    is_open: set[str] = set()
    for row in tx.execute_query(SQL["open_alerts"], parameters):
        if row["subject"] in found and row["subject"] not in is_open:
            is_open.add(row["subject"])
        else:
            queries.resolve_alert(
                organization_id, row["alert_id"], resolution="recovered, according to the monitor"
            )
            watch.resolved.append(f"{alert_type}: {row['called']}")
    for subject, finding in found.items():
        if subject not in is_open:
            queries.raise_alert(
                organization_id,
                finding.title,
                severity="medium",
                alert_type=alert_type,
                message=finding.message,
                location_id=finding.location_id,
                metadata={"subject": subject, "called": finding.called},
            )
            watch.opened.append(f"{alert_type}: {finding.called}")
        watch.open.append(f"{alert_type}: {finding.called}")
