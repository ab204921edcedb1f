"""Encrypted streams: what comes out is what went in, and nothing that was changed comes out at all."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db_utils.errors import BackupError, ConfigurationError
from db_utils.ops.backup.encryption import Key, decrypt, encrypt, read_key

CHUNK = 65_536
HEADER = 58
KEY = Key(bytes(range(32)))


def sealed(data: bytes, *, pieces: int = 1) -> bytes:
    step = max(1, -(-len(data) // pieces))
    return b"".join(encrypt((data[i : i + step] for i in range(0, len(data), step)), KEY))


def opened(data: bytes, key: Key = KEY) -> bytes:
    return b"".join(decrypt(io.BytesIO(data), key))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7])
@pytest.mark.parametrize("pieces", [1, 5])
def test_round_trip(size: int, pieces: int) -> None:
    data = os.urandom(size)
    file = sealed(data, pieces=pieces)
    assert opened(file) == data
    assert len(file) == HEADER + size + 16 * max(1, -(-size // CHUNK))


def test_the_same_data_is_never_the_same_file() -> None:
    assert sealed(b"data")[HEADER:] != sealed(b"data")[HEADER:]


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, HEADER + 2 * (CHUNK + 16) + 26), bit=st.integers(0, 7))
def test_every_changed_bit_is_noticed(position: int, bit: int) -> None:
    file = bytearray(sealed(b"\0" * (2 * CHUNK + 10)))
    assert len(file) == HEADER + 2 * (CHUNK + 16) + 26
    file[min(position, len(file) - 1)] ^= 1 << bit
    with pytest.raises(BackupError):
        opened(bytes(file))


@pytest.mark.parametrize(
    "cut", [0, 10, HEADER, HEADER + 5, HEADER + CHUNK + 16, HEADER + 2 * (CHUNK + 16), -1]
)
def test_every_cut_is_noticed(cut: int) -> None:
    """Also one between two chunks, and one that leaves the header alone."""
    file = sealed(os.urandom(2 * CHUNK + 10))
    with pytest.raises(BackupError):
        opened(file[:cut])


def test_moved_doubled_and_left_out_chunks_are_noticed() -> None:
    file = sealed(os.urandom(3 * CHUNK))
    chunks = [file[HEADER + i * (CHUNK + 16) : HEADER + (i + 1) * (CHUNK + 16)] for i in range(3)]
    for order in ([1, 0, 2], [0, 0, 1, 2], [0, 2], [0, 1, 2, 2]):
        with pytest.raises(BackupError, match="changed or cut off"):
            opened(file[:HEADER] + b"".join(chunks[i] for i in order))


def test_a_chunk_of_another_file_of_the_same_key_is_noticed() -> None:
    one, other = sealed(b"a" * 100), sealed(b"b" * 100)
    with pytest.raises(BackupError):
        opened(one[:HEADER] + other[HEADER:])


def test_a_wrong_key_is_called_one() -> None:
    other = Key(bytes(32))
    with pytest.raises(
        BackupError, match=f"wrong key: the backup was encrypted with key {KEY.fingerprint}"
    ) as raised:
        opened(sealed(b"data"), other)
    assert KEY.secret.hex() not in str(raised.value)
    assert repr(KEY.secret) not in repr(KEY)


def test_where_the_key_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, text = tmp_path / "key", base64.b64encode(KEY.secret).decode()
    monkeypatch.delenv("BACKUP_KEY", raising=False)
    assert read_key(None) is None
    path.write_text(text + "\n")
    assert read_key(path) == KEY
    monkeypatch.setenv("BACKUP_KEY", text)
    assert read_key(None) == KEY
    for wrong in ("", "not base64!", text[:-8], "é"):
        path.write_text(wrong)
        with pytest.raises(ConfigurationError, match="openssl rand -base64 32"):
            read_key(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_key(tmp_path / "none")
