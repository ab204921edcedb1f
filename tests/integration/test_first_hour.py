"""docs/first-hour.md as a newcomer follows it: its files, its commands, its programs, and the promised figure."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import fresh_database

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-hour.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*) ?(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.slow  # eight processes, each with its imports
def test_the_page_does_what_it_says(server_url: str, schema_template: str, tmp_path: Path) -> None:
    with fresh_database(server_url, schema_template) as url:
        environment = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}

        def run(*command: str) -> str:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        outputs: list[str] = []
        for language, name, text in FENCE.findall(PAGE):
            if name:
                (tmp_path / name).write_text(text, encoding="utf-8")
            if language == "python" and name:
                outputs.append(run(name))
            elif language == "bash":
                for line in text.replace("\\\n", " ").splitlines():
                    words = shlex.split(line)
                    if words[0] == "db-utils" and words[1] != "serve":
                        outputs.append(run("-m", "db_utils", *words[1:]))
            elif not language:  # what the commands above it say
                for line in text.splitlines():
                    assert any(line in output for output in outputs), line
        kpis = {row["kpi"]: row for row in csv.DictReader((tmp_path / "kpis.csv").read_text().splitlines())}
        shown = {name: float(kpis["availability"][name]) for name in ("value", "numerator", "denominator")}
        assert shown == {"value": 85, "numerator": 1020, "denominator": 1200}
        assert kpis["oee"]["value"] == ""
        assert kpis["oee"]["reason"] == "scrap is not reported"
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "Most time was lost to no driver (idle): 2 h, 67 % of all" in page
        (imported,) = [output for output in outputs if output.startswith("operational_events")]
        assert "5 added" in imported
