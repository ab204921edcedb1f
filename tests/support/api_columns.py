"""Which columns does each prebuilt query return? The server is asked; it prepares each statement and runs none.

    python -m tests.support.api_columns URL        writes barnameh/api/columns.json

The URL is that of a database with the schema of this checkout.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import psycopg

from db_utils import catalogue
from db_utils.queries.loader import query

COLUMNS = Path(__file__).parents[2] / "barnameh" / "api" / "columns.json"

# Reads and writes whose rows do not come from the statement of the same name.
_OTHER_STATEMENT = {
    **{
        f"get_or_create_{thing}": f"create_{thing}"
        for thing in ("organization", "location", "resource", "employee", "shift")
    },
    "correct_location_history": "get_location_history",
    "correct_resource_history": "get_resource_history",
    "correct_employee_history": "get_employee_history",
}
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


def describe(url: str) -> dict[str, dict[str, str]]:
    """Name and PostgreSQL type of each column, in order, by method."""
    found: dict[str, dict[str, str]] = {}
    with psycopg.connect(url, autocommit=True) as connection:
        for entry in catalogue.entries():
            returned = str(catalogue.signature_of(entry.name)[1])
            if "dict[str" not in returned:
                continue  # a number, an identifier, or a prediction, which has its own form
            statement = query(_OTHER_STATEMENT.get(entry.name, entry.name))
            found[entry.name] = _columns(connection, statement)
    return found


def _columns(connection: psycopg.Connection, statement: object) -> dict[str, str]:
    types = {parameter.name: parameter.type for parameter in statement.parameters}  # type: ignore[attr-defined]
    names = list(types)
    text = _PLACEHOLDER.sub(
        lambda found: f"(${names.index(found[1]) + 1})::{types[found[1]]}",
        statement.sql,  # type: ignore[attr-defined]
    ).replace("%%", "%")
    text = re.sub(r"(\$\d+\))::(\w+(?:\[\])?)::", r"\1::", text)  # a cast in the statement takes precedence
    prepared = connection.pgconn.prepare(b"", text.encode())
    if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise RuntimeError(f"{names}: {prepared.error_message.decode()}")
    result = connection.pgconn.describe_prepared(b"")
    if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise RuntimeError(f"{statement}: {result.error_message.decode()}")
    columns = {}
    for number in range(result.nfields):
        name = result.fname(number)
        assert name is not None
        kind = connection.execute("SELECT format_type(%s, NULL)", (result.ftype(number),)).fetchone()
        assert kind is not None
        columns[name.decode()] = kind[0]
    return columns


def text_of(columns: dict[str, dict[str, str]]) -> str:
    """The text of the file."""
    return json.dumps(columns, indent=1) + "\n"


if __name__ == "__main__":
    COLUMNS.write_text(text_of(describe(sys.argv[1])))
