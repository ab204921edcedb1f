"""The nodes of a database distributed by Citus: their contents, and changes to the cluster.

Every function passes the statement that it is about to run to `show`, so an operator can see it and run it by
hand.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from db_utils.connections.citus_nodes import dead_workers
from db_utils.connections.transaction import without_deadline
from db_utils.errors import InvalidInputError, NotFoundError, SchemaError
from db_utils.schema import state
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import literal
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager

Show = Callable[[str], object]

_SQL = sql_beside(__name__)
_POLL_SECONDS = 0.5
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|/[^:\s]+|[^:/\[\]\s]+)(?::([0-9]{1,5}))?")
_FINISHED = {"finished", "cancelled", "failed"}


@dataclass(frozen=True)
class Node:
    """One server of the cluster and its contents."""

    node: str
    """Its address: host:port."""
    role: str
    """coordinator or worker."""
    answers: bool
    """Whether the coordinator can reach it within a second."""
    shards: int
    """Number of its shard groups: colocated shards of all tables count as one."""
    organizations: int | None
    """Number of its organizations; None while a node does not answer."""
    size_bytes: int | None
    """Size of its database; None while a node does not answer."""

    def as_dict(self) -> dict[str, Any]:
        """Return the node in JSON types."""
        return asdict(self)


def status(db: DatabaseManager, *, show: Show = bool) -> list[Node]:
    """Return every node, the coordinator first, with its state and contents.

    Raises `SchemaError` if the database is not distributed over several servers.
    """
    _require_citus(db)
    dead = dead_workers(db.pool) or ()
    rows = db.execute_query(_shown(_SQL["nodes"], show), primary=True)
    if dead:
        return [
            Node(
                **{**row, "answers": row["answers"] and row["node"] not in dead},
                organizations=None,
                size_bytes=None,
            )
            for row in rows
        ]
    held = {row.pop("node"): row for row in db.execute_query(_shown(_SQL["held"], show), primary=True)}
    nothing = {"organizations": None, "size_bytes": None}
    return [Node(**row, **held.get(row["node"], nothing)) for row in rows]


def add(db: DatabaseManager, address: str, *, show: Show = bool, dry_run: bool = False) -> None:
    """Add a server to the cluster and grant tenants their rights there; it holds no rows until `rebalance`.

    `address` is host or host:port. The server needs the same PostgreSQL, Citus and database as the others,
    with `CREATE EXTENSION citus`. An existing node stays, and its rights are granted again. Raises
    `InvalidInputError` for an invalid address, `SchemaError` if the database is not distributed over several
    servers.
    """
    host, port = address_of(address)
    _require_citus(db)
    statements = (f"SELECT citus_add_node({literal(host)}, {port})", "CALL secure_nodes()")
    for statement in statements:
        show(statement)
    if not dry_run:
        with db.transaction() as transaction, without_deadline(transaction):
            for statement in statements:
                transaction.execute(statement)


def rebalance(
    db: DatabaseManager,
    *,
    show: Show = bool,
    dry_run: bool = False,
    on_progress: Callable[[int, int], object] | None = None,
) -> list[Row]:
    """Move shards until all nodes hold about the same amount; return the moves.

    Reads and writes continue meanwhile; writes to a shard wait briefly when it switches over. `on_progress`
    is called with the number of moves done and the total. With `dry_run` nothing moves. Raises `SchemaError`
    for a failed move: no shard is lost, at its old or new node; run it again.
    """
    _require_citus(db)
    moves = db.execute_query(_shown(_SQL["planned_moves"], show), primary=True)
    if dry_run or not moves:
        return moves
    started = db.execute_query(_shown("SELECT citus_rebalance_start() AS job_id", show), primary=True)
    job = started[0]["job_id"]
    while True:
        (now,) = db.execute_query(_SQL["job"], {"job_id": job}, primary=True)
        if on_progress is not None:
            on_progress(now["done"], now["total"])
        if now["state"] in _FINISHED:
            break
        time.sleep(_POLL_SECONDS)
    if now["state"] != "finished":
        raise SchemaError(
            f"the rebalance {now['state']} ({now['message'] or 'it does not say why'}): no row is lost, run it again; "
            f"SELECT * FROM pg_dist_background_task WHERE job_id = {job} tells each move"
        )
    _have_readers_begin_afresh(db, show)
    return moves


def isolate(
    db: DatabaseManager, organization_id: object, *, show: Show = bool, dry_run: bool = False
) -> bool:
    """Isolate an organization in its own shard, to be moved and measured alone; return whether it had none.

    Reads and writes continue meanwhile. Its shard is split before and after it, in two steps: the writes of a
    shard wait while Citus creates the foreign keys of each new one, and three at a time take half as long again.
    Repeat the call if the second step fails. Raises `NotFoundError` for an unknown organization.
    """
    organization = parse_uuid(organization_id, "organization_id")
    _require_citus(db)
    if not db.execute_query(
        "SELECT FROM organizations WHERE organization_id = %s", (organization,), primary=True
    ):
        raise NotFoundError(
            f"organization {organization} does not exist: get_organizations() lists those that do"
        )
    (shard,) = db.execute_query(_SQL["shard_of"], {"organization_id": organization}, primary=True)
    if shard["first"] == shard["last"]:
        return False
    statements = [
        f"SELECT isolate_tenant_to_new_shard('organizations', '{organization}', 'CASCADE', shard_transfer_mode => 'auto')"
    ]
    if shard["first"] < shard["hash"] < shard["last"]:
        # The rows that stay with the organization are copied twice: the smaller part.
        is_early = shard["hash"] - shard["first"] < shard["last"] - shard["hash"]
        cut, node = shard["hash"] - (not is_early), shard["node_id"]
        statements.insert(
            0,
            f"SELECT citus_split_shard_by_split_points({shard['shard_id']}, ARRAY['{cut}'], ARRAY[{node}, {node}], 'auto')",
        )
    for statement in statements:
        show(statement)
    if not dry_run:
        with db.connection() as connection, connection.cursor() as cursor:
            # Each in its own transaction, and without a timeout.
            cursor.execute("SET statement_timeout = 0")
            for statement in statements:
                cursor.execute(statement)
                connection.commit()
        _have_readers_begin_afresh(db, show)
    return True


def address_of(address: str) -> tuple[str, int]:
    """Return host and port (5432 by default). Raises `InvalidInputError` for an invalid address."""
    match = _ADDRESS.fullmatch(address)
    port = int(match[2] or 5432) if match else 0
    if match is None or not 0 < port < 65536:
        raise InvalidInputError(
            f"{address!r} is not an address: write host or host:port, such as 10.0.0.4:5432"
        )
    return match[1].strip("[]"), port


def _have_readers_begin_afresh(db: DatabaseManager, show: Show) -> None:
    """Each node counts its own transactions: a reader resuming from another node's count could skip new rows.

    A reader that reads meanwhile is notified or continues; one absent for the whole move is notified once its
    node has counted as far.
    """
    db.execute(_shown(_SQL["begin_afresh"], show))


def _require_citus(db: DatabaseManager) -> None:
    if not state.has_citus(db):
        raise SchemaError(
            f"{db.settings.safe_url} is the {state.edition(db)} edition, which has one server: there are no nodes to show or "
            "to move rows between; docs/citus.md describes how to distribute a database"
        )


def _shown(sql: str, show: Show) -> str:
    show(sql.strip())
    return sql
