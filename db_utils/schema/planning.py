"""The plan of a migration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from db_utils.schema import source, state

if TYPE_CHECKING:
    from db_utils.connections.executor import Executor

Change = Literal["new", "changed", "unchanged", "unknown"]
Kind = Literal["init", "none", "reapply", "upgrade", "newer"]


@dataclass(frozen=True)
class PlannedFile:
    """One file that would run, and how it differs from the last applied one."""

    name: str
    change: Change
    """unknown: the database has no record of its files (psql alone, or an older version)."""


@dataclass(frozen=True)
class Plan:
    """The steps that upgrade a database to the schema of this library; see `plan`."""

    kind: Kind
    """init: no schema yet; none: these same files are applied; reapply: the same version from other or
    unknown files; upgrade: an older version; newer: newer than this library, which is refused."""
    from_version: int | None
    to_version: int
    edition: str
    """The future edition: community, apache or plain; timescaledb if not known yet which of its two."""
    from_edition: str | None
    """The current edition; None without a schema."""
    files: list[PlannedFile]
    """In the order of execution, in one transaction: all are safe to repeat, so a migration runs all."""
    dropped_files: list[str]
    """Files applied earlier that are no longer part of the schema. Their objects stay."""

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.kind in ("init", "reapply", "upgrade")


def plan(db: Executor) -> Plan:
    """Return what `apply` would do to this database. Reads only.

    Raises `SchemaError` if the server is older than PostgreSQL 16.
    """
    state.require_server(db)
    version = state.version(db)
    applied = None if version is None else state.applied_files(db)
    current = source.checksums()
    return Plan(
        kind=_kind(version, source.latest_version(), applied, current),
        from_version=version,
        to_version=source.latest_version(),
        edition=state.edition_to_be(db),
        from_edition=None if version is None else state.edition(db),
        files=[
            PlannedFile(name, _change(name, digest, version, applied)) for name, digest in current.items()
        ],
        dropped_files=sorted(set(applied or ()) - set(current)),
    )


def _kind(version: int | None, latest: int, applied: dict[str, str] | None, current: dict[str, str]) -> Kind:
    if version is None:
        return "init"
    if version > latest:
        return "newer"
    if version < latest:
        return "upgrade"
    return "none" if applied == current else "reapply"


def _change(name: str, digest: str, version: int | None, applied: dict[str, str] | None) -> Change:
    if version is None:
        return "new"
    if applied is None:
        return "unknown"
    if name not in applied:
        return "new"
    return "unchanged" if applied[name] == digest else "changed"
