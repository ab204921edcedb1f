"""`barnameh fetch`, `work` and `schedules`, as called by users and by the compose service."""

from __future__ import annotations

import ast
import datetime as dt
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from barnameh.__main__ import main
from barnameh.cli import fetch as commands
from barnameh.connectors.open_meteo import OpenMeteo
from barnameh.errors import ServiceError
from barnameh.worker import Worker
from db_utils import Json, OperationalDataQueries
from tests.integration.connectors.conftest import Desk
from tests.support.commands import Done
from tests.support.commands import call as in_process
from tests.support.sources import Fault, reading


@pytest.fixture
def call(desk: Desk) -> Callable[..., Done]:
    """Run `barnameh` on the desk's database, with the sources served by the stub."""

    def run(*arguments: str, sent: bytes = b"") -> Done:
        given = [*arguments, "--url", desk.db.health().url]
        return in_process(main, given, environment(desk), Path.cwd(), sent=sent)

    return run


def environment(desk: Desk) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(Path.cwd()),
        "COLUMNS": "200",
        "FRED_API_KEY": "secret-key",
        "CONNECTOR_HOSTS": ",".join(f"{host}={address}" for host, address in desk.sources.hosts().items()),
    }


def test_a_window_is_fetched_and_said_so(desk: Desk, call: Any) -> None:
    window = ("--start", "2026-06-01", "--end", "2026-06-03", "--mode", "archive")
    done = call("fetch", "weather", "--organization", "Desk", "--location", "Hall", *window, "--json")
    assert done.code == 0, done.err
    assert "Open-Meteo.com under CC BY 4.0" in done.err
    (place,) = done.json["places"]
    assert place["readings_read"] == place["readings_written"] == len(desk.rows()) == 48 * 5
    # Two days in the organization's local time.
    assert min(row[1] for row in desk.rows()) == dt.datetime(2026, 5, 31, 22, tzinfo=dt.UTC)
    again = call("fetch", "weather", "--organization", str(desk.organization_id), *window)
    assert again.code == 0, again.err
    assert "240" in again.out


def test_organizations_at_one_place_ask_the_source_once(desk: Desk, call: Any) -> None:
    other = OperationalDataQueries(desk.db).create_organization(
        "Neighbour", industry="logistics", timezone="Europe/Paris"
    )
    desk.db.execute(
        "INSERT INTO locations (organization_id, name, location_type, timezone, latitude_degrees, longitude_degrees) "
        "SELECT %s, 'Yard', 'depot', timezone, latitude_degrees, longitude_degrees FROM locations WHERE location_id = %s",
        (other["organization_id"], desk.location_id),
    )
    window = ("--start", "2026-06-01", "--end", "2026-06-03", "--mode", "archive")
    both = ("--organization", "Desk", "--organization", "Neighbour")
    done = call("fetch", "weather", *both, *window, "--json")
    assert done.code == 0, done.err
    places = {(p["organization"], p["location"]): p["readings_written"] for p in done.json["places"]}
    assert places["Desk", "Hall"] == places["Neighbour", "Yard"] == 240
    at_the_place = [a for _, a in desk.sources.asked if float(a["latitude"]) == 52.27]
    assert len(at_the_place) == 1
    same = desk.db.execute_query(
        "SELECT count(DISTINCT organization_id) AS n FROM external_factors GROUP BY time, name, value, available_at"
    )
    assert len(same) == 240
    assert {row["n"] for row in same} == {2}
    assert call("fetch", "weather", "--organization", "Desk", "--organization", "Nobody", *window).code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("weather", "--organization", "Nobody"), 1, "there is no organization 'Nobody'"),
        (("tides", "--organization", "Desk"), 1, "there is no source of 'tides': choose weather"),
        (("weather", "--organization", "Desk", "--location", "X"), 1, "no location 'X'"),
        (("weather", "--organization", "Desk", "--every", "soon"), 2, "write 30m, 6h or 1d"),
        (("weather", "--organization", "Desk", "--end", "2026-06-01"), 1, "--end needs --start"),
        (("weather", "--organization", "Desk", "--start", "June"), 2, "is not a time"),
        (
            ("weather", "--organization", "Desk", "--start", "2026-06-02", "--end", "2026-06-01"),
            1,
            "must start before it ends",
        ),
        (("market", "--organization", "Desk"), 1, "give the series of FRED"),
        (("fx", "--organization", "Desk", "--currency", "EURO"), 1, "three capital letters"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    call: Any, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = call("fetch", *arguments)
    assert done.code == code, done.err
    assert said in " ".join((done.err + done.out).replace("│", " ").split())
    assert "Traceback" not in done.err


def test_a_failure_shows_no_key_and_stands_in_the_runs(desk: Desk, call: Any) -> None:
    desk.sources.fault = lambda number: Fault(
        400, json.dumps({"error_message": "Bad Request. The series does not exist."})
    )
    done = call(
        "fetch", "market", "--organization", "Desk", "--series", "NOPE=index", "--start", "2026-01-01"
    )
    assert done.code == 1
    assert "series does not exist" in " ".join(done.out.split())  # in a cell of a table, which wraps
    assert "secret-key" not in done.out + done.err
    assert "secret-key" not in str(desk.runs())
    assert "The series does not exist" in desk.runs()[-1]["error_message"]


def test_a_saved_answer_is_read_like_one_that_came(desk: Desk, call: Any, tmp_path: Path) -> None:
    hourly = {"time": ["2026-06-01T00:00", "2026-06-01T01:00"], "temperature_2m": [13.8, 200]}
    body = {"utc_offset_seconds": 0, "hourly_units": {"temperature_2m": "°C"}, "hourly": hourly}
    saved = tmp_path / "answer.json"
    saved.write_text(json.dumps(body))
    for given, text in (
        (str(saved), b""),
        ("-", saved.read_bytes()),
    ):  # a container cannot see the host's files
        done = call(
            "fetch", "weather", "--organization", "Desk", "--mode", "archive", "--from-file", given, sent=text
        )
        assert done.code == 3, done.err
        assert "200 celsius is outside" in done.out
        assert len(desk.rows()) == 1
    assert desk.sources.asked == []
    missing = call("fetch", "weather", "--organization", "Desk", "--from-file", str(tmp_path / "no.json"))
    assert missing.code == 1
    assert "no.json: No such file or directory" in missing.err


def due_now(desk: Desk) -> None:
    desk.db.execute("UPDATE service_schedules SET next_run_at = now() - interval '3 days'")


def schedule_of(desk: Desk) -> dict[str, Any]:
    (row,) = desk.db.execute_query("SELECT * FROM service_schedules")
    return row


def test_every_so_often_the_worker_does_it(desk: Desk, call: Any, caplog: pytest.LogCaptureFixture) -> None:
    done = call("fetch", "fx", "--organization", "Desk", "--every", "6h", "--currency", "usd")
    assert done.code == 0, done.err
    before = schedule_of(desk)
    assert (before["task"], before["run_every"], before["arguments"]) == (
        "fetch fx",
        dt.timedelta(hours=6),
        {"currency": ["usd"]},
    )
    assert call("work", "--once").code == 0
    assert schedule_of(desk)["last_started_at"] is None, "nothing is due yet"
    due_now(desk)
    runs = len(desk.runs())
    with caplog.at_level(logging.INFO, "barnameh.worker"):
        assert call("work", "--once").code == 0
    begun, ended = caplog.messages
    assert (begun, ended[:29]) == ("fetch fx of Desk: begun", "fetch fx of Desk: done after ")
    after = schedule_of(desk)
    assert after["last_succeeded_at"] >= after["last_started_at"]
    assert after["last_error"] is None
    # Missed for days, run once, and due again in six hours.
    assert len(desk.runs()) == runs + 1
    assert after["next_run_at"] - after["last_started_at"] == dt.timedelta(hours=6)
    shown = call("schedules", "--json")
    assert shown.json[0]["task"] == "fetch fx"


def test_a_task_that_fails_says_why_and_does_not_end_the_others(desk: Desk) -> None:
    desk.db.execute_many(
        "INSERT INTO service_schedules (organization_id, task, run_every, next_run_at, arguments) VALUES %s",
        [
            (desk.organization_id, "fetch power", "1 day", "2026-01-01", Json({})),
            (desk.organization_id, "fetch fx", "1 day", "2026-01-02", Json({})),
        ],
    )
    done: list[str] = []

    def fails(*_: Any) -> None:
        raise ServiceError("no token")

    def breaks(*_: Any) -> None:
        done.append("fx")
        raise KeyError("a fault of ours")

    assert Worker(desk.db, {"fetch power": fails, "fetch fx": breaks}).run(once=True) == 2
    rows = desk.db.execute_query("SELECT task, last_error FROM service_schedules ORDER BY task")
    assert [(r["task"], r["last_error"]) for r in rows] == [
        ("fetch fx", "KeyError: 'a fault of ours'"),
        ("fetch power", "no token"),
    ]
    assert done == ["fx"]


def test_a_task_of_many_parts_lets_the_others_have_their_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barnameh.worker.LONGEST_TASK_SECONDS", 0.0)
    desk.db.execute_many(
        "INSERT INTO service_schedules (organization_id, task, run_every) VALUES %s",
        [(desk.organization_id, "fetch weather", "1 day"), (desk.organization_id, "fetch fx", "1 day")],
    )
    done: list[str] = []

    def endless(_: Any, due: Any, stop: Callable[[], bool]) -> None:
        while not stop():
            pass
        done.append(due["task"])

    def short(_: Any, due: Any, stop: Callable[[], bool]) -> None:
        done.append(due["task"])

    assert Worker(desk.db, {"fetch weather": endless, "fetch fx": short}).run(once=True) == 1
    assert sorted(done) == ["fetch fx", "fetch weather"]
    errors = desk.db.execute_query("SELECT last_error FROM service_schedules ORDER BY task")
    assert [row["last_error"] is None for row in errors] == [True, False]
    assert "so that other tasks get their turn" in errors[1]["last_error"]


def test_one_worker_works_at_a_time(desk: Desk) -> None:
    desk.db.execute(
        "INSERT INTO service_schedules (organization_id, task, run_every) VALUES (%s, 'fetch fx', '1 day')",
        (desk.organization_id,),
    )

    def task(*_: Any) -> None:
        with pytest.raises(ServiceError, match="another worker is running"):
            Worker(desk.db, {}).run(once=True)

    assert Worker(desk.db, {"fetch fx": task}).run(once=True) == 0


@pytest.mark.slow
def test_sigterm_ends_it_cleanly_and_a_kill_is_made_up_for(desk: Desk) -> None:
    desk.db.execute(
        "INSERT INTO service_schedules (organization_id, task, run_every, arguments) "
        "VALUES (%s, 'fetch weather', '1 day', '{\"mode\": \"archive\"}')",
        (desk.organization_id,),
    )
    arguments = [sys.executable, "-m", "barnameh", "work", "--url", desk.db.health().url]
    for ending in (signal.SIGKILL, signal.SIGTERM):
        reached = len(desk.sources.asked)
        desk.sources.fault = lambda number: time.sleep(0.3)  # type: ignore[func-returns-value]
        keyed = environment(desk) | {"OPEN_METEO_API_KEY": "secret-key"}
        process = subprocess.Popen(arguments, env=keyed, stderr=subprocess.PIPE)
        while len(desk.sources.asked) == reached and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(ending)
        _, said = process.communicate(timeout=60)
        assert "secret-key" in str(desk.sources.asked[-1])
        assert b"secret-key" not in said
        if ending == signal.SIGTERM:
            assert process.returncode == 0, said.decode()
    desk.sources.fault = lambda number: None
    # What the kill interrupted is repeated without waiting for a day.
    Worker(desk.db, commands.TASKS | {"fetch weather": asked_at(desk)}).run(once=True)
    assert schedule_of(desk)["last_error"] is None
    assert schedule_of(desk)["last_succeeded_at"] is not None


def asked_at(desk: Desk) -> Any:
    """The task of the command line, with the desk's hosts."""

    def task(db: Any, due: Any, stop: Any) -> None:
        result = desk.fetch(OpenMeteo(mode="archive"), stop=stop)
        if result.error:
            raise ServiceError(result.error)

    return task


@pytest.mark.thorough
def test_the_pages_training_frame_knows_the_forecast_of_a_day_before(desk: Desk, call: Any) -> None:
    """The two blocks of docs/services.md as written, with the resulting weather."""
    page = (
        Path("docs/services.md").read_text(encoding="utf-8").partition("<!-- example: previous-runs -->")[2]
    )
    command, code = (page.split(f"```{language}\n")[1].split("```")[0] for language in ("bash", "python"))
    queries = OperationalDataQueries(desk.db)
    organization = queries.create_organization(
        "Victoria electricity", industry="energy", timezone="Australia/Brisbane"
    )["organization_id"]
    place = queries.create_location(
        organization,
        "Victoria",
        location_type="region",
        timezone="Australia/Brisbane",
        latitude_degrees=-37.81,
        longitude_degrees=144.96,
    )["location_id"]
    first = dt.datetime(2026, 5, 31, 14, tzinfo=dt.UTC)  # midnight in the market's local time
    desk.db.execute_many(
        "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) VALUES %s",
        [
            (organization, first + n * dt.timedelta(minutes=30), "ELECTRICITY-VIC", place, n + 1)
            for n in range(2 * 24 * 30)
        ],
    )
    _, *words = shlex.split(command)
    assert call(*words).code == 0
    assert call(*[word.replace("previous-runs", "archive") for word in words]).code == 0

    told = subprocess.run(
        [
            sys.executable,
            "-c",
            code + "\nprint([(r['bucket'].isoformat(), float(r['quantity']), r['factors']) for r in frame])",
        ],
        env={**environment(desk), "DATABASE_URL": desk.db.health().url, "REDIS_URL": ""},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    hours = [first + n * dt.timedelta(hours=1) for n in range(24 * 30)]
    assert ast.literal_eval(told.stdout) == [
        (
            hour.isoformat(),
            4.0 * n + 3,
            {
                "temperature": reading("temperature_2m", hour, 1),
                "shortwave_radiation": reading("shortwave_radiation", hour, 1),
            },
        )
        for n, hour in enumerate(hours)
    ]
    assert reading("temperature_2m", first, 1) != reading("temperature_2m", first, 0), (
        "the stub tells them apart"
    )
