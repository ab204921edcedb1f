"""Keys: spelled as documented, and no part of one can form another tenant's key."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_utils.cache.keys import (
    MAX_ENTITY_LENGTH,
    PredictionKind,
    check_namespace,
    entity_name,
    hash_slot,
    lease_key,
    space,
)
from db_utils.errors import InvalidInputError

ORGANIZATION = UUID("11111111-1111-1111-1111-111111111111")
OTHER = UUID("22222222-2222-2222-2222-222222222222")
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
parts = texts | st.integers() | st.uuids() | st.dates(min_value=date(1000, 1, 1))


def test_the_keys_are_spelled_as_the_documentation_says() -> None:
    own = space("pred", ORGANIZATION, PredictionKind.DEMAND_FORECAST)
    key = own.key("SKU-1001")
    assert key == "pred:v2:-:{11111111-1111-1111-1111-111111111111}:demand_forecast:SKU-1001"
    assert lease_key(key) == key + ":!lease"
    assert own.generations == (
        "pred:v2:-:{11111111-1111-1111-1111-111111111111}:!generation",
        "pred:v2:-:{11111111-1111-1111-1111-111111111111}:demand_forecast:!generation",
    )


@pytest.mark.parametrize(
    ("entity", "name"),
    [
        ("SKU-1001", "SKU-1001"),
        ("a b/c:d{e}f!%", "a%20b%2Fc%3Ad%7Be%7Df%21%25"),
        ("Größe", "Gr%C3%B6%C3%9Fe"),
        (42, "42"),
        (ORGANIZATION, "11111111-1111-1111-1111-111111111111"),
        (date(2025, 3, 1), "20250301"),
        (datetime(2025, 3, 1, 13, 30, tzinfo=UTC), "20250301T133000Z"),
        (datetime(2025, 3, 1, 13, 30, 0, 1, tzinfo=timezone(timedelta(hours=1))), "20250301T123000.000001Z"),
        (("SKU:1", ORGANIZATION, date(2025, 3, 1)), "SKU%3A1:11111111-1111-1111-1111-111111111111:20250301"),
        ("x" * MAX_ENTITY_LENGTH, "x" * MAX_ENTITY_LENGTH),
    ],
)
def test_an_entity_is_its_escaped_parts_joined_by_colons(entity: Any, name: str) -> None:
    assert entity_name(entity) == name
    assert space("pred", ORGANIZATION, "k").key(entity).endswith(f":k:{name}")


@pytest.mark.parametrize(
    "entity",
    ["", (), ("a", ""), True, None, 1.5, b"a", ("a", ("b",)), datetime(2025, 3, 1), "\ud800"],
)
def test_what_is_no_entity_is_refused(entity: Any) -> None:
    with pytest.raises(InvalidInputError):
        space("pred", ORGANIZATION, "k").key(entity)


@given(st.tuples(parts, parts) | st.tuples(parts), st.tuples(parts, parts) | st.tuples(parts))
def test_two_entities_have_one_name_only_if_their_parts_are_spelled_alike(
    one: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    def spelled(entity: tuple[Any, ...]) -> list[str]:
        return [part.strftime("%Y%m%d") if isinstance(part, date) else str(part) for part in entity]

    assert (entity_name(one) == entity_name(other)) == (spelled(one) == spelled(other))


@given(texts)
def test_no_entity_leaves_its_own_prefix_nor_reaches_the_cache_s_own_keys(text: str) -> None:
    own = space("pred", ORGANIZATION, "k")
    key = own.key(text)
    name = key.removeprefix(own.prefix)
    assert key == own.prefix + name
    if len(name) == 72 and name.startswith("!sha256."):
        return  # for a text whose name would be too long; no other key of the cache looks like it
    assert not set(name) & set(":{}!\r\n ")
    assert key not in own.generations
    assert key.isascii()


def test_an_entity_with_a_long_name_is_named_by_its_digest() -> None:
    product = "产品" * 100  # nine characters in a key for each
    name = quote(product, safe="")
    assert entity_name((product, 7)) == f"!sha256.{sha256(f'{name}:7'.encode()).hexdigest()}"
    assert entity_name((product, 8)) != entity_name((product, 7))
    assert len(entity_name("x" * 100_000)) == 72


def test_databases_share_no_key() -> None:
    names = {space("pred", ORGANIZATION, "k", database).key("e") for database in ("-", "0" * 32, "1" * 32)}
    assert len(names) == 3


def test_all_spellings_of_an_organization_are_one_key() -> None:
    keys = {
        space("pred", spelling, "k").key("e")
        for spelling in (OTHER, str(OTHER), str(OTHER).upper(), OTHER.hex, f"{{{OTHER}}}", OTHER.urn)
    }
    assert keys == {f"pred:v2:-:{{{OTHER}}}:k:e"}


@pytest.mark.parametrize("organization_id", ["", "acme", f"{OTHER}:k", f"{OTHER}x", 7, None, ["x"]])
def test_what_is_no_organization_is_refused(organization_id: Any) -> None:
    with pytest.raises(InvalidInputError):
        space("pred", organization_id, "k")


@pytest.mark.parametrize("kind", ["", "Demand", "a:b", "!generation", "x" * 64, "a}", "1a", None, 5, []])
def test_what_is_no_kind_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidInputError):
        space("pred", ORGANIZATION, kind)


@pytest.mark.parametrize("namespace", ["", "a:b", "{", "é", None, "x" * 65])
def test_what_is_no_namespace_is_refused(namespace: Any) -> None:
    with pytest.raises(InvalidInputError):
        check_namespace(namespace)


def test_a_tenant_s_keys_share_the_slot_of_its_id_alone() -> None:
    # The reference value of the Redis Cluster specification: CRC16("123456789") = 0x31C3.
    assert hash_slot("123456789") == 0x31C3 % 16384
    assert space("pred", OTHER, "a").slot == space("x", OTHER, "b").slot == hash_slot(str(OTHER))
