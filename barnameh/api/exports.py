"""Downloads: all rows as CSV, NDJSON or Arrow, in constant memory. A failed download never looks complete."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.streams.memory import MemoryObjectSendStream

from barnameh.api.jsons import encode, encode_lines
from db_utils import TenantScope
from db_utils.catalogue import Read

CHUNK_BYTES = 128 * 1024
CHUNKS_AHEAD = 4
BATCH_ROWS = 5_000

CSV, NDJSON, ARROW = "text/csv", "application/x-ndjson", "application/vnd.apache.arrow.stream"
MEDIA_TYPES: Mapping[str, str] = {"csv": CSV, "ndjson": NDJSON, "arrow": ARROW}


class Sink(Protocol):
    """Takes bytes."""

    def write(self, data: Any) -> Any:
        """Take these."""


class _Pipe:
    """Collects a thread's writes into chunks for the event loop; blocks until they are consumed."""

    def __init__(self, send: MemoryObjectSendStream[bytes]) -> None:
        self._send, self._buffer = send, bytearray()

    def write(self, data: Any) -> int:
        if len(data) >= CHUNK_BYTES:  # large enough already
            self.flush()
            anyio.from_thread.run(self._send.send, bytes(data))
            return len(data)
        self._buffer += data
        if len(self._buffer) >= CHUNK_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._buffer:
            chunk, self._buffer = bytes(self._buffer), bytearray()
            anyio.from_thread.run(self._send.send, chunk)

    @property
    def closed(self) -> bool:
        return False


async def chunks(produce: Callable[[Sink], Any], limiter: anyio.CapacityLimiter) -> AsyncIterator[bytes]:
    """Run `produce` in a thread and yield what it writes, chunk by chunk; exceptions are passed on.

    It ends when the consumer stops.
    """
    send, receive = anyio.create_memory_object_stream[bytes](CHUNKS_AHEAD)

    def work() -> None:
        pipe = _Pipe(send)
        produce(pipe)
        pipe.flush()

    async def run() -> None:
        with send:
            await anyio.to_thread.run_sync(work, limiter=limiter)

    task = asyncio.create_task(run())
    try:
        async for chunk in receive:
            yield chunk
        await task
    finally:
        receive.close()  # the thread's next chunk is rejected, which ends its statement
        if not task.done():
            with contextlib.suppress(BaseException):
                await asyncio.shield(task)


def write_csv(
    scope: TenantScope, read: Read, types: Mapping[str, str], timeout_seconds: float
) -> Callable[[Sink], Any]:
    """Return a writer of CSV directly from the server: true and false, lists as JSON, NULL as an empty field."""
    shown = ", ".join(_as_csv(name, kind) for name, kind in types.items())
    sql = f"SELECT {shown} FROM (\n{_statement(read)}\n) AS q"
    return lambda sink: scope.copy_out(
        sql,
        read.parameters,
        into=sink,
        options="FORMAT csv, HEADER, ENCODING 'UTF8'",
        timeout_seconds=timeout_seconds,
    )


def _as_csv(name: str, kind: str) -> str:
    if kind == "boolean":
        return f'q."{name}"::text AS "{name}"'
    if kind.endswith("[]"):
        return f'to_json(q."{name}") AS "{name}"'
    return f'q."{name}"'


def write_ndjson(rows: Iterable[dict[str, Any]]) -> Callable[[Sink], Any]:
    """Return a writer of one JSON document per row, as in the pages."""

    def write(sink: Sink) -> None:
        with _closing(rows) as iterator:
            while batch := list(islice(iterator, 500)):
                sink.write(encode_lines(batch))

    return write


def write_arrow(rows: Iterable[dict[str, Any]], types: Mapping[str, str]) -> Callable[[Sink], Any]:
    """Return a writer of an Arrow IPC stream: numbers of unknown scale as float64, lists and JSON as text. Needs pyarrow."""
    import pyarrow

    kinds: dict[str, Any] = {
        "numeric": pyarrow.float64(),
        "double precision": pyarrow.float64(),
        "bigint": pyarrow.int64(),
        "integer": pyarrow.int32(),
        "boolean": pyarrow.bool_(),
        "date": pyarrow.date32(),
        "timestamp with time zone": pyarrow.timestamp("us", "UTC"),
        "timestamp without time zone": pyarrow.timestamp("us"),
        "interval": pyarrow.duration("us"),
    }
    schema = pyarrow.schema([(name, kinds.get(kind, pyarrow.string())) for name, kind in types.items()])
    convert: dict[str, Callable[[Any], Any]] = {"numeric": float, "uuid": str}

    def column(name: str, kind: str, batch: list[dict[str, Any]]) -> Any:
        turn = convert.get(kind) or (
            (lambda value: encode(value).decode())
            if kind in ("json", "jsonb") or kind.endswith("[]")
            else None
        )
        values = [row[name] for row in batch]
        if turn is not None:
            values = [None if value is None else turn(value) for value in values]
        return pyarrow.array(values, type=schema.field(name).type)

    def write(sink: Sink) -> None:
        with _closing(rows) as iterator, pyarrow.ipc.new_stream(sink, schema) as writer:
            while batch := list(islice(iterator, BATCH_ROWS)):
                writer.write_batch(
                    pyarrow.record_batch(
                        [column(name, kind, batch) for name, kind in types.items()], schema=schema
                    )
                )

    return write


@contextlib.contextmanager
def _closing(rows: Iterable[dict[str, Any]]) -> Any:
    iterator = iter(rows)
    try:
        yield iterator
    finally:
        if hasattr(iterator, "close"):
            iterator.close()


def _statement(read: Read) -> str:
    return read.sql.rstrip().rstrip(";")


def write_csv_rows(rows: Iterable[dict[str, Any]], types: Mapping[str, str]) -> Callable[[Sink], Any]:
    """Return a writer of the same CSV, from rows in memory."""

    def cell(value: Any) -> str | None:
        if value is None or isinstance(value, str):
            return value
        text = encode(value).decode()
        return text.strip('"') if text.startswith('"') else text

    def write(sink: Sink) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(types)
        writer.writerows([cell(row[name]) for name in types] for row in rows)
        sink.write(text.getvalue().encode())

    return write
