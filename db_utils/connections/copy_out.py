"""COPY … TO STDOUT of one query into a binary file."""

from __future__ import annotations

import io
import re
from typing import Any

import psycopg2

from db_utils.errors import InvalidInputError
from db_utils.text_keys import shown
from db_utils.values import Parameters, adapt_parameters

BUFFER_BYTES = 256 * 1024
"""The driver delivers row by row: this many bytes are collected before each write to the file."""


class _Sink(io.RawIOBase):
    """Forwards the server's data until the file raises; the rest is discarded while the statement ends.

    (An exception out of `write` would leave the connection in the middle of the copy.)
    """

    def __init__(self, connection: Any, into: Any) -> None:
        self._connection, self._write = connection, into.write
        self.refusal: BaseException | None = None
        self.is_over = False
        """Whether the statement has ended, so that there is nothing to cancel."""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Write it to the file."""
        if self.refusal is None:
            try:
                self._write(bytes(data))
            except BaseException as refusal:
                self.refusal = refusal
                if not self.is_over:
                    self._connection.cancel()
        return len(data)


_OPTIONS = re.compile(r"[\w ,.'\\|-]+")


def check_copy_out(into: object, options: object) -> None:
    """Refuse a file without `write`, and options other than words, numbers and texts."""
    if not callable(getattr(into, "write", None)):
        raise InvalidInputError(
            f"into is {type(into).__name__}: give a binary file or an object with its write method"
        )
    if not isinstance(options, str) or not _OPTIONS.fullmatch(options):
        raise InvalidInputError(
            f"options is {shown(options)}: give those of COPY, such as FORMAT csv, HEADER"
        )


def copy_out(connection: Any, sql: str, parameters: Parameters | None, into: Any, options: str) -> int:
    """See `Executor.copy_out`; raises the driver's errors."""
    sink = _Sink(connection, into)
    buffer = io.BufferedWriter(sink, BUFFER_BYTES)
    with connection.cursor() as cursor:
        try:
            text = sql if parameters is None else cursor.mogrify(sql, adapt_parameters(parameters)).decode()
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise InvalidInputError(f"placeholders and parameters do not match: {error}") from error
        try:
            cursor.copy_expert(f"COPY ({text}) TO STDOUT WITH ({options})", buffer)
            sink.is_over = True
            buffer.flush()
        except psycopg2.Error as error:
            if sink.refusal is not None:
                raise sink.refusal from None
            sink.refusal = error  # what is gathered goes nowhere
            raise
        if sink.refusal is not None:  # it was over before the cancel reached it
            raise sink.refusal
        return int(cursor.rowcount)
