"""Verify the schema of a database; reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_utils.connections.transaction import without_deadline
from db_utils.errors import QueryError, SchemaError
from db_utils.schema import source
from db_utils.schema.running import run_file

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager

_RAISED = "P0001"


def verify(db: DatabaseManager) -> None:
    """Raise `SchemaError` that names what is missing, if anything; reads only."""
    with db.transaction(read_only=True) as transaction:
        try:
            run_file(transaction, source.file("sql", "verify.sql"))
        except SchemaError as error:
            if error.sqlstate == _RAISED and isinstance(error.__cause__, QueryError):
                # The message of our own RAISE EXCEPTION is complete; its line in the file does not help.
                raise SchemaError(str(error.__cause__), sqlstate=error.sqlstate) from error.__cause__
            raise


def problems(db: DatabaseManager) -> list[str]:
    """Return what is missing or wrong in the schema of this database, one line each; [] if complete."""
    try:
        verify(db)
    except SchemaError as error:
        if error.sqlstate != _RAISED:
            raise
        hint = getattr(error.__cause__, "hint", None)
        lines = str(error).removesuffix(f" ({hint})").splitlines()
        return [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return []


def row_problems(db: DatabaseManager) -> list[str]:
    """Return duplicate rows and rollups that differ from their rows, one line each; [] if there are none.

    Reads every row, without an index (some seconds for a million rows), and changes nothing: `CALL
    remove_double_rows()` fixes what it finds. Run it as the schema's owner.
    """
    with db.transaction(read_only=True) as transaction, without_deadline(transaction):
        doubles = transaction.execute_query(
            "SELECT relation, period_start, period_end, key_count, surplus_count FROM public.double_rows()"
        )
        differing = transaction.execute_query(
            "SELECT rollup, first_bucket, last_bucket, bucket_count FROM public.rollup_differences()"
        )
    return [
        f"{row['relation']} holds {row['key_count']:,} primary keys more than once, {row['surplus_count']:,} rows too many"
        + (
            f" ({row['period_start']:%Y-%m-%d} to {row['period_end']:%Y-%m-%d})"
            if row["period_start"]
            else ""
        )
        for row in doubles
    ] + [
        f"rollup {row['rollup']} differs from its rows in {row['bucket_count']:,} buckets "
        f"({row['first_bucket']:%Y-%m-%d %H:%M} to {row['last_bucket']:%Y-%m-%d %H:%M} UTC)"
        for row in differing
    ]
