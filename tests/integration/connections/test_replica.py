"""A streaming standby as read replica: what it may answer, what not, and what happens when one of the two is down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db_utils import DatabaseManager, errors
from db_utils.connections import replica as replica_module
from db_utils.ops.status import status
from tests.integration.connections.conftest import waits_until
from tests.support import servers
from tests.support.servers import OwnServer

WHERE = "SELECT pg_is_in_recovery() AS standby"
HOW_MANY = "SELECT count(*)::int AS n, pg_is_in_recovery() AS standby FROM facts"
INSERT = "INSERT INTO facts SELECT coalesce(max(id), 0) + 1, 'x' FROM facts RETURNING id"


@pytest.fixture
def standby(own_server: OwnServer) -> Iterator[OwnServer]:
    with DatabaseManager(own_server.url) as db:
        db.execute("CREATE TABLE facts (id int PRIMARY KEY, payload text)")
        db.execute(
            "CREATE FUNCTION add_fact() RETURNS int LANGUAGE sql AS "
            "$$ INSERT INTO facts SELECT coalesce(max(id), 0) + 1, 'f' FROM facts RETURNING id $$"
        )
    with servers.standby_of(own_server) as standby:
        yield standby


@pytest.fixture
def both(own_server: OwnServer, standby: OwnServer) -> Iterator[DatabaseManager]:
    with DatabaseManager(own_server.url, replica_url=standby.url) as db:
        yield db


def reads_the_standby(db: DatabaseManager) -> bool:
    standby: bool = db.execute_query(WHERE)[0]["standby"]
    return standby


def test_reads_go_to_the_standby_and_everything_else_to_the_primary(both: DatabaseManager) -> None:
    waits_until(lambda: reads_the_standby(both))
    assert both.execute_query(WHERE, primary=True) == [{"standby": False}]
    assert both.read_frame(WHERE)["standby"].tolist() == [True]
    assert both.execute_query(INSERT) == [{"id": 1}]
    with both.transaction() as tx:
        assert tx.execute_query(HOW_MANY) == [{"n": 1, "standby": False}]
    # A writing function looks like a read: the standby refuses it, and the primary runs it once.
    waits_until(lambda: reads_the_standby(both))
    assert both.execute_query("SELECT add_fact() AS id") == [{"id": 2}]
    assert both.execute_query(HOW_MANY)[0]["n"] == 2
    waits_until(lambda: reads_the_standby(both))
    assert both.health().is_standby is False
    state = both.health().replica
    assert state is not None
    assert state.in_use, state
    assert state.lag_seconds is not None
    found = status(both)
    assert found.replica is not None
    assert found.replica.in_use
    assert found.server is not None
    assert not found.server.is_standby


def test_a_standby_alone_refuses_writes(standby: OwnServer) -> None:
    with DatabaseManager(standby.url) as alone:
        assert alone.health().is_standby is True
        assert alone.health().replica is None
        with pytest.raises(errors.ReadOnlyError, match="primary"):
            alone.execute("INSERT INTO facts VALUES (3, 'z')")
        with pytest.raises(errors.ReadOnlyError):
            alone.copy_rows("facts", ["id", "payload"], [(3, "z")])


WRITES = {
    "execute": lambda db: db.execute(INSERT),
    "execute_query": lambda db: db.execute_query(INSERT),
    "function": lambda db: db.execute_query("SELECT add_fact() AS id"),
    "execute_many": lambda db: db.execute_many("INSERT INTO facts VALUES %s", [(100, "x")]),
    "copy_rows": lambda db: db.copy_rows("facts", ["id", "payload"], [(101, "x")]),
}


def write(db: DatabaseManager, name: str) -> None:
    if name == "transaction":
        with db.transaction() as tx:
            tx.execute(INSERT)
    elif name == "connection":
        with db.connection() as connection:
            connection.cursor().execute(INSERT)
            connection.commit()
    elif name == "engine":
        with db.engine.begin() as connection:
            connection.exec_driver_sql(INSERT)
    else:
        WRITES[name](db)


def test_what_a_manager_has_written_is_in_its_next_read(both: DatabaseManager, standby: OwnServer) -> None:
    for n, name in enumerate([*WRITES, "transaction", "connection", "engine"]):
        waits_until(lambda n=n: both.execute_query(HOW_MANY) == [{"n": n, "standby": True}])
        with DatabaseManager(standby.url) as alone:
            alone.execute_query("SELECT pg_wal_replay_pause()")  # so that it does not get ahead
            write(both, name)
            assert both.execute_query(HOW_MANY) == [{"n": n + 1, "standby": False}], name
            assert alone.execute_query(HOW_MANY) == [{"n": n, "standby": True}]
            alone.execute_query("SELECT pg_wal_replay_resume()")


def test_a_standby_that_is_too_far_behind_is_left_alone(
    both: DatabaseManager, own_server: OwnServer, standby: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits_until(lambda: reads_the_standby(both))
    clock = _Clock(replica_module.time.monotonic())
    monkeypatch.setattr(replica_module, "time", clock)
    with DatabaseManager(standby.url) as alone, DatabaseManager(own_server.url) as another:
        alone.execute_query("SELECT pg_wal_replay_pause()")
        another.execute(INSERT)
        assert both.execute_query(HOW_MANY) == [{"n": 0, "standby": True}]  # within the limit
        clock.now += 9
        assert both.execute_query(HOW_MANY) == [{"n": 0, "standby": True}]
        clock.now += 2
        assert both.execute_query(HOW_MANY) == [{"n": 1, "standby": False}]
        state = both.health().replica
        assert state is not None
        assert not state.in_use
        assert state.reason == "it is more than 10 s behind"
        alone.execute_query("SELECT pg_wal_replay_resume()")

    def caught_up() -> bool:
        clock.now += 0.1
        return both.execute_query(HOW_MANY) == [{"n": 1, "standby": True}]

    waits_until(caught_up)


class _Clock:
    """A clock that the test advances."""

    def __init__(self, now: float) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now


def test_the_primary_answers_while_the_standby_is_gone_and_no_longer(
    both: DatabaseManager, standby: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "_PAUSE_SECONDS", 0.2)
    waits_until(lambda: reads_the_standby(both))
    standby.kill()
    for _ in range(20):
        assert both.execute_query(HOW_MANY) == [{"n": 0, "standby": False}]
    state = both.health().replica
    assert state is not None
    assert not state.in_use
    assert state.reason
    standby.start()
    waits_until(lambda: reads_the_standby(both))


def test_a_frozen_standby_costs_one_read_its_deadline(both: DatabaseManager, standby: OwnServer) -> None:
    waits_until(lambda: reads_the_standby(both))
    standby.pause()
    try:
        with pytest.raises(errors.QueryTimeoutError):
            both.execute_query(HOW_MANY, timeout_seconds=0.3)
        for _ in range(20):
            assert both.execute_query(HOW_MANY, timeout_seconds=5) == [{"n": 0, "standby": False}]
    finally:
        standby.go_on()


def test_the_standby_answers_while_the_primary_is_gone_up_to_the_limit(
    both: DatabaseManager, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.execute(INSERT)
    waits_until(lambda: both.execute_query(HOW_MANY) == [{"n": 1, "standby": True}])
    clock = _Clock(replica_module.time.monotonic())
    monkeypatch.setattr(replica_module, "time", clock)
    own_server.kill()
    clock.now += 7
    assert both.execute_query(HOW_MANY) == [{"n": 1, "standby": True}]
    with pytest.raises((errors.ServerUnavailableError, errors.ConnectionFailedError)):
        both.execute(INSERT)
    clock.now += 20
    with pytest.raises((errors.ServerUnavailableError, errors.ConnectionFailedError)):
        both.execute_query(HOW_MANY)
    own_server.start()

    def is_back() -> bool:
        clock.now += 0.1
        return reads_the_standby(both)

    waits_until(is_back)
    assert both.execute_query(HOW_MANY)[0]["n"] == 1


def test_a_promoted_standby_is_no_replica(
    both: DatabaseManager, standby: OwnServer, caplog: pytest.LogCaptureFixture
) -> None:
    waits_until(lambda: reads_the_standby(both))
    with DatabaseManager(standby.url) as alone:
        alone.execute_query("SELECT pg_promote()")
        alone.execute("INSERT INTO facts VALUES (99, 'of the other timeline')")
    both.execute(INSERT)
    assert both.execute_query(HOW_MANY) == [{"n": 1, "standby": False}]
    assert "it was promoted" in caplog.text


def test_another_server_is_no_replica(own_server: OwnServer, library_url: str) -> None:
    with DatabaseManager(own_server.url, replica_url=library_url) as db:
        assert db.execute_query(WHERE) == [{"standby": False}]
        state = db.replica_state()
        assert state is not None
        assert state.reason is not None
        assert "not a copy of this database's server" in state.reason
