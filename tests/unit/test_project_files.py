"""The project's documents agree with the code: versions, images, links, sizes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import barnameh
import barnameh.cli
import db_utils
import db_utils.cli
from db_utils import schema

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub generates them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("app", [db_utils.cli.app, barnameh.cli.app], ids=["db-utils", "barnameh"])
def test_both_command_lines_print_the_version(app: object) -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"{db_utils.__version__}\n"


def test_the_version_is_the_same_everywhere() -> None:
    version = db_utils.__version__
    assert barnameh.__version__ == version
    assert re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[0] == version
    assert set(re.findall(r"barnameh-services:([\d.]+)", COMPOSE + text(".env.example"))) == {version}
    project = tomllib.loads(text("pyproject.toml"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "db_utils/__init__.py"


def test_the_schema_version_is_the_one_that_the_pages_state() -> None:
    newest = str(schema.latest_version())
    assert re.findall(r"^Schema version (\d+)\.$", text("CHANGELOG.md"), re.MULTILINE)[0] == newest
    for page in PAGES:
        stated = re.findall(
            r"has schema version (\d+)|schema version \d+ to (\d+)", page.read_text(encoding="utf-8")
        )
        assert {version for found in stated for version in found if version} <= {newest}, page.name


def test_the_pythons_are_those_of_the_package() -> None:
    least, above = re.findall(r">=3\.(\d+),<3\.(\d+)", text("pyproject.toml"))[0]
    stated = re.findall(r"Python 3\.(\d+) to 3\.(\d+)", text("README.md"))
    assert stated == [(least, str(int(above) - 1))]


def test_both_lists_of_requirements_agree() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(line for extra in extras for line in extras[extra] if extra != "benchmarks"),
    ]
    listed = {
        line.partition("  #")[0].partition(" #")[0].strip() for line in text("requirements.txt").splitlines()
    }
    for requirement in wanted:
        if not requirement.startswith(("barnameh-db-utils", "opentelemetry-api")):
            assert requirement.replace("'", '"') in listed


def test_the_readme_is_one_door() -> None:
    assert len(text("README.md").encode()) <= 9 * 1024
    mapped = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", text("README.md")))
    assert mapped == {page.name for page in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = page if not name else (page.parent / name)
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


def test_make_writes_every_generated_page_and_the_hooks_are_those_of_lint() -> None:
    makefile = text("Makefile")
    generators = {path.stem for path in (ROOT / "tests" / "support").glob("*_page.py")}
    assert generators <= set(re.findall(r"python -m tests\.support\.(\w+)", makefile))
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert lint is not None
    tools = {line.split()[0] for line in lint[1].splitlines()}
    assert {
        entry.split()[0] for entry in re.findall(r"entry: ([^,]+)", text(".pre-commit-config.yaml"))
    } == tools
