"""docs/library.md: its program runs as written and prints the documented output."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from db_utils import DatabaseManager
from tests.integration.connections.conftest import ROOT


@pytest.mark.thorough
def test_the_program_of_the_page_prints_what_the_page_says(empty_database: DatabaseManager) -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    ((program, output), _) = re.findall(r"```python\n((?:(?!```).)*)```\n\n```\n(.*?)```", page, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env={"DATABASE_URL": empty_database.settings.database_url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == output, done.stderr
