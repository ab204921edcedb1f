"""Targets of an export: a file that appears once complete, gzip, standard output."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from db_utils.errors import DbUtilsError, InvalidInputError


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Write a temporary file next to `path`, renamed to it at the end of the block and removed if the block raises."""
    if path.is_dir():
        raise InvalidInputError(f"{path} is a folder: give a file in it")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}") from error
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and not isinstance(error, DbUtilsError):
            raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}") from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def opened(path: str, *, compress: bool) -> Iterator[IO[bytes]]:
    """Open the file of this name for writing, or standard output for `-`; gzipped if `compress`."""
    if path == "-":
        with _packed(sys.stdout.buffer, compress) as stream:
            yield stream
        sys.stdout.buffer.flush()
        return
    with written_whole(Path(path)) as file, _packed(file, compress) as stream:
        yield stream


@contextmanager
def _packed(stream: IO[bytes], compress: bool) -> Iterator[IO[bytes]]:
    if not compress:
        yield stream
        return
    # Without time and name, the same rows give the same bytes.
    with gzip.GzipFile("", "wb", fileobj=stream, mtime=0, compresslevel=6) as packed:
        yield packed  # type: ignore[misc]
