"""The catalogue of prebuilt queries: every method with its question, generated from the code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from db_utils.queries import OperationalDataQueries
from db_utils.queries.runner import QueryRunner

_NOT_TOPICS = (OperationalDataQueries, QueryRunner, object)


def reads(name: str) -> bool:
    """Whether this method reads only."""
    return name.startswith("get_") and not name.startswith("get_or_create_")


@dataclass(frozen=True)
class Entry:
    """One method of `OperationalDataQueries`."""

    topic: str
    """Its topic: the name of its module and of its .sql file, if any, in `db_utils/queries`."""
    name: str
    arguments: str
    """Its arguments as written in a call; those after `*` are keyword-only."""
    question: str
    """What a read answers, or what a write does: the first line of its docstring."""
    writes: bool


def entries() -> Iterator[Entry]:
    """Return every public method of `OperationalDataQueries`, by topic, in the order of the code."""
    topics = [topic for topic in OperationalDataQueries.__mro__ if topic not in _NOT_TOPICS]
    for topic in topics:
        for name, method in vars(topic).items():
            if name.startswith("_") or not inspect.isfunction(method):
                continue
            yield Entry(
                topic=topic.__module__.rpartition(".")[2],
                name=name,
                arguments=_arguments(method),
                question=(inspect.getdoc(method) or "").partition("\n")[0],
                writes=not reads(name),
            )


def _arguments(method: object) -> str:
    assert callable(method)
    shown: list[str] = []
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        required = parameter.default is parameter.empty
        shown.append(parameter.name if required else f"[{parameter.name}]")
    return ", ".join(shown)


def markdown() -> str:
    """Return the catalogue as a Markdown table; arguments in brackets are optional."""
    lines = [
        "| topic | method of `OperationalDataQueries` | what it answers, or does |",
        "| --- | --- | --- |",
    ]
    last_topic = ""
    for entry in entries():
        topic = "" if entry.topic == last_topic else entry.topic.replace("_", " ")
        last_topic = entry.topic
        kind = " (writes)" if entry.writes else ""
        lines.append(f"| {topic} | `{entry.name}({entry.arguments})` | {entry.question}{kind} |")
    return "\n".join(lines) + "\n"
