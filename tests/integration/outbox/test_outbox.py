"""Every committed change of an organization with a target is in its outbox, and no other organization's."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from psycopg2 import sql

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.connections.executor import Executor
from db_utils.errors import InvalidInputError, NotFoundError, PermissionDeniedError
from db_utils.outbox import KINDS, Change, Outbox

HOUR = dt.timedelta(hours=1)
not_on_citus = pytest.mark.skipif(
    "TEST_CITUS_INSTALL" in os.environ,
    reason="docs/citus.md: no notifications, and no trimming by writers",
)


@pytest.fixture
def db(seeded_database: DatabaseManager) -> DatabaseManager:
    return seeded_database


@pytest.fixture
def org(db: DatabaseManager) -> UUID:
    organization_id: UUID = db.execute_query(
        "SELECT organization_id FROM resources GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
    )[0]["organization_id"]
    return organization_id


@pytest.fixture
def outbox(db: DatabaseManager, org: UUID) -> Outbox:
    outbox = Outbox(db, org, "convex")
    outbox.add_target()
    return outbox


@pytest.fixture
def second(db: DatabaseManager) -> Iterator[Any]:
    """Another session, whose transaction stays open until released."""
    connection = psycopg2.connect(db.settings.database_url)
    yield connection
    connection.close()


def told(outbox: Outbox) -> set[tuple[str, str]]:
    """The waiting changes, which are removed."""
    changes = outbox.waiting(limit=100_000)
    outbox.acknowledge(changes)
    return {(change.kind, change.key) for change in changes}


def of_kind(changes: list[Change]) -> list[str]:
    return [change.key for change in changes]


def one(db: Executor, statement: str, *parameters: Any) -> Any:
    (row,) = db.execute_query(statement, parameters)
    (value,) = row.values()
    return value


def test_each_table_tells_inserts_updates_and_deletes(db: DatabaseManager, org: UUID, outbox: Outbox) -> None:
    resource = one(db, "SELECT resource_id FROM resources WHERE organization_id = %s LIMIT 1", org)
    alert = one(
        db,
        "INSERT INTO alerts (organization_id, severity, alert_type, title, resource_id) "
        "VALUES (%s, 'low', 'x', 'y', %s) RETURNING alert_id",
        org, resource,
    )  # fmt: skip
    assert told(outbox) == {("alert", str(alert))}
    for change in ("UPDATE alerts SET title = 'z'", "DELETE FROM alerts"):
        db.execute(f"{change} WHERE organization_id = %s AND alert_id = %s", (org, alert))
        assert told(outbox) == {("alert", str(alert))}
    assert outbox.current_rows("alert", [str(alert)]) == {}

    plan = one(db, "SELECT plan_id FROM production_plans WHERE organization_id = %s LIMIT 1", org)
    db.execute(
        "UPDATE production_plans SET priority = 1 WHERE organization_id = %s AND plan_id = %s", (org, plan)
    )
    assert told(outbox) == {("plan", str(plan))}
    anomaly = one(db, "SELECT anomaly_id FROM anomaly_predictions WHERE organization_id = %s LIMIT 1", org)
    db.execute(
        "UPDATE anomaly_predictions SET metadata = '{\"a\": 1}' WHERE organization_id = %s AND anomaly_id = %s",
        (org, anomaly),
    )
    assert told(outbox) == {("anomaly", str(anomaly))}

    # Time-series rows of all ages, including compressed chunks; several in a statement are one change.
    if schema.edition(db) == "community":
        db.execute("SELECT compress_chunk(c, true) FROM show_chunks('resource_metrics') AS c")
        db.execute("SELECT compress_chunk(c, true) FROM show_chunks('operational_events') AS c")
    for table in ("resource_metrics", "operational_events"):
        key = "WHERE organization_id = %s AND resource_id = %s"
        assert db.execute(f"UPDATE {table} SET metadata = '{{}}' {key}", (org, resource)) > 1
        assert told(outbox) == {("resource_status", str(resource))}
        assert db.execute(f"DELETE FROM {table} {key}", (org, resource)) > 1
        assert len(outbox.waiting()) == 1
        assert told(outbox) == {("resource_status", str(resource))}
    db.execute(
        "INSERT INTO resource_metrics (organization_id, time, resource_id, utilization_pct) "
        "SELECT %s, now() - n * interval '90 days', %s, 50 "
        "FROM generate_series(0, 3) AS n",
        (org, resource),
    )
    assert told(outbox) == {("resource_status", str(resource))}
    assert outbox.current_rows("resource_status", [str(resource)])[str(resource)]["utilization_pct"] == 50
    assert one(db, "SELECT count(*) FROM sync_outbox") == 0


def test_truncating_tells_every_key(db: DatabaseManager, org: UUID, outbox: Outbox) -> None:
    keys = {
        ("plan", str(row["plan_id"]))
        for row in db.execute_query(
            "SELECT plan_id FROM production_plans WHERE organization_id = %s AND (status IN ('planned', 'in_progress') "
            "OR updated_at > now() - interval '30 days')",
            (org,),
        )
    }
    db.execute("TRUNCATE production_plans CASCADE")
    assert told(outbox) == keys != set()


def test_a_forecast_is_one_key_whatever_its_interval_is_called(
    db: DatabaseManager, org: UUID, outbox: Outbox
) -> None:
    place = one(db, "SELECT location_id FROM locations WHERE organization_id = %s LIMIT 1", org)
    start = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    for zone, interval, quantity in (
        ("UTC", "1 day", 1),
        ("Asia/Kolkata", "24:00", 2),
        ("UTC", "1 year", 3),
        ("UTC", "360 days", 4),
    ):
        with db.transaction() as tx:
            tx.execute(f"SET LOCAL timezone = '{zone}'")
            tx.execute("SET LOCAL intervalstyle = 'sql_standard'")
            tx.execute(
                "INSERT INTO demand_forecasts (organization_id, product_id, location_id, target_time, target_interval, predicted_quantity, "
                "model_name, model_version, available_at) VALUES (%s, 'A \"1\"', %s, %s, %s::text::interval, %s, 'm', %s, now())",
                (org, place, start, interval, quantity, str(quantity)),
            )
    keys = [key for _, key in sorted(told(outbox))]
    assert len(keys) == 2
    rows = outbox.current_rows("forecast", keys)
    assert sorted(row["predicted_quantity"] for row in rows.values()) == [2, 4]
    assert {key: row for key, row in outbox.current_rows("forecast").items() if key in keys} == rows


def test_shadow_forecasts_are_told_to_nobody(db: DatabaseManager, org: UUID, outbox: Outbox) -> None:
    queries = OperationalDataQueries(db)
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    forecast = {
        "product_id": "A",
        "location_id": one(db, "SELECT location_id FROM locations WHERE organization_id = %s LIMIT 1", org),
        "target_time": start,
        "predicted_quantity": 1,
    }
    for purpose, count in (("shadow", 0), ("published", 1)):
        queries.save_demand_forecasts(
            org, [forecast], model_name=purpose, model_version="1", available_at=start - HOUR, purpose=purpose
        )
        assert len(told(outbox)) == count
    for purpose, count in (("shadow", 0), ("published", 1)):
        assert db.execute("DELETE FROM demand_forecasts WHERE model_name = %s", (purpose,)) == 1
        assert len(told(outbox)) == count


def test_only_who_has_a_target_is_told_and_each_for_itself(
    db: DatabaseManager, org: UUID, outbox: Outbox
) -> None:
    stream = Outbox(db, org, "api")
    stream.add_target(keep_for=HOUR, kinds=["alert"])
    db.execute("UPDATE resources SET metadata = '{}'")
    db.execute("UPDATE alerts SET metadata = '{}'")
    own = {"alert", "resource_status"}
    assert {
        row["organization_id"] for row in db.execute_query("SELECT DISTINCT organization_id FROM sync_outbox")
    } == {org}
    assert {change.kind for change in outbox.waiting(10_000)} == own
    assert {change.kind for change in stream.waiting(10_000)} == {"alert"}
    outbox.acknowledge(outbox.waiting(10_000))
    assert stream.waiting(1) != [] == outbox.waiting(1)
    stream.remove_target()
    assert stream.waiting(1) == []
    with pytest.raises(NotFoundError, match="no target 'api'"):
        stream.changes_since()


def test_what_is_rolled_back_is_not_told(db: DatabaseManager, org: UUID, outbox: Outbox, second: Any) -> None:
    with second.cursor() as cursor:
        cursor.execute("UPDATE alerts SET metadata = '{}'")
    second.rollback()
    assert outbox.waiting() == []


def test_a_late_commit_is_neither_skipped_nor_told_twice(
    db: DatabaseManager, org: UUID, outbox: Outbox, second: Any
) -> None:
    stream = Outbox(db.tenant(org), org, "api")
    Outbox(db, org, "api").add_target(keep_for=HOUR)
    first = stream.changes_since()
    assert first.may_have_missed
    assert first.changes == []
    resources = [
        row["resource_id"]
        for row in db.execute_query(
            "SELECT resource_id FROM resources WHERE organization_id = %s ORDER BY 1 LIMIT 3", (org,)
        )
    ]
    change = "UPDATE resources SET metadata = '{}' WHERE organization_id = %s AND resource_id = %s"
    with second.cursor() as cursor:
        cursor.execute(change, (org, resources[0]))
    db.execute(change, (org, resources[1]))
    now = stream.changes_since(first.position)
    assert of_kind(now.changes) == [str(resources[1])]
    assert now.is_complete
    second.commit()
    db.execute(change, (org, resources[2]))
    later = stream.changes_since(now.position)
    assert sorted(of_kind(later.changes)) == sorted([str(resources[0]), str(resources[2])])
    assert stream.changes_since(later.position).changes == []
    # The same in parts.
    parts, position = [], first.position
    while not (part := stream.changes_since(position, limit=1)).is_complete or part.changes:
        parts += of_kind(part.changes)
        position = part.position
    assert sorted(parts) == sorted(map(str, resources))
    assert len(outbox.waiting()) == 3


def test_a_reader_that_was_away_too_long_is_told(db: DatabaseManager, org: UUID) -> None:
    stream = Outbox(db, org, "api")
    stream.add_target(keep_for=HOUR)
    position = stream.changes_since().position
    db.execute("UPDATE resources SET metadata = '{}'")
    db.execute("UPDATE sync_outbox SET changed_at = %s", (dt.datetime.now(dt.UTC) - 2 * HOUR,))
    kept = stream.changes_since(position)
    assert kept.changes
    assert stream.trim() == len(kept.changes)
    assert stream.changes_since(position).may_have_missed
    assert not stream.changes_since(kept.position).may_have_missed
    # A position of a server that is ahead of this one, or of none.
    assert stream.changes_since("9999999:9999999:").may_have_missed
    for wrong in ("", "12", "a:b:", "1:2:3/4", "1:2:;DROP TABLE sync_outbox"):
        with pytest.raises(InvalidInputError, match="not a position in the outbox"):
            stream.changes_since(wrong)


def test_trimming_loses_nothing_that_a_reader_has_in_hand(
    db: DatabaseManager, org: UUID, outbox: Outbox
) -> None:
    for _ in range(3):
        db.execute("UPDATE resources SET metadata = '{}' WHERE organization_id = %s", (org,))
    in_hand = outbox.waiting(10_000)
    keys = {change.key for change in in_hand}
    first_change = min(change.changed_at for change in in_hand)
    assert outbox.trim() == len(in_hand) - len(keys) > 0
    # Earlier reads are acknowledged, and everything comes once more, including changes made in between.
    assert outbox.acknowledge(in_hand) == 0
    again = outbox.waiting(10_000)
    assert sorted(of_kind(again)) == sorted(keys)
    assert min(change.changed_at for change in again) == first_change


@not_on_citus
def test_the_outbox_is_bounded_without_a_reader(db: DatabaseManager, org: UUID, outbox: Outbox) -> None:
    count = one(db, "SELECT count(*) FROM resources WHERE organization_id = %s", org)
    # As after a long outage; the next change starts another 100,000.
    db.execute(
        "INSERT INTO sync_outbox (organization_id, consumer, kind, entity_key) SELECT r.organization_id, 'convex', 'resource_status', "
        "r.resource_id FROM resources AS r CROSS JOIN generate_series(1, 50) WHERE r.organization_id = %s",
        (org,),
    )
    db.execute("SELECT setval('sync_outbox_outbox_id_seq', 99998)")
    db.execute("UPDATE resources SET metadata = '{}' WHERE organization_id = %s", (org,))
    assert one(db, "SELECT count(*) FROM sync_outbox") == count


def test_all_that_is_current_is_sent_afresh(db: DatabaseManager, org: UUID, outbox: Outbox) -> None:
    written = outbox.enqueue()
    changes = outbox.waiting(100_000)
    assert len(changes) == written == len({(change.kind, change.key) for change in changes})
    for kind in KINDS:
        keys = {change.key for change in changes if change.kind == kind}
        rows = outbox.current_rows(kind, sorted(keys))
        everything = outbox.current_rows(kind)
        assert keys >= set(rows) == set(everything) != set(), kind
        if kind != "kpi":  # whose period ends now
            assert rows == everything
    assert outbox.current_rows("alert", []) == {}
    assert outbox.current_rows("kpi", ["7/oee"])["7/oee"]["days"] == 7


def test_current_rows_are_what_the_prebuilt_queries_say(
    db: DatabaseManager, org: UUID, outbox: Outbox
) -> None:
    queries = OperationalDataQueries(db)
    statuses = outbox.current_rows("resource_status")
    for row in queries.get_resource_status(org):
        assert {name: statuses[str(row["resource_id"])][name] for name in row} == row
    active = {str(row["alert_id"]) for row in queries.get_active_alerts(org)}
    assert active == {key for key, row in outbox.current_rows("alert").items() if row["expires_at"] is None}


def test_rows_have_the_columns_that_are_listed(db: DatabaseManager, org: UUID, outbox: Outbox) -> None:
    for kind in KINDS.values():
        for row in outbox.current_rows(kind.name).values():
            assert list(row) == [*kind.columns, "expires_at"]
            for name, type_name in kind.columns.items():
                assert row[name] is not None or type_name.endswith("?"), (kind.name, name)


def test_tenants_read_their_own_and_write_none(db: DatabaseManager, org: UUID, outbox: Outbox) -> None:
    outbox.enqueue(kinds=["plan"])
    scope = db.tenant(org)
    own = Outbox(scope, org, "convex")
    assert own.waiting() == outbox.waiting()
    other = one(db, "SELECT organization_id FROM organizations WHERE organization_id <> %s LIMIT 1", org)
    assert Outbox(db.tenant(other), org, "convex").waiting() == []
    for forbidden in (
        own.add_target,
        own.remove_target,
        own.enqueue,
        own.trim,
        lambda: own.acknowledge(own.waiting()),
    ):
        with pytest.raises(PermissionDeniedError):
            forbidden()
    # But changes by a tenant are recorded.
    outbox.acknowledge(outbox.waiting(10_000))
    scope.execute('UPDATE alerts SET metadata = \'{"by": "tenant"}\'')
    assert {change.kind for change in outbox.waiting()} == {"alert"}


@not_on_citus
def test_listeners_are_woken_up(db: DatabaseManager, org: UUID, outbox: Outbox) -> None:
    with db.tenant(org).listen("changes") as listener:
        db.execute("UPDATE resources SET metadata = '{}'")
        heard = listener.get(timeout_seconds=30)
        assert heard is not None
        assert heard.channel == "changes"


@not_on_citus
def test_a_customers_login_trims_its_own_rows_and_keeps_nobody_waiting(
    db: DatabaseManager, org: UUID, outbox: Outbox, second: Any
) -> None:
    """The statement that writes a 100,000th row trims, and a login may leave its transaction open."""
    other = one(db, "SELECT organization_id FROM organizations WHERE organization_id <> %s LIMIT 1", org)
    others = Outbox(db, other, "api")
    others.add_target(keep_for=HOUR)
    for _ in range(2):
        db.execute("UPDATE alerts SET metadata = '{}'")
    long_ago = dt.datetime.now(dt.UTC) - 2 * HOUR
    db.execute("UPDATE sync_outbox SET changed_at = %s WHERE consumer = 'api'", (long_ago,))
    db.execute(
        "INSERT INTO sync_outbox (organization_id, consumer, kind, entity_key) VALUES (%s, 'gone', 'alert', '1')",
        (org,),
    )

    def left() -> dict[str, int]:
        rows = db.execute_query("SELECT consumer, count(*) AS n FROM sync_outbox GROUP BY 1")
        return {row["consumer"]: row["n"] for row in rows}

    before = left()
    own = one(db, "SELECT count(*) FROM alerts WHERE organization_id = %s", org)
    assert before["convex"] == 2 * own > 0 < before["api"]
    assert before["gone"] == 1
    db.execute("SELECT setval('sync_outbox_outbox_id_seq', 99999)")
    role = f"trims_{uuid4().hex}"
    db.execute("CALL create_tenant_login(%s, %s, 'a long password')", (org, role))
    try:
        with second.cursor() as cursor:
            cursor.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
            cursor.execute("UPDATE tenant.alerts SET metadata = '{}'")
            cursor.execute("RESET SESSION AUTHORIZATION")
        # Other sessions do not see the login's changes yet, and do not wait for them.
        with db.transaction() as transaction:
            transaction.execute("SET LOCAL lock_timeout = '1ms'")
            trimmed = one(transaction, "SELECT trim_sync_outbox()")
        assert trimmed == before["api"] + 1
        assert left() == {"convex": before["convex"]}
        second.commit()
        assert left() == {"convex": own}
    finally:
        second.rollback()
        db.execute("CALL drop_tenant_login(%s)", (role,))
