"""Every method, every argument, bad values: an error of the library that is also a ValueError, and an intact pool."""

from __future__ import annotations

import datetime as dt
import inspect
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import pandas
import pytest

from db_utils import DatabaseManager, errors
from db_utils.connections.tenant import TenantScope
from db_utils.connections.transaction import Transaction
from tests.integration.connections.conftest import ORGANIZATION

COLUMNS = ["organization_id", "note_id", "text"]
INSERT = "INSERT INTO notes (organization_id, note_id, text) VALUES %s"
NUMBERS_TOO_SMALL = [0, -1, True, 1.5, "7", None, [], float("nan")]
NOT_FUNCTIONS = [7, "print", [], {}, object()]
NOT_SECONDS = [0, -1, True, "5", [], float("nan"), float("inf"), 1e12, dt.timedelta(seconds=1)]
NOT_NAMES = [None, 7, "", " ", "a\0b", "\ud800", b"notes", ["notes"], object()]
NOT_COLUMNS = [
    7,
    "note_id",
    b"note_id",
    [7],
    [""],
    ["a\0b"],
    ["note_id", "note_id"],
    {"note_id"},
    object(),
    ["nothing"],
]
NOT_ROWS = [None, 7, object(), ["text"], [7], [None], [{1, 2, 3}], "rows", [(1, 2)], [{"nothing": 1}]]
BAD: dict[str, list[Any]] = {
    "sql": [None, 7, b"SELECT 1", "", "  ;", "-- nothing", "a\0b", "\ud800", ["SELECT 1"], object()],
    "params": [7, "abc", b"x", {1}, object(), [object()], ["a\0b"], ["\ud800"], [{"a": float("nan")}], iter([1])],
    "timeout_seconds": NOT_SECONDS,
    "rows": NOT_ROWS,
    "frame": [None, 7, "frame", [], [(1, 2)], object()],
    "table": NOT_NAMES,
    "columns": [*NOT_COLUMNS, None, []],
    "conflict_columns": [*NOT_COLUMNS, []],
    "update_columns": [*NOT_COLUMNS, ["note_id"]],
    "page_size": NUMBERS_TOO_SMALL,
    "batch_size": NUMBERS_TOO_SMALL,
    "on_reject": [7, [], True, print],
    "progress": NOT_FUNCTIONS,
    "function": [None, *NOT_FUNCTIONS],
    "delay": [None, *NOT_FUNCTIONS],
    "callback": [None, *NOT_FUNCTIONS],
    "retries": [-1, True, 1.5, "7", None],
    "isolation": ["", "snapshot", "SERIALIZABLE", 7, []],
    "backend": ["", "numpy", 7, None],
    "decimals": ["", "double", 7, None],
    "categories": [7, "text", ["nothing"], None],
    "timezone": ["Nowhere/City", 7, None, "a\0b"],
    "organization_id": [None, 7, "", "1111", b"x", object()],
    "channels": [None, 7, "", "a\0b", "x" * 64],
    "kinds": [None, 7, "", "a\0b", "x" * 64],
    "into": [None, 7, "file", object()],
    "options": [None, 7, "", "FORMAT csv); SELECT 1", b"FORMAT csv"],
}  # fmt: skip
FLAGS = {"also_if_unknown", "idempotent", "primary", "read_only", "seed"}
ELSEWHERE = {
    "close",
    "embedded",
    "pool_stats",
}  # take no argument, or are tested in tests/integration/connections/test_embedded.py


def good_arguments() -> dict[str, Any]:
    return {
        "sql": "SELECT 1 AS one",
        "params": (),
        "rows": [],
        "frame": _frame(),
        "table": "notes",
        "columns": COLUMNS,
        "conflict_columns": COLUMNS[:2],
        "update_columns": COLUMNS[2:],
        "function": lambda tx: None,
        "organization_id": ORGANIZATION,
        "callback": lambda: None,
        "into": io.BytesIO(),
    }


def _frame() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"organization_id": [ORGANIZATION], "note_id": [1], "text": ["x"]})


def methods(kind: type) -> Iterator[tuple[str, inspect.Signature]]:
    for name, member in inspect.getmembers(kind, callable):
        if not name.startswith("_") and name not in ELSEWHERE:
            yield name, inspect.signature(member)


CASES = [
    (kind, name, parameter)
    for kind in (DatabaseManager, TenantScope, Transaction)
    for name, signature in methods(kind)
    for parameter in signature.parameters
    if parameter in BAD and (kind, name) != (Transaction, "run_in_transaction")  # refused, whatever is given
]


def test_every_argument_of_every_verb_is_in_the_table() -> None:
    found = {
        parameter
        for kind in (DatabaseManager, TenantScope, Transaction)
        for _, signature in methods(kind)
        for parameter in signature.parameters
    }
    assert found - {"self"} - FLAGS == set(BAD)
    assert len(CASES) > 80


def use(db: DatabaseManager, kind: type, name: str, arguments: dict[str, Any]) -> None:
    if kind is Transaction:
        with db.transaction() as tx:
            call(tx, name, arguments)
    else:
        call(db if kind is DatabaseManager else db.tenant(ORGANIZATION), name, arguments)


def call(executor: Any, name: str, arguments: dict[str, Any]) -> None:
    spread = [arguments.pop(word) for word in ("channels", "kinds") if word in arguments]
    result = getattr(executor, name)(*spread, **arguments)
    if name == "stream":
        list(result)
    elif isinstance(result, AbstractContextManager):
        with result:
            pass


@pytest.mark.parametrize(
    ("kind", "name", "parameter"), CASES, ids=[f"{kind.__name__}.{name} {p}" for kind, name, p in CASES]
)
def test_a_bad_argument_is_refused_by_name(
    manager_with: Callable[..., DatabaseManager], kind: type, name: str, parameter: str
) -> None:
    db = manager_with(pool_max_connections=1, pool_timeout_seconds=0.5)
    db.execute("TRUNCATE notes")
    good = good_arguments()
    if name == "execute_many":
        good["sql"] = INSERT
    if parameter == "isolation" and kind is Transaction:
        good["isolation"] = None
    signature = inspect.signature(getattr(kind, name))
    arguments = {word: value for word, value in good.items() if word in signature.parameters}
    for value in BAD[parameter]:
        changed = {**arguments, parameter: value}
        if parameter == "params":
            changed["sql"] = "SELECT %s AS one"
        with pytest.raises(errors.DbUtilsError) as caught:
            use(db, kind, name, changed)
        assert isinstance(caught.value, ValueError) or caught.value.sqlstate in ("42703", "42P01"), value
        assert "\n" not in str(caught.value)
        assert db.pool_stats().in_use == 0
    assert db.execute_query("SELECT count(*)::int AS n FROM notes") == [{"n": 0}]


def test_what_utf_8_cannot_express_is_refused(db: DatabaseManager) -> None:
    with pytest.raises(errors.InvalidInputError, match="is not a valid channel"):
        db.listen("\udcff")
    with pytest.raises(errors.DbUtilsError):
        db.execute_query("SELECT %s AS v", ({"": [Decimal("sNaN")]},))
    with pytest.raises(errors.InvalidInputError):
        db.write_frame("notes", pandas.DataFrame({"text": pandas.Series([Decimal("sNaN")], dtype=object)}))
    with pytest.raises(errors.InvalidInputError) as caught:
        db.health(timeout_seconds="x" * 100_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200
