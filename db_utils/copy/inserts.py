"""Upserts, and INSERT statements written by the caller."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import sql

from db_utils.copy.bisect_rejects import BisectingLoader
from db_utils.copy.load import InsertFrom, load_bisected
from db_utils.copy.rejects import RejectReport, RowBatch, encode_each
from db_utils.copy.target_table import TargetTable, column_names, identifiers, plain_cursor
from db_utils.copy.text_format import BadRowError
from db_utils.errors import InvalidInputError
from db_utils.values import RowProgress, adapt

_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_SIMPLE_INSERT = re.compile(
    rf"""
    \s* INSERT \s+ INTO \s+ (?P<table>{_NAME}(?:\s*\.\s*{_NAME})?)
    \s* \( \s* (?P<columns>{_NAME}(?:\s*,\s*{_NAME})*) \s* \)
    \s* VALUES \s+ %s
    (?P<tail>.*)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


class SimpleInsert(NamedTuple):
    """The parts of `INSERT INTO table (columns) VALUES %s tail`."""

    table: str
    columns: list[str]
    tail: str


def simple_insert(statement: str) -> SimpleInsert | None:
    """Return the parts of this statement, if it is an INSERT of plain columns without RETURNING."""
    found = _SIMPLE_INSERT.fullmatch(statement)
    if found is None:
        return None
    tail = found["tail"].strip().rstrip(";").rstrip()
    if re.search(r"\bRETURNING\b|;|--|/\*", tail, re.IGNORECASE):
        return None
    columns = [_unquoted(name) for name in re.findall(_NAME, found["columns"])]
    return SimpleInsert(found["table"], columns, tail.replace("%%", "%"))


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def insert_from(target: TargetTable, columns: Sequence[str], tail: str = "") -> InsertFrom:
    """Return the statement that inserts the rows of a temporary table into the target, in order."""

    def make(stage: sql.Composable, order: sql.Composable) -> sql.Composable:
        return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ORDER BY {} {}").format(
            target.identifier, identifiers(columns), identifiers(columns), stage, order, sql.SQL(tail)
        )

    return make


def upsert_from(
    target: TargetTable,
    columns: Sequence[str],
    conflict_columns: Sequence[str],
    update_columns: Sequence[str] | None,
) -> InsertFrom:
    """Return the statement that inserts the rows of a temporary table, or updates existing ones.

    One statement may change a row only once, so of several rows with one key the last is taken (the first if
    nothing is updated), with the columns that are not updated from the first: the result of applying one row
    after the other. Rows with NULL in the key never conflict, and are all kept.
    """
    key_names = column_names(conflict_columns)
    changes = None if update_columns is None else column_names(update_columns, may_be_empty=True)
    updated, kept = _split(columns, key_names, changes)
    key = identifiers(key_names)
    values = [
        sql.SQL("first_value({0}) OVER arrivals AS {0}" if updated and name in kept else "{0}").format(
            sql.Identifier(name)
        )
        for name in columns
    ]
    action = sql.SQL("NOTHING")
    if updated:
        sets = [sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in updated]
        action = sql.SQL("UPDATE SET {}").format(sql.SQL(", ").join(sets))

    def make(stage: sql.Composable, order: sql.Composable) -> sql.Composable:
        group = sql.SQL("{key}, CASE WHEN ROW({key}) IS NOT NULL THEN NULL ELSE {order} END").format(
            key=key, order=order
        )
        window = sql.SQL("WINDOW arrivals AS (PARTITION BY {} ORDER BY {})").format(group, order)
        return sql.SQL(
            "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE "
            "SELECT DISTINCT ON ({group}) {values} FROM {stage} {window} ORDER BY {group}, {order} {direction} "
            "ON CONFLICT ({key}) DO {action}"
        ).format(
            target=target.identifier,
            columns=identifiers(columns),
            group=group,
            values=sql.SQL(", ").join(values),
            stage=stage,
            window=window if kept and updated else sql.SQL(""),
            order=order,
            direction=sql.SQL("DESC" if updated else "ASC"),
            key=key,
            action=action,
        )

    return make


def _split(
    columns: Sequence[str], conflict_columns: Sequence[str], update_columns: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Return the updated columns, and the others outside the key. Raises `InvalidInputError`."""
    missing = [name for name in conflict_columns if name not in columns]
    if missing:
        raise InvalidInputError(f"conflict column {missing[0]} is not among the columns")
    others = [name for name in columns if name not in conflict_columns]
    if update_columns is None:
        return others, []
    for name in update_columns:
        if name not in columns:
            raise InvalidInputError(f"update column {name} is not among the columns")
        if name in conflict_columns:
            raise InvalidInputError(f"column {name} is part of the key: it cannot be updated too")
    return list(update_columns), [name for name in others if name not in update_columns]


def check_statement(statement: object, page_size: object) -> None:
    """Raise `InvalidInputError` if `execute_many` cannot run this."""
    if (
        not isinstance(statement, str)
        or "\0" in statement
        or _placeholders(statement) != 1
        or re.search(r"\bVALUES\s*\(\s*%s", statement, re.IGNORECASE)  # each row brings its own parentheses
    ):
        raise InvalidInputError(
            "the statement must have one %s where the rows go, as in INSERT INTO t (a, b) VALUES %s "
            "(a literal percent sign is %%)"
        )
    if isinstance(page_size, bool) or not isinstance(page_size, int) or page_size < 1:
        raise InvalidInputError("page_size must be a number of rows, at least 1")


def _placeholders(statement: str) -> int:
    """Return the number of `%s` in this statement; -1 if there is any other placeholder."""
    marks = re.findall(r"%(.)", statement, re.DOTALL)
    others = [mark for mark in marks if mark not in "s%"]
    return -1 if others or (statement.endswith("%") and not statement.endswith("%%")) else marks.count("s")


def execute_pages(
    connection: Any,
    statement: str,
    rows: Iterable[Any],
    page_size: int,
    report: RejectReport | None,
    progress: RowProgress | None,
) -> int:
    """Run a statement once for every `page_size` rows, in psycopg2's notation, and return how many it affected."""
    before, _, after = (
        part.replace("%%", "%") for part in re.split(r"(?<!%)((?:%%)*)%s", statement, maxsplit=1)
    )
    affected = count = 0
    try:
        source = iter(rows)
    except TypeError:
        raise InvalidInputError(f"rows must be an iterable of tuples, not {type(rows).__name__}") from None
    with plain_cursor(connection) as cursor:

        def run(items: list[str]) -> int:
            if not items:
                return 0
            cursor.execute(f"{before}{', '.join(items)}{after}")
            return max(0, int(cursor.rowcount))

        encode = _row_literal(connection)
        bisecting = BisectingLoader(connection, run, report)
        while page := list(itertools.islice(source, page_size)):
            batch = RowBatch(keep_bad=report is not None)
            encode_each(batch, page, count + 1, encode)
            count += len(page)
            affected += load_bisected(connection, batch, bisecting, lambda: run(batch.items))  # noqa: B023
            if progress is not None:
                progress(count)
    return affected


def _row_literal(connection: Any) -> Callable[[Any], str]:
    """Renders a row as `(…, …)`, each value as psycopg2 writes it."""
    cursor = plain_cursor(connection)

    def make(row: Any) -> str:
        if isinstance(row, (str, bytes, Mapping)) or not isinstance(row, Sequence):
            raise BadRowError(0, None, f"a row must be a tuple or list of values, not {type(row).__name__}")
        if not row:
            raise BadRowError(0, None, "the row is empty")
        try:
            text: bytes = cursor.mogrify(f"({', '.join(['%s'] * len(row))})", tuple(map(adapt, row)))
            return text.decode()
        except UnicodeError:
            raise BadRowError(
                0, None, "a text contains characters that UTF-8 cannot encode (lone surrogates)"
            ) from None
        except (psycopg2.ProgrammingError, ValueError, TypeError) as error:
            raise BadRowError(0, None, f"a value cannot be sent: {error}") from None

    return make
