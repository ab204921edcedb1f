"""Chunks, columnstore, rollups and retention behave as documented, in every edition."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest

from db_utils import DatabaseManager, schema
from db_utils.errors import CheckViolationError, DbUtilsError, QueryTimeoutError, UniqueViolationError
from tests.support.scale import ROLLUPS, SERIES, STORED_ROLLUPS
from tests.support.schema_snapshot import content_hashes

MANUFACTURING = UUID("11111111-1111-1111-1111-111111111111")
SAMPLES = "resource_samples_hourly"
"""Has few hours, so it has no watermark and is read with its log: see raw_spans()."""


def compress_everything(db: DatabaseManager) -> int:
    """Convert all chunks to the columnstore, as the policy would in time; 0 without a columnstore."""
    if schema.edition(db) != "community":
        return 0
    return sum(
        db.execute_query(
            "SELECT count(compress_chunk(c)) AS n FROM show_chunks(%s::regclass) AS c", (table,)
        )[0]["n"]
        for table in (*SERIES, *STORED_ROLLUPS)
    )


def totals(db: DatabaseManager, relation: str) -> list[dict[str, Any]]:
    """A rollup's contents in a fixed order."""
    return db.execute_query(f"SELECT md5(r::text) AS row FROM {relation} AS r ORDER BY 1")


def any_resource(db: DatabaseManager) -> dict[str, Any]:
    return db.execute_query(
        "SELECT resource_id, location_id FROM resources WHERE organization_id = %s ORDER BY name LIMIT 1",
        (MANUFACTURING,),
    )[0]


def test_physical_form(seeded: DatabaseManager) -> None:
    layout = {r["relation"]: r for r in seeded.execute_query("SELECT * FROM time_series_layout()")}
    assert set(layout) == set(SERIES)
    edition = schema.edition(seeded)
    if edition == "plain":
        brin = seeded.execute_query("SELECT tablename FROM pg_indexes WHERE indexdef LIKE '%USING brin%'")
        assert {r["tablename"] for r in brin} == set(SERIES)
        return
    chunked = seeded.execute_query(
        "SELECT hypertable_name, time_interval FROM timescaledb_information.dimensions WHERE hypertable_schema = 'public'"
    )
    assert {r["hypertable_name"]: r["time_interval"] for r in chunked} == {
        name: row["chunk_interval"] for name, row in layout.items()
    }
    if edition == "community":
        settings = seeded.execute_query(
            "SELECT hypertable::text AS name, segmentby FROM timescaledb_information.hypertable_columnstore_settings "
            "WHERE hypertable::text = ANY (%s)",
            (list(SERIES),),
        )
        assert {r["name"]: r["segmentby"].replace(",", ", ") for r in settings} == {
            name: row["segment_by"] for name, row in layout.items()
        }
        rollups = seeded.execute_query(
            "SELECT c.view_name, c.materialized_only, s.segmentby, s.orderby, d.time_interval, r.chunk_interval "
            "FROM timescaledb_information.continuous_aggregates AS c "
            "JOIN rollup_definitions() AS r ON r.rollup = c.view_name "
            "JOIN timescaledb_information.hypertable_columnstore_settings AS s ON s.hypertable = "
            "format('%I.%I', c.materialization_hypertable_schema, c.materialization_hypertable_name)::regclass "
            "JOIN timescaledb_information.dimensions AS d ON d.hypertable_name = c.materialization_hypertable_name"
        )
        assert {r["view_name"] for r in rollups} == {*STORED_ROLLUPS, SAMPLES}
        assert {r["view_name"] for r in rollups if r["materialized_only"]} == {SAMPLES}
        assert {(r["segmentby"], r["orderby"]) for r in rollups} == {("organization_id", "bucket")}
        assert all(r["time_interval"] == r["chunk_interval"] for r in rollups)


def rollup_indexes(db: DatabaseManager) -> dict[str, set[str]]:
    """The columns of each index of each stored rollup, without the time-only one that TimescaleDB needs."""
    rows = db.execute_query(
        "SELECT c.view_name, regexp_replace(i.indexdef, '^.* USING btree ', '') AS columns "
        "FROM timescaledb_information.continuous_aggregates AS c "
        "JOIN pg_indexes AS i ON i.schemaname = c.materialization_hypertable_schema "
        "AND i.tablename = c.materialization_hypertable_name "
        "WHERE i.indexdef NOT LIKE '%%btree (bucket DESC)'"
    )
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["view_name"], set()).add(row["columns"].split(" INCLUDE")[0])
    return found


def test_rollups_are_indexed_by_organization_and_by_subject(seeded_database: DatabaseManager) -> None:
    if schema.edition(seeded_database) != "community":
        assert not seeded_database.execute_query(
            "SELECT matviewname FROM pg_matviews WHERE schemaname = 'public'"
        )
        return
    subjects = dict(zip(SERIES, ("resource_id", "product_id", "resource_id", "employee_id"), strict=True))
    expected = {
        rollup: {
            "(organization_id, bucket)",
            f"(organization_id, {subjects[rollup.rsplit('_', 1)[0]]}, bucket)",
        }
        for rollup in STORED_ROLLUPS
    } | {SAMPLES: {"(organization_id, bucket)", "(organization_id, resource_id, bucket)"}}
    assert rollup_indexes(seeded_database) == expected
    # The state left by earlier schema versions.
    earlier = seeded_database.execute_query(
        "SELECT materialization_hypertable_name AS name FROM timescaledb_information.continuous_aggregates LIMIT 1"
    )[0]["name"]
    seeded_database.execute(
        f"CREATE INDEX {earlier}_organization_id_bucket_idx "
        f"ON _timescaledb_internal.{earlier} (organization_id, bucket DESC)"
    )
    assert rollup_indexes(seeded_database) != expected
    schema.apply(seeded_database)
    assert rollup_indexes(seeded_database) == expected


def test_rollups_of_version_6_leave_less_to_their_readers_and_go_to_the_columnstore(
    seeded_database: DatabaseManager,
) -> None:
    if schema.edition(seeded_database) != "community":
        return
    policy = (
        "SELECT job_id, config FROM timescaledb_information.jobs WHERE hypertable_name = 'resource_metrics_hourly' "
        "AND proc_name = 'policy_refresh_continuous_aggregate'"
    )
    seeded_database.execute("CALL set_retention('resource_metrics', '100 days')")
    new = seeded_database.execute_query(policy)[0]
    old = {**new["config"], "end_offset": "01:00:00"}
    with seeded_database.transaction() as transaction:
        transaction.execute("SELECT alter_job(%s, config => %s)", (new["job_id"], json.dumps(old)))
        transaction.execute("CALL remove_columnstore_policy('resource_metrics_hourly')")
        transaction.execute(
            "ALTER MATERIALIZED VIEW resource_metrics_hourly SET (timescaledb.enable_columnstore = false)"
        )
        transaction.execute("DELETE FROM schema_version WHERE version >= 7")
    assert schema.problems(seeded_database)
    schema.apply(seeded_database)
    assert seeded_database.execute_query(policy) == [new]
    assert schema.problems(seeded_database) == []
    # A longer setting is kept.
    own = {**new["config"], "end_offset": "01:00:00"}
    seeded_database.execute_query("SELECT alter_job(%s, config => %s)", (new["job_id"], json.dumps(own)))
    schema.apply(seeded_database)
    assert seeded_database.execute_query(policy) == [{**new, "config": own}]


def test_nothing_is_deleted_by_default(seeded: DatabaseManager) -> None:
    if schema.edition(seeded) == "plain":
        assert (
            seeded.execute_query("SELECT to_regclass('timescaledb_information.jobs') AS jobs")[0]["jobs"]
            is None
        )
        return
    jobs = seeded.execute_query(
        "SELECT proc_name FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL"
    )
    assert "policy_retention" not in {r["proc_name"] for r in jobs}


@pytest.mark.thorough
def test_compression_loses_nothing(seeded_database: DatabaseManager) -> None:
    db = seeded_database
    rows = content_hashes(db)
    rollups = {name: totals(db, name) for name in ROLLUPS}
    compressed = compress_everything(db)
    assert (compressed > 0) == (schema.edition(db) == "community")
    assert content_hashes(db) == rows
    assert {name: totals(db, name) for name in ROLLUPS} == rollups


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE copied AS SELECT * FROM operational_events"],
        ["SELECT * INTO copied FROM operational_events"],
        ["CREATE MATERIALIZED VIEW copied AS SELECT * FROM operational_events"],
        [
            "CREATE MATERIALIZED VIEW copied AS SELECT * FROM operational_events WITH NO DATA",
            "REFRESH MATERIALIZED VIEW copied",
        ],
        [
            "CREATE TABLE copied (LIKE operational_events)",
            "INSERT INTO copied SELECT * FROM operational_events",
        ],
    ],
)
def test_a_table_made_of_compressed_rows_holds_the_same_rows(
    seeded_database: DatabaseManager, statements: list[str]
) -> None:
    # TimescaleDB damages batches whose first row is shorter than the next ones.
    seeded_database.execute(
        "INSERT INTO operational_events (organization_id, location_id, resource_id, time, event_type, cause) "
        "SELECT r.organization_id, r.location_id, r.resource_id, now() - n * interval '1 day', "
        "CASE n WHEN 200 THEN 'idle' ELSE 'maintenance' END, repeat('x', n - 199) "
        "FROM resources AS r CROSS JOIN generate_series(200, 220) AS n"
    )
    before = totals(seeded_database, "operational_events")
    compress_everything(seeded_database)
    for statement in statements:
        seeded_database.execute(statement)
    assert totals(seeded_database, "copied") == before


def test_rows_into_old_chunks(seeded_database: DatabaseManager) -> None:
    """Late rows, corrections, duplicates and deletions work after the columnstore has taken the chunk."""
    db = seeded_database
    compress_everything(db)
    resource = any_resource(db)
    # Far older than all rows, and inside the oldest hour.
    oldest = db.execute_query("SELECT min(time) AS oldest FROM operational_events")[0]["oldest"]
    for at in (oldest - timedelta(days=400), oldest + timedelta(seconds=1)):
        event = (MANUFACTURING, at, uuid4(), resource["location_id"], resource["resource_id"])
        insert = (
            "INSERT INTO operational_events (organization_id, time, event_id, location_id, resource_id, event_type, quantity, "
            "duration_minutes) VALUES (%s, %s, %s, %s, %s, 'production', 7, 30)"
        )
        assert db.execute(insert, event) == 1
        with pytest.raises(UniqueViolationError):
            db.execute(insert, event)
        assert db.execute(insert + " ON CONFLICT DO NOTHING", event) == 0
        assert db.execute("UPDATE operational_events SET quantity = 8 WHERE event_id = %s", (event[2],)) == 1
        schema.refresh_rollups(db)
        bucket = db.execute_query(
            "SELECT sum(quantity) AS quantity FROM operational_events_hourly "
            "WHERE organization_id = %s AND resource_id = %s AND event_type = 'production' AND bucket = time_bucket('1 hour', %s)",
            (MANUFACTURING, resource["resource_id"], at),
        )
        raw = db.execute_query(
            "SELECT sum(quantity) AS quantity FROM operational_events WHERE organization_id = %s AND resource_id = %s "
            "AND event_type = 'production' AND time >= %s AND time < %s",
            (
                MANUFACTURING,
                resource["resource_id"],
                at.replace(minute=0, second=0, microsecond=0),
                at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1),
            ),
        )
        assert bucket == raw
        assert bucket[0]["quantity"] >= 8
        assert db.execute("DELETE FROM operational_events WHERE event_id = %s", (event[2],)) == 1


@pytest.mark.thorough
def test_a_refresh_takes_late_rows_into_rollups_of_the_columnstore(seeded_database: DatabaseManager) -> None:
    """Afterwards the rollups equal their definitions applied to the rows, including texts."""
    db = seeded_database
    compress_everything(db)
    first = db.execute_query("SELECT min(time) AS t FROM operational_events")[0]["t"]
    db.execute(
        "INSERT INTO operational_events (organization_id, location_id, resource_id, time, event_type, cause, duration_minutes) "
        "SELECT r.organization_id, r.location_id, r.resource_id, %s + n * interval '7 hours', "
        "CASE n %% 3 WHEN 0 THEN 'idle' WHEN 1 THEN 'breakdown' ELSE 'maintenance' END, repeat('x', n), n "
        "FROM resources AS r CROSS JOIN generate_series(1, 40) AS n",
        (first,),
    )
    db.execute(  # inconsistent samples, which the sample data have only at some hours of the day
        "INSERT INTO resource_metrics (organization_id, resource_id, time, utilization_pct) "
        "SELECT r.organization_id, r.resource_id, %s + n * interval '7 hours' + interval '1 minute', 50 "
        "FROM resources AS r CROSS JOIN generate_series(1, 3) AS n",
        (first,),
    )
    schema.refresh_rollups(db)
    for definition in db.execute_query("SELECT rollup, query FROM rollup_definitions()"):
        stored = totals(db, definition["rollup"])
        assert stored, definition["rollup"]
        assert stored == totals(db, f"({definition['query']})"), definition["rollup"]
    for series, counted in (("operational_events", "event_count"), ("resource_metrics", "sample_count")):
        rows = db.execute_query(f"SELECT count(*) AS n FROM {series}")
        for rollup in (f"{series}_hourly", f"{series}_daily"):
            assert db.execute_query(f"SELECT sum({counted}) AS n FROM {rollup}") == rows, rollup


def test_a_correction_replaces_the_row(seeded_database: DatabaseManager) -> None:
    db = seeded_database
    compress_everything(db)
    old = db.execute_query(
        "SELECT time, product_id, location_id, quantity FROM demand_history WHERE organization_id = %s ORDER BY time LIMIT 1",
        (MANUFACTURING,),
    )[0]
    before = db.execute_query("SELECT count(*) AS n FROM demand_history")
    assert (
        db.execute(
            "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (organization_id, product_id, location_id, time) DO UPDATE SET quantity = excluded.quantity",
            (MANUFACTURING, old["time"], old["product_id"], old["location_id"], old["quantity"] + 1000),
        )
        == 1
    )
    schema.refresh_rollups(db)
    assert db.execute_query("SELECT count(*) AS n FROM demand_history") == before
    found = db.execute_query(
        "SELECT quantity FROM demand_history_hourly WHERE organization_id = %s AND product_id = %s AND location_id = %s AND bucket = %s",
        (MANUFACTURING, old["product_id"], old["location_id"], old["time"]),
    )
    assert [r["quantity"] for r in found] == [old["quantity"] + 1000]


def test_new_rows_are_seen_at_once_and_late_ones_after_the_refresh(seeded_database: DatabaseManager) -> None:
    db = seeded_database
    resource = any_resource(db)["resource_id"]
    now = datetime.now(UTC)
    fresh = now + timedelta(hours=23, minutes=58)  # on a day that no refresh has reached
    assert fresh < now + timedelta(days=1)
    db.execute(
        "INSERT INTO resource_metrics (organization_id, time, resource_id, utilization_pct) VALUES (%s, %s, %s, 42)",
        (MANUFACTURING, fresh, resource),
    )
    for rollup in ("resource_metrics_hourly", "resource_metrics_daily"):
        seen = db.execute_query(
            f"SELECT utilization_pct_max FROM {rollup} WHERE organization_id = %s AND resource_id = %s ORDER BY bucket DESC LIMIT 1",
            (MANUFACTURING, resource),
        )
        assert seen[0]["utilization_pct_max"] >= 42, rollup


@pytest.mark.parametrize("sqlstate", ["40P01", "40001", "55P03"])
def test_a_refresh_tries_again_when_a_job_was_in_the_way(
    seeded_database: DatabaseManager, sqlstate: str
) -> None:
    seeded_database.execute("CREATE SEQUENCE attempts")
    seeded_database.execute(
        "CREATE OR REPLACE PROCEDURE refresh_rollups(start_time timestamptz DEFAULT NULL, end_time timestamptz DEFAULT NULL) "
        "LANGUAGE plpgsql AS $$ BEGIN IF nextval('attempts') < 3 THEN "
        f"RAISE EXCEPTION 'in the way' USING ERRCODE = '{sqlstate}'; END IF; END $$"
    )
    schema.refresh_rollups(seeded_database)
    assert seeded_database.execute_query("SELECT last_value FROM attempts") == [{"last_value": 3}]


def test_a_refresh_that_another_one_stands_in_the_way_of_says_so(seeded_database: DatabaseManager) -> None:
    if schema.edition(seeded_database) != "community":
        return
    rollup = seeded_database.execute_query(
        "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) AS name "
        "FROM timescaledb_information.continuous_aggregates WHERE view_name = 'operational_events_hourly'"
    )[0]["name"]
    seeded_database.execute(
        "INSERT INTO operational_events (organization_id, location_id, resource_id, time, event_type) "
        "SELECT organization_id, location_id, resource_id, now() - interval '5 days', 'idle' FROM resources LIMIT 1"
    )
    hurried = DatabaseManager(seeded_database.settings.database_url, lock_timeout_seconds=0.2)
    with hurried, seeded_database.transaction() as transaction:
        transaction.execute(f"LOCK TABLE {rollup} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(
            QueryTimeoutError, match=r"still refreshing the rollups after 0.1 s.*wait_seconds"
        ) as raised:
            schema.refresh_rollups(hurried, wait_seconds=0.1)
    assert raised.value.sqlstate == "55P03"
    schema.refresh_rollups(seeded_database)


def test_what_indexes_use_needs_no_search_path(seeded_database: DatabaseManager) -> None:
    """pg_restore creates indexes with an empty one."""
    with seeded_database.transaction() as transaction:
        transaction.execute("SET LOCAL search_path = ''")
        for width in ("1 hour", "1 month"):
            for arguments in ("now()", "now()::timestamp", "now(), 'Europe/Paris'"):
                transaction.execute(f"SELECT public.time_bucket(interval '{width}', {arguments})")
        transaction.execute("SELECT public.time_bucket(interval '1 day', now()::date)")
        for relation in SERIES:
            transaction.execute(f"REINDEX TABLE public.{relation}")


def test_rows_from_the_future_are_refused(seeded_database: DatabaseManager) -> None:
    resource = any_resource(seeded_database)["resource_id"]
    insert = "INSERT INTO resource_metrics (organization_id, time, resource_id) VALUES (%s, now() + %s, %s)"
    assert seeded_database.execute(insert, (MANUFACTURING, timedelta(hours=23), resource)) == 1
    with pytest.raises(CheckViolationError) as refusal:
        seeded_database.execute(insert, (MANUFACTURING, timedelta(hours=25), resource))
    assert refusal.value.constraint == "resource_metrics_time_not_in_future_check"


def test_retention(seeded_database: DatabaseManager) -> None:
    db = seeded_database

    def set_retention(relation: str, keep: timedelta | None) -> None:
        db.execute("CALL set_retention(%s, %s)", (relation, keep))

    with pytest.raises(DbUtilsError) as unknown:
        set_retention("alerts", timedelta(days=90))
    assert unknown.value.sqlstate == "42809"
    if schema.edition(db) != "community":
        with pytest.raises(DbUtilsError) as refusal:
            set_retention("resource_metrics", timedelta(days=90))
        assert refusal.value.sqlstate == "0A000"
        return

    for relation, too_short in (
        ("resource_metrics", 36),
        ("operational_events", 59),
        ("demand_history", 119),
    ):
        with pytest.raises(DbUtilsError) as refusal:
            set_retention(relation, timedelta(days=too_short))
        assert refusal.value.sqlstate == "22023"


def run_jobs(db: DatabaseManager) -> list[str]:
    """Run each retention and refresh job once, retention first; return them."""
    jobs = db.execute_query(
        "SELECT job_id, proc_name FROM timescaledb_information.jobs WHERE proc_name IN "
        "('policy_retention', 'policy_refresh_continuous_aggregate') ORDER BY proc_name DESC, job_id"
    )
    for job in jobs:
        db.execute("CALL run_job(%s)", (job["job_id"],))
    return [job["proc_name"] for job in jobs]


def test_rollups_outlive_retention(seeded_database: DatabaseManager) -> None:
    """A year-old sample is rolled up and then dropped: no refresh of any kind, and no changed policy, empties the rollup."""
    db = seeded_database
    if schema.edition(db) != "community":
        assert db.execute_query("SELECT rollup_refresh_window('resource_metrics_hourly') AS w") == [
            {"w": None}
        ]
        return
    resource = any_resource(db)["resource_id"]
    old = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=365)
    sample = "INSERT INTO resource_metrics (organization_id, time, resource_id, utilization_pct) VALUES (%s, %s, %s, %s)"
    db.execute(sample, (MANUFACTURING, old, resource, 77))
    schema.refresh_rollups(db)

    def rolled_up(since: timedelta, until: timedelta) -> list[list[int]]:
        """The utilization in each rollup for a past period."""
        return [
            [
                int(row["utilization_pct_max"])
                for row in db.execute_query(
                    f"SELECT utilization_pct_max FROM {rollup} WHERE resource_id = %s "
                    "AND bucket >= now() - %s AND bucket < now() - %s ORDER BY bucket",
                    (resource, since, until),
                )
            ]
            for rollup in ("resource_metrics_hourly", "resource_metrics_daily")
        ]

    a_year_ago = (timedelta(days=367), timedelta(days=363))
    assert rolled_up(*a_year_ago) == [[77], [77]]
    db.execute("CALL set_retention('resource_metrics', interval '60 days')")
    assert run_jobs(db).count("policy_retention") == 1
    assert db.execute_query("SELECT count(*) AS n FROM resource_metrics WHERE time <= %s", (old,)) == [
        {"n": 0}
    ]
    assert rolled_up(*a_year_ago) == [[77], [77]]

    db.execute("SELECT remove_continuous_aggregate_policy('resource_metrics_daily')")
    for keep in ("60 days", "400 days", None):
        schema.apply(db)
        db.execute("CALL set_retention('resource_metrics', %s)", (keep,))
        run_jobs(db)
        schema.refresh_rollups(db)
        assert rolled_up(*a_year_ago) == [[77], [77]], keep
        window = db.execute_query("SELECT rollup_refresh_window('resource_metrics_daily') AS w")[0]["w"]
        assert window == timedelta(days=53), keep
    assert "policy_retention" not in run_jobs(db)

    # A late row inside the window is still included, by the job and by hand; one outside it is not.
    at = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(days=40)
    db.execute(sample, (MANUFACTURING, at, resource, 55))
    db.execute(sample, (MANUFACTURING, old, resource, 66))
    schema.refresh_rollups(db)
    assert rolled_up(timedelta(days=42), timedelta(days=38)) == [[55], [55]]
    assert rolled_up(*a_year_ago) == [[77], [77]]


def test_a_short_period_is_refreshed_whole_buckets_wide(seeded_database: DatabaseManager) -> None:
    db = seeded_database
    resource = any_resource(db)["resource_id"]
    at = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(days=200)
    db.execute(
        "INSERT INTO resource_metrics (organization_id, time, resource_id, utilization_pct) VALUES (%s, %s, %s, 33)",
        (MANUFACTURING, at, resource),
    )
    with db.connection() as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CALL refresh_rollups(%s, %s)", (at, at + timedelta(minutes=1)))
            with pytest.raises(psycopg2.errors.InvalidParameterValue):
                cursor.execute("CALL refresh_rollups(%s, %s)", (at, at))
    for rollup in ("resource_metrics_hourly", "resource_metrics_daily"):
        found = db.execute_query(
            f"SELECT utilization_pct_max FROM {rollup} WHERE resource_id = %s AND bucket BETWEEN %s AND %s",
            (resource, at - timedelta(days=1), at),
        )
        assert [row["utilization_pct_max"] for row in found] == [33], rollup


def test_the_jobs_of_a_new_database_start_one_after_the_other(empty_database: DatabaseManager) -> None:
    """All at once they would exceed the background workers, and those without one would count as failed."""
    if schema.edition(empty_database) != "community":
        return
    starts = [
        row["next_start"]
        for row in empty_database.execute_query(
            "SELECT j.next_start FROM timescaledb_information.jobs AS j "
            "LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id "
            "WHERE j.job_id >= 1000 AND coalesce(s.total_runs, 0) = 0 ORDER BY 1"
        )
    ]
    assert len(starts) > 16
    # No more than a few start within seconds of each other.
    assert all(
        later - earlier >= timedelta(seconds=60) for earlier, later in zip(starts, starts[7:], strict=False)
    )
