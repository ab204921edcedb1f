"""What a backup says about itself: versions, checksums, and the rows of each table as its snapshot saw them.

A backup is a folder:

    manifest.json    this; readable by everyone who may read the folder, also where the rest is encrypted
    database.dump    pg_dump's custom format (database.dump.enc where encrypted)
    roles.json       the roles that the database needs, which a dump does not carry (roles.json.enc)
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from db_utils.admin.backup.encryption import Key, wrong_key
from db_utils.errors import BackupError

FORMAT = 1
FILE = "manifest.json"
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Table:
    """One table in the snapshot of the dump."""

    table: str
    rows: int
    hash: str
    """Of all contents, whatever the order of the rows; see sql/backup/contents.sql."""


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
    """Who owns TimescaleDB's jobs: these roles must be there before a restore."""
    taken_at: str
    """When the snapshot was taken, UTC."""


@dataclass(frozen=True)
class File:
    """One file of the backup, as it lies there."""

    file: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The whole of it."""

    backup_id: str
    database: Database
    dump: File
    roles: File
    tables: list[Table]
    made_by: str
    key: str | None = None
    """Fingerprint of the key that the files are encrypted with; None where they are not."""
    signature: str | None = None
    """HMAC of all the rest under that key."""
    format: int = field(default=FORMAT)

    def text(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def unsigned(self) -> bytes:
        """What the signature is of."""
        return json.dumps({**asdict(self), "signature": None}, sort_keys=True).encode()

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


def read(folder: Path) -> Manifest:
    """What does the backup in this folder say about itself? Raises `BackupError` where there is none that can be read."""
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackupError(
            f"{folder} is no backup (it has no {FILE}): name the folder that `backup` made"
        ) from None
    except (OSError, ValueError) as error:
        raise BackupError(f"{path} cannot be read ({error}): take another copy of the backup") from error
    if isinstance(found, dict) and found.get("format") not in (None, FORMAT):
        raise BackupError(
            f"{path} has format {found['format']}, and this release reads {FORMAT}: use a newer release"
        )
    try:
        return _from_json(found)
    except (KeyError, TypeError) as error:
        raise BackupError(f"{path} is damaged ({error}): take another copy of the backup") from error


def _from_json(found: dict[str, Any]) -> Manifest:
    return Manifest(
        **{
            **found,
            "database": Database(**found["database"]),
            "dump": File(**found["dump"]),
            "roles": File(**found["roles"]),
            "tables": [Table(**table) for table in found["tables"]],
        }
    )


def check(folder: Path, manifest: Manifest, key: Key | None) -> None:
    """Raise `BackupError` unless the files are those that the manifest tells of, and the key opens them."""
    if manifest.key is not None:
        if key is None:
            raise BackupError(
                f"the backup is encrypted with key {manifest.key}: give it with --key-file, or in BACKUP_KEY"
            )
        if key.fingerprint != manifest.key:
            raise BackupError(wrong_key(manifest.key, key))
        if manifest.signature != key.sign(manifest.unsigned()):
            raise BackupError(
                f"{folder / FILE} was changed after it was written: take another copy of the backup"
            )
    for file in (manifest.dump, manifest.roles):
        path = folder / file.file
        if path.parent != folder or not path.is_file():
            raise BackupError(f"{path} is missing: take another copy of the backup")
        size = path.stat().st_size
        if size != file.size_bytes:
            raise BackupError(
                f"{path} has {size:,} bytes and should have {file.size_bytes:,}: it was cut off or changed, take another copy"
            )
        with path.open("rb") as opened:
            if digest(opened) != file.sha256:
                raise BackupError(
                    f"{path} does not have its checksum: it was changed or damaged, take another copy"
                )


def digest(file: BinaryIO) -> str:
    """SHA-256 of a file, as `sha256sum` prints it."""
    found = hashlib.sha256()
    while piece := file.read(_READ_BYTES):
        found.update(piece)
    return found.hexdigest()
