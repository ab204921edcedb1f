"""The manifest of a backup: versions, checksums, and the rows of each table in its snapshot.

A backup is a folder:

    manifest.json    this; readable by every reader of the folder, even if the rest is encrypted database.dump
    pg_dump's custom format (database.dump.age if encrypted; database.dump.enc in format 1) roles.json the
    roles that the database needs, which a dump does not carry (roles.json.age)
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from db_utils.errors import BackupError
from db_utils.ops.backup.encryption import Hashing, Key, Writable, unseal, wrong_key
from db_utils.ops.backup.former_encryption import unseal_former

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")

FORMAT = 2
FILE = "manifest.json"
DUMP = "database.dump"
ROLES = "roles.json"
SEALED = {1: ".enc", 2: ".age"}
"""Suffix of encrypted files, by format; plain backups of both are the same."""
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class TableManifest:
    """One table in the snapshot of the dump."""

    table: str
    rows: int
    hash: str
    """Hash of all contents, independent of the order of rows; see sql/backup/contents.sql."""


@dataclass(frozen=True)
class Database:
    """The database that was backed up."""

    name: str
    owner: str
    postgresql: str
    postgresql_major: int
    timescaledb: str | None
    edition: str
    schema_version: int | None
    job_owners: list[str]
    """Owners of TimescaleDB's jobs: these roles must exist before a restore."""
    taken_at: str
    """When the snapshot was taken, UTC."""


@dataclass(frozen=True)
class File:
    """One file of the backup as stored."""

    file: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The whole manifest."""

    backup_id: str
    database: Database
    dump: File
    roles: File
    tables: list[TableManifest]
    made_by: str
    key: str | None = None
    """Fingerprint of the key that the files are encrypted with; None if they are not."""
    signature: str | None = None
    """HMAC of the rest of the manifest under that key."""
    format: int = field(default=FORMAT)

    def text(self) -> str:
        """Return the manifest as written."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def unsigned(self) -> bytes:
        """Return the signed bytes."""
        return json.dumps({**asdict(self), "signature": None}, sort_keys=True).encode()

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


def read(folder: Path) -> Manifest:
    """Read the manifest of the backup in this folder. Raises `BackupError` if it is missing or unreadable."""
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackupError(
            f"{folder} is not a backup (it has no {FILE}): give the folder that `backup` created"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BackupError(f"{path} cannot be read ({error}): use another copy of the backup") from error
    if isinstance(found, dict) and found.get("format") not in (None, *SEALED):
        raise BackupError(
            f"{path} has format {found['format']}, but this release reads up to {FORMAT}: use a newer release"
        )
    try:
        return _from_json(found)
    except (KeyError, TypeError) as error:
        raise BackupError(f"{path} is damaged ({error}): use another copy of the backup") from error


def _from_json(found: Any) -> Manifest:
    return typed(
        Manifest,
        {
            **found,
            "database": typed(Database, found["database"]),
            "dump": typed(File, found["dump"]),
            "roles": typed(File, found["roles"]),
            "tables": [typed(TableManifest, table) for table in found["tables"]],
        },
    )


def typed(kind: type[Record], found: dict[str, Any]) -> Record:
    """Parse this record from untrusted JSON. Raises `TypeError` if a value is not of its field's type."""
    record = kind(**found)
    hints = get_type_hints(kind)
    for part in fields(record):
        value, hint = getattr(record, part.name), hints[part.name]
        if not _is(value, hint):
            raise TypeError(f"{part.name} is not of type {getattr(hint, '__name__', hint)}")
    return record


def _is(value: object, hint: Any) -> bool:
    if hint in (str, int, bool):
        return type(value) is hint and (hint is not str or _is_text(str(value)))
    options: tuple[Any, ...] = getattr(hint, "__args__", ())
    if getattr(hint, "__origin__", None) is list:
        return isinstance(value, list) and all(_is(item, options[0]) for item in value)
    if options:
        return any(_is(value, option) for option in options)
    return isinstance(value, hint)


def _is_text(value: str) -> bool:
    """Whether PostgreSQL accepts it: no NUL, no lone surrogate."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def check(folder: Path, manifest: Manifest, key: Key | None) -> None:
    """Raise `BackupError` unless the files match the manifest, and the key decrypts and signed them.

    A given key claims that the backup was made with it: an unencrypted backup is then refused, because anyone
    with write access to its folder could have replaced an encrypted one.
    """
    if manifest.key is None and key is not None:
        raise BackupError(
            f"a key was given, but {folder} is not encrypted, so its origin cannot be verified: if you trust everyone who can write "
            "there, restore it without --key-file and BACKUP_KEY"
        )
    if manifest.key is not None:
        if key is None:
            raise BackupError(
                f"the backup is encrypted with key {manifest.key}: give it with --key-file, or in BACKUP_KEY"
            )
        if key.fingerprint != manifest.key:
            raise BackupError(wrong_key(manifest.key, key))
        if not hmac.compare_digest(manifest.signature or "", key.sign(manifest.unsigned())):
            raise BackupError(
                f"{folder / FILE} was changed after it was written: use another copy of the backup"
            )
    for file, name in ((manifest.dump, DUMP), (manifest.roles, ROLES)):
        if file.file != name + (SEALED[manifest.format] if manifest.key else ""):
            raise BackupError(f"{folder / FILE} is damaged ({file.file!r} is no {name}): use another copy")
        path = folder / file.file
        if path.is_symlink() or not path.is_file():
            raise BackupError(f"{path} is missing: use another copy of the backup")
        size = path.stat().st_size
        if size != file.size_bytes:
            raise BackupError(
                f"{path} has {size:,} bytes but should have {file.size_bytes:,}: it was truncated or changed: use another copy"
            )
        with path.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                raise _changed(path)


def pour(folder: Path, manifest: Manifest, file: File, key: Key | None, into: Writable) -> None:
    """Write the contents of this file of a backup, decrypted if a key is given.

    Raises `BackupError` at the end if the file does not match the manifest.
    """
    path = folder / file.file
    with path.open("rb") as opened:
        source = Hashing(opened)
        if key is None:
            while piece := source.read(_READ_BYTES):
                into.write(piece)
        else:
            (unseal if manifest.format > 1 else unseal_former)(source, key, into)
        if source.hexdigest() != file.sha256:
            raise _changed(path)


def _changed(path: Path) -> BackupError:
    return BackupError(f"{path} does not match its checksum: it was changed or damaged: use another copy")
