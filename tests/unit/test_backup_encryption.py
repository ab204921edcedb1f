"""Encrypted streams: they decrypt to the input, and a modified stream yields nothing."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db_utils.errors import BackupError, ConfigurationError
from db_utils.ops.backup.encryption import Hashing, Key, read_key, seal, unseal
from db_utils.ops.backup.former_encryption import unseal_former
from tests.support.former_backups import CHUNK, HEADER, former_file

KEY = Key(bytes(range(32)))
FORMER = (
    "YmFybmFtZWgtYmFja3VwLTEKn5A4kdKN7ljpV1LQIVp9I2z+sLHiHWJacMCH"
    "Jv34qE55cT9RTr9Y+x8mvP4xA1jqA4I0AfywqTSie0Bq8KLQyiqOt/eqG3Y="
)
IDENTITY = pyrage.x25519.Identity.from_str(KEY.identity)


def sealed(data: bytes, key: Key = KEY, *, pieces: int = 1) -> bytes:
    step = max(1, -(-len(data) // pieces))
    into = io.BytesIO()
    seal((data[i : i + step] for i in range(0, len(data), step)), key, into)
    return into.getvalue()


def opened(file: bytes, key: Key = KEY) -> bytes:
    into = io.BytesIO()
    unseal(io.BytesIO(file), key, into)
    return into.getvalue()


def former_opened(file: bytes, key: Key = KEY) -> bytes:
    into = io.BytesIO()
    unseal_former(io.BytesIO(file), key, into)
    return into.getvalue()


BOTH = [(sealed, opened), (former_file, former_opened)]
Seal, Open = Callable[[bytes, Key], bytes], Callable[..., bytes]


@pytest.mark.parametrize(("make", "take"), BOTH)
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7])
def test_round_trip(size: int, make: Seal, take: Open) -> None:
    data = os.urandom(size)
    assert take(make(data, KEY)) == data


@pytest.mark.parametrize("pieces", [1, 2, 5, 1000])
def test_age_opens_it_without_us(pieces: int) -> None:
    data = os.urandom(3 * CHUNK + 7)
    file = sealed(data, pieces=pieces)
    assert file.startswith(b"age-encryption.org/v1\n-> X25519 ")
    assert pyrage.decrypt(file, [IDENTITY]) == data
    assert str(IDENTITY.to_public()).encode() not in file


def test_the_same_data_is_never_the_same_file() -> None:
    assert sealed(b"data")[-20:] != sealed(b"data")[-20:]


LONG = {make: make(b"\0" * (2 * CHUNK + 10), KEY) for make, _ in BOTH}


@pytest.mark.parametrize(("make", "take"), BOTH)
@settings(max_examples=40, deadline=None)
@given(position=st.integers(0, 2 * CHUNK + 400), bit=st.integers(0, 7))
def test_every_changed_bit_is_noticed(make: Seal, take: Open, position: int, bit: int) -> None:
    file = bytearray(LONG[make])
    file[min(position, len(file) - 1)] ^= 1 << bit
    with pytest.raises(BackupError):
        take(bytes(file))


@pytest.mark.parametrize(("make", "take"), BOTH)
@pytest.mark.parametrize("left", [-1, 0, 10, 26, 26 + CHUNK + 16, 26 + 2 * (CHUNK + 16)])
def test_every_cut_is_noticed(make: Seal, take: Open, left: int) -> None:
    """Including a cut between two chunks, and one that leaves only the header; cuts are counted from the end."""
    file = LONG[make]
    with pytest.raises(BackupError):
        take(file[: len(file) - left] if left > 0 else file[: -left or 0])


def test_moved_doubled_and_left_out_chunks_are_noticed() -> None:
    file = former_file(os.urandom(3 * CHUNK), KEY)
    ours = sealed(os.urandom(3 * CHUNK))
    for name, header, take in ((file, HEADER, former_opened), (ours, len(ours) - 3 * (CHUNK + 16), opened)):
        chunks = [name[header + i * (CHUNK + 16) : header + (i + 1) * (CHUNK + 16)] for i in range(3)]
        for order in ([1, 0, 2], [0, 0, 1, 2], [0, 2], [0, 1, 2, 2]):
            with pytest.raises(BackupError, match="changed or truncated"):
                take(name[:header] + b"".join(chunks[i] for i in order))


def test_a_file_of_before_age_opens() -> None:
    """The bytes, fingerprint and signature were written by the release that used this format."""
    assert former_opened(base64.b64decode(FORMER)) == b"made before age"
    assert KEY.fingerprint == "9f903891d28dee58"
    assert KEY.sign(b"message") == "a28f2199b64c4c56ed4fbbd5e482ad73e386545aa79db756910aa3e998d659f1"


def test_a_wrong_key_is_called_one() -> None:
    other = Key(bytes(32))
    with pytest.raises(BackupError, match="made with another key"):
        opened(sealed(b"data"), other)
    with pytest.raises(
        BackupError, match=f"wrong key: the backup was encrypted with key {KEY.fingerprint}"
    ) as raised:
        former_opened(former_file(b"data", KEY), other)
    assert KEY.secret.hex() not in str(raised.value)
    assert repr(KEY.secret) not in repr(KEY)
    assert KEY.identity not in repr(KEY)


class Failing(io.BytesIO):
    def write(self, _: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_what_the_other_sides_raise_is_raised() -> None:
    def dump() -> Iterator[bytes]:
        yield b"some"
        raise BackupError("pg_dump failed: no space left")

    with pytest.raises(BackupError, match="no space left"):
        seal(dump(), KEY, io.BytesIO())
    with pytest.raises(BrokenPipeError):
        unseal(io.BytesIO(sealed(os.urandom(2 * CHUNK))), KEY, Failing())


def test_what_passes_is_hashed() -> None:
    into = Hashing(io.BytesIO())
    into.write(b"ab")
    into.write(b"c")
    assert into.size == 3
    assert (
        into.hexdigest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )  # FIPS 180-2, B.1


@given(st.binary(min_size=32, max_size=32))
def test_a_key_is_an_identity_of_age(secret: bytes) -> None:
    key = Key(secret)
    assert str(pyrage.x25519.Identity.from_str(key.identity)) == key.identity


def test_where_the_key_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, text = tmp_path / "key", base64.b64encode(KEY.secret).decode()
    monkeypatch.delenv("BACKUP_KEY", raising=False)
    assert read_key(None) is None
    age_keygen = f"# created: 2026-11-29T06:00:00Z\n# public key: {IDENTITY.to_public()}\n{KEY.identity}\n"
    for right in (text, text + "\n", KEY.identity, KEY.identity.lower(), age_keygen):
        path.write_text(right)
        assert read_key(path) == KEY
    monkeypatch.setenv("BACKUP_KEY", text)
    assert read_key(None) == KEY
    changed = KEY.identity[:-1] + ("Q" if KEY.identity[-1] != "Q" else "P")
    public = str(IDENTITY.to_public())
    for wrong in (
        "",
        "not base64!",
        text[:-8],
        "é",
        changed,
        KEY.identity + "Q",
        KEY.identity[:-1],
        public,
        f"{text}\n{text}",
    ):
        path.write_text(wrong)
        with pytest.raises(ConfigurationError, match="openssl rand -base64 32"):
            read_key(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_key(tmp_path / "none")
