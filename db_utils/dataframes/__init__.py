"""Frames in and out: pandas, polars and Arrow. Needs the extra `frames`.

`write_frame` loads a frame into a table in the caller's transaction. Whole columns are converted to
PostgreSQL's binary COPY format, as ADBC does, but on the caller's connection: atomic with the rest of the
transaction, and with its role. `read_frame` reads through ADBC.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import psycopg2

from db_utils.config import describe_url
from db_utils.errors import ConfigurationError, InvalidInputError, translate_connect
from db_utils.values import Parameters, RowProgress

try:
    import pyarrow  # noqa: F401
except ImportError as error:
    raise ConfigurationError('frames need pyarrow: pip install "barnameh-db-utils[frames]"') from error

from db_utils.copy import RejectReport
from db_utils.copy.copy_stream import CopyStream, binary_encoder
from db_utils.copy.inserts import insert_from, upsert_from
from db_utils.copy.load import load
from db_utils.copy.rejects import check_callbacks
from db_utils.copy.target_table import Column, find_target, translated_errors
from db_utils.copy.text_format import RowEncoder
from db_utils.dataframes.codes import with_identifiers
from db_utils.dataframes.from_frame import FrameSource, check_types, from_frame
from db_utils.dataframes.read import SessionSettings, bind, read_apart, read_inside
from db_utils.dataframes.to_frame import Backend, Decimals, check_options, to_frame

__all__ = ["Backend", "Decimals", "SessionSettings", "read_frame", "write_frame"]


def read_frame(
    uri: str | None,
    sql: str,
    params: Parameters | None = None,
    *,
    session: SessionSettings | None = None,
    backend: Backend = "pandas",
    decimals: Decimals = "float",
    categories: Collection[str] = (),
    timezone: str = "UTC",
    connection: Any = None,
) -> Any:
    """Return the rows of a query as a frame.

    `sql` is one SELECT, VALUES, TABLE or WITH query; `params` are for its `%s` or `%(name)s`. It is read
    through ADBC on a separate read-only connection to `uri`, after the settings of `session`; `connection` is
    then only used to write the parameters (without it one is opened). With `uri` None the query runs on
    `connection`, inside its transaction: a few times slower, but it sees the transaction's changes.

    Types: timestamptz is aware, in `timezone`, to the microsecond. numeric is float64, or exact with
    `decimals="decimal"` (Decimal objects in pandas, with as many places as the longest value has). uuid is
    text in pandas and polars, the uuid type in Arrow; json and jsonb are JSON text; interval is a duration (a
    month is 30 days); date is a day in polars and Arrow, midnight without zone in pandas; arrays are lists;
    all other types are text. Columns named in `categories` become categories. In pandas integer and boolean
    columns with NULLs are Int64 and boolean. An empty result has its columns and types and no rows.

    Raises `InvalidInputError` for options that do not exist or two columns of one name, `InvalidDataError` for values
    that no frame can hold (infinite times, NaN as decimal, arrays of two dimensions), and what the server refuses.
    """
    check_options(backend, decimals, categories, timezone)
    if uri is None:
        result = read_inside(connection, bind(connection, sql, params))
    else:
        result = read_apart(uri, _bound(uri, connection, sql, params), session)
    return to_frame(result, backend, decimals=decimals, categories=categories, timezone=timezone)


def _bound(uri: str, connection: Any, sql: str, params: Parameters | None) -> str:
    if params is None or connection is not None:
        return bind(connection, sql, params)
    try:
        own = psycopg2.connect(uri)
    except psycopg2.Error as error:
        raise translate_connect(error, where=describe_url(uri)) from None
    try:
        return bind(own, sql, params)
    finally:
        own.close()


def write_frame(
    connection: Any,
    table: str,
    frame: Any,
    *,
    conflict_columns: Sequence[str] | None = None,
    update_columns: Sequence[str] | None = None,
    on_reject: RejectReport | None = None,
    progress: RowProgress | None = None,
    through_temporary_table: bool = False,
) -> int:
    """Load a frame into a table and return the number of rows.

    `frame` is a DataFrame of pandas or polars, an Arrow table, record batch or reader, or anything else that
    gives an Arrow stream. Its columns go into the columns of the same names; named levels of a pandas index
    are columns too. With `conflict_columns` existing rows are updated, as by `db_utils.copy.upsert_many`.

    A missing value of pandas (NaN, NaT, NA, None) is NULL; in polars and Arrow only null is, and NaN stays
    NaN. Times for a timestamptz column need a time zone (`InvalidInputError`); parts of a microsecond are
    truncated. Floats without fraction fit integer columns, categories are their values, structs and dicts are
    JSON, text for a json column is JSON text, text or UUIDs fit a uuid column. A location, resource, employee
    or shift may be given by its code instead of its id, in the organization of the row or of a tenant's scope
    (`NotFoundError` for unknown codes); an `event_id` may be the producer's own key, as in `EventRecord`.
    Errors and rejects are as in `db_utils.copy.copy_rows`; row numbers count from 1.
    """
    check_callbacks(on_reject, progress)
    if update_columns is not None and conflict_columns is None:
        raise InvalidInputError("update_columns need conflict_columns, which identify existing rows")
    source = from_frame(frame)
    with translated_errors():
        target = find_target(connection, table)
        source = with_identifiers(connection, target, source, keep_unknown=on_reject is not None)
        columns = target.pick(source.names)
        insert = None
        if conflict_columns is not None:
            insert = upsert_from(target, source.names, conflict_columns, update_columns)
        elif through_temporary_table or target.is_view:
            insert = insert_from(target, source.names)
        encode = binary_encoder(connection, columns)
        stream = CopyStream(_Checked(source, columns), RowEncoder(columns), progress, encode)
        return load(connection, target, columns, stream, insert, on_reject)


class _Checked:
    """A frame whose types are checked before its first rows are read."""

    def __init__(self, source: FrameSource, columns: Sequence[Column]) -> None:
        self._source = source
        self._columns = columns

    def take(self, count: int) -> Any:
        some = self._source.take(count)
        if some is not None:
            check_types(some.columns() or (), self._columns)
        return some
