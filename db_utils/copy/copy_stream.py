"""Stream rows into COPY: taken in batches, encoded just before sending, counted.

The driver reads the next piece from Python while the server still processes the socket's buffer, so encoding
takes no extra time as long as it is faster than the server (measured: a separate thread gains nothing).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from db_utils.copy.rejects import Reject, RowBatch, encode_each
from db_utils.copy.target_table import Column
from db_utils.copy.text_format import BadRowError, RowEncoder
from db_utils.errors import InvalidInputError
from db_utils.values import RowProgress

FIRST_ROWS = 256
"""Size of the first batch. Fewer rows are sent in one INSERT if COPY would need a temporary table."""
PIECE_BYTES = 512 * 1024
"""Approximate size of a piece for the driver: about 50 ms of work for the server."""
ROWS_BEFORE_BINARY = 20_000
"""Number of rows sent as text before importing pyarrow for binary COPY pays off."""
_MOST_ROWS = 4000
_TRIES = 3

EncodeBinary: TypeAlias = Callable[[Sequence[Any]], bytes | None]
"""Encodes columns as rows of binary COPY; returns None if they must be sent as text."""


class Chunk(Protocol):
    """Some rows."""

    def __len__(self) -> int: ...

    def rows(self) -> Sequence[Any]:
        """By row, as Python values."""

    def columns(self) -> Sequence[Any] | None:
        """By column, as sequences or Arrow arrays; None if the rows differ in shape."""


class ChunkSource(Protocol):
    """Where rows come from."""

    def take(self, count: int) -> Chunk | None:
        """Return about this many next rows; None at the end."""


class _Rows(list[Any]):
    def rows(self) -> Sequence[Any]:
        return self

    def columns(self) -> Sequence[Any] | None:
        if not set(map(type, self)) <= {tuple, list} or len(set(map(len, self))) != 1:
            return None
        return list(zip(*self, strict=True))


class RowSource:
    """Any iterable of rows."""

    def __init__(self, rows: Iterable[Any]) -> None:
        try:
            self._rows = iter(rows)
        except TypeError:
            raise InvalidInputError(
                f"rows must be an iterable of tuples, not {type(rows).__name__}"
            ) from None

    def take(self, count: int) -> Chunk | None:
        """Return the next rows; None at the end."""
        return _Rows(itertools.islice(self._rows, count)) or None


class _Piece(NamedTuple):
    size: int
    data: bytes
    is_binary: bool
    unfold: Callable[[RowBatch], None]
    """Adds the rows, with their text encoding, to a batch."""
    rejects: Sequence[Reject] = ()


def binary_encoder(connection: Any, columns: Sequence[Column]) -> EncodeBinary | None:
    """Return an encoder to binary COPY that gives up after a few failures; None if unavailable."""
    if connection.encoding != "UTF8":
        return None
    tries_left = _TRIES

    def make(values: Sequence[Any]) -> bytes | None:
        nonlocal tries_left
        if not tries_left:
            return None
        try:
            from db_utils.copy import binary_format
        except ImportError:
            tries_left = 0
            return None
        try:
            return binary_format.encode(columns, values)
        except binary_format.NotBinaryError:
            tries_left -= 1
            return None

    return make


class CopyStream:
    """The rows of a source as pieces of text or binary COPY, with progress reported."""

    def __init__(
        self,
        source: ChunkSource,
        encoder: RowEncoder,
        progress: RowProgress | None = None,
        encode_binary: EncodeBinary | None = None,
        *,
        binary_from: int = 0,
    ) -> None:
        self._source = source
        self._encoder = encoder
        self._progress = progress
        self._encode_binary = encode_binary
        self._binary_from = binary_from
        self._size = FIRST_ROWS
        self._slice: Chunk | None = None
        self._piece: _Piece | None = None
        self.count = 0
        """Number of rows taken so far."""

    @property
    def exhausted(self) -> bool:
        """Whether no row is left; reads ahead to find out."""
        if self._slice is None:
            self._slice = self._source.take(self._size)
        return self._slice is None

    @property
    def is_short(self) -> bool:
        """Whether all rows fit into one small statement."""
        return not self.exhausted and self.count == 0 and len(self._slice or ()) < FIRST_ROWS

    def next_is_binary(self, *, keep_bad: bool) -> bool:
        """Whether the next piece is of binary COPY. `keep_bad` is whether bad rows are collected, or raise."""
        return self._ahead(keep_bad).is_binary

    def pieces(self, limit: int, batch: RowBatch | None = None) -> Iterator[bytes]:
        """Yield about `limit` next rows, as long as they are of one format; `batch` keeps them.

        A row that cannot be sent is added to the batch as rejected, or raises `InvalidInputError`.
        """
        keep_bad = batch is not None and batch.keep_bad
        end = self.count + limit
        is_binary = self.next_is_binary(keep_bad=keep_bad)
        if is_binary:
            from db_utils.copy.binary_format import HEADER

            yield HEADER
        while self.count < end and not self.exhausted:
            piece = self._ahead(keep_bad)
            if piece.is_binary is not is_binary:
                break
            self._slice = self._piece = None
            self.count += piece.size
            if batch is not None:
                batch.later(piece.unfold)
                batch.rejects += piece.rejects
            if piece.data:
                yield piece.data
            self._size = min(_MOST_ROWS, max(16, piece.size * PIECE_BYTES // max(1, len(piece.data))))
            self._tell()
        if not self.exhausted:
            self._ahead(keep_bad)  # while the server still processes earlier rows
        if is_binary:
            from db_utils.copy.binary_format import TRAILER

            yield TRAILER

    def all_texts(self, batch: RowBatch) -> None:
        """Add all rows to the batch, as lists of texts for a single INSERT."""
        while not self.exhausted:
            assert self._slice is not None
            rows = self._slice.rows()
            encode_each(batch, rows, self.count + 1, self._encoder.texts)
            self._slice = None
            self.count += len(rows)
            self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.count)

    def _ahead(self, keep_bad: bool) -> _Piece:
        if self._piece is None:
            assert self._slice is not None
            self._piece = self._as_binary(self._slice) or self._as_text(self._slice, keep_bad)
        return self._piece

    def _as_binary(self, some: Chunk) -> _Piece | None:
        if (
            self._encode_binary is None
            or self.count < self._binary_from
            or (columns := some.columns()) is None
        ):
            return None
        data = self._encode_binary(columns)
        if data is None:
            return None
        first_number, encode = self.count + 1, self._encoder.line
        return _Piece(
            len(some), data, True, lambda batch: encode_each(batch, some.rows(), first_number, encode)
        )

    def _as_text(self, some: Chunk, keep_bad: bool) -> _Piece:
        rows, first_number = some.rows(), self.count + 1
        good = RowBatch(keep_bad=keep_bad)
        try:
            good.items = self._encoder.lines(rows)
        except BadRowError:
            encode_each(good, rows, first_number, self._encoder.line)
        else:
            good.rows, good.numbers = list(rows), list(range(first_number, first_number + len(rows)))

        def unfold(batch: RowBatch) -> None:
            batch.rows += good.rows
            batch.numbers += good.numbers
            batch.items += good.items

        text = "\n".join([*good.items, ""])
        return _Piece(len(rows), text.encode(), False, unfold, good.rejects)
