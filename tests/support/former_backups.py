"""Writes encrypted backups in the format used before age, to test that they can still be restored."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from db_utils.ops.backup.encryption import Key
from db_utils.ops.backup.manifest import FILE, File, read

CHUNK = 65_536
HEADER = 58


def former_file(data: bytes, key: Key) -> bytes:
    """The data as sealed: a header, then chunks."""
    salt = os.urandom(32)
    header = b"barnameh-backup-1\n" + bytes.fromhex(key.fingerprint) + salt
    seal = AESGCM(key.derive(b"file", salt)).encrypt

    def chunks() -> Iterator[bytes]:
        starts = range(0, max(1, len(data)), CHUNK)
        for number, start in enumerate(starts):
            nonce = number.to_bytes(11, "big") + bytes([number == len(starts) - 1])
            yield seal(nonce, data[start : start + CHUNK], header)

    return header + b"".join(chunks())


def make_former(folder: Path, key: Key) -> None:
    """Turn a plain backup into one of format 1 that is encrypted with this key."""
    manifest = read(folder)
    sealed = {}
    for part in ("dump", "roles"):
        path = folder / getattr(manifest, part).file
        data = former_file(path.read_bytes(), key)
        path.unlink()
        path.with_name(f"{path.name}.enc").write_bytes(data)
        sealed[part] = File(f"{path.name}.enc", len(data), hashlib.sha256(data).hexdigest())
    made = dataclasses.replace(manifest, **sealed, key=key.fingerprint, format=1)  # type: ignore[arg-type]
    (folder / FILE).write_text(dataclasses.replace(made, signature=key.sign(made.unsigned())).text())
