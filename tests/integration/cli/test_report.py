"""`report`: a complete file or none, for any role that may read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager
from tests.integration.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("no_drawing")
MANUFACTURING = "11111111-1111-1111-1111-111111111111"


def test_a_file(seeded: DatabaseManager, run: Run, tmp_path: Path) -> None:
    url = seeded.settings.database_url
    (tmp_path / "report.html").write_text("before")
    done = run(url, "report", "--organization", "Sample Logistics", "--out", "report.html", "--days", "7")
    assert (done.code, done.err) == (0, "")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>")
    assert "<h1>Sample Logistics</h1>" in page
    assert done.out.startswith("report.html: ")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]

    shown = run(url, "report", "--organization", MANUFACTURING, "--out", "-", "--days", "1")
    assert shown.code == 0
    assert shown.out.startswith("<!DOCTYPE html>")


def test_mistakes_leave_the_file_alone(seeded: DatabaseManager, run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept.html").write_text("before")
    for arguments, code, words in (
        (("--organization", "Nobody"), 1, "Sample Logistics"),
        (("--organization", MANUFACTURING, "--days", "0"), 2, "days must be"),
        (("--organization", MANUFACTURING, "--start", "tomorrow"), 2, "2026-11-24"),
        ((), 2, "--organization"),
    ):
        done = run(seeded.settings.database_url, "report", "--out", "kept.html", *arguments)
        assert done.code == code, done.err
        assert words in done.err
    for out in ("missing/report.html", "."):
        done = run(seeded.settings.database_url, "report", "--organization", MANUFACTURING, "--out", out)
        assert done.code == 2
        assert "folder" in done.err
    assert (tmp_path / "kept.html").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.html"]


@pytest.mark.slow
def test_a_customers_login(seeded_database: DatabaseManager, run: Run, tmp_path: Path) -> None:
    db, login = seeded_database, f"report_login_{os.getpid()}"
    db.execute("CALL create_tenant_login(%s, %s, 'a long hidden-word')", (MANUFACTURING, login))
    try:
        url = make_dsn(
            **{**parse_dsn(db.settings.database_url), "user": login, "password": "a long hidden-word"}
        )
        done = run(url, "report", "--organization", "Sample Manufacturing", "--out", "report.html")
        assert done.code == 0, done.err
        own = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "Packing Line 1" in own
        assert "Van 1" not in own
        other = run(url, "report", "--organization", "Sample Logistics", "--out", "other.html")
        assert other.code == 1
        assert "Sample Logistics (" not in other.err
    finally:
        db.execute("CALL drop_tenant_login(%s)", (login,))
