"""Citus compared with plain PostgreSQL of the same build: reads, loads, the schema, moves under load, and many nodes.

All nodes share this machine, so the figures show the cost of the coordinator, but not the gain from more machines.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.connections import planned_once
from db_utils.embedded.server import EmbeddedServer
from db_utils.ops import cluster
from db_utils.queries.loader import queries as prebuilt
from tests.benchmarks.bench_loading import EVENT_COLUMNS
from tests.benchmarks.harness import SERVER_OPTIONS, Context, Goal, Table, in_turns, ratio
from tests.conftest import fresh_database
from tests.support import citus_cluster
from tests.support.moving_load import people
from tests.support.query_calls import READS, find_facts, read

_NODES, _ORGANIZATIONS = 100, 10_000
_SMALL_MS = 5.0
_SHOWN = (
    "get_locations", "get_resources", "get_employees", "get_resource_status", "get_latest_resource_metrics", "get_events",
    "get_demand_training_frame", "get_demand_forecast_outcomes", "get_resource_metrics", "get_resource_utilization",
    "get_kpi_summary", "get_location_kpis", "get_kpi_trend",
)  # fmt: skip
_LOADED = {
    "operational_events": EVENT_COLUMNS,
    "resource_metrics": ["organization_id", "time", "resource_id", "utilization_pct"],
}


def run(context: Context) -> list[Table]:
    """The five tables."""
    reads = Table(
        "citus reads",
        "Prebuilt reads on a coordinator with two workers, compared with plain PostgreSQL of the same build and data; ms, medians of "
        "alternating runs. Before the last column a session repeats a read for the same organization, and the library has prepared it; in "
        "the last it does not.",
        ("read", "plain", "citus", "citus / plain", "not repeated"),
    )
    loads = Table(
        "citus loads",
        "Rows a second with copy_rows, keys and checks included.",
        ("rows", "plain", "citus", "citus / plain"),
    )
    applied = Table("citus schema", "Applying the schema to an empty database, and again.", ("what", "s"))
    moves = Table(
        "citus moves",
        "Two clients write and one reads while a third worker joins and receives its share, and an organization is isolated in its own "
        "shard.",
        ("what", "s", "writes", "errors", "lost", "ms longest write"),
    )
    install = os.environ.get("CITUS_INSTALL")
    if install is None:
        for table in (reads, loads, applied, moves):
            table.remark = "Not measured: CITUS_INSTALL does not point to a PostgreSQL with Citus."
        return [reads, loads, applied, moves, _spread()]
    with ExitStack() as stack:
        servers = stack.enter_context(citus_cluster.cluster(install))
        plain_server = stack.enter_context(
            EmbeddedServer.start(install_dir=install, options={**SERVER_OPTIONS, "shared_buffers": "64MB"})
        )
        url = stack.enter_context(fresh_database(servers[0].url))
        citus_cluster.join(
            [make_dsn(**{**parse_dsn(s.url), "dbname": parse_dsn(url)["dbname"]}) for s in servers]
        )
        anchor = dt.datetime.now(dt.UTC).replace(microsecond=0)
        citus = stack.enter_context(_manager(url, anchor))
        plain = stack.enter_context(_manager(plain_server.url, anchor))
        for what in ("first", "again"):
            started = time.perf_counter()
            schema.apply(citus)
            applied.rows.append((what, round(time.perf_counter() - started, 1)))
        applied.goals.append(Goal("first application, seconds", float(str(applied.rows[0][1])), 30))
        schema.apply(plain)
        for db in (plain, citus):
            schema.seed(db)
        _reads(context, reads, plain, citus)
        _loads(context, loads, plain, citus)
        _moves(context, moves, citus, install)
    return [reads, loads, applied, moves, _spread()]


@contextmanager
def _manager(url: str, anchor: dt.datetime) -> Iterator[DatabaseManager]:
    """A manager whose sample data end at `anchor`."""
    options = f"-c app.seed_now={anchor:%Y-%m-%dT%H:%M:%SZ}"
    with DatabaseManager(
        make_dsn(**{**parse_dsn(url), "options": options}), statement_timeout_seconds=0, slow_query_seconds=0
    ) as db:
        yield db


def _reads(context: Context, table: Table, plain: DatabaseManager, citus: DatabaseManager) -> None:
    facts = find_facts(citus)
    prebuilt()  # before reads are patched, which it fills
    small: list[tuple[float, str]] = []
    small_once: list[tuple[float, str]] = []
    heavy: list[tuple[float, str]] = []

    def asking(db: DatabaseManager, name: str, calls: int, is_prepared: bool = True) -> Callable[[], None]:
        queries = OperationalDataQueries(db)

        def ask() -> None:
            with patch.dict(planned_once.reads, clear=not is_prepared):
                for _ in range(calls):
                    read(queries, facts, name, 0)

        return ask

    for name in sorted(READS):
        ask = asking(plain, name, 1)
        ask()
        started = time.perf_counter()
        ask()
        calls = 30 if time.perf_counter() - started < _SMALL_MS / 1000 else 3
        taken = in_turns(
            {
                "plain": asking(plain, name, calls),
                "citus": asking(citus, name, calls),
                "once": asking(citus, name, calls, is_prepared=False),
            },
            context.rounds,
        )
        once = ratio(taken["once"], taken["plain"])
        ours, theirs = (1000 * statistics.median(taken[way]) / calls for way in ("citus", "plain"))
        over = ratio(taken["citus"], taken["plain"])
        if theirs >= _SMALL_MS:
            heavy.append((over, name))
        elif ours > 1:
            small.append((over, name))
        if theirs < _SMALL_MS and 1000 * statistics.median(taken["once"]) / calls > 1:
            small_once.append((once, name))
        if name in _SHOWN:
            table.rows.append((name, round(theirs, 2), round(ours, 2), round(over, 2), round(once, 2)))
    worst_small, worst_heavy = max(small, default=(0.0, "none")), max(heavy, default=(float("nan"), "none"))
    table.goals += [
        Goal(
            f"all {len(READS)} reads, the worst small one above 1 ms ({worst_small[1]})", worst_small[0], 2.0
        ),
        Goal(
            f"the same, not repeated ({max(small_once, default=(0.0, 'none'))[1]})",
            max(small_once, default=(0.0, "none"))[0],
            2.0,
        ),
        Goal("the median heavy one", statistics.median([over for over, _ in heavy] or [float("nan")]), 1.4),
        Goal(f"the worst heavy one ({worst_heavy[1]})", worst_heavy[0], 1.4),
    ]


def _loads(context: Context, table: Table, plain: DatabaseManager, citus: DatabaseManager) -> None:
    count = context.count(50_000, 100)
    targets = {}
    for way, db in (("plain", plain), ("citus", citus)):
        queries = OperationalDataQueries(db)
        organization = queries.create_organization(f"Loads {uuid.uuid4()}", industry="toys", timezone="UTC")[
            "organization_id"
        ]
        place = queries.create_location(organization, "Hall", location_type="factory", timezone="UTC")[
            "location_id"
        ]
        resource = queries.create_resource(organization, "Press", location_id=place, resource_type="press")[
            "resource_id"
        ]
        targets[way] = (db, organization, place, resource)
    begin = {way: dt.datetime(2020, 1, 1, tzinfo=dt.UTC) for way in targets}

    def loading(way: str, relation: str) -> Callable[[], None]:
        db, organization, place, resource = targets[way]

        def row(at: dt.datetime) -> tuple[object, ...]:
            if relation == "resource_metrics":
                return organization, at, resource, 50
            return organization, at, uuid.uuid4(), place, resource, "idle", 0.01

        def load() -> None:
            start = begin[way]
            begin[way] = start + dt.timedelta(seconds=count)
            db.copy_rows(
                relation, _LOADED[relation], (row(start + dt.timedelta(seconds=n)) for n in range(count))
            )

        return load

    for what, relation in (("events", "operational_events"), ("metrics", "resource_metrics")):
        taken = in_turns({way: loading(way, relation) for way in targets}, context.rounds)
        theirs, ours = (count / statistics.median(taken[way]) for way in ("plain", "citus"))
        table.rows.append((what, round(theirs), round(ours), round(ratio(taken["plain"], taken["citus"]), 2)))
        table.goals.append(
            Goal(f"{what}, Citus / plain", ratio(taken["plain"], taken["citus"]), 1.0, at_most=False)
        )


def _moves(context: Context, table: Table, db: DatabaseManager, install: str) -> None:
    owner = OperationalDataQueries(db)
    made = [
        owner.create_organization(f"Moves {n}", industry="toys", timezone="UTC")["organization_id"]
        for n in range(context.count(40, 6))
    ]
    places = [
        owner.create_location(o, "Hall", location_type="factory", timezone="UTC")["location_id"] for o in made
    ]
    db.execute("SELECT citus_set_default_rebalance_strategy('by_shard_count')")
    with citus_cluster.one_more(install, parse_dsn(db.settings.database_url)["dbname"]) as third:
        address = f"{parse_dsn(third.url)['host']}:{parse_dsn(third.url)['port']}"
        known: dict[uuid.UUID, int] = dict.fromkeys(made, 0)
        ways: dict[str, Callable[[], object]] = {
            "nothing moves": lambda: time.sleep(3),
            "a worker joins": lambda: cluster.add(db, address),
            "rebalance": lambda: cluster.rebalance(db),
            "isolate": lambda: cluster.isolate(db, made[0]),
        }
        for name, work in ways.items():
            with people(db, made, places) as load:
                started = time.perf_counter()
                work()
                seconds = time.perf_counter() - started
            lost = 0
            for organization, events in load.acknowledged.items():
                known[organization] += len(events)
                (row,) = db.execute_query(
                    "SELECT count(*) AS n FROM operational_events WHERE organization_id = %s", (organization,)
                )
                lost += known[organization] - row["n"]
            writes = sum(map(len, load.acknowledged.values()))
            longest = load.longest_write * 1000
            table.rows.append((name, round(seconds, 1), writes, len(load.errors), abs(lost), round(longest)))
            if name != "nothing moves":
                table.goals += [
                    Goal(f"{name}: errors, and rows lost or doubled", len(load.errors) + abs(lost), 0),
                    Goal(f"{name}: ms of the longest write", longest, 1000),
                ]


def _spread() -> Table:
    """Simulate ten thousand organizations, the largest of which are much larger than the others, on a hundred nodes."""
    table = Table(
        "citus with a hundred nodes",
        f"Simulated: {_ORGANIZATIONS:,} organizations on {_NODES} nodes, with sizes distributed like those of firms (Pareto, 1.05; none "
        "larger than a fifth of a node). How much more than the mean does the fullest node hold (median of 20 draws), and how many "
        "wait while one node is down?",
        (
            "shards",
            "organizations with their own shard",
            "fullest node / mean",
            "waiting organizations",
            "share of rows affected",
        ),
    )
    for slices in (128, 512, 2048, 8192):
        for alone in (0, 200):
            fullest = [_fullest(random.Random(seed), slices, alone) for seed in range(20)]
            table.rows.append(
                (
                    slices,
                    alone,
                    round(statistics.median(fullest), 2),
                    _ORGANIZATIONS // _NODES,
                    f"{1 / _NODES:.0%}",
                )
            )
    table.remark = (
        "Shards are placed by size, largest first, as the rebalancer's by_disk_size strategy does. The coordinator plans each "
        "statement and opens one connection to a node for each client connection that queries it: 200 clients take at most 200 "
        "connections on each node, whatever the number of nodes."
    )
    return table


def _fullest(draw: random.Random, slices: int, alone: int) -> float:
    sizes = sorted((draw.paretovariate(1.05) for _ in range(_ORGANIZATIONS)), reverse=True)
    cap = sum(sizes) / 500  # no organization is larger than a fifth of a node, which must be able to hold it
    sizes = [min(size, cap) for size in sizes]
    held = [0.0] * slices
    for size in sizes[alone:]:
        held[draw.randrange(slices)] += size
    nodes = [0.0] * _NODES
    for size in sorted([*held, *sizes[:alone]], reverse=True):
        nodes[nodes.index(min(nodes))] += size
    return max(nodes) / statistics.fmean(nodes)
