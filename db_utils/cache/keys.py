"""The cache's keys in Redis: their format, and why no tenant can form another tenant's.

    pred:v2:database:{organization_id}:kind:entity          one prediction
    pred:v2:database:{organization_id}:kind:entity:!lease   token of its current loader
    pred:v2:database:{organization_id}:kind:!generation     changes when a kind is invalidated
    pred:v2:database:{organization_id}:!generation          changes when an organization is invalidated

`database` is which database the predictions come from, 32 hexadecimal digits, or `-` where a cache is used without one.

The braces make Redis Cluster hash only the organization, so that one tenant's keys share a slot and one
command can access several. Every part is either a checked word or percent-escaped: a colon, a brace
or an exclamation mark inside a part never reaches the key as such. An entity whose name would be longer than
`MAX_ENTITY_LENGTH` is named `!sha256.` and the digest of that name instead.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import quote
from uuid import UUID

from db_utils.errors import InvalidInputError
from db_utils.text_keys import parse_uuid

KEY_VERSION = "v2"
NO_DATABASE = "-"
MAX_ENTITY_LENGTH = 512

EntityPart: TypeAlias = str | int | UUID | date | datetime
Entity: TypeAlias = EntityPart | tuple[EntityPart, ...]

_plain = re.compile(r"[A-Za-z0-9_.~-]{1,200}").fullmatch
_kind = re.compile(r"[a-z][a-z0-9_]{0,62}").fullmatch
_namespace = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch


class PredictionKind(StrEnum):
    """The kinds that the schema has tables for; any other lowercase word is a user-defined kind."""

    DEMAND_FORECAST = "demand_forecast"
    ANOMALY_PREDICTION = "anomaly_prediction"
    ABSENCE_FORECAST = "absence_forecast"


class Space:
    """The keys of one kind of prediction of one organization."""

    __slots__ = ("generations", "kind", "prefix", "slot", "tenant_prefix")

    def __init__(self, namespace: str, database: str, organization_id: str, kind: str) -> None:
        tenant = f"{namespace}:{KEY_VERSION}:{database}:{{{organization_id}}}:"
        self.kind = kind
        self.tenant_prefix = tenant
        self.prefix = f"{tenant}{kind}:"
        self.generations = (f"{tenant}!generation", f"{self.prefix}!generation")
        self.slot = hash_slot(organization_id)

    def key(self, entity: Entity) -> str:
        """Return the key of one prediction."""
        if type(entity) is str and _plain(entity):
            return self.prefix + entity
        return self.prefix + entity_name(entity)


def lease_key(key: str) -> str:
    """Return the key that holds the token of the prediction's current loader."""
    return key + ":!lease"


def hash_slot(tag: str) -> int:
    """Return the Redis Cluster slot of a hash tag: CRC16 (XMODEM) modulo 16384."""
    return binascii.crc_hqx(tag.encode(), 0) % 16384


def check_namespace(namespace: str) -> str:
    """Return the namespace unchanged. Raises InvalidInputError if it could be mistaken for more than one part."""
    if not isinstance(namespace, str) or not _namespace(namespace):
        raise InvalidInputError(f"The cache namespace must match [A-Za-z0-9_.-]{{1,64}}, not {namespace!r}.")
    return namespace


def space(namespace: str, organization_id: UUID | str, kind: str, database: str = NO_DATABASE) -> Space:
    """Return the keys of this kind and organization. Raises InvalidInputError if either is invalid.

    The organization is a UUID in any of its spellings, the kind a lowercase word of at most 63 characters.
    """
    try:
        return _space(namespace, database, organization_id, kind)
    except TypeError:  # unhashable, so neither a UUID nor a str
        raise InvalidInputError("organization_id must be a UUID and kind a str.") from None


@lru_cache(maxsize=16384)
def _space(namespace: str, database: str, organization_id: UUID | str, kind: str) -> Space:
    if not isinstance(kind, str) or not _kind(kind):
        raise InvalidInputError(f"A prediction kind must match [a-z][a-z0-9_]{{0,62}}, not {kind!r}.")
    return Space(namespace, database, organization_name(organization_id), str(kind))


def organization_name(organization_id: UUID | str) -> str:
    """Return the canonical spelling of an organization's UUID. Raises `InvalidInputError`."""
    return str(parse_uuid(organization_id, "organization_id"))


def entity_name(entity: Entity) -> str:
    """Return an entity as the last part of a key: its parts percent-escaped and joined by colons.

    Dates are spelled YYYYMMDD and times YYYYMMDDTHHMMSS[.ffffff]Z in UTC (a naive time is an error), so a
    forecast may be named `(product_id, location_id, target_time)`. A number and its text are the same name.
    """
    parts: Sequence[object] = entity if isinstance(entity, tuple) else (entity,)
    if not parts:
        raise InvalidInputError("A cache entity needs at least one part.")
    name = ":".join([_part_name(part) for part in parts])
    if len(name) > MAX_ENTITY_LENGTH:
        return f"!sha256.{hashlib.sha256(name.encode()).hexdigest()}"
    return name


def _part_name(part: object) -> str:
    if isinstance(part, str):
        if not part:
            raise InvalidInputError("A part of a cache entity must not be empty.")
        try:
            return quote(part, safe="")
        except UnicodeEncodeError:
            raise InvalidInputError(f"A part of a cache entity is not valid Unicode: {part!r}.") from None
    if isinstance(part, bool):
        raise InvalidInputError("A part of a cache entity must not be a bool.")
    if isinstance(part, int | UUID):
        return str(part)
    if isinstance(part, datetime):
        if part.tzinfo is None:
            raise InvalidInputError("A time in a cache entity needs a time zone.")
        utc = part.astimezone(UTC)
        return utc.strftime("%Y%m%dT%H%M%S") + (f".{utc.microsecond:06d}Z" if utc.microsecond else "Z")
    if isinstance(part, date):
        return part.strftime("%Y%m%d")
    raise InvalidInputError(
        f"A part of a cache entity is a str, int, UUID, date or datetime, not {type(part).__name__}."
    )
