"""What the cache adds to redis-py's connections: one deadline for a whole exchange."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.connection import Connection

from db_utils.cache.connection import BoundedConnection, DeadlineSocket


# redis-py reads as much as the socket has, with hiredis into its own buffer and without it as bytes.
def received(near: DeadlineSocket, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: near.recv_into(buffer)])


READS = [DeadlineSocket.recv, received]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@pytest.mark.parametrize("read", READS)
def test_a_peer_that_trickles_does_not_hold_the_reader_beyond_the_deadline(
    pair: tuple[socket.socket, socket.socket], read: Callable[[DeadlineSocket, int], bytes]
) -> None:
    near, far = pair
    stop = threading.Event()

    def trickle() -> None:  # each byte in time, forever
        while not stop.wait(0.005):
            far.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        bounded = DeadlineSocket(near, time.monotonic() + 0.1)
        with pytest.raises(TimeoutError):
            all(read(bounded, 100) for _ in itertools.count())
    finally:
        stop.set()
        thread.join()


def test_a_peer_that_does_not_read_does_not_hold_the_writer_beyond_the_deadline(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, _ = pair
    with pytest.raises(TimeoutError):
        DeadlineSocket(near, time.monotonic() + 0.1).sendall(bytes(50_000_000))


@pytest.mark.parametrize("read", READS)
def test_past_the_deadline_what_has_arrived_is_read_once_and_nothing_is_waited_for(
    pair: tuple[socket.socket, socket.socket], read: Callable[[DeadlineSocket, int], bytes]
) -> None:
    near, far = pair
    far.sendall(b"+OK\r\n")
    late = DeadlineSocket(near, time.monotonic())
    assert read(late, 3) == b"+OK"
    for _ in range(2):
        with pytest.raises(TimeoutError):
            read(late, 10)
    late.begin(time.monotonic())
    assert read(late, 10) == b"\r\n"
    late.begin(time.monotonic())
    with pytest.raises(TimeoutError):
        read(late, 10)
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


def test_a_connection_that_was_closed_does_not_connect_again_in_a_caller_s_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = BoundedConnection(
            Connection, 1.0, port=server.getsockname()[1], redis_connect_func=lambda _: None
        )
        with pytest.raises(ConnectionError, match="closed"):
            connection.converse([("PING",)], time.monotonic() + 1)
        connection.open()
        connection.close()
        with pytest.raises(redis.ConnectionError, match="closed"):
            connection.converse([("PING",)], time.monotonic() + 1)
