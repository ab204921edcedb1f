"""Decrypt backups in the format used before age; it is no longer written.

header   "barnameh-backup-1\\n", 8 bytes of the key's fingerprint, 32 bytes of salt: authenticated with every
chunk chunk    up to 65,536 bytes, sealed with AES-256-GCM (16 bytes longer); its nonce is its number and
whether it is the last one
"""

from __future__ import annotations

from db_utils.errors import BackupError, ConfigurationError
from db_utils.ops.backup.encryption import Key, Readable, Writable, wrong_key

_MAGIC = b"barnameh-backup-1\n"
_ID = slice(len(_MAGIC), len(_MAGIC) + 8)
_HEADER_BYTES = _ID.stop + 32
_SEALED_BYTES = 64 * 1024 + 16


def unseal_former(file: Readable, key: Key, into: Writable) -> None:
    """Do what `encryption.unseal` does, for a file in the former format."""
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise ConfigurationError(
            "a backup that was encrypted before age was used needs the package cryptography: pip install cryptography"
        ) from error
    header = file.read(_HEADER_BYTES)
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise BackupError(
            "the file is not an encrypted backup, or its beginning was damaged: use another copy of it"
        )
    if header[_ID].hex() != key.fingerprint:
        raise BackupError(wrong_key(header[_ID].hex(), key))
    open_chunk = AESGCM(key.derive(b"file", header[_ID.stop :])).decrypt
    number, sealed = 0, file.read(_SEALED_BYTES)
    while True:
        following = file.read(_SEALED_BYTES)
        nonce = number.to_bytes(11, "big") + bytes([not following])
        try:
            opened = open_chunk(nonce, sealed, header)
        except (InvalidTag, ValueError):
            raise BackupError(
                f"the encrypted file was changed or truncated near byte {len(header) + number * _SEALED_BYTES:,}: "
                "use another copy of the backup"
            ) from None
        into.write(opened)
        if not following:
            return
        number, sealed = number + 1, following
