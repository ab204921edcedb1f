"""The files that the schema is made of: which there are, what they say, and which version they bring."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from db_utils.errors import SchemaError

_INCLUDE = re.compile(r"^\\ir\s+(\S+)\s*$", re.MULTILINE)
_VERSION = re.compile(r"^\s+\((\d+), '", re.MULTILINE)
_RELATION = re.compile(r"^(?:table|view) (\w+)$", re.MULTILINE)
_SIGNATURE = re.compile(r"^\s+'(?P<name>\w+)\((?P<arguments>[\w,\[\]]*)\)'", re.MULTILINE)


@dataclass(frozen=True)
class SchemaFile:
    """One file of the schema."""

    path: Path

    @cached_property
    def text(self) -> str:
        """What the file says."""
        return self.path.read_text(encoding="utf-8")

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's bytes, as `sha256sum` prints it."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Contract:
    """What the schema puts into `public`, by name: sql/verify.sql lists it."""

    relations: tuple[str, ...]
    functions: frozenset[str]


def folder(name: str) -> Path:
    """Where the files of `sql` or `seeds` are: in the installed package, or beside it in the source tree."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise SchemaError(f"the folder {name}/ is missing from this installation: install the package again")


def file(folder_name: str, name: str) -> SchemaFile:
    """One file of `sql` or `seeds`."""
    return SchemaFile(folder(folder_name) / name)


def files() -> list[SchemaFile]:
    """The files of the schema, in the order of the manifest `sql/schema.sql`."""
    manifest = file("sql", "schema.sql")
    return [SchemaFile(manifest.path.parent / name) for name in _INCLUDE.findall(manifest.text)]


def checksums() -> dict[str, str]:
    """The SHA-256 of each schema file, by its name: what `schema_version.file_checksums` remembers."""
    return {file.path.name: file.checksum for file in files()}


def checksum() -> str:
    """A fingerprint of all schema files."""
    return hashlib.sha256(repr(checksums()).encode()).hexdigest()


def latest_version() -> int:
    """Return the version of the schema that these files bring."""
    versions = _VERSION.findall(file("sql", "99_version.sql").text)
    if not versions:
        raise SchemaError("sql/99_version.sql names no version: install the package again")
    return max(map(int, versions))


def contract() -> Contract:
    """Return the relations and functions of `public` that are the schema's."""
    text = file("sql", "verify.sql").text
    return Contract(
        tuple(_RELATION.findall(text)), frozenset(match["name"] for match in _SIGNATURE.finditer(text))
    )
