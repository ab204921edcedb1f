"""Query results as Arrow tables: through ADBC on a separate connection, or on the caller's connection."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import psycopg2
import psycopg2.extensions
import pyarrow as pa
import pyarrow.compute as pc

from db_utils.config import describe_url
from db_utils.copy.target_table import plain_cursor, translated_errors
from db_utils.errors import (
    ConfigurationError,
    InvalidDataError,
    InvalidInputError,
    translate,
    translate_connect,
)
from db_utils.values import Parameters, adapt_parameters

_BATCH_ROWS = 20_000


@dataclass(frozen=True)
class SessionSettings:
    """What a connection that ADBC opens has to set before it reads, such as the role and organization of a scope.

    They apply to the one reading transaction. `role` and `search_path` are settings too.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    statement: str = ""
    """Statement to run after the settings, if any."""


@dataclass(frozen=True)
class Result:
    """A result as Arrow data, and PostgreSQL's name for the type of each column."""

    table: pa.Table
    types: list[str]


# PostgreSQL's name of a type: its number, and its Arrow type here. All others are read as text.
_KNOWN: dict[str, tuple[int, pa.DataType]] = {
    "bool": (16, pa.bool_()),
    "bytea": (17, pa.binary()),
    "name": (19, pa.string()),
    "int8": (20, pa.int64()),
    "int2": (21, pa.int16()),
    "int4": (23, pa.int32()),
    "text": (25, pa.string()),
    "json": (114, pa.string()),
    "float4": (700, pa.float32()),
    "float8": (701, pa.float64()),
    "bpchar": (1042, pa.string()),
    "varchar": (1043, pa.string()),
    "date": (1082, pa.date32()),
    "time": (1083, pa.time64("us")),
    "timestamp": (1114, pa.timestamp("us")),
    "timestamptz": (1184, pa.timestamp("us", "UTC")),
    "interval": (1186, pa.month_day_nano_interval()),
    "numeric": (1700, pa.string()),
    "uuid": (2950, pa.uuid()),
    "jsonb": (3802, pa.string()),
}
_ARRAYS = {
    "_bool": 1000,
    "_bytea": 1001,
    "_name": 1003,
    "_int2": 1005,
    "_int4": 1007,
    "_text": 1009,
    "_bpchar": 1014,
    "_varchar": 1015,
    "_int8": 1016,
    "_float4": 1021,
    "_float8": 1022,
    "_timestamp": 1115,
    "_date": 1182,
    "_time": 1183,
    "_timestamptz": 1185,
    "_numeric": 1231,
    "_uuid": 2951,
}
_NAMES = {number: name for name, (number, _) in _KNOWN.items()} | {
    number: name for name, number in _ARRAYS.items()
}


def bind(connection: Any, statement: str, parameters: Parameters | None) -> str:
    """Return the statement with its parameters, written by the driver, for use in parentheses."""
    if parameters is not None:
        with translated_errors(), plain_cursor(connection) as cursor:
            try:
                statement = cursor.mogrify(statement, adapt_parameters(parameters)).decode()
            except (ValueError, TypeError, LookupError) as error:
                raise InvalidInputError(f"placeholders and parameters do not match: {error}") from error
    statement = statement.strip().rstrip("; \t\r\n")
    if not statement:
        raise InvalidInputError("the statement is empty")
    if "\0" in statement:
        raise InvalidInputError("the statement contains a NUL character")
    try:
        statement.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            "the statement contains characters that UTF-8 cannot encode (lone surrogates)"
        ) from None
    return statement + "\n"  # ends a comment at its end


# -- through ADBC ----------------------------------------------------------------------------------------------


def read_apart(uri: str, statement: str, session: SessionSettings | None) -> Result:
    """Return the result of this statement, read by ADBC in a separate read-only transaction."""
    try:
        import adbc_driver_postgresql.dbapi as adbc
    except ImportError as error:
        raise ConfigurationError(
            'reading frames needs ADBC: pip install "barnameh-db-utils[frames]"'
        ) from error
    with _adbc_errors(uri), adbc.connect(uri) as connection, connection.cursor() as cursor:
        settings = {"transaction_read_only": "on", **(session.settings if session is not None else {})}
        for name, value in settings.items():
            cursor.execute("SELECT set_config($1, $2, true)", (name, value))
            cursor.fetchall()
        if session is not None and session.statement:
            cursor.execute(session.statement)
        schema = cursor.adbc_execute_schema(statement)
        _checked_names(schema.names)
        types = [_type_name(item) for item in schema]
        cursor.execute(_wrapped(statement, schema.names, types))
        table = cursor.fetch_arrow_table()
        connection.rollback()
    _refuse_infinity(table)
    return Result(table, [kind if kind in _KNOWN or kind in _ARRAYS else "text" for kind in types])


def _refuse_infinity(table: pa.Table) -> None:
    """Refuse times before PostgreSQL's calendar: ADBC returns infinite and too late times as such."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        for test, bits, first in _CALENDAR:
            if (
                test(column.type)
                and (least := pc.min(column.cast(bits)).as_py()) is not None
                and least < first
            ):
                raise InvalidDataError(f"column {name}: {INFINITE}")


INFINITE = "an infinite time does not fit into a frame: leave it out, or select NULLIF(…, 'infinity')"
_CALENDAR = (
    (pa.types.is_timestamp, pa.int64(), -210_866_803_200_000_000),
    (pa.types.is_date32, pa.int32(), -2_440_588),
)


def _type_name(item: pa.Field) -> str:
    name: str = (item.metadata or {}).get(b"POSTGRESQL:type", b"").decode()
    return name


def _checked_names(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InvalidInputError(
            f"two columns of the result are named {', '.join(twice)}: give each its own name with AS"
        )


def _wrapped(statement: str, names: Sequence[str], types: Sequence[str]) -> str:
    """Return the statement with columns that ADBC would misread cast to text; unchanged without any.

    ADBC returns unknown types as raw bytes, money as cents, and flattens the rows of a matrix.
    """
    if all(kind in _KNOWN for kind in types):
        return statement
    columns = []
    for name, kind in zip(names, types, strict=True):
        column = '"' + name.replace('"', '""') + '"'
        if kind in _ARRAYS:
            # The text is not a valid array, so the server refuses it and quotes it in its error.
            refusal = (
                f"concat('an array of ', array_ndims({column}), ' dimensions does not fit into a frame')"
            )
            columns.append(
                f"CASE WHEN array_ndims({column}) > 1 THEN CAST({refusal} AS {kind}) ELSE {column} END AS {column}"
            )
        else:
            text = f"CASE WHEN num_nulls({column}) = 0 THEN format('%s', {column}) END AS {column}"
            columns.append(column if kind in _KNOWN else text)
    return f"SELECT {', '.join(columns)} FROM ({statement}) AS given"


# -- on the caller's connection --------------------------------------------------------------------------------

_TEXT_KINDS = ("json", "jsonb", "numeric", "uuid")
_AS_TEXT = psycopg2.extensions.new_type(
    tuple(_KNOWN[kind][0] for kind in _TEXT_KINDS), "FRAME_TEXT", lambda text, cursor: text
)
_AS_TEXTS = psycopg2.extensions.new_array_type(
    (_ARRAYS["_numeric"], _ARRAYS["_uuid"]), "FRAME_TEXTS", _AS_TEXT
)
_AS_BYTES = psycopg2.extensions.new_type(
    (_KNOWN["bytea"][0],),
    "FRAME_BYTES",
    lambda text, cursor: None if text is None else bytes(psycopg2.BINARY(text, cursor)),
)


def _finite(kind: str, caster: Any) -> Any:
    """Make a caster like the driver's that refuses infinite times, instead of reading Python's maximum."""

    def read(text: str | None, cursor: Any) -> Any:
        if text is not None and text.endswith("infinity"):
            raise ValueError(INFINITE)
        return caster(text, cursor)

    return psycopg2.extensions.new_type((_KNOWN[kind][0],), f"FRAME_{kind.upper()}", read)


_FINITE = (
    _finite("date", psycopg2.extensions.PYDATE),
    _finite("timestamp", psycopg2.extensions.PYDATETIME),
    _finite("timestamptz", psycopg2.extensions.PYDATETIMETZ),
)


def read_inside(connection: Any, statement: str) -> Result:
    """Return the result of this statement on the caller's connection, including its transaction's changes."""
    with translated_errors(), plain_cursor(connection) as cursor:
        others = tuple({*psycopg2.extensions.string_types, *connection.string_types} - _NAMES.keys())
        as_other = psycopg2.extensions.new_type(others, "FRAME_OTHER", lambda text, cursor: text)
        for caster in (_AS_TEXT, _AS_TEXTS, _AS_BYTES, *_FINITE, as_other):
            psycopg2.extensions.register_type(caster, cursor)
        cursor.execute(statement)
        if cursor.description is None:
            raise InvalidInputError("the statement returns no rows: a frame is read by SELECT")
        names = [column.name for column in cursor.description]
        _checked_names(names)
        kinds = [_NAMES.get(column.type_code, "text") for column in cursor.description]
        schema = pa.schema(
            [pa.field(name, _arrow_type(kind)) for name, kind in zip(names, kinds, strict=True)]
        )
        batches = []
        try:
            while rows := cursor.fetchmany(_BATCH_ROWS):
                columns = zip(*rows, strict=True)
                arrays = [_array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
                batches.append(pa.record_batch(arrays, schema))
        except (ValueError, OverflowError, pa.ArrowException) as error:
            raise InvalidDataError(f"a value of the result does not fit into a frame: {error}") from error
    return Result(pa.Table.from_batches(batches, schema), kinds)


def _arrow_type(kind: str) -> pa.DataType:
    if kind == "interval":
        return pa.duration("us")
    if kind in _ARRAYS:
        inner = kind[1:]
        return pa.list_(pa.string() if inner in _TEXT_KINDS else _KNOWN[inner][1])
    return _KNOWN[kind][1]


def _array(values: Sequence[Any], kind: str) -> pa.Array:
    if kind == "uuid":
        return pa.array([None if value is None else uuid.UUID(value).bytes for value in values], pa.uuid())
    return pa.array(values, _arrow_type(kind))


# -- errors ----------------------------------------------------------------------------------------------------


@contextmanager
def _adbc_errors(uri: str) -> Iterator[None]:
    import adbc_driver_manager

    try:
        yield
    except adbc_driver_manager.Error as error:
        text = str(error)
        if error.sqlstate is not None:
            raise translate(_ServerError(error.sqlstate, text)) from error
        if "Failed to connect" in text:
            raise translate_connect(psycopg2.OperationalError(text), where=describe_url(uri)) from None
        raise translate(psycopg2.OperationalError(text)) from error


class _ServerError(psycopg2.Error):  # type: ignore[misc]
    """A server error reported by ADBC, in the driver's form."""

    def __init__(self, sqlstate: str, text: str) -> None:
        message = text.partition("ERROR:  ")[2] or text.partition(": ")[2] or text
        super().__init__(message)
        self._sqlstate = sqlstate
        self._primary = message.partition("\n")[0].partition(". SQLSTATE")[0].strip()

    @property
    def pgcode(self) -> str:
        return self._sqlstate

    @property
    def diag(self) -> Any:
        nothing = dict.fromkeys(
            ("message_detail", "message_hint", "constraint_name", "table_name", "column_name", "context")
        )
        return SimpleNamespace(message_primary=self._primary, **nothing)
