"""The loader accepts well-formed query files and refuses everything else, naming file and block."""

from __future__ import annotations

from pathlib import Path

import pytest

from db_utils.errors import ConfigurationError
from db_utils.queries.loader import Parameter, QueryFileError, load, parse, queries, query

GOOD = """-- Greetings.

-- name: greet
-- Who is greeted?
-- Parameters: organization_id uuid, name text?,
--     sizes numeric[]
-- A remark,
-- in two lines.
SELECT
    %(organization_id)s::uuid AS organization_id,
    -- a comment inside
    %(name)s::text AS name,
    %(sizes)s AS sizes,
    'a '' quote; 100%% ::text' AS text;

-- name: remember!
-- Remember a name.
-- Parameters: name text
INSERT INTO memory (name) VALUES (%(name)s)
"""


def test_a_block_is_its_question_parameters_remarks_and_statement() -> None:
    greet, remember = parse(GOOD, "greetings.sql")
    assert greet.name == "greet"
    assert greet.topic == "greetings"
    assert greet.question == "Who is greeted?"
    assert greet.remarks == "A remark, in two lines."
    assert greet.parameters == (
        Parameter("organization_id", "uuid", False),
        Parameter("name", "text", True),
        Parameter("sizes", "numeric[]", False),
    )
    assert greet.parameter_names == {"organization_id", "name", "sizes"}
    assert greet.sql.startswith("SELECT")
    assert greet.sql.endswith("AS text")
    assert "100%% ::text" in greet.sql
    assert not greet.writes
    assert remember.writes
    assert remember.parameters == (Parameter("name", "text", False),)


def test_files_of_a_folder_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.sql").write_text(f"-- name: of_{name}\n-- Is it {name}?\nSELECT 1 AS one")
    (tmp_path / "notes.txt").write_text("not a query")
    assert [(block.name, block.topic) for block in load(tmp_path).values()] == [("of_a", "a"), ("of_b", "b")]


def test_a_name_is_used_once(tmp_path: Path) -> None:
    block = "-- name: same\n-- Is it?\nSELECT 1 AS one;\n"
    with pytest.raises(QueryFileError, match=r"a\.sql: the name same is used twice"):
        parse(block + "\n" + block, "a.sql")
    for name in ("a", "b"):
        (tmp_path / f"{name}.sql").write_text(block)
    with pytest.raises(QueryFileError, match=r"b\.sql: the name same is used twice, first in a\.sql"):
        load(tmp_path)


def test_a_folder_without_queries_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(QueryFileError, match="no query file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no block"),
        ("-- only a comment\n", "no block"),
        ("SELECT 1;\n-- name: x\n-- Is it?\nSELECT 1 AS one", "before the first block"),
        ("-- name: x\nSELECT 1 AS one", "question"),
        ("-- name: x\n-- A statement.\nSELECT 1 AS one", "question"),
        ("-- name: x\n-- Is it?\n", "empty"),
        ("-- name: x\n", "empty"),
        ("-- name: Shout\n-- Is it?\nSELECT 1 AS one", "lowercase"),
        ("-- name: 1st\n-- Is it?\nSELECT 1 AS one", "invalid query name"),
        ("-- name: x y\n-- Is it?\nSELECT 1 AS one", "invalid query name"),
        ("-- name: x#\n-- Is it?\nSELECT 1 AS one", "mark a block"),
        ("-- name: x\n-- Is it?\nSELECT 1 AS one; SELECT 2 AS two", "one statement"),
        ("-- name: x\n-- Is it?\nSELECT %(a)s AS a", "used but not declared in its comment: a"),
        (
            "-- name: x\n-- Is it?\n-- Parameters: a text, b text\nSELECT %(a)s AS a",
            "declared in its comment but not used: b",
        ),
        ("-- name: x\n-- Is it?\n-- Parameters: a text, a uuid\nSELECT %(a)s AS a", "declared twice: a"),
        ("-- name: x\n-- Is it?\n-- Parameters: a\nSELECT %(a)s AS a", "not written 'name type'"),
        ("-- name: x\n-- Is it?\nSELECT 5 % 3 AS rest", "percent sign"),
        ("-- name: x\n-- Is it?\nSELECT %s AS a", "percent sign"),
    ],
)
def test_what_is_not_well_formed_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(QueryFileError, match=complaint) as refused:
        parse(text, "bad.sql")
    assert "bad.sql" in str(refused.value)
    assert isinstance(refused.value, ConfigurationError)


def test_the_packages_own_files_are_read_once_and_cannot_be_changed() -> None:
    assert queries() is queries()
    with pytest.raises(TypeError):
        queries()["new"] = query("get_demand_history")  # type: ignore[index]
    with pytest.raises(QueryFileError, match="no query named nothing"):
        query("nothing")
