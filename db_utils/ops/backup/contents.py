"""The contents of a database by table, compared with a manifest."""

from __future__ import annotations

import json

from db_utils.errors import BackupError
from db_utils.ops.backup.manifest import Database, TableManifest
from db_utils.ops.backup.psql import PsqlSession
from db_utils.schema.source import folder


def contents(session: PsqlSession) -> tuple[Database, list[TableManifest]]:
    """Return the contents of the session's database, as its transaction sees them."""
    facts, *tables = session.file(folder("sql") / "backup" / "contents.sql")
    return Database(**json.loads(facts)), [TableManifest(**json.loads(line)) for line in tables]


def refuse_citus(session: PsqlSession) -> None:
    """Raise `BackupError` if rows are on other nodes than this one."""
    if session.rows("SELECT e.extname FROM pg_extension AS e WHERE e.extname = 'citus'"):
        raise BackupError(
            "the database is distributed over the nodes of Citus, and a dump of the coordinator has none of its rows: back up every node "
            "with pg_basebackup and its WAL (docs/citus.md), or one organization's tables with export"
        )


def differences(expected: list[TableManifest], found: list[TableManifest]) -> list[str]:
    """Return the differences of two lists of tables, one sentence each; none if they are equal."""
    there = {table.table: table for table in found}
    sentences = []
    for table in expected:
        other = there.pop(table.table, None)
        if other is None:
            sentences.append(f"{table.table} is missing")
        elif other.rows != table.rows:
            sentences.append(f"{table.table} has {other.rows:,} rows but should have {table.rows:,}")
        elif other.hash != table.hash:
            sentences.append(f"{table.table} has its {table.rows:,} rows, but some with other contents")
    return sentences + [f"{name} should not be there" for name in there]
