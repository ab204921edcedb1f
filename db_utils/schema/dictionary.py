"""The data dictionary: the meaning of every relation and column, from the comments in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_utils.sql_blocks import sql_beside

if TYPE_CHECKING:
    from db_utils.connections.executor import Executor

_SQL = sql_beside(__name__)


def markdown(db: Executor) -> str:
    """Return the data dictionary of tables, views, rollups, columns and functions as a Markdown page.

    It is the same for every edition: rollups may be continuous aggregates or views.
    """
    columns = db.execute_query(_SQL["columns"])
    lines = [
        "# Data dictionary",
        "",
        "Made from the comments in the database: `python -m db_utils dictionary`.",
        "",
    ]
    for relation in db.execute_query(_SQL["relations"]):
        lines += [f"## {relation['relation']} ({relation['kind']})", "", relation["meaning"], ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        lines += [
            f"| {c['column_name']} | {c['type']}{', required' if c['required'] else ''} | {_cell(c['meaning'])} |"
            for c in columns
            if c["relation"] == relation["relation"]
        ]
        lines.append("")
    lines += ["## Functions and procedures", "", "| signature | meaning |", "|---|---|"]
    lines += [f"| `{f['signature']}` | {_cell(f['meaning'])} |" for f in db.execute_query(_SQL["functions"])]
    return "\n".join(lines) + "\n"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")
