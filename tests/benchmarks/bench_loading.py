"""Five ways of loading your own events, compared with raw COPY of the same rows: what do codes, checks and idempotence cost?

The text of raw COPY is prepared beforehand and contains ids, so it shows the server's share alone. All load the table with its types,
constraints, foreign keys and triggers, which is emptied before each.
"""

from __future__ import annotations

import datetime as dt
import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.files import import_files
from tests.benchmarks.harness import Context, Goal, Table, in_turns, ratio

EVENT_COLUMNS = [
    "organization_id",
    "time",
    "event_id",
    "location_id",
    "resource_id",
    "event_type",
    "duration_minutes",
]
_VEHICLES = 200
_RAW = "raw COPY"


def run(context: Context) -> list[Table]:
    """The one table."""
    table = Table(
        "loading your own events",
        "Events of 200 vehicles, in five ways and by raw COPY: rows a second, and the ratio to raw COPY (median over alternating rounds).",
        ("way", "rows/s", "of raw COPY"),
        drawn="rows/s",
    )
    with context.database() as db:
        count = context.count(100_000, least=1_000)
        ways = _ways(db, count, context.folder)
        measured = in_turns(ways, context.rounds)
        for name, times in measured.items():
            table.rows.append(
                (name, round(count / sorted(times)[len(times) // 2]), ratio(measured[_RAW], times))
            )
        shares = {name: ratio(measured[_RAW], times) for name, times in measured.items()}
        table.goals += [
            Goal("write_frame of ids against raw COPY", shares["write_frame, ids"], 0.9, at_most=False),
            Goal("write_frame of codes against raw COPY", shares["write_frame, codes"], 0.9, at_most=False),
            Goal("record_events against raw COPY", shares["record_events, codes"], 0.6, at_most=False),
        ]
    return [table]


def _ways(db: DatabaseManager, count: int, folder: Path) -> dict[str, Callable[[], object]]:
    queries = OperationalDataQueries(db)
    organization = queries.create_organization("Fleet", industry="transit")["organization_id"]
    place = queries.create_location(
        organization, "Depot", location_type="depot", timezone="Europe/Paris", location_code="D"
    )["location_id"]
    codes = [f"V-{number:03d}" for number in range(_VEHICLES)]
    ids = {
        code: queries.create_resource(
            organization, code, location_id=place, resource_type="bus", resource_code=code
        )["resource_id"]
        for code in codes
    }
    start = dt.datetime(2025, 3, 1, tzinfo=dt.UTC)
    coded = pd.DataFrame(
        {
            "organization_id": str(organization),
            "time": pd.to_datetime([start + dt.timedelta(seconds=7 * n) for n in range(count)], utc=True),
            "event_id": [str(uuid.uuid5(organization, str(n))) for n in range(count)],
            "location_id": "D",
            "resource_id": [codes[n % _VEHICLES] for n in range(count)],
            "event_type": "idle",
            "duration_minutes": [float(n % 97) for n in range(count)],
        }
    )
    plain = coded.assign(
        location_id=str(place), resource_id=[str(ids[code]) for code in coded["resource_id"]]
    )
    text = plain.to_csv(index=False, header=False, columns=EVENT_COLUMNS).encode()
    file = folder / "events.csv"
    coded.drop(columns="organization_id").to_csv(file, index=False)
    rows = list(plain[EVENT_COLUMNS].itertuples(index=False, name=None))
    without_owner = coded.drop(columns="organization_id")

    def emptied(way: Callable[[], Any]) -> Callable[[], Any]:
        def work() -> Any:
            db.execute("TRUNCATE operational_events")
            return way()

        return work

    def copy() -> None:
        with (
            db.transaction() as transaction,
            transaction.connection() as connection,
            connection.cursor() as cursor,
        ):
            cursor.copy_expert(
                f"COPY operational_events ({', '.join(EVENT_COLUMNS)}) FROM STDIN WITH (FORMAT csv)",
                io.BytesIO(text),
            )

    ways: dict[str, Callable[[], Any]] = {
        _RAW: copy,
        "copy_rows, ids": lambda: db.copy_rows("operational_events", EVENT_COLUMNS, rows),
        "write_frame, ids": lambda: db.write_frame("operational_events", plain),
        "write_frame, codes": lambda: db.write_frame("operational_events", coded),
        "record_events, codes": lambda: queries.record_events(organization, without_owner),
        "import of a CSV, codes": lambda: import_files(
            db, [file], "operational_events", organization=str(organization)
        ),
    }
    return {name: emptied(way) for name, way in ways.items()}
