"""The profile replica: a standby that follows, serves reads, survives restarts and is recognized when promoted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db_utils import DatabaseManager
from tests.e2e.compose_stack import ComposeStack, wait_until

pytestmark = pytest.mark.docker


def url(stack: ComposeStack, port: str) -> str:
    return f"postgresql://barnameh_user:barnameh_password@127.0.0.1:{stack.settings[port]}/barnameh_ops"


def test_a_replica_follows_answers_and_can_take_over(fresh_stack: Callable[..., ComposeStack]) -> None:
    stack = fresh_stack()
    stack.compose("--profile", "replica", "up", "-d", "--wait", "postgres", "replica")
    assert "the copy is complete" in stack.logs("replica")
    primary, replica = url(stack, "POSTGRES_PORT"), url(stack, "REPLICA_PORT")
    events = "SELECT count(*) AS n, pg_is_in_recovery() AS standby FROM operational_events"
    with DatabaseManager(primary, replica_url=replica) as db:
        before = db.execute_query(events, primary=True)[0]["n"]
        assert before > 0
        wait_until(lambda: db.execute_query(events)[0]["standby"], "reads at the replica")
        assert db.execute_query(events) == [{"n": before, "standby": True}]
        slots = "SELECT slot_name, active FROM pg_replication_slots"
        assert db.execute_query(slots, primary=True) == [{"slot_name": "barnameh_replica", "active": True}]
        # After a restart it continues where it was, without another base backup.
        stack.compose("stop", "replica")
        assert db.execute_query(events)[0] == {"n": before, "standby": False}
        db.execute("UPDATE organizations SET name = name || ' (renamed)'")
        stack.compose("--profile", "replica", "up", "-d", "--wait", "replica")
        assert stack.logs("replica").count("the copy is complete") == 1
        names = "SELECT bool_and(name LIKE '%(renamed)') AS renamed, pg_is_in_recovery() AS standby FROM organizations"
        wait_until(lambda: db.execute_query(names)[0]["standby"], "reads at the replica again")
        assert db.execute_query(names) == [{"renamed": True, "standby": True}]
    stack.compose("stop", "postgres")
    with DatabaseManager(replica) as alone:
        alone.execute_query("SELECT pg_promote()")
        alone.execute("UPDATE organizations SET name = 'after the failover'")
        stack.compose("--profile", "replica", "restart", "replica")
        alone.wait(60)
        assert alone.execute_query(
            "SELECT DISTINCT name, pg_is_in_recovery() AS standby FROM organizations"
        ) == [{"name": "after the failover", "standby": False}]
