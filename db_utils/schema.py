"""The schema: applied, seeded and verified with the same files as at the container's first start."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.errors

from db_utils.errors import QueryError, SchemaError, UndefinedObjectError, translate

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager
    from db_utils.connections.transaction import Transaction

_INCLUDE = re.compile(r"^\\ir\s+(\S+)\s*$", re.MULTILINE)
_MARKER = "schema.sha256"
_REFRESH_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class SchemaFile:
    """One file of the schema."""

    path: Path
    text: str


def folder(name: str) -> Path:
    """Where the files of `sql` or `seeds` are: in the installed package, or beside it in the source tree."""
    here = Path(__file__).resolve().parent
    for candidate in (here / name, here.parent / name):
        if candidate.is_dir():
            return candidate
    raise SchemaError(f"the folder {name}/ is missing from this installation: install the package again")


def files() -> list[SchemaFile]:
    """The files of the schema, in the order of the manifest `sql/schema.sql`."""
    manifest = folder("sql") / "schema.sql"
    names = _INCLUDE.findall(manifest.read_text(encoding="utf-8"))
    return [
        SchemaFile(manifest.parent / name, (manifest.parent / name).read_text(encoding="utf-8"))
        for name in names
    ]


def checksum() -> str:
    """A fingerprint of all schema files."""
    digest = hashlib.sha256()
    for file in files():
        digest.update(file.path.name.encode() + b"\0" + file.text.encode() + b"\0")
    return digest.hexdigest()


def apply(db: DatabaseManager) -> None:
    """Bring this database to the schema of this version: all of it in one transaction, safe to repeat.

    Two at once wait for each other. Raises `SchemaError` that names the file and line of a statement that
    failed; nothing is kept then.
    """
    with db.transaction() as transaction, transaction._loading(None):
        transaction.execute("SET LOCAL lock_timeout = 0")
        transaction.execute("SET LOCAL client_min_messages = warning")
        for file in files():
            _run_file(transaction, file)


def seed(db: DatabaseManager) -> None:
    """Load the sample data, relative to now, in one transaction; where it is already, nothing changes."""
    path = folder("seeds") / "seed_data.sql"
    file = SchemaFile(path, path.read_text(encoding="utf-8"))
    with db.transaction() as transaction, transaction._loading(None):
        _run_file(transaction, file)
    refresh_rollups(db)


def refresh_rollups(db: DatabaseManager, *, wait_seconds: float = 300.0) -> None:
    """Bring the rollups up to the rows now, instead of at their next scheduled refresh.

    Waits up to `wait_seconds` for a scheduled refresh that runs at the moment, because two of one rollup do
    not go together; then raises `QueryTimeoutError` (SQLSTATE 55P03).
    """
    give_up_at = time.monotonic() + wait_seconds
    while True:
        try:
            with db.connection() as connection:
                connection.autocommit = True  # a refresh refuses a transaction block
                with connection.cursor() as cursor:
                    cursor.execute("SET statement_timeout = 0")
                    cursor.execute("CALL refresh_rollups()")
            return
        except psycopg2.errors.LockNotAvailable as error:
            if time.monotonic() > give_up_at:
                raise translate(error) from error
            time.sleep(_REFRESH_RETRY_SECONDS)
        except psycopg2.Error as error:
            raise translate(error) from error


def verify(db: DatabaseManager) -> None:
    """Raise `SchemaError` that names what is missing, if anything is; reads only, changes nothing."""
    path = folder("sql") / "verify.sql"
    file = SchemaFile(path, path.read_text(encoding="utf-8"))
    with db.transaction(read_only=True) as transaction:
        try:
            _run_file(transaction, file)
        except SchemaError as error:
            if error.sqlstate == "P0001" and isinstance(error.__cause__, QueryError):
                # Our own RAISE EXCEPTION says all; where in the file it stands helps nobody.
                raise SchemaError(str(error.__cause__), sqlstate=error.sqlstate) from error.__cause__
            raise


def edition(db: DatabaseManager) -> str:
    """Which edition is this database: "community", "apache" or "plain"?"""
    try:
        return str(db.execute_query("SELECT database_edition() AS edition")[0]["edition"])
    except UndefinedObjectError as error:
        raise SchemaError("this database has no schema yet: run db_utils.schema.apply(db)") from error


def version(db: DatabaseManager) -> int | None:
    """Which version of the schema does this database have? None where it has none."""
    found = db.execute_query("SELECT to_regclass('public.schema_version') AS relation")
    if found[0]["relation"] is None:
        return None
    rows = db.execute_query("SELECT max(version) AS version FROM public.schema_version")
    newest: int | None = rows[0]["version"]
    return newest


def is_seeded(db: DatabaseManager) -> bool:
    """Whether the sample data was loaded into this database."""
    return bool(db.execute_query("SELECT EXISTS (SELECT FROM public.seed_runs) AS seeded")[0]["seeded"])


def ensure(db: DatabaseManager, *, seed: bool = False) -> None:
    """Apply the schema, and the sample data if asked for, where an embedded server lacks them."""
    server = db._embedded
    marker = server.data_dir / _MARKER if server is not None else None
    expected = checksum()
    known = marker.read_text(encoding="ascii") if marker is not None and marker.exists() else None
    if known != expected or version(db) is None:
        apply(db)
        if marker is not None:
            marker.write_text(expected, encoding="ascii")
    if seed and not is_seeded(db):
        globals()["seed"](db)


def _run_file(transaction: Transaction, file: SchemaFile) -> None:
    try:
        transaction._run_script(file.text)
    except QueryError as error:
        line = _line_of(error, file.text)
        place = f"{file.path.name}:{line}" if line else file.path.name
        raise SchemaError(f"{place}: {error}", sqlstate=error.sqlstate) from error


def _line_of(error: QueryError, text: str) -> int | None:
    position = getattr(getattr(error.__cause__, "diag", None), "statement_position", None)
    return text.count("\n", 0, int(position) - 1) + 1 if position else None
