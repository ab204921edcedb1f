"""Replies over a socket: any cut of the bytes, any nonsense, and one deadline for it all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db_utils.cache.connection import DeadlineSocket, ErrorReply, ProtocolError, _Reader
from db_utils.cache.node import pack, pack_words


class Pieces:
    """A socket that gives its bytes in pieces, then says that the other side has closed."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def recv(self, _: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def read(*pieces: bytes, count: int = 1) -> Any:
    reader = _Reader(Pieces(*pieces))  # type: ignore[arg-type]
    replies = [reader.reply() for _ in range(count)]
    return replies[0] if count == 1 else replies


def written(reply: Any) -> bytes:
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, str):
        return b"+%b\r\n" % reply.encode()
    return b"*%d\r\n" % len(reply) + b"".join(written(item) for item in reply)


replies = st.recursive(
    st.none() | st.binary() | st.integers() | st.text("abc OK", max_size=5),
    lambda inner: st.lists(inner, max_size=5),
)


@given(st.lists(replies, min_size=1, max_size=4), st.data())
def test_replies_arrive_whole_however_they_are_cut(expected: list[Any], data: st.DataObject) -> None:
    stream = b"".join(written(reply) for reply in expected)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]
    reader = _Reader(Pieces(*pieces))  # type: ignore[arg-type]
    assert [reader.reply() for _ in expected] == expected


def test_every_byte_on_its_own() -> None:
    stream = written([b"12345", None, [b"", 7], "OK"])
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == [b"12345", None, [b"", 7], "OK"]


def test_a_large_value_in_many_pieces() -> None:
    value = bytes(range(256)) * 4000
    stream = written([value, b"after"])
    assert read(*(stream[i : i + 65536] for i in range(0, len(stream), 65536))) == [value, b"after"]


def test_errors_are_replies_among_others() -> None:
    first, second, third = read(b"-NOSCRIPT No matching script\r\n+OK\r\n*2\r\n-ERR x\r\n:1\r\n", count=3)
    assert isinstance(first, ErrorReply)
    assert (first.code, str(first)) == ("NOSCRIPT", "NOSCRIPT No matching script")
    assert second == "OK"
    assert third[0].code == "ERR"
    assert third[1] == 1
    assert read(b"*-1\r\n") is None


@pytest.mark.parametrize(
    "nonsense", [b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"%1\r\n", b"*x\r\n", b"$1x\r\n"]
)
def test_nonsense_is_a_protocol_error(nonsense: bytes) -> None:
    with pytest.raises((ProtocolError, ValueError)):
        read(nonsense)


@pytest.mark.parametrize("cut", [b"", b"$5", b"$5\r\n123", b"*2\r\n$1\r\na\r\n"])
def test_an_end_too_early_is_a_connection_error(cut: bytes) -> None:
    with pytest.raises(ConnectionError):
        read(cut)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_a_peer_that_trickles_does_not_hold_the_reader_beyond_the_deadline(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    stop = threading.Event()

    def trickle() -> None:  # each byte in time, for ever
        far.sendall(b"$1000000\r\n")
        while not stop.wait(0.005):
            far.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            _Reader(DeadlineSocket(near, began + 0.1)).reply()
        assert 0.1 <= time.monotonic() - began < 1
    finally:
        stop.set()
        thread.join()


def test_a_peer_that_does_not_read_does_not_hold_the_writer_beyond_the_deadline(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, _ = pair
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        DeadlineSocket(near, began + 0.1).sendall(bytes(50_000_000))
    assert 0.1 <= time.monotonic() - began < 1


def test_past_the_deadline_what_has_arrived_is_read_once_and_nothing_is_waited_for(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    far.sendall(b"+OK\r\n")
    late = DeadlineSocket(near, time.monotonic())
    assert late.recv(3) == b"+OK"
    for _ in range(2):
        with pytest.raises(TimeoutError):
            late.recv(10)
    late.begin(time.monotonic())
    assert late.recv(10) == b"\r\n"
    late.begin(time.monotonic())
    with pytest.raises(TimeoutError):
        late.recv(10)
    with pytest.raises(TimeoutError):
        late.sendall(b"x")


def test_a_write_larger_than_the_socket_s_buffer_arrives_whole(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    data = bytes(range(256)) * 20_000
    received = bytearray()

    def drain() -> None:
        while len(received) < len(data):
            received.extend(far.recv(65536))

    thread = threading.Thread(target=drain)
    thread.start()
    DeadlineSocket(near, time.monotonic() + 30).sendall(data)
    thread.join()
    assert received == data


@settings(max_examples=50)
@given(st.lists(st.binary() | st.text(st.characters(max_codepoint=127)), min_size=1))
def test_commands_are_packed_as_redis_reads_them(arguments: list[bytes | str]) -> None:
    data = [item.encode() if isinstance(item, str) else item for item in arguments]
    assert pack(arguments) == written(data)
    words = [item for item in arguments if isinstance(item, str)]
    assert pack_words(words) == pack(words)
