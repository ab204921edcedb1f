"""`cluster status`, `add`, `rebalance`, `isolate`: the nodes of a database distributed by Citus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.table import Table

from db_utils.cli.common import AsJson, Exit, Url, aside, database, print_json, progress, screen
from db_utils.ops import cluster
from db_utils.ops.sizes import size

app = typer.Typer()
group = typer.Typer(
    no_args_is_help=True, help="The nodes of a database distributed by Citus over several machines."
)
app.add_typer(group, name="cluster")

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would run, without changing anything.")
]


@group.callback()
def nodes() -> None:
    """The nodes of a database distributed by Citus over several machines.

    Each command shows the SQL that it runs on standard error. Fails on other editions, which have one server.
    Run it as the schema's owner, on the coordinator.
    """


@group.command()
def status(url: Url = None, json: AsJson = False) -> None:
    """Show every node: whether it answers, and how many organizations, shard groups and bytes it holds.

    Exit code 4 where one does not answer.

    Example: db-utils cluster status
    """
    with database(url) as db:
        found = cluster.status(db, show=_show())
    if json:
        print_json({"nodes": [node.as_dict() for node in found]})
    else:
        table = Table("node", "role", "answers", "shards", "organizations", "size")
        for node in found:
            table.add_row(
                node.node,
                node.role,
                "yes" if node.answers else "NO",
                str(node.shards),
                _or_unknown(node.organizations, str),
                _or_unknown(node.size_bytes, size),
            )
        screen.print(table)
    if not all(node.answers for node in found):
        raise typer.Exit(Exit.CRITICAL)


@group.command()
def add(
    node: Annotated[str, typer.Argument(help="Its address as the coordinator sees it: host or host:port.")],
    url: Url = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Add a server to the cluster and grant tenants their rights there. It holds no rows until rebalance.

    It needs the same PostgreSQL, Citus and database as the others, with CREATE EXTENSION citus. Safe to repeat.

    Example: db-utils cluster add 10.0.0.4:5432
    """
    with database(url) as db:
        cluster.add(db, node, show=_show(), dry_run=dry_run)
    _say(
        {"added": not dry_run},
        json,
        "Nothing was changed."
        if dry_run
        else f"{node} was added: db-utils cluster rebalance moves rows to it",
    )


@group.command()
def rebalance(url: Url = None, dry_run: DryRun = False, json: AsJson = False) -> None:
    """Move shards until all nodes hold about the same amount. Reads and writes continue meanwhile.

    Writes to a shard wait briefly when it switches over. The rebalance continues if this command is interrupted:
    SELECT citus_rebalance_stop() ends it. Needs wal_level = logical on every node.

    Example: db-utils cluster rebalance --dry-run
    """
    with database(url) as db, progress(quiet=json) as bars:
        bar = bars.add_task("moving", total=None)
        moves = cluster.rebalance(
            db,
            show=_show(),
            dry_run=dry_run,
            on_progress=lambda done, total: bars.update(bar, completed=done, total=total),
        )
    if json:
        print_json({"moved": not dry_run, "moves": moves})
        return
    table = Table("shard", "from", "to", "size")
    for move in moves:
        table.add_row(str(move["shard_id"]), move["from_node"], move["to_node"], size(move["size_bytes"]))
    if moves:
        screen.print(table)
    else:
        screen.print("Nothing to move: all nodes hold about the same amount.")


@group.command()
def isolate(
    organization_id: Annotated[str, typer.Argument(help="The organization's id.")],
    url: Url = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Isolate a large organization in its own shard, which rebalance can then move. Reads and writes continue meanwhile.

    Example: db-utils cluster isolate 11111111-1111-1111-1111-111111111111
    """
    with database(url) as db:
        had_none = cluster.isolate(db, organization_id, show=_show(), dry_run=dry_run)
    words = "It now has its own shard." if had_none else "It already has its own shard."
    _say(
        {"isolated": had_none and not dry_run},
        json,
        "Nothing was changed." if had_none and dry_run else words,
    )


def _show() -> Callable[[str], object]:
    return lambda sql: aside.print(sql, soft_wrap=True, markup=False, highlight=False)


def _or_unknown(value: Any, shown: Callable[[Any], str]) -> str:
    return "unknown" if value is None else shown(value)


def _say(document: dict[str, Any], as_json: bool, words: str) -> None:
    if as_json:
        print_json(document)
    else:
        screen.print(words, soft_wrap=True, markup=False, highlight=False)
