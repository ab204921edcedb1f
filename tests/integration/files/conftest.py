"""Files to import, and a database to load them into."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from db_utils import DatabaseManager
from tests.integration.cli.conftest import Run, run

__all__ = ["Run", "run"]

ORGANIZATION = "11111111-1111-1111-1111-111111111111"
NAME = "Sample Manufacturing"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes rows as a CSV file."""

    def to_file(name: str, rows: Iterable[Sequence[Any]], *, encoding: str = "utf-8", **dialect: Any) -> Path:
        text = io.StringIO(newline="")
        csv.writer(text, **dialect).writerows(rows)
        path = tmp_path / name
        path.write_bytes(text.getvalue().encode(encoding))
        return path

    return to_file


@pytest.fixture
def db(seeded_database: DatabaseManager) -> DatabaseManager:
    return seeded_database


def location(db: DatabaseManager) -> tuple[str, str]:
    """A location of the organization: its id and its name."""
    row = db.execute_query(
        "SELECT location_id::text AS id, name FROM locations WHERE organization_id = %s ORDER BY name",
        (ORGANIZATION,),
    )[0]
    return row["id"], row["name"]


def count(db: DatabaseManager, table: str, where: str = "true") -> int:
    rows: int = db.execute_query(f"SELECT count(*) AS n FROM {table} WHERE {where}")[0]["n"]
    return rows
