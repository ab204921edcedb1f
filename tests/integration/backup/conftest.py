"""Backups of a seeded database, made and restored as a user would."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from db_utils import DatabaseManager
from tests.conftest import fresh_database
from tests.integration.cli.conftest import Run, command, environment, run

__all__ = ["run"]

MakeBackup = Callable[..., Path]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "backup.key"
    path.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    return path


@pytest.fixture
def make_backup(run: Run, tmp_path: Path) -> MakeBackup:
    """Back up a database and return the folder."""

    def make(db: DatabaseManager, *arguments: str) -> Path:
        done = run(db.settings.database_url, "backup", "--out", str(tmp_path), "--json", *arguments)
        assert done.code == 0, done.err
        return Path(done.json["backup"])

    return make


@pytest.fixture(scope="module")
def backup_to_copy(server_url: str, seeded_template: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the sample data, made once; tests get a copy of it."""
    folder = tmp_path_factory.mktemp("backup") / "made"
    with fresh_database(server_url, seeded_template) as url:
        subprocess.run(command("backup", "--out", str(folder)), env=environment(DATABASE_URL=url), check=True)
    return folder


@pytest.fixture
def sample_backup(backup_to_copy: Path, tmp_path: Path) -> Path:
    """This test's own backup of the sample data, to restore or to damage."""
    return shutil.copytree(backup_to_copy, tmp_path / "sample_backup")
