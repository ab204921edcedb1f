"""Write CSV and JSON Lines. The server writes the text itself, so every value is exact."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Sequence
from typing import Any

from psycopg2 import sql

from db_utils.copy.target_table import TargetTable, plain_cursor
from db_utils.files.conversion import json_text
from db_utils.files.options import ExportOptions, Format

# In JSON text control characters are escaped: with these, COPY finds nothing to quote.
_NO_QUOTES = sql.SQL(r"FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02'")


def write(
    connection: Any,
    stream: Any,
    target: TargetTable,
    source: sql.Composable,
    columns: Sequence[str],
    where: sql.Composable,
    order: Sequence[str],
    kind: Format,
    options: ExportOptions,
) -> int:
    """Write the rows of the source `r` with the target's columns, and return how many."""
    escape = options.escape_formulas and kind == "csv"
    texts = {
        name for name in columns if escape and target.columns[name].type in ("text", "varchar", "bpchar")
    }
    shown = sql.SQL(", ").join(
        sql.SQL("CASE WHEN {0} ~ {1} THEN '''' || {0} ELSE {0} END AS {0}").format(
            sql.Identifier(name), sql.Literal(FORMULA)
        )
        if name in texts
        else sql.Identifier(name)
        for name in columns
    )
    select = sql.SQL("SELECT {} FROM {} WHERE {}").format(shown, source, where)
    if order:
        qualified = [sql.Identifier("r", name) for name in order]
        select += sql.SQL(" ORDER BY {}").format(sql.SQL(", ").join(qualified))
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
    """Write the rows of a prebuilt query; no rows give a file without columns."""
    if kind == "jsonl":
        for row in rows:
            stream.write((json_text(row) + "\n").encode())
        return
    text = io.StringIO(newline="")
    # With both in the line end, a cell that contains either is quoted.
    writer = csv.writer(text, delimiter=options.delimiter, lineterminator="\r\n")
    names = list(rows[0]) if rows else []
    if options.header and names:
        writer.writerow(names)
    for row in rows:
        values = (escaped(row[name]) if options.escape_formulas else row[name] for name in names)
        writer.writerow([options.null if value is None else cell(value) for value in values])
    stream.write(text.getvalue().encode())


FORMULA = "^'*[=+@\\t\\r\uff1d\uff0b\uff0d\uff20-]"
"""A text that a spreadsheet would run, or that looks like an escaped one."""
_FORMULA = re.compile(FORMULA)


def escaped(value: Any) -> Any:
    """Return this value escaped so that no spreadsheet runs it; only text can be a formula."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def cell(value: Any) -> str:
    """Return this Python value as text."""
    if isinstance(value, (dict, list)):
        return json_text(value)
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)
