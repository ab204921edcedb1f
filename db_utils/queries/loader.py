"""The prebuilt queries: SQL text in `queries/*.sql`, one file per topic, one named block per query.

A block can be pasted into pgAdmin once its placeholders are filled in:

    -- name: get_demand_history
    -- What was the demand for a product, row by row?
    -- Parameters: organization_id uuid, product_id text, days integer?
    -- (further remarks, if any)
    SELECT …

The comment holds the question that a read answers, or what a write does, then the parameters with their
PostgreSQL types; `?` marks nullable ones. aiosql reads the files; this module is stricter: a duplicate name,
a block without a question, a parameter declared but not used or used but not declared, and two statements in
one block are errors that name the file.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Protocol

from aiosql.query_loader import QueryLoader
from aiosql.types import SQLOperationType

from db_utils.connections import planned_once
from db_utils.errors import ConfigurationError
from db_utils.sql_text import shape

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%%|(%)")
_DECLARATION = re.compile(r"(?P<name>[a-z][a-z0-9_]*) (?P<type>[a-z ]+(?:\[\])?)(?P<optional>\?)?")
_WRITES = (SQLOperationType.INSERT_UPDATE_DELETE, SQLOperationType.INSERT_RETURNING)
_READS = (SQLOperationType.SELECT, SQLOperationType.SELECT_ONE)


class QueryFileError(ConfigurationError):
    """A query file is invalid: a duplicate name, no question, undeclared parameters, bad SQL."""


@dataclass(frozen=True)
class Parameter:
    """One placeholder of a block: its name, its PostgreSQL type, and whether it may be NULL."""

    name: str
    type: str
    is_optional: bool


@dataclass(frozen=True)
class Query:
    """One named block."""

    name: str
    topic: str
    """Its file, without `.sql`."""
    question: str
    """The first sentence of its comment: what a read answers, or what a write does."""
    remarks: str
    """Further lines of its comment, or an empty text."""
    parameters: tuple[Parameter, ...]
    sql: str
    """The statement with `%(name)s` placeholders."""
    writes: bool

    @property
    def parameter_names(self) -> frozenset[str]:
        """The exact set of names that the statement requires."""
        return frozenset(parameter.name for parameter in self.parameters)


class _Folder(Protocol):
    def iterdir(self) -> Iterator[Any]: ...


class _Untouched:
    """An aiosql adapter that leaves the text unchanged: it is already written for psycopg2."""

    @staticmethod
    def process_sql(name: str, kind: SQLOperationType, sql: str) -> str:
        return sql


@lru_cache(maxsize=1)
def queries() -> Mapping[str, Query]:
    """Return every block of this package by name, in the order of topics and files."""
    found = load(resources.files("db_utils") / "queries")
    for block in found.values():
        if not block.writes and "organization_id" in block.parameter_names:
            planned_once.register(
                block.name, block.sql, [(each.name, each.type) for each in block.parameters]
            )
    return MappingProxyType(found)


def query(name: str) -> Query:
    """Return the block of this name. An unknown name is a bug of this library: `QueryFileError`."""
    try:
        return queries()[name]
    except KeyError:
        raise QueryFileError(f"there is no query named {name} in db_utils/queries") from None


def load(folder: _Folder) -> dict[str, Query]:
    """Return the blocks of all `.sql` files of a folder, by name. Raises `QueryFileError`."""
    found: dict[str, Query] = {}
    for file in sorted(folder.iterdir(), key=lambda entry: str(entry.name)):
        if not file.name.endswith(".sql"):
            continue
        for block in parse(file.read_text(encoding="utf-8"), file.name):
            if block.name in found:
                raise QueryFileError(
                    f"{file.name}: the name {block.name} is used twice, first in {found[block.name].topic}.sql"
                )
            found[block.name] = block
    if not found:
        raise QueryFileError(
            "no query file was found next to db_utils/queries/loader.py: install the package again"
        )
    return found


def parse(text: str, file_name: str) -> list[Query]:
    """Return the blocks of one file. Raises `QueryFileError`, which names the file and the block."""
    preamble, _, rest = text.partition("-- name:")
    if any(line.strip() and not line.lstrip().startswith("--") for line in preamble.splitlines()):
        raise QueryFileError(f"{file_name}: there is SQL before the first block; begin it with '-- name: …'")
    if not rest:
        raise QueryFileError(f"{file_name}: it has no block; begin one with '-- name: …'")
    try:
        data = _reader().load_query_data_from_sql(text, [], file_name)
    except Exception as error:  # aiosql's own exceptions derive from Exception directly
        raise QueryFileError(f"{file_name}: {error}") from error
    comments = [_leading_comment(part) for part in text.split("-- name:")[1:]]
    blocks = [
        _block(file_name, item.query_name, comment, item.sql, item.operation_type)
        for item, comment in zip(data, comments, strict=True)
    ]
    names = [block.name for block in blocks]
    for name in names:
        if names.count(name) > 1:
            raise QueryFileError(f"{file_name}: the name {name} is used twice")
    return blocks


def _leading_comment(block: str) -> list[str]:
    """Return the comment between a block's name and its statement, without comments inside the statement."""
    lines = [line.strip() for line in block.splitlines()[1:]]
    return [line.lstrip("- ") for line in takewhile(lambda line: line.startswith("--"), lines)]


def _reader() -> Any:
    options: dict[str, Any] = {}
    if "mandatory_parameters" in inspect.signature(QueryLoader).parameters:
        options["mandatory_parameters"] = False  # parameters are declared in the comment, with their types
    adapter: Any = _Untouched()
    return QueryLoader(adapter, None, **options)


def _block(file_name: str, name: str, lines: list[str], sql: str, kind: SQLOperationType) -> Query:
    where = f"{file_name}: {name}"
    if not _NAME.fullmatch(name):
        raise QueryFileError(f"{where}: a name may only have lowercase letters, digits and _")
    if kind not in _READS + _WRITES:
        raise QueryFileError(f"{where}: mark a block with nothing, ^, ! or <!")
    question = lines[0] if lines else ""
    if not question.endswith("?" if kind in _READS else "."):
        raise QueryFileError(
            f"{where}: the line below its name is the question that a read answers, with '?', or what a write does, with '.'"
        )
    declared, remarks = _declared(lines[1:], where)
    if shape(sql).statements != 1:
        raise QueryFileError(f"{where}: a block is one statement, this one has {shape(sql).statements}")
    _check_placeholders(sql, [parameter.name for parameter in declared], where)
    return Query(
        name=name,
        topic=file_name.removesuffix(".sql"),
        question=question,
        remarks=remarks,
        parameters=tuple(declared),
        sql=sql.strip().removesuffix(";"),
        writes=kind in _WRITES,
    )


def _declared(lines: Iterable[str], where: str) -> tuple[list[Parameter], str]:
    """Return the parameters that the comment declares, and the lines after them."""
    declaration = ""
    remarks: list[str] = []
    for line in lines:
        if not declaration and line.startswith("Parameters:"):
            declaration = line.removeprefix("Parameters:").strip()
        elif declaration.endswith(","):
            declaration += " " + line.strip()
        else:
            remarks.append(line.strip())
    parameters: list[Parameter] = []
    for item in filter(None, (part.strip() for part in declaration.split(","))):
        match = _DECLARATION.fullmatch(item)
        if match is None:
            raise QueryFileError(f"{where}: parameter {item!r} is not written 'name type' or 'name type?'")
        parameters.append(Parameter(match["name"], match["type"], bool(match["optional"])))
    return parameters, " ".join(remarks)


def _check_placeholders(sql: str, declared: list[str], where: str) -> None:
    used = set()
    for match in _PLACEHOLDER.finditer(sql):
        if match[2]:
            raise QueryFileError(f"{where}: write a literal percent sign as %%, a parameter as %(name)s")
        if match[1]:
            used.add(match[1])
    twice = sorted({name for name in declared if declared.count(name) > 1})
    if twice:
        raise QueryFileError(f"{where}: declared twice: {', '.join(twice)}")
    undeclared, unused = sorted(used - set(declared)), sorted(set(declared) - used)
    if undeclared:
        raise QueryFileError(f"{where}: used but not declared in its comment: {', '.join(undeclared)}")
    if unused:
        raise QueryFileError(f"{where}: declared in its comment but not used: {', '.join(unused)}")
