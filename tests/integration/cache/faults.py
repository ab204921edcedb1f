"""A TCP proxy that simulates network faults, and counts what passes through it."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from enum import Enum, auto
from urllib.parse import urlsplit


class Fault(Enum):
    """What happens to the bytes."""

    NONE = auto()
    BLACK_HOLE = auto()  # connections are accepted, bytes read, nothing is returned
    RESET = auto()  # connections are accepted and reset at their first byte
    SLOW = auto()  # every answer comes `delay_seconds` late
    TRICKLE = auto()  # every answer comes byte by byte, `delay_seconds` apart


class FaultProxy:
    """Forwards `127.0.0.1:port` to the server of a URL, with TLS on its own side if given a context.

    `connections` counts the connections that were accepted, `requests` the pieces that clients sent: a client
    that sends each batch of commands in one go has sent as many batches.
    """

    def __init__(self, server_url: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(server_url)
        self._server = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._login = parts.netloc.rpartition("@")[0]
        self._tls = tls
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.fault = Fault.NONE
        self.delay_seconds = 0.0
        self.connections = 0
        self.requests = 0

    @property
    def url(self) -> str:
        """The server's URL with the proxy in its place, for database 0."""
        at = "@" if self._login else ""
        return f"redis{'s' if self._tls else ''}://{self._login}{at}127.0.0.1:{self.port}/0"

    def __enter__(self) -> FaultProxy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(30)

    def cut(self) -> None:
        """Close every open connection, like a server that restarts.

        The thread that serves it closes it: closed here, its number might be given to a new connection while that
        thread still reads from the old one.
        """
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _keep(self, one: socket.socket) -> None:
        with self._lock:
            self._sockets.add(one)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._keep(client)
            self._start(self._serve, client)

    def _serve(self, plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or its own pauses look like faults
            client = plain if self._tls is None else self._tls.wrap_socket(plain, server_side=True)
            with client, socket.create_connection(self._server) as server:
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._sockets -= {plain}
                    self._sockets |= {client, server}
                try:
                    self._pump(client, server)
                finally:
                    with self._lock:
                        self._sockets -= {client, server}
        with self._lock:
            self._sockets.discard(plain)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        """Forward both ways in one thread: a TLS socket must not be read and written at the same time."""
        while True:
            ready, _, _ = select.select([client, server], [], [])
            for source, target in ((client, server), (server, client)):
                if source not in ready:
                    continue
                data = source.recv(65536)
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    data += source.recv(source.pending())
                if not data:
                    return
                self.requests += source is client
                if self.fault is Fault.RESET:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if self.fault is Fault.BLACK_HOLE:
                    continue
                answers = source is server
                if self.fault is Fault.TRICKLE and answers:
                    for position in range(len(data)):
                        target.sendall(data[position : position + 1])
                        self._stop.wait(self.delay_seconds)
                    continue
                if self.fault is Fault.SLOW and answers:
                    self._stop.wait(self.delay_seconds)
                target.sendall(data)
