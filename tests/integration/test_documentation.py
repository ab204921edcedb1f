"""The documentation says what the code does; `python -m tests.support.readme` brings it up to date."""

from __future__ import annotations

from db_utils import DatabaseManager
from db_utils.schema import dictionary
from tests.support import readme


def test_the_generated_parts_of_the_readme_are_current() -> None:
    assert readme.README.read_text(encoding="utf-8") == readme.readme()


def test_the_data_dictionary_is_current_on_every_edition(seeded: DatabaseManager) -> None:
    assert readme.DICTIONARY.read_text(encoding="utf-8") == dictionary.markdown(seeded)


def test_everything_has_a_meaning(seeded: DatabaseManager) -> None:
    text = dictionary.markdown(seeded)
    assert len(text.splitlines()) > 400
    assert not [line for line in text.splitlines() if line.endswith("|  |")]
    assert "None" not in text.split()
