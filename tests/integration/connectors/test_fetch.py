"""Readings are stored as known, once, whatever the source and the process do meanwhile."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barnameh.connectors.calendars import Calendars
from barnameh.connectors.ecb import ReferenceRates
from barnameh.connectors.entsoe import DayAheadPrices
from barnameh.connectors.fred import Fred
from barnameh.connectors.model import Source
from barnameh.connectors.open_meteo import OpenMeteo
from barnameh.connectors.run import LONGEST_CATCH_UP, SQL, places
from barnameh.errors import UsageError
from db_utils import DatabaseManager, OperationalDataQueries
from tests.integration.connectors.conftest import Desk, new_desk
from tests.support.sources import LIMITED, Fault, Sources, reading

UTC = dt.UTC
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
FIRST = dt.datetime(2026, 6, 1, tzinfo=UTC)
ALL: list[Source] = [
    OpenMeteo(mode="archive"),
    OpenMeteo(mode="previous-runs"),
    Calendars(known_ahead=400 * DAY),
    ReferenceRates(),
    DayAheadPrices(token="t"),
    Fred(series={"CPIAUCSL": "index"}, api_key="k"),
]


def source_id(source: Source) -> str:
    return f"{source.name} {getattr(source, 'mode', '') or ''}".strip()


@pytest.mark.thorough
@pytest.mark.parametrize("source", ALL, ids=source_id)
def test_a_second_run_writes_nothing(desk: Desk, source: Source) -> None:
    first = desk.fetch(source, start=FIRST, end=FIRST + 40 * DAY)
    assert first.error is None
    assert first.read >= first.written > 0
    rows = desk.rows()
    again = desk.fetch(source, start=FIRST, end=FIRST + 40 * DAY)
    assert (again.written, again.read, again.error) == (0, first.read, None)
    assert desk.rows() == rows
    assert len(rows) == len(set(rows)) == first.written


def test_what_is_stored_is_what_the_source_said(desk: Desk) -> None:
    desk.fetch(OpenMeteo(mode="previous-runs"), start=FIRST, end=FIRST + DAY)
    queries = OperationalDataQueries(desk.db)
    for hour, days_before in itertools.product(range(24), (1, 2, 3)):
        at = FIRST + hour * HOUR
        known = {
            r["name"]: r["value"]
            for r in queries.get_external_factors(
                desk.organization_id, as_of=at - days_before * DAY, start=at, end=at + HOUR
            )
        }
        assert known["temperature"] == Decimal(str(reading("temperature_2m", at, days_before)))
        assert known["wind_speed"] == Decimal(str(reading("wind_speed_10m", at, days_before)))
    at = FIRST
    assert (
        queries.get_external_factors(desk.organization_id, as_of=at - 3 * DAY - HOUR, start=at, end=at + HOUR)
        == []
    ), "nobody knew it earlier"


@pytest.mark.slow
@settings(max_examples=5, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("source", ALL[:2] + ALL[3:], ids=source_id)
def test_any_split_order_and_repetition_of_windows_gives_the_same_rows(
    empty_database: DatabaseManager, sources: Sources, source: Source, data: st.DataObject
) -> None:
    days = 40 if source.kind == "market" else 3
    whole = new_desk(empty_database, sources, f"Whole {random.random()}")
    whole.fetch(source, start=FIRST, end=FIRST + days * DAY)
    parts = new_desk(empty_database, sources, f"Parts {random.random()}")
    cuts = sorted(data.draw(st.sets(st.integers(1, days * 24 - 1), min_size=1, max_size=4)))
    edges = [0, *cuts, days * 24]
    windows = [(FIRST + a * HOUR, FIRST + b * HOUR) for a, b in itertools.pairwise(edges)]
    again = data.draw(st.lists(st.sampled_from(windows), max_size=2))
    for start, end in data.draw(st.permutations(windows + again)):
        assert parts.fetch(source, start=start, end=end).error is None

    def anywhere(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return [row[:-1] for row in rows]

    assert anywhere(parts.rows()) == anywhere(whole.rows())


def test_only_what_changed_is_stored_and_every_question_has_the_same_answer(desk: Desk) -> None:
    """Polls of a forecast that changes rarely: few rows, and as of each poll its answer."""
    polls = [FIRST + 6 * n * HOUR for n in range(8)]
    said: dict[dt.datetime, dict[dt.datetime, Decimal]] = {}
    for number, poll in enumerate(polls):
        desk.sources.now = poll + dt.timedelta(minutes=17)
        desk.sources.value = lambda name, at, lead, number=number: float(at.hour + number // 3)  # type: ignore[misc]
        desk.fetch(
            OpenMeteo(mode="forecast", variables=("temperature_2m",)), start=FIRST, end=FIRST + 3 * DAY
        )
        said[poll] = {FIRST + n * HOUR: Decimal((FIRST + n * HOUR).hour + number // 3) for n in range(72)}
    assert len(desk.rows()) == 3 * 72, "three different forecasts in eight polls"
    queries = OperationalDataQueries(desk.db)
    for poll, expected in said.items():
        rows = queries.get_external_factors(
            desk.organization_id, as_of=poll, start=FIRST, end=FIRST + 3 * DAY
        )
        assert {r["time"]: r["value"] for r in rows} == expected
        assert all(r["available_at"] <= poll for r in rows)


def test_a_revision_is_a_new_row_known_since_the_run_that_saw_it(desk: Desk) -> None:
    source = ReferenceRates(currencies=("USD",))
    desk.sources.value = lambda name, at, lead: 1.1
    desk.fetch(source, start=FIRST, end=FIRST + DAY)
    desk.sources.value = lambda name, at, lead: 1.2
    desk.sources.now = FIRST + 9 * DAY + dt.timedelta(minutes=5)
    for _ in range(3):
        desk.fetch(source, start=FIRST, end=FIRST + DAY)
    day = FIRST - 2 * HOUR  # midnight in Frankfurt; the window contains the start of one working day
    assert [(row[1], row[2], row[3]) for row in desk.rows() if row[1] > day] == [
        (row_time, known, value)
        for row_time, known, value in (
            (FIRST + 22 * HOUR, FIRST + 38 * HOUR, Decimal("1.1")),
            (FIRST + 22 * HOUR, FIRST + 9 * DAY, Decimal("1.2")),
        )
    ]


def test_only_the_newest_of_a_times_readings_is_revised(desk: Desk) -> None:
    """A forecast made three days before is past: its correction must not take precedence over one made a day before."""
    wrong: set[int] = set()
    desk.sources.value = lambda name, at, lead: 10.0 * lead + (5 if lead in wrong else 0)
    desk.sources.now = FIRST + 9 * DAY + dt.timedelta(minutes=5)
    source = OpenMeteo(mode="previous-runs", variables=("temperature_2m",))
    assert desk.fetch(source, start=FIRST, end=FIRST + DAY).written == 3 * 24
    wrong.add(3)
    assert desk.fetch(source, start=FIRST, end=FIRST + DAY).written == 0
    wrong.add(1)
    for written in (24, 0):
        assert desk.fetch(source, start=FIRST, end=FIRST + DAY).written == written
    assert [(known - FIRST, value) for _, at, known, value, *_ in desk.rows() if at == FIRST] == [
        (-3 * DAY, Decimal(30)),
        (-2 * DAY, Decimal(20)),
        (-DAY, Decimal(10)),
        (9 * DAY, Decimal(15)),
    ]


def test_writing_needs_no_statistics(desk: Desk) -> None:
    """A join would be planned for the planner's estimate of few rows, and take seconds for a whole window."""
    parameters = {
        "organization_id": desk.organization_id,
        "location_id": desk.location_id,
        "factor_type": "weather",
        "names": ["temperature"],
        "first": FIRST,
        "last": FIRST + DAY,
        "revised_at": FIRST,
        "units": ["celsius"],
        "metadata": [None],
        **dict.fromkeys(("factor_id", "kind", "time", "value", "available_at"), "{}"),
    }
    for asked in (parameters, parameters | {"location_id": None}):
        plan = desk.db.tenant(desk.organization_id).execute_query("EXPLAIN " + SQL["write_readings"], asked)
        text = "\n".join(row["QUERY PLAN"] for row in plan)
        assert "WindowAgg" in text
        assert not re.search(r"Nested Loop|Join", text), text


@pytest.mark.slow
def test_faults_in_a_third_of_the_answers_lose_and_double_nothing(desk: Desk) -> None:
    chance = random.Random(7)
    faults = [
        Fault(500),
        Fault(503, "busy"),
        LIMITED["Minutely"],
        Fault(429, headers={"Retry-After": "1"}),
        Fault(cut_at=300),
    ]
    desk.sources.fault = lambda number: chance.choice(faults) if chance.random() < 0.3 else None
    source = OpenMeteo(mode="archive", longest_window=2 * DAY)
    for _ in range(6):  # the next run fetches what one could not
        desk.fetch(source, start=FIRST, end=FIRST + 24 * DAY)
    desk.sources.fault = lambda number: None
    clean = new_desk(desk.db, desk.sources, "Clean")
    clean.fetch(source, start=FIRST, end=FIRST + 24 * DAY)
    assert [row[:5] for row in desk.rows()] == [row[:5] for row in clean.rows()]
    assert len(desk.rows()) == 24 * 24 * 5


def test_a_source_that_is_down_is_caught_up_with_by_itself(desk: Desk) -> None:
    source = OpenMeteo(variables=("temperature_2m",))
    desk.sources.now = FIRST
    assert desk.fetch(source).error is None
    desk.sources.fault = lambda number: Fault(503, "maintenance")
    for days in range(1, 8):
        desk.sources.now = FIRST + days * DAY
        result = desk.fetch(source)
        assert result.error is not None
        assert "maintenance" in result.error
    assert desk.runs()[-1]["error_message"] == result.error
    desk.sources.fault = lambda number: None
    desk.sources.now = FIRST + 8 * DAY
    assert desk.fetch(source).error is None
    # No past hour is missing, archived or forecast.
    times = {row[1] for row in desk.rows()}
    first = min(times)
    assert {first + n * HOUR for n in range(int((desk.sources.now - first) / HOUR))} <= times


def test_what_a_customer_wrote_about_runs_asks_for_a_year_at_most(desk: Desk) -> None:
    """Runs are the organization's own rows: one claiming to have ended in the year 1 must not cause two thousand years to be fetched."""
    desk.db.execute(
        "INSERT INTO connector_runs (organization_id, connector, window_start, window_end, started_at) "
        "VALUES (%s, 'ecb', '0001-02-01', '0001-03-01', '0001-02-01')",
        (desk.organization_id,),
    )
    desk.sources.value = lambda name, at, lead: 1.1
    source = ReferenceRates()
    assert desk.fetch(source).error is None
    asked = min(dt.date.fromisoformat(sent["startPeriod"]) for _, sent in desk.sources.asked)
    earliest = desk.sources.now - LONGEST_CATCH_UP - source.look_back
    assert abs(asked - earliest.date()) <= DAY


@pytest.mark.parametrize("window", ["Hourly", "Daily"])
def test_a_limit_that_lasts_ends_the_run_with_the_sources_reason(desk: Desk, window: str) -> None:
    desk.sources.fault = lambda number: LIMITED[window]
    result = desk.fetch(OpenMeteo(mode="archive"), start=FIRST, end=FIRST + DAY)
    assert result.error is not None
    assert f"{window} API request limit" in result.error
    assert len(desk.sources.asked) == 1
    assert desk.rows() == []


def test_gaps_stay_gaps_and_what_cannot_be_true_is_refused_with_its_place(desk: Desk) -> None:
    def value(name: str, at: dt.datetime, lead: int) -> float | str | None:
        return {0: None, 1: "nan", 2: 99.0}.get(at.hour, 20.0)

    desk.sources.value = value
    result = desk.fetch(
        OpenMeteo(mode="archive", variables=("temperature_2m",)), start=FIRST, end=FIRST + DAY
    )
    assert (result.read, result.refused, result.written) == (22, 1, 21)
    assert result.refusals == ["Hall, 2026-06-01 02:00 UTC: temperature of 99.0 celsius is outside -95 to 65"]
    assert {row[1].hour for row in desk.rows()} == set(range(3, 24))
    assert "99.0 celsius" in desk.runs()[-1]["error_message"]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(desk: Desk, tmp_path: Any) -> None:
    desk.sources.fault = lambda number: time.sleep(0.05)  # type: ignore[func-returns-value]
    program = (
        "import datetime as dt, sys; from uuid import UUID; from db_utils import DatabaseManager; "
        "from barnameh.connectors import Window, fetch; from barnameh.connectors.client import Client; "
        "from barnameh.connectors.open_meteo import OpenMeteo; from barnameh.connectors.run import places; "
        "from tests.support.sources import HOSTS; url, org, address = sys.argv[1:]; db = DatabaseManager(url); "
        "source = OpenMeteo(mode='archive', longest_window=dt.timedelta(days=2)); org = UUID(org); "
        "start = dt.datetime(2026, 6, 1, tzinfo=dt.UTC); "
        "print(fetch(db, org, source, places(db, org, source, ['Hall']), Client({}, hosts=dict.fromkeys(HOSTS, address)), "
        "window=Window(start, start + dt.timedelta(days=20))))"
    )
    arguments = [
        sys.executable,
        "-c",
        program,
        desk.db.health().url,
        str(desk.organization_id),
        desk.sources.url,
    ]
    for enough in (2, 4, 7):
        process = subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
        while len(desk.runs()) < enough and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert {r["readings_written"] for r in desk.runs()} <= {0, 48 * 5}, "each window whole or not at all"
    subprocess.run(arguments, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=True)
    clean = new_desk(desk.db, desk.sources, "Clean")
    clean.fetch(OpenMeteo(mode="archive"), start=FIRST, end=FIRST + 20 * DAY)
    assert [row[:5] for row in desk.rows()] == [row[:5] for row in clean.rows()]


def test_another_source_of_the_same_kind_is_refused_until_it_is_chosen(desk: Desk) -> None:
    desk.fetch(OpenMeteo(mode="archive"), start=FIRST, end=FIRST + DAY)
    other = OpenMeteo(mode="archive", name="another")
    result = desk.fetch(other, start=FIRST, end=FIRST + DAY)
    assert result.error is not None
    assert "takes its weather from open-meteo" in result.error
    assert desk.fetch(other, start=FIRST, end=FIRST + DAY, switch=True).error is None


def test_places_are_named_by_name_or_id_and_a_stranger_is_refused(desk: Desk) -> None:
    neighbour = new_desk(desk.db, desk.sources, "Neighbour")
    source = OpenMeteo()
    assert [p.name for p in places(desk.db, desk.organization_id, source, [str(desk.location_id)])] == [
        "Hall"
    ]
    with pytest.raises(UsageError, match="no location"):
        places(desk.db, desk.organization_id, source, [str(neighbour.location_id)])
    with pytest.raises(UsageError, match="leave --location out"):
        places(desk.db, desk.organization_id, ReferenceRates(), ["Hall"])
    desk.fetch(source, start=FIRST, end=FIRST + DAY)
    assert neighbour.rows() == []
    assert neighbour.runs() == []


def test_the_newest_runs_are_kept_and_the_next_window_begins_where_it_would(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = ReferenceRates()
    for day in (20, 1, 2, 3):  # the one with the latest end is the oldest
        desk.fetch(rates, start=FIRST + day * DAY, end=FIRST + (day + 1) * DAY)

    def windows() -> list[dt.datetime]:
        rows = desk.db.execute_query(
            "SELECT window_end FROM connector_runs WHERE organization_id = %s ORDER BY finished_at",
            (desk.organization_id,),
        )
        return [row["window_end"] for row in rows]

    assert windows() == [FIRST + day * DAY for day in (21, 2, 3, 4)]
    monkeypatch.setattr("barnameh.connectors.run.KEPT_RUNS", 2)
    desk.fetch(rates, start=FIRST + 4 * DAY, end=FIRST + 5 * DAY)
    assert windows() == [FIRST + day * DAY for day in (21, 4, 5)]
