"""SQL next to a module: every block exists once, is used, and is valid for psql."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import db_utils
from db_utils.sql_blocks import sql_beside
from db_utils.sql_text import shape

ROOT = Path(db_utils.__file__).parent
MODULES = sorted(
    path.with_suffix("").relative_to(ROOT.parent).as_posix().replace("/", ".")
    for path in ROOT.rglob("*.py")
    if re.search(r"^_SQL = sql_beside\(__name__\)$", path.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize("module", MODULES)
def test_the_blocks_of_a_module_are_the_ones_that_it_uses(module: str) -> None:
    path = ROOT.parent / module.replace(".", "/")
    named = re.findall(r"^-- name: (.*)$", path.with_suffix(".sql").read_text(encoding="utf-8"), re.MULTILINE)
    used = re.findall(r"""_SQL\[["'](\w+)["']\]""", path.with_suffix(".py").read_text(encoding="utf-8"))
    assert len(named) == len(set(named))
    assert sorted(sql_beside(module)) == sorted(named) == sorted(set(used))
    assert all(shape(sql).statements == 1 for sql in sql_beside(module).values())


def test_the_comment_at_the_head_of_a_block_is_for_its_readers() -> None:
    assert len(MODULES) > 15
    assert not any(sql.startswith("--") for module in MODULES for sql in sql_beside(module).values())
