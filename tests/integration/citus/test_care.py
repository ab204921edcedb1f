"""Operation: row counts of writes, imports, changes in one transaction, a dead worker, backups."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.catalogue import DifferentValuesError
from db_utils.errors import BackupError, ExclusionViolationError, SessionUnavailableError
from db_utils.files.importing import import_files
from db_utils.ops.backup.dump import backup
from db_utils.ops.backup.endpoint import UrlEndpoint
from db_utils.ops.backup.restore import restore
from db_utils.ops.doctor import Finding, Severity
from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.run import choose, examine
from db_utils.outbox import Outbox
from tests.conftest import fresh_database
from tests.support import citus_cluster
from tests.support.query_calls import Facts, find_facts

# The other tests read the other organization of the sample data.
LOGISTICS = uuid.UUID("22222222-2222-2222-2222-222222222222")


class _UndoneError(Exception):
    """Rolls a transaction back."""


@pytest.fixture(scope="module")
def facts(citus: DatabaseManager) -> Facts:
    """The entities to write about."""
    return find_facts(citus, LOGISTICS)


def test_health_names_a_worker_that_does_not_answer(citus: DatabaseManager, cluster_urls: list[str]) -> None:
    assert citus.health().dead_workers == ()
    with citus_cluster.frozen(cluster_urls[2]):
        dead = citus.health().dead_workers  # the coordinator waits a second per connection, and reports it
    assert dead is not None
    assert len(dead) == 1
    assert citus.health().dead_workers == ()


def test_importing_twice_adds_nothing(citus: DatabaseManager, facts: Facts, tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_text(
        "time,product_id,location_id,quantity\n"
        f"2025-03-04T00:00:00Z,{facts.product_id},{facts.demand_location_id},5\n"
        f"2025-03-05T00:00:00Z,{facts.product_id},{facts.demand_location_id},7\n"
    )
    first, second = (
        import_files(citus, [file], "demand_history", organization=str(LOGISTICS)) for _ in range(2)
    )
    assert (first.added, second.added, second.already_there) == (2, 0, 2)


@pytest.mark.parametrize("scoped", [False, True])
def test_what_was_said_otherwise_before_is_refused(
    citus: DatabaseManager, facts: Facts, scoped: bool
) -> None:
    queries = OperationalDataQueries(citus.tenant(LOGISTICS) if scoped else citus)
    factor = {
        "time": dt.datetime(2025, 3, 4, 1 + scoped, tzinfo=dt.UTC),
        "name": "rain",
        "factor_type": "weather",
        "value": 1,
        "unit": "mm",
        "available_at": dt.datetime(2025, 3, 4, tzinfo=dt.UTC),
    }
    assert queries.record_external_factors(LOGISTICS, [factor]) == 1
    assert queries.record_external_factors(LOGISTICS, [factor]) == 0
    with pytest.raises(DifferentValuesError):
        queries.record_external_factors(LOGISTICS, [{**factor, "value": 2}])


def test_a_shift_takes_its_assignments_along_and_nobody_is_in_two(
    citus: DatabaseManager, facts: Facts
) -> None:
    queries = OperationalDataQueries(citus.tenant(LOGISTICS))
    morning = dt.datetime(2027, 5, 3, 6, tzinfo=dt.UTC)
    hours = dt.timedelta(hours=8)
    early, late = (
        queries.create_shift(
            LOGISTICS, name, location_id=facts.location_id, starts_at=start, ends_at=start + hours
        )["shift_id"]
        for name, start in (("Early", morning), ("Late", morning + hours))
    )
    queries.assign_employee(LOGISTICS, early, employee_id=facts.employee_id)
    queries.assign_employee(LOGISTICS, late, employee_id=facts.employee_id)
    move = "UPDATE shifts SET starts_at = %s, ends_at = %s WHERE organization_id = %s AND shift_id = %s"
    with pytest.raises(ExclusionViolationError):
        citus.execute(move, (morning + hours / 2, morning + 1.5 * hours, LOGISTICS, early))
    citus.execute(move, (morning - hours / 2, morning + hours / 2, LOGISTICS, early))
    times = citus.execute_query(
        "SELECT starts_at FROM shift_assignments WHERE organization_id = %s AND shift_id = %s",
        (LOGISTICS, early),
    )
    assert times == [{"starts_at": morning - hours / 2}]


def test_a_change_leaves_history_marks_and_the_outbox(citus: DatabaseManager, facts: Facts) -> None:
    target = (LOGISTICS, "copy", ["resource_status", "alert"])
    citus.execute("INSERT INTO sync_targets (organization_id, consumer, kinds) VALUES (%s, %s, %s)", target)
    queries = OperationalDataQueries(citus.tenant(LOGISTICS))
    before = len(queries.get_resource_history(LOGISTICS, facts.resource_id))
    queries.rerate_resource(LOGISTICS, facts.resource_id, rated_capacity_per_hour=77, capacity_unit="pieces")
    queries.record_event(
        LOGISTICS,
        time=facts.now,
        event_type="idle",
        location_id=facts.location_id,
        resource_id=facts.resource_id,
    )
    written = citus.execute_query(
        "SELECT DISTINCT kind, entity_key FROM sync_outbox WHERE organization_id = %s", (LOGISTICS,)
    )
    citus.execute("DELETE FROM sync_targets WHERE organization_id = %s AND consumer = 'copy'", (LOGISTICS,))
    marks = citus.execute_query(
        "SELECT count(*) AS n FROM resource_time_marks WHERE organization_id = %s AND stale @> %s",
        (LOGISTICS, facts.now),
    )
    assert len(queries.get_resource_history(LOGISTICS, facts.resource_id)) == before + 1
    assert written == [{"kind": "resource_status", "entity_key": str(facts.resource_id)}]
    assert marks[0]["n"] >= 1


def test_a_tenants_session_is_not_to_be_had(citus: DatabaseManager) -> None:
    with (
        pytest.raises(SessionUnavailableError, match="use transaction"),
        citus.tenant(LOGISTICS).connection(),
    ):
        pass


def test_backup_says_what_to_do_instead(citus: DatabaseManager, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="back up every node"):
        backup(UrlEndpoint(citus.settings), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_restore_says_what_to_do_instead(
    citus: DatabaseManager, plain: DatabaseManager, tmp_path: Path
) -> None:
    made = backup(UrlEndpoint(plain.settings), tmp_path)
    with pytest.raises(BackupError, match="back up every node"):
        restore(UrlEndpoint(citus.settings), made.folder)


def test_doctor_says_how_old_backups_are_and_that_samples_stand_beside_others(citus: DatabaseManager) -> None:
    OperationalDataQueries(citus).get_or_create_organization("Not a sample", industry="toys", timezone="UTC")

    def found(name: str) -> Finding:
        (finding,) = examine(CheckContext(citus, seconds=300, total_seconds=300), choose([name], [])).findings
        return finding

    never = found("backup-age")
    assert (never.severity, never.found) == (Severity.WARNING, "no backup has ever been verified")
    assert never.fix is not None
    citus.execute(never.fix.text)
    assert found("backup-age").severity == Severity.OK
    citus.execute("DELETE FROM backup_runs")
    beside = found("sample-data")
    assert beside.severity == Severity.WARNING
    assert "sample organizations among" in beside.found


def test_a_key_that_is_there_twice_is_found(citus: DatabaseManager, cluster_urls: list[str]) -> None:
    """Duplicates are found on the node with the rows: it has lost an index, and a key was repeated."""
    columns = "organization_id, factor_id, time, factor_type, name, value, unit, available_at"
    factor = (
        LOGISTICS,
        uuid.uuid4(),
        dt.datetime(2025, 3, 6, tzinfo=dt.UTC),
        "weather",
        "twice",
        1,
        "mm",
        dt.datetime(2025, 3, 6, tzinfo=dt.UTC),
    )
    citus.copy_rows("external_factors", columns.split(", "), [factor])
    assert schema.row_problems(citus) == []
    (home,) = citus.execute_query(
        "SELECT s.shardid AS slice, n.nodename AS node FROM citus_shards AS s JOIN pg_dist_node AS n USING (nodename, nodeport) "
        "WHERE s.shardid = get_shard_id_for_distribution_column('external_factors', %s)",
        (LOGISTICS,),
    )
    (url,) = [url for url in cluster_urls if parse_dsn(url)["host"] == home["node"]]
    table, key = (f"{name}_{home['slice']}" for name in ("external_factors", "external_factors_pkey"))
    with DatabaseManager(url) as node:
        try:
            with node.transaction() as tx:
                tx.execute("SET LOCAL citus.enable_manual_changes_to_shards = on")
                tx.execute(f"ALTER TABLE {table} DROP CONSTRAINT {key}")
                later = columns.replace("time", "time + interval '1 hour'")
                tx.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {later} FROM {table} WHERE name = 'twice'"
                )
            assert schema.row_problems(citus) == [
                "external_factors holds 1 primary keys more than once, 1 rows too many"
            ]
        finally:
            citus.execute(
                "DELETE FROM external_factors WHERE organization_id = %s AND name = 'twice'", (LOGISTICS,)
            )
            with node.transaction() as tx:
                tx.execute("SET LOCAL citus.enable_manual_changes_to_shards = on")
                tx.execute(
                    f"ALTER TABLE {table} ADD CONSTRAINT {key} PRIMARY KEY (organization_id, factor_id)"
                )


def test_truncating_tells_every_key(citus: DatabaseManager) -> None:
    outbox = Outbox(citus, LOGISTICS, "truncated")
    outbox.add_target(kinds=["alert"])
    alerts = {row["alert_id"] for row in OperationalDataQueries(citus).get_active_alerts(LOGISTICS)}
    try:
        with contextlib.suppress(_UndoneError), citus.transaction() as tx:
            tx.execute("TRUNCATE alerts CASCADE")
            told = tx.execute_query(
                "SELECT entity_key FROM sync_outbox WHERE organization_id = %s", (LOGISTICS,)
            )
            assert {uuid.UUID(row["entity_key"]) for row in told} >= alerts != set()
            raise _UndoneError
    finally:
        outbox.remove_target()


def test_a_login_goes_with_its_policies(citus: DatabaseManager, cluster_urls: list[str]) -> None:
    login = f"goes_{uuid.uuid4().hex[:8]}"
    citus.execute("CALL create_tenant_login(%s, %s, 'a long password')", (LOGISTICS, login))
    citus.execute("CALL drop_tenant_login(%s)", (login,))
    for url in cluster_urls:
        with DatabaseManager(url) as node:
            assert node.execute_query("SELECT FROM pg_roles WHERE rolname = %s", (login,)) == []
            assert (
                node.execute_query("SELECT FROM pg_policies WHERE policyname LIKE %s", (f"%{login}%",)) == []
            )


@pytest.mark.slow
def test_seeds_more_data_and_reset(server_url: str) -> None:
    """Existing rows are not added again, and the counts show it."""
    with fresh_database(server_url) as url, DatabaseManager(url) as db:
        schema.apply(db)
        schema.seed(db)
        added = schema.seed(db, days=20, organizations=3, scale=1)
        assert added["operational_events"] > 1000
        assert added["resource_metrics"] > 10_000
        (events,) = db.execute_query("SELECT count(*) AS n FROM operational_events")
        assert not schema.seed(db, days=20, organizations=3, scale=1)
        assert db.execute_query("SELECT count(*) AS n FROM operational_events") == [events]
        schema.reset(db)
        assert schema.problems(db) == []
        assert db.execute_query("SELECT FROM organizations") == []
