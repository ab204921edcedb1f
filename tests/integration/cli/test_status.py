"""`status`: its output matches independent queries; for any role."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
import redis
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from db_utils.embedded import redis_server
from db_utils.ops.status import SERIES
from tests.integration.cli.conftest import ROOT, Run, role
from tests.integration.doctor.support import START_JOBS, until

LATEST = schema.latest_version()
SILENT = "redis://:hidden-word@127.0.0.1:1/0"
ORGANIZATION = "11111111-1111-1111-1111-111111111111"


def test_it_says_what_there_is(seeded: DatabaseManager, run: Run) -> None:
    done = run(seeded.settings.database_url, "status", "--json")
    assert done.code == 0, done.out
    said = done.json
    facts = seeded.execute_query(
        "SELECT current_setting('server_version') AS version, current_user AS role, "
        "(SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb, database_edition() AS edition"
    )[0]
    assert {name: said["server"][name] for name in facts} == facts
    assert said["server"]["database_bytes"] > 10_000_000
    assert 0 < said["server"]["connections"] <= said["server"]["connections_limit"]
    assert said["schema"]["version"] == said["schema"]["library_version"] == LATEST
    assert said["schema"]["files"] == "same"
    anchor = seeded.execute_query("SELECT anchor_at FROM seed_runs")[0]["anchor_at"]
    assert datetime.fromisoformat(said["schema"]["sample_data_from"]) == anchor
    assert (said["attention"], said["not_visible"]) == ([], [])

    tables = {table["name"]: table for table in said["tables"]}
    base = seeded.execute_query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert set(tables) == {row["tablename"] for row in base}
    for name, table in tables.items():
        counted = seeded.execute_query(f"SELECT count(*) AS n FROM {name}")[0]["n"]
        assert (table["rows"], table["rows_are"]) == (counted, "exact"), name
        assert table["total_bytes"] >= table["index_bytes"] > 0
        assert table["is_hypertable"] is (name in SERIES and facts["edition"] != "plain")
    stored = {rollup["name"]: rollup for rollup in said["rollups"]}
    rollups = seeded.execute_query("SELECT rollup FROM rollup_definitions() WHERE refresh_every IS NOT NULL")
    assert set(stored) == ({row["rollup"] for row in rollups} if facts["edition"] == "community" else set())
    for name, rollup in stored.items():
        counted = seeded.execute_query(f"SELECT count(*) AS n FROM {name}")[0]["n"]
        assert (rollup["rows"], rollup["rows_are"], rollup["is_hypertable"]) == (counted, "exact", True), name
        assert rollup["total_bytes"] >= rollup["index_bytes"] > 0
        assert rollup["chunks"] > rollup["columnstore_chunks"] == 0
    for series in said["series"]:
        edges = seeded.execute_query(
            f"SELECT min(time) AS oldest, max(time) AS newest FROM {series['name']}"
        )[0]
        assert datetime.fromisoformat(series["oldest"]) == edges["oldest"]
        assert datetime.fromisoformat(series["newest"]) == edges["newest"]
    assert [series["name"] for series in said["series"]] == list(SERIES)


def test_people_see_the_same(seeded: DatabaseManager, run: Run) -> None:
    done = run(seeded.settings.database_url, "status")
    assert done.code == 0
    rows = seeded.execute_query("SELECT count(*) AS n FROM operational_events")[0]["n"]
    for words in (
        f"{rows:,}",
        "operational_events",
        f"{LATEST} (this library's)",
        "Nothing needs attention.",
    ):
        assert words in done.out


@pytest.mark.slow
def test_rows_of_a_large_table_are_an_estimate_unless_asked_for(large: DatabaseManager, run: Run) -> None:
    truth = large.execute_query("SELECT count(*) AS n FROM resource_metrics")[0]["n"]
    by_name = {
        arguments: next(
            t
            for t in run(large.settings.database_url, "status", "--json", *arguments).json["tables"]
            if t["name"] == "resource_metrics"
        )
        for arguments in ((), ("--exact",))
    }
    assert by_name[("--exact",)]["rows"] == truth
    assert by_name[("--exact",)]["rows_are"] == "exact"
    # In the columnstore everything is small enough to be counted.
    if by_name[()]["rows_are"] == "estimate":
        assert by_name[()]["rows"] == pytest.approx(truth, rel=0.1)
        assert f"about {by_name[()]['rows']:,}" in run(large.settings.database_url, "status").out
    else:
        assert by_name[()]["columnstore_chunks"] > 0
    columnstore = large.execute_query("SELECT database_edition() AS edition")[0]["edition"] == "community"
    assert (by_name[()]["columnstore_before_bytes"] is not None) is columnstore
    if columnstore:
        assert by_name[()]["columnstore_before_bytes"] > 5 * by_name[()]["columnstore_after_bytes"]
        rollups = run(large.settings.database_url, "status", "--json").json["rollups"]
        events = next(rollup for rollup in rollups if rollup["name"] == "operational_events_hourly")
        assert events["chunks"] > events["columnstore_chunks"] > 0
        assert events["columnstore_before_bytes"] > 5 * events["columnstore_after_bytes"]


# -- what needs attention -----------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DROP TABLE schema_version", "has no schema: run db-utils init"),
        (f"DELETE FROM schema_version WHERE version = {LATEST}", "run db-utils migrate"),
        (f"INSERT INTO schema_version VALUES ({LATEST + 1}, 'later')", "newer release"),
    ],
)
def test_a_schema_that_is_not_the_librarys(
    empty_database: DatabaseManager, run: Run, change: str, words: str
) -> None:
    empty_database.execute(change)
    done = run(empty_database.settings.database_url, "status", "--json")
    assert done.code == 3
    assert len(done.json["attention"]) == 1
    assert words in done.json["attention"][0]
    assert (
        f"attention: {done.json['attention'][0]}" in run(empty_database.settings.database_url, "status").out
    )


def test_a_database_with_nothing_in_it(blank_url: str, run: Run) -> None:
    done = run(blank_url, "status", "--json")
    assert done.code == 3
    assert done.json["schema"]["version"] is None
    assert done.json["tables"] == []
    assert "init" in done.json["attention"][0]


def test_a_job_that_failed(empty_database: DatabaseManager, run: Run) -> None:
    db = empty_database
    if schema.edition(db) != "community":
        # No job of ours; TimescaleDB's own jobs do not matter under the Apache licence, which lets none of them run.
        assert run(db.settings.database_url, "status").code == 0
        return
    db.execute(
        "CREATE PROCEDURE break_down(job_id integer, config jsonb) LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$broken$$; END'"
    )
    job = db.execute_query("SELECT add_job('break_down', interval '1 day', initial_start => now()) AS id")[0][
        "id"
    ]
    last = "SELECT last_run_status FROM timescaledb_information.job_stats WHERE job_id = %s"
    db.execute(START_JOBS)
    until(lambda: [row["last_run_status"] for row in db.execute_query(last, (job,))] == ["Failed"])
    done = run(db.settings.database_url, "status", "--json")
    assert done.code == 3
    failed = [j for j in done.json["jobs"] if j["last_run_failed"]]
    assert [j["job_id"] for j in failed] == [job]
    assert failed[0]["failures"] >= 1
    assert f"job {job}" in done.json["attention"][0]
    policies = [j for j in done.json["jobs"] if j["relation"] in SERIES]
    assert len(policies) == len(SERIES)
    assert all(j["schedule_seconds"] > 0 for j in policies)


def test_a_database_that_does_not_answer(run: Run) -> None:
    url = "postgresql://someone:hidden-word@127.0.0.1:1/nothing"
    done = run(url, "status", "--json")
    assert done.code == 1
    assert done.json["ok"] is False
    assert "cannot connect" in done.json["error"]
    shown = run(url, "status")
    assert shown.code == 1
    assert "attention: the database does not answer" in shown.out
    assert "hidden-word" not in done.out + done.err + shown.out + shown.err


# -- public sources -----------------------------------------------------------------------------------------


def test_sources_and_their_last_good_runs(empty_database: DatabaseManager, run: Run) -> None:
    db, url = empty_database, empty_database.settings.database_url
    assert run(url, "status", "--json").json["sources"] == []
    (organization,) = db.execute_query(
        "INSERT INTO organizations (name, industry) VALUES ('O', 'test') RETURNING organization_id"
    )
    places = db.execute_query(
        "INSERT INTO locations (organization_id, name, location_type) SELECT %s, 'L' || n, 'factory' "
        "FROM generate_series(1, 3) AS n RETURNING location_id",
        (organization["organization_id"],),
    )

    def asked(place: int | None, connector: str, hour: int, error: str | None = None) -> None:
        at = datetime(2026, 6, 1, hour, tzinfo=UTC)
        db.execute(
            "INSERT INTO connector_runs (organization_id, connector, location_id, window_start, window_end, started_at, finished_at, "
            "error_message) VALUES (%(o)s, %(c)s, %(l)s, %(at)s::timestamptz - interval '1 day', %(at)s, %(at)s, %(at)s, %(e)s)",
            {
                "o": organization["organization_id"],
                "c": connector,
                "l": None if place is None else places[place]["location_id"],
                "at": at,
                "e": error,
            },
        )

    asked(0, "open-meteo", 1)
    asked(0, "open-meteo", 9)
    asked(1, "open-meteo", 3, "429")
    asked(1, "open-meteo", 4)
    asked(1, "open-meteo", 8, "429")
    asked(None, "ecb", 2)
    asked(2, "holidays", 5, "no country")
    said = {source.pop("connector"): source for source in run(url, "status", "--json").json["sources"]}
    assert said == {
        "ecb": source_facts(1, 0, "02", "02"),
        "holidays": source_facts(1, 1, None, None),
        "open-meteo": source_facts(2, 1, "09", "04"),
    }
    shown = run(url, "status").out
    for words in ("open-meteo", "2026-06-01 09:00 UTC", "2026-06-01 04:00 UTC", "never"):
        assert words in shown
    page = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in said["ecb"])


def source_facts(places: int, failing: int, last: str | None, stalest: str | None) -> dict[str, object]:
    def at(hour: str | None) -> str | None:
        return None if hour is None else f"2026-06-01T{hour}:00:00+00:00"

    return {
        "places": places,
        "failing_places": failing,
        "last_good_at": at(last),
        "stalest_good_at": at(stalest),
    }


# -- the cache ----------------------------------------------------------------------------------------------


def test_the_cache(seeded: DatabaseManager, run: Run) -> None:
    with redis_server.start() as url:
        client = redis.Redis.from_url(url)
        client.set("someone:else", "x")
        for number in range(3):
            client.set(f"pred:v2:-:{{{ORGANIZATION}}}:anomaly_prediction:r{number}", "x")
        info = client.info()
        client.close()
        done = run(seeded.settings.database_url, "status", "--json", REDIS_URL=url)
    assert done.code == 0
    said = done.json["cache"]
    assert (said["answers"], said["configured"]) == (True, True)
    assert said["version"] == info["redis_version"]
    assert (said["keys"], said["keys_are"]) == (3, "exact")
    assert said["memory_bytes"] > 100_000


def test_a_silent_redis(seeded: DatabaseManager, run: Run) -> None:
    done = run(seeded.settings.database_url, "status", "--json", REDIS_URL=SILENT)
    assert done.code == 3
    assert done.json["cache"]["answers"] is False
    assert "does not answer" in done.json["attention"][0]
    assert (
        "hidden-word"
        not in done.out + done.err + run(seeded.settings.database_url, "status", REDIS_URL=SILENT).out
    )


# -- roles --------------------------------------------------------------------------------------------------


def test_a_role_that_may_read(server_url: str, seeded: DatabaseManager, run: Run) -> None:
    with role(server_url, seeded, "barnameh_readonly") as url:
        done = run(url, "status", "--json")
    assert done.code == 0
    assert done.json["schema"]["version"] == LATEST
    rows = {table["name"]: table["rows"] for table in done.json["tables"]}
    assert (
        rows["operational_events"]
        == seeded.execute_query("SELECT count(*) AS n FROM operational_events")[0]["n"]
    )
    assert all(series["newest"] for series in done.json["series"])
    assert done.json["not_visible"] == ["rows of tenant_logins"]


def test_a_role_that_may_see_nothing_is_told_so(server_url: str, seeded: DatabaseManager, run: Run) -> None:
    with role(server_url, seeded, "") as url:
        done = run(url, "status", "--json")
        shown = run(url, "status")
    assert done.code == 0
    assert done.json["schema"] is None
    assert all(table["rows_are"] != "exact" for table in done.json["tables"])
    hidden = " ".join(done.json["not_visible"])
    assert "schema version" in hidden
    assert all(name in hidden for name in SERIES)
    assert "not visible: schema version" in shown.out
    assert "hidden-word" not in done.out + shown.out


def test_a_customers_login(server_url: str, seeded_database: DatabaseManager, run: Run) -> None:
    db, login = seeded_database, f"status_login_{os.getpid()}"
    db.execute("CALL create_tenant_login(%s, %s, 'a long hidden-word')", (ORGANIZATION, login))
    try:
        url = make_dsn(
            **{**parse_dsn(db.settings.database_url), "user": login, "password": "a long hidden-word"}
        )
        done = run(url, "status", "--json")
        assert done.code == 0
        assert done.json["server"]["role"] == login
        assert done.json["schema"] is None
        assert all(series["newest"] is None for series in done.json["series"])
    finally:
        db.execute("CALL drop_tenant_login(%s)", (login,))


def test_the_page_names_every_field(seeded: DatabaseManager, run: Run) -> None:
    page = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    said = run(seeded.settings.database_url, "status", "--json").json
    parts = [
        said,
        said["server"],
        said["schema"],
        said["tables"][0],
        said["series"][0],
        said["cache"],
        *said["jobs"][:1],
    ]
    for name in (name for part in parts for name in part):
        assert f"`{name}`" in page or f"`{name}[]`" in page, name
