"""The generated parts of the documentation; `python -m tests.support.readme` rewrites them.

They are between `<!-- name -->` and `<!-- end of name -->`.
"""

from __future__ import annotations

import re
from pathlib import Path

from db_utils import DatabaseManager
from db_utils.queries import catalogue
from db_utils.schema import dictionary

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "docs" / "queries.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
DICTIONARY = ROOT / "docs" / "data-dictionary.md"

_SECTION = re.compile(r"^# ---- (?P<title>.*?) -+$")
_VARIABLE = re.compile(r"^(?P<optional># )?(?P<name>[A-Z][A-Z0-9_]+)=(?P<default>.*)$")


def configuration() -> str:
    """A table of every variable of .env.example: default and meaning, section by section."""
    lines, meaning, fresh = ["| variable | default | meaning |", "|---|---|---|"], [], True
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        section, variable = _SECTION.match(line), _VARIABLE.match(line)
        if section:
            lines.append(f"| **{section['title']}** | | |")
            meaning, fresh = [], True
        elif variable:
            default = (
                "" if variable["optional"] else f"`{variable['default']}`" if variable["default"] else "empty"
            )
            lines.append(f"| `{variable['name']}` | {default} | {' '.join(meaning)} |")
            fresh = True
        elif line.startswith("# "):
            # A comment after a variable starts a new section.
            meaning = [*([] if fresh else meaning), line.removeprefix("# ").strip()]
            fresh = False
        else:
            meaning, fresh = [], True
    return "\n".join(lines) + "\n"


def with_part(text: str, name: str, content: str) -> str:
    """The text with a generated part replaced."""
    pattern = re.compile(rf"(<!-- {name}\b[^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    replaced, count = pattern.subn(lambda match: f"{match[1]}\n{content}\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"the page has {count} parts called {name}")
    return replaced


def queries_page() -> str:
    """The required text of docs/queries.md, given its current text."""
    return with_part(QUERIES.read_text(encoding="utf-8"), "catalogue", catalogue.markdown())


def configuration_page() -> str:
    """The required text of docs/configuration.md, given its current text."""
    return with_part(CONFIGURATION.read_text(encoding="utf-8"), "configuration", configuration())


def main() -> None:
    """Rewrite the pages and the data dictionary."""
    QUERIES.write_text(queries_page(), encoding="utf-8")
    CONFIGURATION.write_text(configuration_page(), encoding="utf-8")
    with DatabaseManager.embedded() as db:
        DICTIONARY.write_text(dictionary.markdown(db), encoding="utf-8")


if __name__ == "__main__":
    main()
