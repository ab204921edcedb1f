"""A TLS front end for a server without TLS: accepts PostgreSQL's TLS request and forwards the decrypted data."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from types import TracebackType

_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


class TlsFront:
    """Listens on a loopback port with this context; plain connections are refused, as by `hostssl` alone."""

    def __init__(self, target: tuple[str, int], context: ssl.SSLContext) -> None:
        self._target = target
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.versions: list[str | None] = []
        """The protocol of each connection so far."""

    def __enter__(self) -> TlsFront:
        threading.Thread(target=self._run, name="tls-front", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            if near.recv(8, socket.MSG_WAITALL) != _SSL_REQUEST:
                return
            near.sendall(b"S")
            with self._context.wrap_socket(near, server_side=True) as inside:
                self.versions.append(inside.version())
                with socket.create_connection(self._target) as far:
                    self._pass_on(inside, far)

    def _pass_on(self, inside: ssl.SSLSocket, far: socket.socket) -> None:
        back = threading.Thread(target=_pump, args=(far, inside), daemon=True)
        back.start()
        _pump(inside, far)
        back.join()


def _pump(source: socket.socket, destination: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            destination.sendall(data)
    with suppress(OSError):
        destination.shutdown(socket.SHUT_RDWR)
