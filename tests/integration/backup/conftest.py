"""Backups of a seeded database, made and restored as a user does it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from db_utils import DatabaseManager
from tests.integration.cli.conftest import Run, blank, blank_url, run

__all__ = ["blank", "blank_url", "run"]

MakeBackup = Callable[..., Path]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "backup.key"
    path.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    return path


@pytest.fixture
def make_backup(run: Run, tmp_path: Path) -> MakeBackup:
    """Backs a database up; the folder."""

    def make(db: DatabaseManager, *arguments: str) -> Path:
        done = run(db.settings.database_url, "backup", "--out", str(tmp_path), "--json", *arguments)
        assert done.code == 0, done.err
        return Path(done.json["backup"])

    return make
