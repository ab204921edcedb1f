"""Encrypt streams with age. A backup opens without this library: `age -d -i backup.key database.dump.age`.

The key is an age identity (X25519): 32 random bytes, as written by age-keygen or in base64. age authenticates
each 64 KiB chunk before releasing it, in order and up to the last one, in constant memory. Its recipient, the
public half, would let anyone *create* files that open with the key. So it is never stored (a manifest
identifies the key by a hash under it), and the manifest, which contains the checksums of the encrypted files,
is signed with the secret half.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from db_utils.errors import BackupError, ConfigurationError

KEY_VARIABLE = "BACKUP_KEY"
_KEY_BYTES = 32
_AGE_PREFIX = "AGE-SECRET-KEY-"
_BECH32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"


class Readable(Protocol):
    """The reading part of a file's interface."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes; b"" at the end."""
        ...


class Writable(Protocol):
    """The writing part of a file's interface."""

    def write(self, data: bytes, /) -> Any:
        """Write these bytes."""
        ...


@dataclass(frozen=True)
class Key:
    """A secret of 32 random bytes, never part of a message or `repr`."""

    secret: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Fingerprint that identifies the key without revealing anything about it."""
        return self.derive(b"fingerprint").hex()[:16]

    @property
    def identity(self) -> str:
        """The secret in age's format."""
        groups = [int.from_bytes(self.secret) << 4 >> 5 * place & 31 for place in range(51, -1, -1)]
        prefix = _AGE_PREFIX.lower()
        checked = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
        checksum = _bech32_polymod([*checked, *groups, *[0] * 6]) ^ 1
        groups += [checksum >> 5 * place & 31 for place in range(5, -1, -1)]
        return f"{_AGE_PREFIX}1" + "".join(_BECH32[group] for group in groups)

    def sign(self, message: bytes) -> str:
        """Return the HMAC-SHA256 of a message, under a derived key."""
        return hmac.digest(self.derive(b"manifest"), message, "sha256").hex()

    def derive(self, purpose: bytes, salt: bytes = b"") -> bytes:
        """Derive 32 bytes for one purpose from the secret, by HKDF-SHA256 (RFC 5869)."""
        extracted = hmac.digest(salt, self.secret, "sha256")
        return hmac.digest(extracted, b"barnameh-backup " + purpose + b"\x01", "sha256")


def read_key(path: Path | None) -> Key | None:
    """Return the key in this file, else the one in BACKUP_KEY; None if neither is given.

    Either contains an age identity (`age-keygen -o backup.key`), or 32 random bytes in base64 (`openssl rand
    -base64 32`). Raises `ConfigurationError` for anything else.
    """
    if path is not None:
        try:
            text, where = path.read_text(encoding="ascii"), f"the file {path}"
        except OSError as error:
            raise ConfigurationError(f"the key file {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            text, where = "", f"the file {path}"
    else:
        text, where = os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE
        if not text.strip():
            return None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    key = _parsed(lines[0]) if len(lines) == 1 else None
    if key is None:
        raise ConfigurationError(
            f"{where} contains no key: put an age identity there (age-keygen), or 32 random bytes in base64 (openssl rand -base64 32)"
        )
    return key


def _parsed(line: str) -> Key | None:
    if line.upper().startswith(f"{_AGE_PREFIX}1"):
        number = 0
        for letter in line.upper()[len(_AGE_PREFIX) + 1 :][:52]:
            number = number << 5 | max(_BECH32.find(letter), 0)
        key = Key((number >> 4 & (1 << 256) - 1).to_bytes(_KEY_BYTES))
        return key if key.identity == line.upper() else None  # its checksum, and that nothing follows
    try:
        secret = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return None
    return Key(secret) if len(secret) == _KEY_BYTES else None


def _bech32_polymod(groups: Iterable[int]) -> int:
    """Return the BIP 173 checksum over groups of five bits."""
    checksum = 1
    for group in groups:
        top, checksum = checksum >> 25, (checksum & 0x1FFFFFF) << 5 ^ group
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum


def seal(pieces: Iterable[bytes], key: Key, into: Writable) -> None:
    """Encrypt this stream to an age file for the key. Errors of reading and writing propagate unchanged."""
    age = _age()
    source = _Pieces(pieces)
    try:
        age.encrypt_io(
            io.BufferedReader(source), into, [age.x25519.Identity.from_str(key.identity).to_public()]
        )
    except age.EncryptError:
        if source.error is not None:
            raise source.error from None
        raise


def unseal(file: Readable, key: Key, into: Writable) -> None:
    """Decrypt this file, each piece authenticated.

    Raises `BackupError` for a file of another key, and for one that was changed, reordered or cut off: use
    the output only after this has returned.
    """
    age = _age()
    try:
        age.decrypt_io(file, into, [age.x25519.Identity.from_str(key.identity)])
    except BrokenPipeError:  # of who takes it
        raise
    except (age.DecryptError, OSError) as error:
        raise BackupError(
            f"the encrypted file was made with another key, or was changed or truncated ({error}): use another copy of the backup"
        ) from None


def wrong_key(wanted: str, key: Key) -> str:
    """Return the message for a wrong key."""
    return f"wrong key: the backup was encrypted with key {wanted}, but the given one is {key.fingerprint}"


def _age() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise ConfigurationError(
            "encryption needs the package pyrage: pip install 'barnameh-db-utils[encryption]'"
        ) from error
    return pyrage


class _Pieces(io.RawIOBase):
    """A stream as a file; `error` is the original error of reading it, which age replaces by its own."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = memoryview(b"")
        self.error: BaseException | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        try:
            while not self._held:
                self._held = memoryview(next(self._pieces))
        except StopIteration:
            return 0
        except BaseException as error:
            self.error = error
            raise
        size = min(len(buffer), len(self._held))
        buffer[:size], self._held = self._held[:size], self._held[size:]
        return size


class Hashing:
    """A file that hashes what is read from it or written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._found = hashlib.sha256()
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """Read and hash bytes."""
        return self._hashed(self._file.read(size))

    def write(self, data: bytes, /) -> int:
        """Write and hash bytes."""
        return self._file.write(self._hashed(data))

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()

    def hexdigest(self) -> str:
        """Return the SHA-256 of all bytes."""
        return self._found.hexdigest()

    def _hashed(self, data: bytes) -> bytes:
        self._found.update(data)
        self.size += len(data)
        return data
