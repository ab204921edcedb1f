"""Measures everything and writes BENCHMARKS.md, its figures as JSON, and a picture for each table that has one.

    python -m tests.benchmarks [--only NAME,…] [--scale 1] [--rounds 5] [--out FOLDER] [--database-url URL [--keep]]

Without a URL a private server is started, from the installation in $TEST_PG_INSTALL or from the wheel. With `--only`, tables of an
earlier run into the same folder are kept. `--scale 0.1` is a quick look, `--scale 5` needs a larger machine (fifty million
events). A ratio is the median over rounds in which all alternatives take turns; peers that are not installed are left out. With
`--keep`, databases that take long to load stay on the given server, and a second run on the same day uses them again, with the
schema as it is then. This is not a test: a missed goal is only printed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from db_utils import schema
from db_utils.embedded.redis_server import free_port
from db_utils.embedded.server import PASSWORD, USER, EmbeddedServer
from tests.benchmarks.harness import SERVER_OPTIONS, Context, Table, machine

BENCHMARKS = (
    "bulk", "pool", "small_query", "dashboards", "under_load", "storage", "cache", "tenant_scope", "iot_questions", "first_start",
    "api", "sync", "planning", "loading", "connectors", "citus",
)  # fmt: skip
ROOT = Path(__file__).parents[2]


def markdown(results: dict[str, Any], pictures: dict[str, str]) -> str:
    """The page BENCHMARKS.md."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `python -m tests.benchmarks`, which anyone can run; [tests/benchmarks](tests/benchmarks) shows what each one measures.",
        "Ratios are medians over the rounds of one run in which all alternatives take turns, so they hold where absolute times do not.",
        "Where queries run one at a time, client and server are pinned to one core: the scheduler's choice of cores would make more",
        "difference than what is measured. Drivers use their C implementation where there is one (psycopg 3, hiredis). Missed goals",
        "are marked.",
        "",
        "| measured on | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in results["machine"].items()),
        f"| edition | {results['edition']} |",
    ]
    for table in results["tables"]:
        lines += ["", f"## {table['name'].capitalize()}", "", table["question"], ""]
        if table["rows"]:
            lines.append(f"| {' | '.join(table['columns'])} |")
            lines.append("|---" * len(table["columns"]) + "|")
            lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table["rows"]]
        if table["goals"]:
            lines += ["", *(f"- {goal}" for goal in table["goals"])]
        lines += ["", f"Measured {table['measured']}."]
        if table["remark"]:
            lines += ["", table["remark"]]
        if table["name"] in pictures:
            lines += ["", f"![{table['question']}]({pictures[table['name']]})"]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def with_earlier(found: list[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    """Return these tables, and those of an earlier run that were not measured again, in the order of that run."""
    earlier = json.loads(file.read_text(encoding="utf-8"))["tables"] if file.exists() else []
    new = {table["name"]: table for table in found}
    kept = [new.pop(table["name"], table) for table in earlier]
    return kept + list(new.values())


def draw(table: Table, file: Path) -> None:
    """Draw a bar for each row of the `drawn` column."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    place = table.columns.index(table.drawn)
    names = [
        " · ".join(str(cell) for cell in row if isinstance(cell, str)) or str(row[0]) for row in table.rows
    ]
    if "threads" in table.columns:
        at = table.columns.index("threads")
        names = [f"{name}, {row[at]}" for name, row in zip(names, table.rows, strict=True)]
    values = [float(str(row[place])) for row in table.rows]
    figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.3 * len(names)))
    axes.barh(names, values, color=["#1f5f99" if "db_utils" in name else "#9aa5b1" for name in names])
    axes.invert_yaxis()
    axes.set_xlabel(table.drawn)
    axes.set_title(table.question, loc="left", fontsize=9, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def measure(context: Context, names: list[str]) -> list[Table]:
    """Run these benchmarks one after another."""
    tables: list[Table] = []
    for name in names:
        started = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        made = importlib.import_module(f"tests.benchmarks.bench_{name}").run(context)
        tables += made if isinstance(made, list) else [made]
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return tables


def private_server(stack: ExitStack) -> str:
    """Return the URL of a private server over TCP, as most users connect (and the only way connectorx supports)."""
    port = free_port()
    install = os.environ.get("TEST_PG_INSTALL") or None
    stack.enter_context(EmbeddedServer.start(install_dir=install, tcp_port=port, options=SERVER_OPTIONS))
    return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/barnameh_ops"


def main() -> None:
    """Run the chosen benchmarks, print and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(BENCHMARKS), help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--out", type=Path, help="folder for BENCHMARKS.md, JSON and pictures; default: print only"
    )
    parser.add_argument("--database-url", help="a server on which databases can be created")
    parser.add_argument("--keep", action="store_true", help="keep large databases there for another run")
    options = parser.parse_args()
    if options.keep and not options.database_url:
        parser.error("--keep needs --database-url: the private server is removed with all its databases")
    names = options.only.split(",")
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    with ExitStack() as stack:
        url = options.database_url or private_server(stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="db_utils-bench-")))
        context = Context(url, options.scale, options.rounds, folder, options.keep)
        with context.database() as db:
            edition = schema.edition(db)
        tables = measure(context, names)
        about = machine(url)
    measured = (
        f"{time.strftime('%Y-%m-%d', time.gmtime())} at scale {options.scale:g} in {options.rounds} rounds"
    )
    found = [
        {**asdict(table), "goals": [str(goal) for goal in table.goals], "measured": measured}
        for table in tables
    ]
    results: dict[str, Any] = {"machine": about, "edition": edition, "tables": found}
    pictures: dict[str, str] = {}
    if options.out:
        images = options.out / "docs" / "benchmarks"
        images.mkdir(parents=True, exist_ok=True)
        results["tables"] = with_earlier(found, images / "figures.json")
        for table in tables:
            if table.drawn and table.rows:
                file = images / f"{table.name.replace(' ', '-')}.svg"
                draw(table, file)
        pictures = {
            table["name"]: f"docs/benchmarks/{table['name'].replace(' ', '-')}.svg"
            for table in results["tables"]
            if table["drawn"] and table["rows"]
        }
        (images / "figures.json").write_text(
            json.dumps(results, indent=2, default=str) + "\n", encoding="utf-8"
        )
        (options.out / "BENCHMARKS.md").write_text(markdown(results, pictures), encoding="utf-8")
    print(markdown(results, pictures))


if __name__ == "__main__":
    main()
