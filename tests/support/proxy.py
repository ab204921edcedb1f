"""A TCP proxy that can misbehave like a network: stop delivering, cut every connection, refuse new ones."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType
from typing import Any


class Proxy:
    """Forwards a loopback port to `target` (a host and port, or the path of a socket)."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._silent = threading.Event()
        self._unanswered: bytes | None = None
        self._asked: set[socket.socket] = set()
        self._ended = False
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True
        self._wake_write.send(b"x")
        self._thread.join()
        self.cut()
        self._listener.close()
        self._wake_read.close()
        self._wake_write.close()
        self._selector.close()

    def fall_silent(self) -> None:
        """Accept everything and deliver nothing, like a firewall that drops packets."""
        self._silent.set()

    def speak_again(self) -> None:
        """Deliver again, on new connections; dropped data stay dropped."""
        self._silent.clear()

    def cut_at_the_answer_to(self, request: bytes) -> None:
        """Deliver data with these bytes, and close the connection when the server answers."""
        self._unanswered = request

    def cut(self) -> None:
        """Close every connection."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for side in pair:
                self._forget(side)

    def _forget(self, side: socket.socket) -> None:
        try:
            self._selector.unregister(side)
        except (KeyError, ValueError):
            return
        side.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_read:
                    self._wake_read.recv(1)
                else:
                    self._forward(key.fileobj, key.data)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if isinstance(self._target, str):
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
        else:
            far = socket.create_connection(self._target)
        with self._lock:
            self._pairs.append((near, far))
        self._selector.register(near, selectors.EVENT_READ, far)
        self._selector.register(far, selectors.EVENT_READ, near)

    def _forward(self, source: Any, destination: Any) -> None:
        try:
            data = source.recv(65536)
            if data and self._silent.is_set():
                return
            if self._unanswered is not None and self._unanswered in data:
                self._asked.add(destination)
            if data and source not in self._asked:
                destination.sendall(data)
                return
        except OSError:
            pass
        self._forget(source)
        self._forget(destination)
