"""Run a whole SQL file inside a transaction; errors name the file and line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_utils.connections.transaction import run_script
from db_utils.errors import QueryError, SchemaError
from db_utils.sql_text import statements

if TYPE_CHECKING:
    from db_utils.connections.transaction import Transaction
    from db_utils.schema.source import SchemaFile

# Make the files independent of the settings of database and role.
PINNED = (
    "SET LOCAL standard_conforming_strings = on; SET LOCAL quote_all_identifiers = off; "
    "SET LOCAL search_path = public, pg_temp"
)


def run_file(transaction: Transaction, file: SchemaFile, *, one_by_one: bool = False) -> None:
    """Run all statements of a file: at once, or `one_by_one` as Citus requires.

    Raises `SchemaError` that names the file and the line.
    """
    run_script(transaction, PINNED)
    for start, text in statements(file.text) if one_by_one else [(0, file.text)]:
        try:
            run_script(transaction, text)
        except QueryError as error:
            line = _line_of(error, file.text, start)
            place = f"{file.name}:{line}" if line else file.name
            raise SchemaError(f"{place}: {error}", sqlstate=error.sqlstate) from error


def _line_of(error: QueryError, text: str, start: int) -> int | None:
    position = getattr(getattr(error.__cause__, "diag", None), "statement_position", None)
    return text.count("\n", 0, start + int(position) - 1) + 1 if position else None
