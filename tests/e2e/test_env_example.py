"""`.env.example` names every variable with its default, so that copying it changes nothing."""

from __future__ import annotations

import re
from dataclasses import replace

from db_utils.config import Settings
from tests.e2e.compose_stack import REPOSITORY

EXAMPLE = REPOSITORY / ".env.example"
LINE = re.compile(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", re.MULTILINE)


def example() -> dict[str, str]:
    return dict(LINE.findall(EXAMPLE.read_text(encoding="utf-8")))


def compose_defaults() -> dict[str, str]:
    lines = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8").splitlines()
    return dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", "\n".join(line for line in lines if line[:1] != "#")))


def test_every_variable_of_the_compose_file_is_explained_with_the_same_default() -> None:
    found = compose_defaults()
    assert len(found) > 20
    made_of_others = {name for name, default in found.items() if "${" in default}
    assert {name: example().get(name) for name in found} == {
        name: "" if name in made_of_others else default for name, default in found.items()
    }


def test_no_variable_of_the_compose_file_lacks_a_default() -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    assert re.findall(r"(?<!\$)\$\{[A-Z_]+\}|(?<!\$)\$[A-Z_]+", text) == []


def test_every_variable_of_the_library_is_explained() -> None:
    source = (REPOSITORY / "db_utils" / "config.py").read_text(encoding="utf-8")
    names = set(re.findall(r'"((?:DATABASE|POSTGRES|REDIS|DB|CACHE)_[A-Z_]+)"', source))
    assert "POSTGRES_PASSWORD" in names
    assert names - set(example()) == set()


def test_a_copied_example_means_the_library_defaults() -> None:
    settings = Settings.from_environment({}, dotenv_path=EXAMPLE)
    assert settings.is_configured
    assert settings.redis_is_configured
    assert replace(settings, is_configured=False, redis_is_configured=False) == Settings()


def test_no_variable_stands_without_a_comment_above_it() -> None:
    paragraphs = EXAMPLE.read_text(encoding="utf-8").split("\n\n")
    bare = [
        text for text in paragraphs if LINE.search(text) and (LINE.match(text) or not text.startswith("#"))
    ]
    assert bare == []
