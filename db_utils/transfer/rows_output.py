"""Rows as CSV and JSON Lines. The server writes the text itself, so that every value is exact."""

from __future__ import annotations

import csv
import datetime as dt
import io
import uuid
from collections.abc import Sequence
from typing import Any

from psycopg2 import sql

from db_utils.bulk.target import Target, identifiers, plain_cursor
from db_utils.transfer.converting import json_text
from db_utils.transfer.options import ExportOptions, Format

# In JSON text control characters are escaped: with these, COPY finds nothing to quote.
_NO_QUOTES = sql.SQL(r"FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02'")


def write(
    connection: Any,
    stream: Any,
    target: Target,
    columns: Sequence[str],
    where: sql.Composable,
    order: Sequence[str],
    kind: Format,
    options: ExportOptions,
) -> int:
    """How many rows of the target were written?"""
    select = sql.SQL("SELECT {} FROM {} WHERE {}").format(identifiers(columns), target.identifier, where)
    if order:
        select += sql.SQL(" ORDER BY {}").format(identifiers(order))
    if kind == "jsonl":
        select, form = sql.SQL("SELECT row_to_json(r) FROM ({}) AS r").format(select), _NO_QUOTES
    else:
        form = sql.SQL("FORMAT csv, HEADER {}, DELIMITER {}, NULL {}").format(
            sql.SQL("true" if options.header else "false"),
            sql.Literal(options.delimiter),
            sql.Literal(options.null),
        )
    copy = sql.SQL("COPY ({}) TO STDOUT WITH ({}, ENCODING 'UTF8')").format(select, form)
    with plain_cursor(connection) as cursor:
        cursor.copy_expert(copy, stream)
        return int(cursor.rowcount)


def write_dicts(stream: Any, rows: Sequence[dict[str, Any]], kind: Format, options: ExportOptions) -> None:
    """Write the rows of a prebuilt query; none are a file without columns."""
    if kind == "jsonl":
        for row in rows:
            stream.write(
                (json_text({name: json_value(value) for name, value in row.items()}) + "\n").encode()
            )
        return
    text = io.StringIO(newline="")
    # With both in the line end, a cell that holds either is quoted.
    writer = csv.writer(text, delimiter=options.delimiter, lineterminator="\r\n")
    names = list(rows[0]) if rows else []
    if options.header and names:
        writer.writerow(names)
    for row in rows:
        writer.writerow([options.null if row[name] is None else cell(row[name]) for name in names])
    stream.write(text.getvalue().encode())


def json_value(value: Any) -> Any:
    """This value of Python as JSON has it."""
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    return str(value) if isinstance(value, (uuid.UUID, dt.timedelta)) else value


def cell(value: Any) -> str:
    """This value of Python as a text."""
    if isinstance(value, (dict, list)):
        return json_text(value)
    return str(value).lower() if isinstance(value, bool) else str(json_value(value))
