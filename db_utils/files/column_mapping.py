"""Mapping of a file's columns to the table's, and conversion of their values."""

from __future__ import annotations

import difflib
import itertools
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from db_utils.copy.text_format import BadValueError
from db_utils.errors import InvalidInputError
from db_utils.files.conversion import Convert, converter
from db_utils.files.derived_ids import DerivedIds
from db_utils.files.lookups import ALIASES, lookup_for, own_organization
from db_utils.files.options import ImportOptions
from db_utils.files.readers import Record, Source, Unreadable
from db_utils.files.relations import Relation
from db_utils.files.repeated_hour import RepeatedHours
from db_utils.files.row_timezones import PLACE_COLUMNS, RowTimezones
from db_utils.files.scope import Scope
from db_utils.files.times import Moments, Unresolved
from db_utils.files.units import conversion
from db_utils.text_keys import CODED, event_identity, takes_code, text_key

_CHUNK_ROWS = 4000
REJECT_COLUMNS = ("rejected_line", "rejected_column", "rejected_reason")
"""The leading columns of a reject file: ignored when a corrected one is imported."""

OnBad = Callable[[int, str | None, str], None]
"""Called for a rejected row with its line, the column and the reason."""


def columns_of(source: Source, relation: Relation, options: ImportOptions) -> list[tuple[int, str]]:
    """Return the used columns of the file by position, each with its target column; one may have several.

    Raises `InvalidInputError` for an unknown column, or two with the same target.
    """
    known = relation.target.columns
    given = {text_key(name): columns for name, columns in options.mapping.items()}
    ignored = {*map(text_key, options.ignore), *REJECT_COLUMNS}
    keys = {*map(text_key, options.key)}
    unknown = [name for name in (*given, *keys) if name not in source.header]
    if unknown:
        raise InvalidInputError(
            f"{source.name} has no column {unknown[0]!r}{_nearest(unknown[0], source.header)}"
        )
    found: list[tuple[int, str]] = []
    for place, name in enumerate(source.header):
        if name in ignored:
            continue
        for column in given[name].split(",") if name in given else [_known(name, known)]:
            target = column.strip() if column is not None else None
            if target not in known:
                if name in keys:
                    continue
                raise InvalidInputError(
                    f"{relation.name} has no column {target or name!r}{_nearest(target or name, list(known))}; "
                    f"map it with --map {_word(name)}=COLUMN, or skip it with --ignore {_word(name)}"
                )
            if target not in relation.kept_by_database and not _is_said_twice(
                name, target, source.header, known
            ):
                found.append((place, target))
    taken = [column for _, column in found]
    for column in taken:
        if taken.count(column) > 1 or (column in options.constants):
            raise InvalidInputError(f"two columns map to {column}: skip one with --ignore")
    return found


def _is_said_twice(name: str, column: str, header: Sequence[str], columns: dict[str, Any]) -> bool:
    """Whether this is a code next to its id, as an export writes them."""
    return name not in columns and name == f"{CODED.get(column)}_code" and column in header


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
    """Yield one file's rows as rows of the table, in `sent` order; `on_bad` is called for the others.

    `shared` are the values that all rows have, as `constants` gives them.
    """

    def __init__(
        self,
        source: Source,
        relation: Relation,
        options: ImportOptions,
        scope: Scope,
        shared: dict[str, Any] | None = None,
    ) -> None:
        self._source = source
        self._relation = relation
        self._shared = constants(relation, options, scope) if shared is None else shared
        places = columns_of(source, relation, options)
        self.columns = [column for _, column in places]
        self._places = [place for place, _ in places]
        self._key = DerivedIds(source.header, relation, options, scope, {*self.columns, *self._shared})
        if self._key.column is not None:
            self.columns.append(self._key.column)
        check_columns(relation, self.columns, options, scope)
        self._null = options.null if source.is_text else None
        self._where = self._place_columns(relation, scope)
        zones = None
        if scope.organization_id is not None and any(
            relation.target.columns[column].type == "timestamptz" for column in self.columns
        ):
            zones = RowTimezones(scope.connection, scope.organization_id, self._where)
        self._converters = [
            value_converter(
                relation,
                column,
                options,
                scope,
                zones,
                is_text=source.is_text,
                json_is_native=source.json_is_native,
            )
            for column in self.columns[: len(self._places)]
        ]
        self._is_ordered = options.ambiguous == "order" and relation.time_column in self.columns

    def _place_columns(self, relation: Relation, scope: Scope) -> list[str]:
        given = {*self.columns, *self._shared}
        return [c for c in PLACE_COLUMNS if c in given and takes_code(relation.name, c)]

    def rows(self, sent: Sequence[str], on_bad: OnBad) -> Iterator[tuple[int, list[Any]]]:
        """Yield each good row with its line, its values in the order of `sent` (None for missing columns)."""
        rows = self._plain_rows(sent, on_bad)
        return self._ordered(sent).rows(rows, on_bad) if self._is_ordered else rows

    def _plain_rows(self, sent: Sequence[str], on_bad: OnBad) -> Iterator[tuple[int, list[Any]]]:
        order = [self.columns.index(column) if column in self.columns else None for column in sent]
        records = self._source.records()
        while chunk := list(itertools.islice(records, _CHUNK_ROWS)):
            yield from self._converted(chunk, order, on_bad)

    def _ordered(self, sent: Sequence[str]) -> RepeatedHours:
        time = self._relation.time_column or ""
        key = next(
            (key for key in self._relation.keys if time in key and {*key} <= {*sent, *self._shared}), None
        )
        # Without a key that includes the time, a series is all rows of one location.
        has_id = key is None or key[-2:] == ["event_id", "time"]
        series = PLACE_COLUMNS if has_id or key is None else [column for column in key if column != time]
        places = [place for place, column in enumerate(sent) if column in series]
        return RepeatedHours(sent.index(time), places, repeats_tell=not has_id)

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
        told = list(zip(self._places, self._converters, self.columns[: len(self._places)], strict=True))
        columns: list[Sequence[Any]] = [()] * len(self.columns)
        for at, (place, convert, name) in enumerate(told):
            if not isinstance(convert, Moments):
                columns[at] = self._column(given[place] if rows else (), convert, name, bad)
        for at, (place, convert, name) in enumerate(told):
            if isinstance(convert, Moments):
                values = given[place] if rows else ()
                columns[at] = self._moments(values, convert, self._where_of(columns, len(rows)), name, bad)
        if self._key.column is not None:
            columns[-1] = self._key.ids(given, len(rows), self._null, bad)
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
        """Convert these values; failures are noted in `bad`, only the first of each row."""
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

    def _where_of(self, columns: Sequence[Sequence[Any]], count: int) -> Sequence[tuple[Any, ...]] | None:
        """Return for each row the identifiers that determine its location."""
        if not self._where:
            return None
        found = [
            columns[self.columns.index(c)] if c in self.columns else [self._shared[c]] * count
            for c in self._where
        ]
        return list(zip(*found, strict=True))

    def _moments(
        self,
        values: Sequence[Any],
        convert: Moments,
        where: Sequence[tuple[Any, ...]] | None,
        name: str,
        bad: dict[int, tuple[str, str]],
    ) -> Sequence[Any]:
        converted: list[Any] = []
        for at, value in enumerate(values):
            moment = None
            if value is not None and value != self._null and at not in bad:
                try:
                    moment = convert(value, () if where is None else where[at])
                except (ValueError, OverflowError) as error:
                    bad[at] = (name, str(error))
            converted.append(moment)
        return converted


def check_columns(relation: Relation, columns: Sequence[str], options: ImportOptions, scope: Scope) -> None:
    """Raise `InvalidInputError` if a required column has no source, or an option names an unknown one."""
    _check_names("--unit", options.units, relation)
    for name, unit in options.units.items():
        conversion(name, unit)
        if name not in columns:
            raise InvalidInputError(f"--unit: no column of the file maps to {name}")
    given = {*columns, *options.constants, *relation.kept_by_database}
    if scope.organization_id is not None:
        given.add("organization_id")
    missing = sorted(relation.required - given)
    if missing:
        raise InvalidInputError(
            f"the file has no column for {', '.join(missing)}, which every row of {relation.name} needs: "
            f"map one with --map FILE_COLUMN={missing[0]}, or set one value for all rows with --set {missing[0]}=VALUE"
        )


def _check_names(option: str, names: Iterable[str], relation: Relation) -> None:
    for name in names:
        if name not in relation.target.columns or name in relation.kept_by_database:
            raise InvalidInputError(
                f"{option}: {relation.name} has no column {name!r} to fill{_nearest(name, list(relation.target.columns))}"
            )


def value_converter(
    relation: Relation,
    column: str,
    options: ImportOptions,
    scope: Scope,
    places: RowTimezones | None = None,
    *,
    is_text: bool,
    json_is_native: bool = False,
) -> Convert | Moments | None:
    """Return the converter of this column's values."""
    if scope.organization_id is not None:
        if column == "organization_id":
            return own_organization(scope.organization_id, scope.organization_name)
        if column == "event_id" and relation.id_column == column:
            return partial(_event_identity, uuid.UUID(scope.organization_id))
        lookup = lookup_for(scope.connection, relation.name, column, scope.organization_id)
        if lookup is not None:
            return lookup
    return converter(
        relation.target.columns[column],
        options,
        is_text=is_text,
        json_is_native=json_is_native,
        is_key=column in relation.text_keys,
        places=places,
        may_be_ordered=column == relation.time_column,
    )


def _event_identity(organization_id: uuid.UUID, value: Any) -> str:
    try:
        return str(event_identity(organization_id, value))
    except InvalidInputError as error:
        raise BadValueError(str(error)) from None


def constants(relation: Relation, options: ImportOptions, scope: Scope) -> dict[str, Any]:
    """Return the values that all rows share. Raises `InvalidInputError` for an invalid one."""
    _check_names("--set", options.constants, relation)
    found: dict[str, Any] = {}
    for column, text in options.constants.items():
        convert = value_converter(
            relation, column, replace(options, escaped_formulas=False), scope, is_text=True
        )
        try:
            found[column] = convert(text) if convert is not None else text
        except BadValueError as error:
            raise InvalidInputError(f"--set {column}: {error}") from None
        if isinstance(found[column], Unresolved):
            raise InvalidInputError(f"--set {column}: {text} occurred twice: give the offset")
    if scope.organization_id is not None:
        found["organization_id"] = scope.organization_id
    return found
