"""Unusual readings from the database: once a day, as of any time, within one organization, held to what happened."""

from __future__ import annotations

import datetime as dt
import json
from uuid import UUID

import numpy as np

from barnameh.forecasting import detect_anomalies
from db_utils import DatabaseManager, OperationalDataQueries
from tests.integration.forecasting.conftest import Shop, make_shop

STEP = dt.timedelta(minutes=5)
END = dt.datetime(2026, 11, 16, tzinfo=dt.UTC)
COUNT = 10 * 288
"""Of five-minute readings: the last is five minutes before `END`."""
NOW = END - dt.timedelta(days=3)
AT_NOW = COUNT - 3 * 288
HOUR = 12
TIME = np.arange(COUNT)


def machine(shop: Shop, name: str, values: np.ndarray, idle: np.ndarray | None = None) -> UUID:
    """A machine with a temperature, at five-minute steps; NaN is not recorded, and an idle machine is at 0 %."""
    queries = OperationalDataQueries(shop.db)
    resource: UUID = queries.create_resource(
        shop.organization_id, name, location_id=shop.location_id, resource_type="press"
    )["resource_id"]
    rows = [
        (
            END - (COUNT - position) * STEP,
            0 if idle is not None and idle[position] else 80,
            json.dumps({"heat": value}),
        )
        for position, value in enumerate(values.round(3).tolist())
        if np.isfinite(value)
    ]
    times, busy, readings = (list(column) for column in zip(*rows, strict=True))
    shop.db.execute(
        """
        INSERT INTO resource_metrics (organization_id, time, resource_id, utilization_pct, metadata)
        SELECT %s, g.time, %s, g.busy, g.reading::jsonb
        FROM unnest(%s::timestamptz[], %s::numeric[], %s::text[]) AS g (time, busy, reading)
        """,
        (shop.organization_id, resource, times, busy, readings),
    )
    return resource


def test_a_shift_is_told_once_and_held_to_what_happened(bare: Shop, empty_database: DatabaseManager) -> None:
    heat = {seed: 60 + np.random.default_rng(seed).normal(size=COUNT) for seed in range(8)}
    shifted = heat[0] + np.where(TIME >= AT_NOW - HOUR, 25, 0)
    failing = machine(bare, "fails", shifted)
    mended = machine(bare, "does not fail", heat[1] + np.where(TIME >= AT_NOW - HOUR, 25, 0))
    machine(bare, "noise", heat[2])
    machine(bare, "drifts", heat[3] + 0.001 * TIME)
    machine(bare, "was away", np.where(abs(TIME - AT_NOW + 500) < 400, np.nan, heat[4]))
    machine(bare, "stands at night", np.where(TIME % 288 < 100, 20, heat[5]), idle=TIME % 288 < 100)
    machine(bare, "is replaced by", np.where(AT_NOW - 200 > TIME, heat[6], np.nan))
    machine(bare, "the new one", np.where(AT_NOW - 200 <= TIME, heat[7] + 90, np.nan))
    elsewhere = make_shop(empty_database, "Another")
    machine(elsewhere, "wild", np.where(TIME >= AT_NOW - 3, 5000, heat[0]))

    def run(hours: float = 0, **options: bool):
        return detect_anomalies(
            bare.db, bare.organization_id, as_of=NOW + dt.timedelta(hours=hours), **options
        )

    foreseen = run(dry_run=True).predictions
    assert [(one["resource_id"], one["anomaly_type"]) for one in foreseen] == [
        (one, "performance") for one in sorted((failing, mended), key=str)
    ]
    for one in foreseen:
        assert NOW - dt.timedelta(hours=1) <= one["predicted_for"] < NOW - dt.timedelta(minutes=30)
        assert "heat is unusual since 2026-11-12 23:" in one["description"]
    assert (run().written, run().written) == (2, 0)
    assert run(1).written == 0
    OperationalDataQueries(bare.db).record_events(
        bare.organization_id,
        [
            {
                "time": NOW + dt.timedelta(hours=2),
                "resource_id": failing,
                "event_type": "breakdown",
                "duration_minutes": 30,
            }
        ],
    )
    # The next day the same shift is not told again, and what was told is held to what happened.
    after = run(24)
    assert (after.written, after.closed) == (0, {"confirmed": 1, "false_alarm": 1})
    outcomes = bare.db.execute_query(
        "SELECT resource_id, outcome, occurred_at FROM anomaly_predictions WHERE organization_id = %s",
        (bare.organization_id,),
    )
    assert {(row["resource_id"], row["outcome"], row["occurred_at"]) for row in outcomes} == {
        (failing, "confirmed", NOW + dt.timedelta(hours=2)),
        (mended, "false_alarm", None),
    }
    # As of then it is still what was said then; the other organization's machine is its own.
    assert run(dry_run=True).predictions == foreseen
    assert detect_anomalies(bare.db, elsewhere.organization_id, as_of=NOW).written == 1
