"""Which column of a file goes where, and what each value goes through on its way."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from db_utils.bulk.encode import BadValueError
from db_utils.errors import InvalidInputError
from db_utils.transfer.converting import Convert, converter
from db_utils.transfer.lookups import ALIASES, lookup_for, own_organization
from db_utils.transfer.options import ImportOptions
from db_utils.transfer.reading import Record, Source, Unreadable
from db_utils.transfer.relations import Relation
from db_utils.transfer.units import conversion

_CHUNK_ROWS = 4000
REJECT_COLUMNS = ("rejected_line", "rejected_column", "rejected_reason")
"""What a file of rejects has in front: ignored where such a file, put right, is imported."""

OnBad = Callable[[int, str | None, str], None]
"""Told of a row that is refused: its line, the column and the reason."""


@dataclass(frozen=True)
class Scope:
    """Whose rows these are; `organization_id` None: the rows say it themselves."""

    connection: Any
    organization_id: str | None
    organization_name: str


def columns_of(source: Source, relation: Relation, options: ImportOptions) -> list[str | None]:
    """For each column of the file the column of the table; None where it is left out.

    Raises `InvalidInputError` for a column that is not known, or two that go to the same place.
    """
    known = relation.target.columns
    unknown = [name for name in options.mapping if name not in source.header]
    if unknown:
        raise InvalidInputError(
            f"{source.name} has no column {unknown[0]!r}{_nearest(unknown[0], source.header)}"
        )
    found: list[str | None] = []
    for name in source.header:
        column = options.mapping.get(name) or _known(name, known)
        if name in options.ignore or name in REJECT_COLUMNS:
            column = None
        elif column not in known:
            raise InvalidInputError(
                f"{relation.name} has no column {column or name!r}{_nearest(column or name, list(known))}; "
                f"name its place with --map {_word(name)}=COLUMN, or leave it out with --ignore {_word(name)}"
            )
        elif column in relation.kept_by_database:
            column = None
        found.append(column)
    for column in {*found} - {None}:
        if found.count(column) > 1 or (column in options.constants):
            raise InvalidInputError(f"two columns go to {column}: leave one out with --ignore")
    return found


def _known(name: str, columns: dict[str, Any]) -> str | None:
    plain = re.sub(r"[\s-]+", "_", name.strip()).lower()
    if name in columns or plain in columns:
        return name if name in columns else plain
    return ALIASES.get(plain) if ALIASES.get(plain) in columns else None


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), names, n=2)
    return f": did you mean {' or '.join(near)}?" if near else f": it has {', '.join(names)}"


def _word(name: str) -> str:
    return f"'{name}'" if " " in name else name


class Mapping:
    """One file's rows as rows of the table, in `sent` order; what cannot be is told to `on_bad`."""

    def __init__(self, source: Source, relation: Relation, options: ImportOptions, scope: Scope) -> None:
        self._source = source
        places = columns_of(source, relation, options)
        self.columns = [column for column in places if column is not None]
        self._places = [place for place, column in enumerate(places) if column is not None]
        check_columns(relation, self.columns, options, scope)
        self._null = options.null if source.is_text else None
        self._converters = [
            value_converter(
                relation, column, options, scope, is_text=source.is_text, json_is_native=source.json_is_native
            )
            for column in self.columns
        ]

    def rows(self, sent: Sequence[str], on_bad: OnBad) -> Iterator[tuple[int, list[Any]]]:
        """Each good row with its line, its values in the order of `sent` (None for what the file does not have)."""
        order = [self.columns.index(column) if column in self.columns else None for column in sent]
        records = self._source.records()
        while chunk := list(itertools.islice(records, _CHUNK_ROWS)):
            yield from self._converted(chunk, order, on_bad)

    def _converted(
        self, chunk: list[Record], order: list[int | None], on_bad: OnBad
    ) -> Iterator[tuple[int, list[Any]]]:
        lines: list[int] = []
        rows: list[Sequence[Any]] = []
        for line, row in chunk:
            if isinstance(row, Unreadable):
                on_bad(line, None, row.reason)
            else:
                lines.append(line)
                rows.append(row)
        given = list(zip(*rows, strict=True))
        bad: dict[int, tuple[str, str]] = {}
        columns: list[Sequence[Any]] = []
        for place, convert, name in zip(self._places, self._converters, self.columns, strict=True):
            columns.append(self._column(given[place] if rows else (), convert, name, bad))
        none = [None] * len(rows)
        ordered = [none if place is None else columns[place] for place in order]
        for at in sorted(bad):
            on_bad(lines[at], *bad[at])
        good = (
            zip(lines, zip(*ordered, strict=True), strict=True) if ordered else ((line, ()) for line in lines)
        )
        for at, (line, values) in enumerate(good):
            if at not in bad:
                yield line, list(values)

    def _column(
        self, values: Sequence[Any], convert: Convert | None, name: str, bad: dict[int, tuple[str, str]]
    ) -> Sequence[Any]:
        """These values converted; those that cannot be are noted in `bad`, the first of a row only."""
        if self._null is not None and self._null in values:
            values = [None if value == self._null else value for value in values]
        if convert is None:
            return values
        try:
            return [None if value is None else convert(value) for value in values]
        except ValueError:
            pass
        converted: list[Any] = []
        for at, value in enumerate(values):
            try:
                converted.append(None if value is None else convert(value))
            except ValueError as error:
                bad.setdefault(at, (name, str(error)))
                converted.append(None)
        return converted


def check_columns(relation: Relation, columns: Sequence[str], options: ImportOptions, scope: Scope) -> None:
    """Raise `InvalidInputError` where a column that every row needs comes from nowhere, or an option names none."""
    for option, names in (("--set", options.constants), ("--unit", options.units)):
        for name in names:
            if name not in relation.target.columns or name in relation.kept_by_database:
                raise InvalidInputError(
                    f"{option}: {relation.name} has no column {name!r} to fill{_nearest(name, list(relation.target.columns))}"
                )
    for name, unit in options.units.items():
        conversion(name, unit)
        if name not in columns:
            raise InvalidInputError(f"--unit: no column of the file goes to {name}")
    given = {*columns, *options.constants, *relation.kept_by_database}
    if scope.organization_id is not None:
        given.add("organization_id")
    missing = sorted(relation.required - given)
    if missing:
        raise InvalidInputError(
            f"the file has no column for {', '.join(missing)}, which every row of {relation.name} needs: "
            f"name it with --map FILE_COLUMN={missing[0]}, or one value for all with --set {missing[0]}=VALUE"
        )


def value_converter(
    relation: Relation,
    column: str,
    options: ImportOptions,
    scope: Scope,
    *,
    is_text: bool,
    json_is_native: bool = False,
) -> Convert | None:
    """What a value of this column goes through."""
    if scope.organization_id is not None:
        if column == "organization_id":
            return own_organization(scope.organization_id, scope.organization_name)
        lookup = lookup_for(scope.connection, relation.name, column, scope.organization_id)
        if lookup is not None:
            return lookup
    return converter(relation.target.columns[column], options, is_text=is_text, json_is_native=json_is_native)


def constants(relation: Relation, options: ImportOptions, scope: Scope) -> dict[str, Any]:
    """The values that all rows share. Raises `InvalidInputError` for one that its column does not take."""
    found: dict[str, Any] = {}
    for column, text in options.constants.items():
        convert = value_converter(relation, column, options, scope, is_text=True)
        try:
            found[column] = convert(text) if convert is not None else text
        except BadValueError as error:
            raise InvalidInputError(f"--set {column}: {error}") from None
    if scope.organization_id is not None:
        found["organization_id"] = scope.organization_id
    return found
