"""The wheel: built from the files tracked by git, installed next to an empty folder, it does everything the sources do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import fresh_database

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CARRIED = {"sql": "db_utils/sql", "seeds": "db_utils/seeds", "db_utils": "db_utils", "barnameh": "barnameh"}
SOURCES = (".py", ".sql", ".lua", ".typed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", ".git", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, source, ignore=ignored)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            folder,
            source,
        ],
        check=True,
        capture_output=True,
    )
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs `python …` in an empty folder, with the package from the wheel and nothing from this checkout."""
    packages, empty = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("empty")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", packages, wheel],
        check=True,
        capture_output=True,
    )

    def run(*arguments: str) -> str:
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=empty,
            env={**environment, "PYTHONPATH": str(packages), "REDIS_URL": "", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_it_carries_every_source_file_and_says_which_pythons_it_is_for(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        words = archive.read(metadata).decode()
    expected = {
        f"{target}/{path.relative_to(ROOT / folder)}"
        for folder, target in CARRIED.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SOURCES or path.name == "py.typed"
    }
    assert {name for name in names if ".dist-info/" not in name} >= expected
    assert not [name for name in names if name.startswith(("tests/", "db_utils.py"))]
    assert "Requires-Python: <3.15,>=3.11" in words


def test_it_works_from_an_empty_folder(installed: Callable[..., str], server_url: str) -> None:
    assert str(ROOT) not in installed("-c", "import db_utils; print(db_utils.__file__)")
    assert "smoke" in installed("-m", "db_utils", "--help")
    with fresh_database(server_url) as url:
        installed("-m", "db_utils", "init", "--url", url)
        installed("-m", "db_utils", "seed", "--url", url)
        installed("-m", "db_utils", "verify", "--url", url)
        assert "prebuilt queries answered" in installed("-m", "db_utils", "smoke", "--url", url)
