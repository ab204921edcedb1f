"""docs/command-line.md, generated from the commands: `python -m tests.support.command_line_page` writes it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from db_utils.cli import app
from db_utils.cli.common import Exit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"

INTRODUCTION = """\
# The command line

`python -m db_utils COMMAND`, or `db-utils COMMAND` if the package is installed. Every command takes the database from `--url`, else from
`DATABASE_URL` or `POSTGRES_*` in the environment or `.env`. Results go to standard output, progress to standard error; with `--json` the
result is one JSON document. Errors are one sentence, never a traceback.
"""
MEANINGS = {
    Exit.DONE: "success",
    Exit.FAILED: "failure; one sentence says why",
    Exit.USAGE: "wrong usage",
    Exit.ATTENTION: "success, but something needs attention: a warning, a rejected row",
    Exit.CRITICAL: "a critical problem",
    Exit.INTERRUPTED: "interrupted",
}


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION, "| exit code | meaning |", "|---|---|"]
    lines += [f"| {code.value} | {MEANINGS[code]} |" for code in Exit]
    for name, command in _commands(typer.main.get_command(app)):
        lines += ["", f"## {name}", "", text(command.help)]
        rows = [row(parameter) for parameter in command.params if parameter.name != "help"]
        lines += ["", "| option | | meaning |", "|---|---|---|", *rows] if rows else []
    return "\n".join(lines) + "\n"


def _commands(group: Any, of: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its name; those of a group follow it."""
    for name, command in group.commands.items():
        yield of + name, command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{of}{name} ")


def text(help_text: str | None) -> str:
    """Help as the screen shows it: paragraphs on one line, lines after a \\b unchanged."""
    paragraphs = inspect.cleandoc(help_text or "").split("\n\n")
    return "\n\n".join(
        "```\n" + paragraph.removeprefix("\b\n") + "\n```"
        if paragraph.startswith("\b\n")
        else " ".join(paragraph.split())
        for paragraph in paragraphs
    )


def row(parameter: Any) -> str:
    """One option or argument."""
    names = " ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    default = parameter.default
    shown = (
        "required"
        if parameter.required
        else ""
        if default in (None, False, (), [], "") or callable(default)
        else f"default {getattr(default, 'value', default)}"
    )
    meaning = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    return f"| {names} | {shown} | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
