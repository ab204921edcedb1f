"""The files of the schema, their contents and version."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from db_utils.errors import SchemaError

_INCLUDE = re.compile(r"^\\ir\s+(\S+)\s*$", re.MULTILINE)
_VERSION = re.compile(r"^\s+\((\d+), '", re.MULTILINE)


@dataclass(frozen=True)
class SchemaFile:
    """One file of the schema."""

    folder: Path
    name: str
    """Its path within the folder, such as "idempotent/10_core.sql"."""

    @property
    def path(self) -> Path:
        """Its location."""
        return self.folder / self.name

    @cached_property
    def text(self) -> str:
        """Its contents."""
        return self.path.read_text(encoding="utf-8")

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's bytes, as `sha256sum` prints it."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class SchemaObjects:
    """The schema's objects in `public`, by name, from sql/objects.json."""

    relations: tuple[str, ...]
    functions: frozenset[str]
    types: tuple[str, ...]


def folder(name: str) -> Path:
    """Return the folder `sql` or `seeds`: in the installed package, or next to it in the source tree."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise SchemaError(f"the folder {name}/ is missing from this installation: install the package again")


def file(folder_name: str, name: str) -> SchemaFile:
    """Return one file of `sql` or `seeds`."""
    return SchemaFile(folder(folder_name), name)


def files() -> list[SchemaFile]:
    """Return the files of the schema, in the order of the manifest `sql/schema.sql`."""
    manifest = file("sql", "schema.sql")
    return [SchemaFile(manifest.folder, name) for name in _INCLUDE.findall(manifest.text)]


def checksums() -> dict[str, str]:
    """Return the SHA-256 of each schema file by name, as stored in `schema_version.file_checksums`."""
    return {file.name: file.checksum for file in files()}


def checksum() -> str:
    """Return a fingerprint of all schema files."""
    return hashlib.sha256(repr(checksums()).encode()).hexdigest()


def latest_version() -> int:
    """Return the schema version of these files."""
    versions = _VERSION.findall(file("sql", "idempotent/99_version.sql").text)
    if not versions:
        raise SchemaError("sql/idempotent/99_version.sql contains no version: install the package again")
    return max(map(int, versions))


def schema_objects() -> SchemaObjects:
    """Return the relations and functions of `public` that are the schema's."""
    objects = json.loads(file("sql", "objects.json").text)
    return SchemaObjects(
        tuple(objects["relations"]), frozenset(objects["functions"]), tuple(objects["types"])
    )
