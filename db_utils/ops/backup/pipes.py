"""Run PostgreSQL programs with streams of any length as output or input."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from typing import IO

from db_utils.errors import BackupError
from db_utils.ops.backup.endpoint import Endpoint

_PIECE_BYTES = 256 * 1024


@contextlib.contextmanager
def output_of(endpoint: Endpoint, program: str, *arguments: str) -> Generator[Iterator[bytes]]:
    """Run this program and yield its output in pieces, followed by `BackupError` if it failed.

    It is terminated at the end of the block.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            endpoint.command(program, "--no-password", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env=endpoint.environment,
            start_new_session=True,
        )

        def pieces() -> Iterator[bytes]:
            assert process.stdout is not None
            while piece := process.stdout.read(_PIECE_BYTES):
                yield piece
            if process.wait() != 0:
                raise _failure(program, said)

        with _ended(process):
            yield pieces()


def feed(
    endpoint: Endpoint, fill: Callable[[IO[bytes]], object], program: str, *arguments: str, database: str
) -> None:
    """Run this program on a database of the server, with input written by `fill`. Raises `BackupError`."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            endpoint.command(program, "--no-password", *arguments, database=database),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=endpoint.environment,
            start_new_session=True,
        )
        with _ended(process):
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # its own error message matters
                fill(process.stdin)
                process.stdin.close()
            if process.wait() != 0:
                raise _failure(program, said)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.communicate()


def _failure(program: str, said: IO[bytes]) -> BackupError:
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line] or lines[-1:] or ["it gave no reason"]
    reason = telling[0].partition("error:")[2].strip() or telling[0]
    return BackupError(f"{program} failed: {reason}")
