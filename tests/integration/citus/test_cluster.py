"""`cluster`: contents of the nodes, a third worker that joins, and moves under reads and writes."""

from __future__ import annotations

import datetime as dt
import json
import os
import uuid
from collections.abc import Callable

import pytest
from psycopg2.extensions import parse_dsn
from typer.testing import CliRunner

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.cli import app
from db_utils.errors import InvalidInputError, NotFoundError, SchemaError
from db_utils.ops import cluster
from db_utils.outbox import Outbox
from tests.conftest import fresh_database
from tests.support import citus_cluster
from tests.support.moving_load import people
from tests.support.query_calls import MANUFACTURING

_NOON = dt.datetime(2025, 3, 4, 12, tzinfo=dt.UTC)
_ORGANIZATIONS = 12


def _run(url: str, *arguments: str) -> tuple[int, str, str]:
    answer = CliRunner().invoke(app, ["cluster", *arguments, "--url", url])
    return answer.exit_code, answer.stdout, f"{answer.stderr}\n{answer.exception!r}"


def test_status_names_each_node_and_what_lies_there(citus: DatabaseManager, cluster_urls: list[str]) -> None:
    code, out, err = _run(cluster_urls[0], "status", "--json")
    nodes = json.loads(out)["nodes"]
    (known,) = citus.execute_query("SELECT count(*) AS n FROM organizations")
    assert code == 0
    assert [node["role"] for node in nodes] == ["coordinator", "worker", "worker"]
    assert [node["shards"] for node in nodes] == [0, 4, 4]
    assert sum(node["organizations"] for node in nodes) == known["n"]
    assert all(node["answers"] and node["size_bytes"] > 2**20 for node in nodes)
    assert "pg_dist_node" in err, "it shows the SQL that it runs"


def test_status_tells_of_a_node_that_does_not_answer(cluster_urls: list[str]) -> None:
    with citus_cluster.frozen(cluster_urls[1]):
        code, out, _ = _run(cluster_urls[0], "status", "--json")
    nodes = json.loads(out)["nodes"]
    assert code == 4
    assert sorted(node["answers"] for node in nodes) == [False, True, True]
    assert {node["organizations"] for node in nodes} == {None}


def test_a_dry_run_shows_the_statements_and_changes_nothing(
    citus: DatabaseManager, cluster_urls: list[str]
) -> None:
    before = cluster.status(citus)
    for arguments, shown in (
        (("add", "10.0.0.4"), "SELECT citus_add_node('10.0.0.4', 5432)"),
        (("rebalance",), "get_rebalance_table_shards_plan"),
        (("isolate", str(MANUFACTURING)), "citus_split_shard_by_split_points("),
        (("isolate", str(MANUFACTURING)), f"isolate_tenant_to_new_shard('organizations', '{MANUFACTURING}'"),
    ):
        code, _, err = _run(cluster_urls[0], *arguments, "--dry-run")
        assert code == 0
        assert shown in err
    after = cluster.status(citus)
    assert [(n.node, n.shards) for n in after] == [(n.node, n.shards) for n in before]


def test_what_cannot_be_is_refused(citus: DatabaseManager, plain: DatabaseManager) -> None:
    refused: list[Callable[[], object]] = [
        lambda: cluster.status(plain),
        lambda: cluster.add(plain, "10.0.0.4"),
        lambda: cluster.rebalance(plain),
        lambda: cluster.isolate(plain, MANUFACTURING),
    ]
    for call in refused:
        with pytest.raises(SchemaError, match="plain edition, which has one server"):
            call()
    with pytest.raises(NotFoundError):
        cluster.isolate(citus, uuid.uuid4())
    for address in ("", ":5432", "host:", "host:0", "host:65536", "host:x"):
        with pytest.raises(InvalidInputError, match="write host or host:port"):
            cluster.add(citus, address)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.4", ("10.0.0.4", 5432)),
        ("db.example:6000", ("db.example", 6000)),
        ("[::1]:5433", ("::1", 5433)),
        ("/run/postgresql", ("/run/postgresql", 5432)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert cluster.address_of(text) == address


@pytest.mark.slow
def test_a_third_worker_joins_and_rows_move_while_people_work(
    server_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No error, no acknowledged row lost or duplicated; the new node has the same objects as the others, and rows."""
    said = []
    with fresh_database(server_url) as url, DatabaseManager(url) as db:
        schema.apply(db)
        schema.seed(db)
        owner = OperationalDataQueries(db)
        organizations = [
            owner.create_organization(f"Moves {n}", industry="toys", timezone="UTC")["organization_id"]
            for n in range(_ORGANIZATIONS)
        ]
        places = [
            owner.create_location(o, "Hall", location_type="factory", timezone="UTC")["location_id"]
            for o in organizations
        ]
        # By number of shards, not by bytes: there are too few here to matter.
        db.execute("SELECT citus_set_default_rebalance_strategy('by_shard_count')")
        summary = owner.get_kpi_summary(MANUFACTURING, start=_NOON, end=_NOON + dt.timedelta(days=300))
        with citus_cluster.one_more(os.environ["TEST_CITUS_INSTALL"], parse_dsn(url)["dbname"]) as third:
            address = f"{parse_dsn(third.url)['host']}:{parse_dsn(third.url)['port']}"
            with people(db, organizations, places) as load:
                assert _run(url, "add", address)[0] == 0
            said.append(("add", load))
            assert schema.problems(db) == []
            assert [node.shards for node in cluster.status(db)].count(0) == 2, "coordinator and newcomer"

            with people(db, organizations, places) as load:
                code, _, err = _run(url, "rebalance", "--json")
                assert code == 0, err
            said.append(("rebalance", load))
            assert all(node.shards >= 2 for node in cluster.status(db) if node.role == "worker")

            stream = Outbox(db, organizations[0], "stream")
            stream.add_target(keep_for=dt.timedelta(hours=1))
            position = stream.changes_since().position
            with people(db, organizations, places) as load:
                code, out, err = _run(url, "isolate", str(organizations[0]), "--json")
                assert (code, json.loads(out)) == (0, {"isolated": True}), err
            said.append(("isolate", load))
            assert cluster.isolate(db, organizations[0]) is False
            alert = owner.raise_alert(organizations[0], "Moved", severity="low", alert_type="t")["alert_id"]
            found = stream.changes_since(position)
            assert found.may_have_missed or str(alert) in {change.key for change in found.changes}
            assert schema.problems(db) == []
            assert (
                owner.get_kpi_summary(MANUFACTURING, start=_NOON, end=_NOON + dt.timedelta(days=300))
                == summary
            )

            for organization in organizations:
                rows = db.tenant(organization).execute_query("SELECT event_id FROM operational_events")
                written = [event for _, load in said for event in load.acknowledged[organization]]
                assert sorted(row["event_id"] for row in rows) == sorted(written)
    with capsys.disabled():
        for name, load in said:
            writes = sum(map(len, load.acknowledged.values()))
            print(
                f"\n{name}: {writes} writes, {load.reads} reads, longest write {load.longest_write * 1000:.0f} ms"
            )
    assert [error for _, load in said for error in load.errors] == []
    assert all(sum(map(len, load.acknowledged.values())) >= 10 for _, load in said)
