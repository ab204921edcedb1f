"""The fast path for clean files: COPY into the table, rolled back if a row is refused or exists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2

from db_utils import copy
from db_utils.copy.diagnose import names_a_row
from db_utils.copy.target_table import plain_cursor
from db_utils.errors import DbUtilsError, InvalidInputError
from db_utils.files.relations import Relation


class NotDirectError(Exception):
    """A row cannot be imported by COPY alone."""


def copy_directly(
    connection: Any, relation: Relation, columns: Sequence[str], rows: Iterator[Sequence[Any]]
) -> int | None:
    """Copy the rows and return how many; None, with none added, for a bad, existing or not direct one.

    Raises errors that no row caused.
    """
    with plain_cursor(connection) as cursor:
        cursor.execute("SAVEPOINT import_straight")
        try:
            with closing(rows):  # type: ignore[type-var]
                return copy.copy_rows(connection, f"public.{relation.name}", columns, rows)
        except NotDirectError:
            pass
        except DbUtilsError as error:
            if not _is_of_a_row(error):
                raise
        cursor.execute("ROLLBACK TO SAVEPOINT import_straight")
    return None


def _is_of_a_row(error: DbUtilsError) -> bool:
    if isinstance(error.__cause__, psycopg2.Error):
        return names_a_row(error.__cause__)
    return isinstance(error, InvalidInputError)
