"""Diagnose failed statements: what the server says about their rows, in the user's names.

The server stops at the first bad row and names its line, if at all. The queries here check all rows at once:
which values a type refuses, and which foreign keys dangle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from db_utils.copy.target_table import Column, TargetTable, plain_cursor
from db_utils.errors import DbUtilsError, QueryError, sqlstate_of, translate
from db_utils.sql_blocks import sql_beside

_ROW_FAULTS = ("22", "23")
_ROW_FAULT_CODES = frozenset(("44000", "P0001", "54000", "21000"))
_CHUNK = re.compile(r"_hyper_\d+_\d+_chunk")
_CHUNK_CONSTRAINT = re.compile(r"^\d+_(?:\d+_)?(?=\D)")
_KEY = re.compile(r"\(([^()]*)\)=\(")

_SQL = sql_beside(__name__)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the server refused a statement, in terms of its rows."""

    reason: str
    sqlstate: str
    column: str | None
    constraint: str | None
    line: int | None = None
    """The row of the statement that the server named, from 0."""


def names_a_row(error: psycopg2.Error) -> bool:
    """Whether the rows caused it, rather than the statement, a permission, a lock or the connection."""
    code = sqlstate_of(error) or ""
    return code[:2] in _ROW_FAULTS or code in _ROW_FAULT_CODES


def row_and_column_of(error: psycopg2.Error, columns: Sequence[str]) -> tuple[int | None, str | None]:
    """Return the line of a COPY (from 0) and the column that the server names."""
    for text in (error.diag.context or "").splitlines():
        found = re.match(r"COPY .*?, line (\d+)(.*)", text)
        if found is None:
            continue
        rest = found[2].partition(", column ")[2]
        named = [name for name in columns if rest == name or rest.startswith(f"{name}: ")]
        return int(found[1]) - 1, max(named, key=len, default=None)
    return None, None


def explained(error: psycopg2.Error, target: TargetTable | None) -> DbUtilsError:
    """Return this library's error, with the name of the user's table instead of its chunk."""
    translated = translate(error)
    if (
        not isinstance(translated, QueryError)
        or target is None
        or not _CHUNK.fullmatch(translated.table or "")
    ):
        return translated
    message = str(translated).replace(f'"{translated.table}"', f'"{target.name}"')
    if translated.constraint is not None:
        plain = _CHUNK_CONSTRAINT.sub("", translated.constraint)
        message = message.replace(f'"{translated.constraint}"', f'"{plain}"')
        translated.constraint = plain
    translated.table = target.name
    translated.args = (message,)
    return translated


def cause_of(error: psycopg2.Error, target: TargetTable | None, columns: Sequence[str]) -> Cause:
    """Return why a row was refused."""
    line, column = row_and_column_of(error, columns)
    translated = explained(error, target)
    constraint = detail = None
    if isinstance(translated, QueryError):
        constraint, detail = translated.constraint, translated.detail
        column = column or translated.column
    if column is None and constraint and (key := _KEY.search(detail or "")):
        column = key[1].replace('"', "")
    return Cause(str(translated), error.pgcode or "", column, constraint, line)


def reference(
    connection: Any, target: TargetTable, constraint: str
) -> tuple[str, list[str], list[str]] | None:
    """Return the target of a foreign key: (table, own columns, its columns), table and its columns quoted.

    None if it references its own table, whose rows may not be sent yet, or if it cannot be looked up.
    """
    name = target.identifier.as_string(connection)
    found = _asked(connection, _SQL["reference"], (constraint, target.is_view, name))
    return found[0] if len(found) == 1 else None


def dangling(
    connection: Any, found: tuple[str, list[str], list[str]], columns: Sequence[Column], texts: Sequence[Any]
) -> list[int]:
    """Return which of these rows (a list of texts for each column) reference a missing row."""
    values = [sql.Identifier(f"value{number}") for number in range(len(columns))]
    casts = [sql.SQL(column.cast) for column in columns]
    valid = [
        sql.SQL("{} IS NOT NULL AND pg_input_is_valid({}, {})").format(value, value, sql.Literal(column.cast))
        for value, column in zip(values, columns, strict=True)
    ]
    equal = [
        sql.SQL("r.{} = CAST({} AS {})").format(sql.SQL(name), value, cast)
        for name, value, cast in zip(found[2], values, casts, strict=True)
    ]
    statement = sql.SQL(_SQL["dangling"]).format(
        arrays=sql.SQL(", ").join(sql.SQL("%s::text[]") for _ in columns),
        values=sql.SQL(", ").join(values),
        valid=sql.SQL(" AND ").join(valid),
        referenced=sql.SQL(found[0]),
        equal=sql.SQL(" AND ").join(equal),
    )
    return [row[0] for row in _asked(connection, statement, tuple(texts))]


def malformed(connection: Any, type_name: str, texts: list[str | None]) -> dict[int, tuple[str, str]]:
    """Return the refused texts: position to (reason, SQLSTATE); {} if the server cannot check."""
    found = _asked(connection, _SQL["malformed"], (texts, type_name))
    return {position: (message, code) for position, message, code in found}


def _asked(connection: Any, statement: Any, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Return the rows of a check; [] if the type (or a server before 16) does not support it."""
    if connection.server_version < 160000:
        return []
    with plain_cursor(connection) as cursor:
        cursor.execute("SAVEPOINT db_utils_question")
        try:
            cursor.execute(statement, parameters)
            answer: list[tuple[Any, ...]] = cursor.fetchall()
        except (psycopg2.DataError, psycopg2.ProgrammingError, psycopg2.NotSupportedError):
            answer = []
            cursor.execute("ROLLBACK TO SAVEPOINT db_utils_question")
        cursor.execute("RELEASE SAVEPOINT db_utils_question")
    return answer


def columns_of_constraint(
    connection: Any, target: TargetTable | None, constraint: str
) -> tuple[str | None, str | None]:
    """Return the columns of a constraint, and the condition of a CHECK."""
    table = None if target is None else target.identifier.as_string(connection)
    with plain_cursor(connection) as cursor:
        cursor.execute(_SQL["columns_of_constraint"], (constraint, table))
        found = cursor.fetchone()
    return (found[0], found[1]) if found else (None, None)


def at_row(
    error: psycopg2.Error, rows_before: int, target: TargetTable | None, columns: Sequence[str]
) -> DbUtilsError:
    """Return this library's error, prefixed with row and column if the server names them."""
    translated = explained(error, target)
    line, column = row_and_column_of(error, columns)
    if line is not None:
        where = f"row {rows_before + line + 1}{f', column {column}' if column else ''}"
        translated.args = (f"{where}: {translated}",)
    return translated
