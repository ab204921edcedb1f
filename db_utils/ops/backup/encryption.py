"""Encrypts a stream of any length, so that nothing of it can be read, changed, left out, moved or cut off unnoticed.

The file is a header and chunks of 64 KiB, each sealed with AES-256-GCM. This is the STREAM construction (Hoang, Reyhanitabar,
Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance, CRYPTO 2015), as age and Tink use
it too: the nonce of a chunk is its number and whether it is the last one. So chunks stay in order, and a file that was cut
off has no last chunk. Each file has a key of its own, derived (HKDF-SHA256) from the given one and a random salt, which is
why plain counters are safe as nonces. Nothing is released before it is authenticated, and memory stays constant.

    header   "barnameh-backup-1\\n", 8 bytes that tell the key, 32 bytes of salt: authenticated with every chunk
    chunk    up to 65,536 bytes of data, sealed: 16 bytes longer
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from db_utils.errors import BackupError, ConfigurationError

KEY_VARIABLE = "BACKUP_KEY"
_MAGIC = b"barnameh-backup-1\n"
_ID_BYTES, _SALT_BYTES, _KEY_BYTES, _TAG_BYTES = 8, 32, 32, 16
_CHUNK_BYTES = 64 * 1024


class Readable(Protocol):
    """A file, as far as it is read here."""

    def read(self, size: int, /) -> bytes:
        """The next bytes; b"" at the end."""
        ...


@dataclass(frozen=True)
class Key:
    """A secret of 32 random bytes. It is not part of any message or `repr`."""

    secret: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Tells this key from others, and nothing about it."""
        return self._derive(b"fingerprint", b"").hex()[: 2 * _ID_BYTES]

    def sign(self, message: bytes) -> str:
        """HMAC-SHA256 of a message, under a key derived for that."""
        return hmac.new(self._derive(b"manifest", b""), message, hashlib.sha256).hexdigest()

    def file_key(self, salt: bytes) -> bytes:
        """The key of the file with this salt."""
        return self._derive(b"file", salt)

    def _derive(self, purpose: bytes, salt: bytes) -> bytes:
        try:
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        except ImportError as error:
            raise ConfigurationError(
                "encryption needs the package cryptography: pip install 'barnameh-db-utils[encryption]'"
            ) from error
        return HKDF(SHA256(), _KEY_BYTES, salt, b"barnameh-backup " + purpose).derive(self.secret)


def read_key(path: Path | None) -> Key | None:
    """The key in this file, else the one in BACKUP_KEY; None where neither is given.

    Either holds 32 random bytes in base64: `openssl rand -base64 32`. Raises `ConfigurationError` for anything else.
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
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise ConfigurationError(
            f"{where} holds no key: put 32 random bytes in base64 there (openssl rand -base64 32)"
        )
    return Key(secret)


def encrypt(pieces: Iterable[bytes], key: Key) -> Iterator[bytes]:
    """The encrypted file of this stream, piece by piece."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt = os.urandom(_SALT_BYTES)
    header = _MAGIC + bytes.fromhex(key.fingerprint) + salt
    seal = AESGCM(key.file_key(salt)).encrypt
    yield header
    held, number = bytearray(), 0
    for piece in pieces:
        held += piece
        while len(held) > _CHUNK_BYTES:  # the last chunk is only known at the end
            yield seal(_nonce(number, last=False), bytes(held[:_CHUNK_BYTES]), header)
            del held[:_CHUNK_BYTES]
            number += 1
    yield seal(_nonce(number, last=True), bytes(held), header)


def decrypt(file: Readable, key: Key) -> Iterator[bytes]:
    """What was encrypted into this file, piece by piece, each authenticated.

    Raises `BackupError` for a wrong key, and for a file that was changed, reordered or cut off: what came before may be used
    only once the stream has ended without one.
    """
    header = file.read(len(_MAGIC) + _ID_BYTES + _SALT_BYTES)
    if not header.startswith(_MAGIC) or len(header) < len(_MAGIC) + _ID_BYTES + _SALT_BYTES:
        raise BackupError(
            "the file is no encrypted backup, or its beginning was damaged: take another copy of it"
        )
    if header[len(_MAGIC) : len(_MAGIC) + _ID_BYTES].hex() != key.fingerprint:
        raise BackupError(wrong_key(header[len(_MAGIC) : len(_MAGIC) + _ID_BYTES].hex(), key))
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    open_chunk = AESGCM(key.file_key(header[-_SALT_BYTES:])).decrypt
    number, sealed = 0, file.read(_CHUNK_BYTES + _TAG_BYTES)
    while True:
        following = file.read(_CHUNK_BYTES + _TAG_BYTES)
        try:
            yield open_chunk(_nonce(number, last=not following), sealed, header)
        except (InvalidTag, ValueError):
            raise BackupError(
                f"the encrypted file was changed or cut off near byte {len(header) + number * (_CHUNK_BYTES + _TAG_BYTES):,}: "
                "take another copy of the backup"
            ) from None
        if not following:
            return
        number, sealed = number + 1, following


def wrong_key(wanted: str, key: Key) -> str:
    """The sentence for a key that is another one."""
    return f"this is the wrong key: the backup was encrypted with key {wanted}, and the one given is {key.fingerprint}"


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
