"""Says what a database lacks of the schema; reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_utils.errors import QueryError, SchemaError
from db_utils.schema import source
from db_utils.schema.running import run_file

if TYPE_CHECKING:
    from db_utils.connections.manager import DatabaseManager

_RAISED = "P0001"


def verify(db: DatabaseManager) -> None:
    """Raise `SchemaError` that names what is missing, if anything is; reads only, changes nothing."""
    with db.transaction(read_only=True) as transaction:
        try:
            run_file(transaction, source.file("sql", "verify.sql"))
        except SchemaError as error:
            if error.sqlstate == _RAISED and isinstance(error.__cause__, QueryError):
                # Our own RAISE EXCEPTION says all; where in the file it stands helps nobody.
                raise SchemaError(str(error.__cause__), sqlstate=error.sqlstate) from error.__cause__
            raise


def problems(db: DatabaseManager) -> list[str]:
    """What is missing or wrong in the schema of this database, one line each? [] where all is there."""
    try:
        verify(db)
    except SchemaError as error:
        if error.sqlstate != _RAISED:
            raise
        hint = getattr(error.__cause__, "hint", None)
        lines = str(error).removesuffix(f" ({hint})").splitlines()
        return [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return []
