"""How fast are rows and frames loaded and read, compared with the alternatives?

    python -m tests.benchmarks.bench_bulk [--database-url URL] [--rows 1000000] [--rounds 5] [--only rows-in,frames-in]
                                          [--json FILE] [--check]

Loads the hypertable `operational_events` of the real schema, with its keys and checks, in a separate database that is
dropped afterwards; reads it back as dicts and as frames. In each round all ways run in turn, in changing order, and a
ratio is the median over the rounds of (other's time / ours): above 1 we are faster. Much slower ways get
fewer rows. A load ends with its COMMIT. Without a URL the embedded PostgreSQL is started. Peers are used as their
documentation recommends for bulk loads; those that are not installed are left out. `--check` exits with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from db_utils.embedded.server import EmbeddedServer
from tests.benchmarks.harness import Context, Goal, Table, has_peer

COLUMNS = (
    "organization_id",
    "time",
    "location_id",
    "resource_id",
    "event_type",
    "quantity",
    "quality_score",
    "metadata",
)
NAMES = ", ".join(COLUMNS)
READ = f"SELECT {NAMES} FROM operational_events"
Row = tuple[Any, ...]
GOALS = {
    "rows-in": {"psycopg2 executemany": 1.0, "psycopg2 execute_values": 1.0, "psycopg 3 copy.write_row": 1.0,
                "psycopg 3 copy.write_row, binary": 1.0, "pgcopy": 1.0, "SQLAlchemy Core insert": 1.0, "psql \\copy": 0.9},
    "frames-in": {"ADBC ingest by hand": 1.0, "psql \\copy": 1.0, "pandas.to_sql, COPY method": 1.0, "pandas.to_sql": 1.0},
    "arrow-in": {"ADBC ingest by hand": 1.0, "psql \\copy": 1.0},
    "rows-out": {"psycopg2 RealDictCursor": 1.0, "psycopg 3 dict_row": 1.0, "psycopg 3 dict_row, binary": 1.0},
    "frames-out": {"connectorx": 1.0, "pandas.read_sql": 1.0},
}  # fmt: skip


QUESTIONS = {
    "rows-in": "Rows as Python tuples into the hypertable operational_events, with its keys and checks.",
    "frames-in": "A pandas frame into the same hypertable.",
    "arrow-in": "An Arrow table into the same hypertable.",
    "rows-out": "The rows as Python dicts.",
    "frames-out": "The rows as a pandas frame.",
}


class Bench:
    """A database with the schema, generated events, and what the ways share."""

    def __init__(self, url: str, rows: int, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.db = DatabaseManager(url)
        schema.apply(self.db)
        self.rows = list(make_events(self.db, rows))
        self.connection = psycopg2.connect(url)
        self.csv = folder / "events.csv"
        with self.csv.open("w", newline="") as file:
            writer = csv.writer(file)
            for row in self.rows:
                writer.writerow([*row[:-1], json.dumps(row[-1])])

    def empty(self) -> None:
        self.db.execute("TRUNCATE operational_events")

    def close(self) -> None:
        self.connection.close()
        self.db.close()


def make_events(db: DatabaseManager, count: int) -> Iterator[Row]:
    """Events of ten organizations with fifty machines each, over the thirty days before today."""
    chance = random.Random(1)
    organizations = [uuid.UUID(int=number) for number in range(1, 11)]
    machines = [uuid.UUID(int=1000 + number) for number in range(50)]
    place = uuid.UUID(int=99)
    db.copy_rows(
        "organizations", ["organization_id", "name", "industry"], [(o, str(o), "test") for o in organizations]
    )
    db.copy_rows(
        "locations",
        ["organization_id", "location_id", "name", "location_type"],
        [(o, place, "Plant", "factory") for o in organizations],
    )
    db.copy_rows(
        "resources",
        ["organization_id", "resource_id", "location_id", "name", "resource_type"],
        [(o, m, place, f"Machine {m.int}", "machine") for o in organizations for m in machines],
    )
    start = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(days=30)
    step = dt.timedelta(days=29) / count
    for number in range(count):
        yield (
            chance.choice(organizations),
            start + number * step,
            place,
            chance.choice(machines),
            "production",
            Decimal(chance.randrange(100_000)) / 100,
            Decimal(chance.randrange(10_000)) / 100,
            {"batch": f"B-{chance.randrange(10_000)}", "line": chance.randrange(9), "ok": True},
        )


# -- rows in ---------------------------------------------------------------------------------------------------


def insert_executemany(bench: Bench, rows: list[Row]) -> None:
    with bench.connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(COLUMNS))
        cursor.executemany(
            f"INSERT INTO operational_events ({NAMES}) VALUES ({marks})",
            [(*row[:-1], psycopg2.extras.Json(row[-1])) for row in rows],
        )
    bench.connection.commit()


def insert_values(bench: Bench, rows: list[Row]) -> None:
    with bench.connection.cursor() as cursor:
        psycopg2.extras.execute_values(
            cursor,
            f"INSERT INTO operational_events ({NAMES}) VALUES %s",
            [(*row[:-1], psycopg2.extras.Json(row[-1])) for row in rows],
            page_size=1000,
        )
    bench.connection.commit()


def write_row(bench: Bench, rows: list[Row], *, binary: bool = False) -> None:
    import psycopg
    from psycopg.types.json import Jsonb

    form = " WITH (FORMAT binary)" if binary else ""
    with (
        psycopg.connect(bench.url) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY operational_events ({NAMES}) FROM STDIN{form}") as copy,
    ):
        if binary:
            copy.set_types(["uuid", "timestamptz", "uuid", "uuid", "text", "numeric", "numeric", "jsonb"])
        for row in rows:
            copy.write_row((*row[:-1], Jsonb(row[-1])))


def pgcopy_rows(bench: Bench, rows: list[Row]) -> None:
    from pgcopy import CopyManager

    manager = CopyManager(bench.connection, "operational_events", COLUMNS)
    manager.threading_copy(
        [(*row[:4], row[4].encode(), *row[5:-1], json.dumps(row[-1]).encode()) for row in rows]
    )
    bench.connection.commit()


def core_insert(bench: Bench, rows: list[Row]) -> None:
    import sqlalchemy
    from sqlalchemy.dialects.postgresql import JSONB

    types = [sqlalchemy.Uuid, sqlalchemy.DateTime(True), sqlalchemy.Uuid, sqlalchemy.Uuid, sqlalchemy.Text,
             sqlalchemy.Numeric, sqlalchemy.Numeric, JSONB]  # fmt: skip
    columns = [sqlalchemy.Column(name, kind) for name, kind in zip(COLUMNS, types, strict=True)]
    table = sqlalchemy.Table("operational_events", sqlalchemy.MetaData(), *columns)
    engine = sqlalchemy.create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(bench.url))
    with engine.begin() as connection:
        connection.execute(table.insert(), [dict(zip(COLUMNS, row, strict=True)) for row in rows])
    engine.dispose()


def psql_copy(bench: Bench, rows: object) -> None:
    command = f"\\copy operational_events ({NAMES}) FROM '{bench.csv}' WITH (FORMAT csv)"
    psql = shutil.which("psql") or "psql"
    subprocess.run([psql, bench.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command], check=True)


def copy_rows(bench: Bench, rows: list[Row]) -> None:
    bench.db.copy_rows("operational_events", COLUMNS, rows)


def execute_many(bench: Bench, rows: list[Row]) -> None:
    bench.db.execute_many(f"INSERT INTO operational_events ({NAMES}) VALUES %s", rows)


# -- frames in -------------------------------------------------------------------------------------------------


def as_frame(rows: list[Row]) -> Any:
    """The frame of a data scientist: text ids, floats, JSON text."""
    import pandas

    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    frame = pandas.DataFrame(columns)
    for name in ("organization_id", "location_id", "resource_id"):
        frame[name] = frame[name].map(str)
    frame["time"] = pandas.to_datetime(frame["time"], utc=True)
    for name in ("quantity", "quality_score"):
        frame[name] = frame[name].astype(float)
    frame["metadata"] = frame["metadata"].map(json.dumps)
    return frame


def write_frame(bench: Bench, frame: Any) -> None:
    bench.db.write_frame("operational_events", frame)


def as_arrow(rows: list[Row], *, for_adbc: bool) -> Any:
    """The same in the table's types; for ADBC, JSON as the bytes that jsonb reads."""
    import pyarrow

    columns = []
    for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        if name.endswith("_id"):
            column = pyarrow.array([value.bytes for value in values], pyarrow.binary(16))
        elif name == "metadata" and for_adbc:
            column = pyarrow.array(
                [b"\x01" + json.dumps(value).encode() for value in values], pyarrow.binary()
            )
        elif name == "metadata":
            column = pyarrow.array(map(json.dumps, values), pyarrow.string())
        else:
            kinds = {"time": pyarrow.timestamp("us", "UTC"), "event_type": pyarrow.string()}
            column = pyarrow.array(values, kinds.get(name, pyarrow.decimal128(12, 2)))
        columns.append(column)
    return pyarrow.table(columns, names=list(COLUMNS))


def adbc_ingest(bench: Bench, tables: Any) -> None:
    import adbc_driver_postgresql.dbapi

    with adbc_driver_postgresql.dbapi.connect(bench.url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("operational_events", tables[1], mode="append")
        connection.commit()


def adbc_staged(bench: Bench, frame: Any) -> None:
    """Load through a temporary table, where the server casts."""
    import adbc_driver_postgresql.dbapi
    import pyarrow

    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    with adbc_driver_postgresql.dbapi.connect(bench.url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("staged_events", table, mode="create", temporary=True)
        cursor.execute(
            f"INSERT INTO operational_events ({NAMES}) SELECT organization_id::uuid, time, location_id::uuid, "
            "resource_id::uuid, event_type, quantity, quality_score, metadata::jsonb FROM staged_events"
        )
        connection.commit()


def _alchemy(bench: Bench) -> Any:
    import sqlalchemy

    return sqlalchemy.create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(bench.url))


def to_sql(bench: Bench, frame: Any) -> None:
    from sqlalchemy.dialects.postgresql import JSONB, UUID

    types = dict.fromkeys(("organization_id", "location_id", "resource_id"), UUID(as_uuid=False))
    frame = frame.assign(metadata=frame["metadata"].map(json.loads))
    engine = _alchemy(bench)
    frame.to_sql(
        "operational_events", engine, if_exists="append", index=False, dtype={**types, "metadata": JSONB}
    )
    engine.dispose()


def to_sql_copy(bench: Bench, frame: Any) -> None:
    """Load with a callable that COPYs CSV, as in pandas' documentation of `method`."""
    import io

    def method(table: Any, connection: Any, keys: Any, data: Any) -> None:
        buffer = io.StringIO()
        csv.writer(buffer).writerows(data)
        buffer.seek(0)
        with connection.connection.cursor() as cursor:
            cursor.copy_expert(f"COPY {table.name} ({', '.join(keys)}) FROM STDIN WITH CSV", buffer)

    engine = _alchemy(bench)
    frame.to_sql("operational_events", engine, if_exists="append", index=False, method=method)
    engine.dispose()


# -- out -------------------------------------------------------------------------------------------------------


def execute_query(bench: Bench, rows: object) -> None:
    bench.db.execute_query(READ)


def real_dict(bench: Bench, rows: object) -> None:
    with bench.connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute(READ)
        cursor.fetchall()
    bench.connection.rollback()


def dict_row(bench: Bench, rows: object, *, binary: bool = False) -> None:
    import psycopg

    with psycopg.connect(bench.url, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute(READ, binary=binary).fetchall()


def read_frame(bench: Bench, rows: object) -> None:
    bench.db.read_frame(READ)


def connectorx_read(bench: Bench, rows: object) -> None:
    import connectorx

    connectorx.read_sql(_address(bench.url), READ)


def _address(url: str) -> str:
    parts = parse_dsn(url)
    return f"postgresql://{parts['user']}:{parts.get('password', '')}@{parts['host']}:{parts['port']}/{parts['dbname']}"


def pandas_read(bench: Bench, rows: object) -> None:
    import pandas

    engine = _alchemy(bench)
    pandas.read_sql(READ, engine)
    engine.dispose()


def adbc_read(bench: Bench, rows: object) -> None:
    import adbc_driver_postgresql.dbapi

    with adbc_driver_postgresql.dbapi.connect(bench.url) as connection, connection.cursor() as cursor:
        cursor.execute(READ.replace("quantity, quality_score", "quantity::float8, quality_score::float8"))
        cursor.fetch_df()


# -- running ---------------------------------------------------------------------------------------------------

Way = Callable[[Bench, Any], None]
# name, function, share of the rows, required module
GROUPS: dict[str, list[tuple[str, Way, float, str]]] = {
    "rows-in": [
        ("copy_rows", copy_rows, 1, "db_utils"),
        ("execute_many", execute_many, 1, "db_utils"),
        ("psycopg2 executemany", insert_executemany, 0.02, "psycopg2"),
        ("psycopg2 execute_values", insert_values, 0.1, "psycopg2"),
        ("psycopg 3 copy.write_row", write_row, 1, "psycopg"),
        ("psycopg 3 copy.write_row, binary", partial(write_row, binary=True), 1, "psycopg"),
        ("pgcopy", pgcopy_rows, 1, "pgcopy"),
        ("SQLAlchemy Core insert", core_insert, 0.1, "sqlalchemy"),
        ("psql \\copy", psql_copy, 1, "psql"),
    ],
    "frames-in": [
        ("write_frame", write_frame, 1, "pandas"),
        ("ADBC ingest by hand", adbc_staged, 1, "adbc_driver_postgresql"),
        ("pandas.to_sql", to_sql, 0.02, "pandas"),
        ("pandas.to_sql, COPY method", to_sql_copy, 1, "pandas"),
        ("psql \\copy", psql_copy, 1, "psql"),
    ],
    "arrow-in": [
        ("write_frame", lambda b, tables: write_frame(b, tables[0]), 1, "pyarrow"),
        ("ADBC ingest by hand", adbc_ingest, 1, "adbc_driver_postgresql"),
        ("psql \\copy", psql_copy, 1, "psql"),
    ],
    "rows-out": [
        ("execute_query", execute_query, 1, "db_utils"),
        ("psycopg2 RealDictCursor", real_dict, 1, "psycopg2"),
        ("psycopg 3 dict_row", dict_row, 1, "psycopg"),
        ("psycopg 3 dict_row, binary", partial(dict_row, binary=True), 1, "psycopg"),
    ],
    "frames-out": [
        ("read_frame", read_frame, 1, "adbc_driver_postgresql"),
        ("ADBC by hand", adbc_read, 1, "adbc_driver_postgresql"),
        ("connectorx", connectorx_read, 1, "connectorx"),
        ("pandas.read_sql", pandas_read, 1, "pandas"),
    ],
}


def _can_run(module: str, url: str) -> bool:
    if module == "psql":
        return shutil.which(module) is not None
    by_socket = parse_dsn(url).get("host", "").startswith("/")
    return has_peer(module) and not (module == "connectorx" and by_socket)  # it supports TCP only


def run_group(bench: Bench, group: str, rounds: int) -> dict[str, Any]:
    """Return the seconds per row of every way, and ratios to the first."""
    ways = [way for way in GROUPS[group] if _can_run(way[3], bench.url)]
    writes = group.endswith("-in")
    data: Any = bench.rows
    if group == "frames-in":
        data = as_frame(bench.rows)
    elif group == "arrow-in":
        data = as_arrow(bench.rows, for_adbc=False), as_arrow(bench.rows, for_adbc=True)
    if not writes:
        bench.empty()
        copy_rows(bench, bench.rows)
        bench.db.execute("ANALYZE operational_events")
    seconds: dict[str, list[float]] = {name: [] for name, *_ in ways}
    for number in range(rounds):
        for name, way, share, _ in ways[number % len(ways) :] + ways[: number % len(ways)]:
            count = max(1, int(len(bench.rows) * share))
            some = data[:count] if share < 1 else data
            if writes:
                bench.empty()
            started = time.perf_counter()
            way(bench, some)
            seconds[name].append((time.perf_counter() - started) / count)
            if writes:
                found = bench.db.execute_query("SELECT count(*) AS n FROM operational_events")[0]["n"]
                if found != count:
                    raise SystemExit(f"{name} loaded {found} rows instead of {count}")
            print(
                f"{group} {number + 1}/{rounds} {name}: {1 / seconds[name][-1]:,.0f} rows/s", file=sys.stderr
            )
    ours = seconds[ways[0][0]]
    return {
        name: {
            "rows_per_second": round(1 / statistics.median(taken)),
            "ratio": round(statistics.median(t / o for t, o in zip(taken, ours, strict=True)), 2),
        }
        for name, taken in seconds.items()
    }


def report(results: dict[str, Any]) -> None:
    """Print the results as tables."""
    for group, ways in results["groups"].items():
        print(f"\n{group:<36} rows/s     other's time / ours   goal")
        for name, found in ways.items():
            goal = GOALS[group].get(name)
            mark = "" if goal is None else f"{goal:>6} {'' if found['ratio'] >= goal else 'MISSED'}"
            print(f"{name:<32} {found['rows_per_second']:>10,} {found['ratio']:>21.2f} {mark}")


@contextmanager
def own_database(url: str | None) -> Iterator[str]:
    """Return the URL of a new database, on this server or on the embedded one."""
    with ExitStack() as stack:
        server = url or stack.enter_context(EmbeddedServer.start()).url
        name = f"bench_bulk_{uuid.uuid4().hex[:8]}"
        connection = psycopg2.connect(server)
        connection.autocommit = True
        stack.callback(connection.close)
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
            try:
                yield make_dsn(**{**parse_dsn(server), "dbname": name})
            finally:
                cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def run(context: Context) -> list[Table]:
    """Return each group as a separate table; a ratio is the other's time over ours."""
    tables = []
    with context.empty_database() as url, tempfile.TemporaryDirectory(dir=context.folder) as folder:
        bench = Bench(url, context.count(1_000_000, 1_000), Path(folder))
        try:
            for group in GROUPS:
                found = run_group(bench, group, context.rounds)
                table = Table(
                    group.replace("-", " "),
                    f"{QUESTIONS[group]} ({len(bench.rows):,} rows of {len(COLUMNS)} columns)",
                    ("way", "rows/s", "its time / ours"),
                    [(name, figures["rows_per_second"], figures["ratio"]) for name, figures in found.items()],
                    drawn="rows/s",
                )
                for name, limit in GOALS[group].items():
                    if name in found:
                        table.goals.append(
                            Goal(f"{name}, its time / ours", found[name]["ratio"], limit, at_most=False)
                        )
                tables.append(table)
        finally:
            bench.close()
    return tables


def main() -> int:
    """Run the chosen groups."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--database-url", help="a server on which a database can be created; default: the embedded one"
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(GROUPS), help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    options = parser.parse_args()
    with own_database(options.database_url) as url, tempfile.TemporaryDirectory() as folder:
        bench = Bench(url, options.rows, Path(folder))
        try:
            results: dict[str, Any] = {
                "edition": schema.edition(bench.db),
                "server": bench.db.execute_query("SHOW server_version")[0]["server_version"],
                "python": platform.python_version(),
                "versions": {
                    name: version(name)
                    for name in (
                        "psycopg2-binary",
                        "psycopg",
                        "pyarrow",
                        "pandas",
                        "adbc-driver-postgresql",
                        "connectorx",
                    )
                    if find_spec(name.replace("-", "_").removesuffix("_binary")) is not None
                },
                "rows": options.rows,
                "rounds": options.rounds,
                "groups": {
                    group: run_group(bench, group, options.rounds) for group in options.only.split(",")
                },
            }
        finally:
            bench.close()
    report(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    missed = [
        name
        for group, ways in results["groups"].items()
        for name, found in ways.items()
        if found["ratio"] < GOALS[group].get(name, 0)
    ]
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
