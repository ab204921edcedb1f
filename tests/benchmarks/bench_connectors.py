"""Storing a source's response, compared with a hand-written INSERT: what do parsing, checks and as-of comparison cost?

Responses have the format of Open-Meteo's archive, with five variables an hour and a quarter of a year each. They are generated
beforehand, so that neither the network nor another program is measured.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from psycopg2.extras import execute_values

from barnameh.connectors.model import Place
from barnameh.connectors.open_meteo import VARIABLES, OpenMeteo
from barnameh.connectors.run import store_answer
from db_utils import DatabaseManager, OperationalDataQueries
from tests.benchmarks.harness import Context, Goal, Table, in_turns, ratio
from tests.support.sources import Sources, weather

_INSERT = "INSERT by hand"
_SOURCE = OpenMeteo(mode="archive")
_DAYS = 90


def run(context: Context) -> list[Table]:
    """The one table."""
    table = Table(
        "weather into the database",
        "Hourly weather of one location, five variables, a quarter of a year per response: readings a second, and compared with "
        "execute_values of the same rows with ON CONFLICT DO NOTHING (median over alternating rounds).",
        ("way", "readings/s", "of INSERT by hand"),
        drawn="readings/s",
    )
    with context.database() as db:
        organization, place = _place(db)
        answers = _answers(context.count(8))
        count = sum(len(_rows(organization, place, answer)) for answer in answers)
        measured = in_turns(_ways(db, organization, place, answers), context.rounds)
        speed = {name: count / sorted(times)[len(times) // 2] for name, times in measured.items()}
        table.rows += [
            (name, round(speed[name]), round(ratio(measured[_INSERT], times), 2))
            for name, times in measured.items()
        ]
        table.goals += [
            Goal(f"readings a second, {name}", speed[name], 10_000, at_most=False)
            for name in ("first run", "second run")
        ]
    return [table]


def _place(db: DatabaseManager) -> tuple[UUID, Place]:
    queries = OperationalDataQueries(db)
    organization = queries.create_organization("Weather", industry="transit")["organization_id"]
    location = queries.create_location(organization, "Depot", location_type="depot", timezone="Europe/Paris")[
        "location_id"
    ]
    return organization, Place(location, "Depot", "Europe/Paris", 48.86, 2.35)


def _answers(count: int) -> list[bytes]:
    """The responses, newest last, going back as far as needed."""
    last = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=10)
    return [
        weather(
            Sources(),
            {
                "timezone": "GMT",
                "latitude": "48.86",
                "longitude": "2.35",
                "wind_speed_unit": "ms",
                "hourly": ",".join(VARIABLES),
                "start_date": str(last - dt.timedelta(days=_DAYS * (n + 1) - 1)),
                "end_date": str(last - dt.timedelta(days=_DAYS * n)),
            },
        ).encode()
        for n in reversed(range(count))
    ]


def _rows(organization: UUID, place: Place, answer: bytes) -> list[tuple[Any, ...]]:
    return [
        (
            str(organization), str(place.location_id), "weather", factor.time, factor.name, factor.value, factor.unit,
            factor.available_at, json.dumps(factor.metadata),
        )
        for factor in _SOURCE.parse(answer, place, dt.datetime.now(dt.UTC))
    ]  # fmt: skip


def _ways(
    db: DatabaseManager, organization: UUID, place: Place, answers: list[bytes]
) -> dict[str, Callable[[], object]]:
    def stored(expected: Callable[[int], int]) -> None:
        for answer in answers:
            result = store_answer(db, organization, _SOURCE, place, answer)
            assert result.error is None, result.error
            assert result.written == expected(result.read), result

    def first() -> None:
        db.execute("TRUNCATE external_factors")
        stored(lambda read: read)

    def by_hand() -> None:
        db.execute("TRUNCATE external_factors")
        for answer in answers:
            with db.connection() as connection, connection.cursor() as cursor:
                execute_values(
                    cursor,
                    "INSERT INTO external_factors (organization_id, location_id, factor_type, time, name, value, unit, available_at, "
                    "metadata) VALUES %s ON CONFLICT DO NOTHING",
                    _rows(organization, place, answer),
                    page_size=1_000,
                )

    def second() -> None:
        stored(lambda read: 0)

    by_hand()  # each way leaves all its rows in place for the second run
    return {_INSERT: by_hand, "first run": first, "second run": second}
