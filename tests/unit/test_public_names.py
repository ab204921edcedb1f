"""The README's test command covers every function and command: slow tests do not count."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from barnameh.cli import app as services
from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.cache import CacheInvalidationListener, PredictionCache
from db_utils.cli import app
from db_utils.outbox import Outbox

TESTS = Path(__file__).parents[1]
PACKAGES = (
    "db_utils",
    "db_utils.cache",
    "db_utils.files",
    "db_utils.outbox",
    "db_utils.report",
    "db_utils.schema",
    "barnameh.connectors",
    "barnameh.forecasting",
    "barnameh.sync",
)


# Covered by a test of their caller.
HELD_THROUGH = {
    "ask_which_database": "CacheInvalidationListener",
    "checksums": "checksum",
    "ensure": "serve",
    "export_query": "export",
    "has_target": "SyncService",
    "identifiers_of": "location_code",
    "import_for_each": "import",
    "refresh_newest_rollups": "import_files",
    "source_named": "fetch",
    "to_be_removed": "reset",
}
# Commands whose functions are tested instead of the commands.
WITHOUT_A_TEST = {"backtest", "promote"}


def _is_slow(marks: list[ast.expr] | ast.expr) -> bool:
    return not {"slow", "thorough"}.isdisjoint(
        n.attr
        for m in (marks if isinstance(marks, list) else [marks])
        for n in ast.walk(m)
        if isinstance(n, ast.Attribute)
    )


def words_of_fast_tests() -> set[str]:
    """Every name, attribute and text in the fast tests and their support modules."""
    found: set[str] = set()
    for path in TESTS.rglob("*.py"):
        if path.relative_to(TESTS).parts[0] in ("e2e", "faults", "benchmarks") or path == Path(__file__):
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body
        if any(
            isinstance(s, ast.Assign) and "pytestmark" in ast.dump(s.targets[0]) and _is_slow(s.value)
            for s in body
        ):
            continue
        for statement in body:
            if isinstance(statement, ast.FunctionDef) and _is_slow(statement.decorator_list):
                continue
            for node in ast.walk(statement):
                if isinstance(node, ast.Name):
                    found.add(node.id)
                elif isinstance(node, ast.Attribute):
                    found.add(node.attr)
                elif isinstance(node, ast.keyword) and node.arg:
                    found.add(node.arg)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.update(node.value.split())
    return found


def functions() -> Iterator[str]:
    """Everything callable by name: functions, and methods of the objects that an application uses."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        yield from (name for name in module.__all__ if inspect.isfunction(getattr(module, name)))
    for whole in (
        DatabaseManager,
        OperationalDataQueries,
        Outbox,
        PredictionCache,
        CacheInvalidationListener,
    ):
        yield from (name for name, _ in inspect.getmembers(whole, callable) if not name.startswith("_"))


def commands(application: typer.Typer) -> Iterator[str]:
    def names(command: Any) -> Iterator[str]:
        for name, inner in getattr(command, "commands", {}).items():
            yield name
            yield from names(inner)

    yield from names(typer.main.get_command(application))


def test_each_has_a_fast_test() -> None:
    named = words_of_fast_tests()
    missing = {*functions(), *commands(app), *commands(services)} - named - WITHOUT_A_TEST
    assert sorted(name for name in missing if HELD_THROUGH.get(name) not in named) == []
