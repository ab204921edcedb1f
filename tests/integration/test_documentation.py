"""The documentation matches the code; `python -m tests.support.readme` updates it."""

from __future__ import annotations

import re

from db_utils import DatabaseManager
from db_utils.schema import dictionary
from tests.support import command_line_page, isolation_page, picture, readme


def test_the_pages_of_queries_and_settings_are_current() -> None:
    assert readme.QUERIES.read_text(encoding="utf-8") == readme.queries_page()
    assert readme.CONFIGURATION.read_text(encoding="utf-8") == readme.configuration_page()


def test_the_count_of_the_attack_is_what_was_counted() -> None:
    assert isolation_page.PAGE.read_text(encoding="utf-8") == isolation_page.page()


def test_the_data_dictionary_is_current_on_every_edition(seeded: DatabaseManager) -> None:
    assert readme.DICTIONARY.read_text(encoding="utf-8") == dictionary.markdown(seeded)


def test_everything_has_a_meaning(seeded: DatabaseManager) -> None:
    text = dictionary.markdown(seeded)
    assert len(text.splitlines()) > 400
    assert not [line for line in text.splitlines() if line.endswith("|  |")]
    assert "None" not in text.split()


RELATION = re.compile(r'^    (?P<parent>\w+) (?P<mark>\|\||\|o)--o[{|] (?P<child>\w+) : "?[\w ]+"?$')


def test_the_picture_of_the_schema_shows_its_foreign_keys(seeded: DatabaseManager) -> None:
    """Each foreign key is drawn once, with a circle if nullable; the organization's only if a table has no other."""
    page = (readme.ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
    drawing = re.findall(r"```mermaid\nerDiagram\n(.*?)```", page, re.DOTALL)
    assert len(drawing) == 1
    found = [RELATION.match(line) for line in drawing[0].splitlines()]
    drawn = [(m["child"], m["parent"], m["mark"] == "|o") for m in found if m is not None]
    assert len(drawn) == len(found) == len(set(drawn))
    keys = seeded.execute_query(
        """
        SELECT
            k.conrelid::regclass::text AS child,
            k.confrelid::regclass::text AS parent,
            bool_or(NOT a.attnotnull) AS optional
        FROM pg_constraint AS k
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
        JOIN pg_class AS c ON c.oid = k.conrelid
        WHERE k.contype = 'f' AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'tenant_logins'
        GROUP BY k.oid
        """
    )
    wanted = {(row["child"], row["parent"], row["optional"]) for row in keys}
    reached_otherwise = {
        key
        for key in wanted
        if key[1] == "organizations" and any(k[0] == key[0] and k[1] != "organizations" for k in wanted)
    }
    assert wanted - reached_otherwise <= set(drawn) <= wanted


def test_the_page_of_commands_is_current() -> None:
    assert command_line_page.PAGE.read_text(encoding="utf-8") == command_line_page.page()


def test_the_picture_of_the_readme_is_the_reports(seeded: DatabaseManager) -> None:
    """Its figures are from the day on which it was drawn; its subjects are the same every day."""

    def words(svg: str) -> set[str]:
        return {
            text
            for text in re.findall(r"<text[^>]*>([^<]+)</text>", svg)
            if not re.search(r"\d\.\d|^\d+$", text)
        }

    assert words(picture.FILE.read_text(encoding="utf-8")) == words(picture.drawing(seeded))
