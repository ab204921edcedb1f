"""Values: the documented bytes, a lossless round trip, and garbage is no worse than a miss."""

from __future__ import annotations

import contextlib
import json
import re
import struct
import zlib
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_utils.cache.keys import space
from db_utils.cache.predictions import (
    HEADER_BYTES,
    MAX_BODY_BYTES,
    Freshness,
    Limits,
    Prediction,
    UndecodableError,
    decode,
    encode,
    examine,
    microseconds,
)
from db_utils.errors import InvalidInputError

AVAILABLE = datetime(2025, 3, 1, 6, 0, tzinfo=UTC)
RECORDED = datetime(2025, 3, 1, 6, 0, 5, 250_000, tzinfo=UTC)
CHECKED_US = 1_740_809_400_123_456  # 2025-03-01T06:10:00.123456Z
SECOND = 1_000_000
GENERATIONS = bytes(range(16))
LIMITS = (3600 * SECOND, 7200 * SECOND)


def prediction(value: Any = None, **changes: Any) -> Prediction:
    return Prediction(
        **{
            "value": value,
            "model_name": "prophet",
            "model_version": "1.2",
            "available_at": AVAILABLE,
            "recorded_at": RECORDED,
            **changes,
        }
    )


def stored(value: Any = None, lifetime_seconds: float = 300.0, **changes: Any) -> bytes:
    return encode(
        prediction(value, **changes), lifetime_seconds=lifetime_seconds, rebuild_seconds=0.0125
    ).sealed(CHECKED_US, GENERATIONS)


def round_trip(value: Any) -> Any:
    answer = decode(stored(value), CHECKED_US, LIMITS)
    assert answer is not None
    return answer.value


def test_golden_bytes_of_a_plain_value() -> None:
    fields = [
        "01",  # format version
        "00",  # flags
        "%016x" % (2**63 + 1_740_808_800_000_000),  # available_at: 2025-03-01T06:00:00Z
        "%016x" % (2**63 + 1_740_808_805_250_000),  # recorded_at
        "000493e0",  # lifetime: 300,000 milliseconds
        "000030d4",  # rebuild: 12,500 microseconds
        "67c2a4b8",  # checked_at: seconds
        "0001e240",  # and microseconds
        "0001020304050607",  # generation of the organization
        "08090a0b0c0d0e0f",  # generation of the kind
    ]
    raw = stored({"predicted_quantity": 118.5, "unit": "Stück"})
    assert raw[:HEADER_BYTES].hex() == "".join(fields)
    assert raw[:HEADER_BYTES].hex() == (
        "010080062f41a225580080062f41a27573d0000493e0000030d467c2a4b80001e240000102030405060708090a0b0c0d0e0f"
    )
    assert raw[HEADER_BYTES:].decode() == '["prophet","1.2",{"predicted_quantity":118.5,"unit":"Stück"}]'


def test_the_documentation_s_example_is_these_bytes() -> None:
    page = Path(__file__).parents[2] / "docs" / "prediction-cache.md"
    example = dict(re.findall(r"^(key|header|body)  +(.+)$", page.read_text(), re.MULTILINE))
    raw = stored({"predicted_quantity": 118.5, "unit": "Stück"})
    assert raw[:HEADER_BYTES] == bytes.fromhex(example["header"])
    assert raw[HEADER_BYTES:].decode() == example["body"]
    database = example["key"].split(":")[2]
    own = space("pred", UUID("11111111-1111-1111-1111-111111111111"), "demand_forecast", database)
    assert own.key(("SKU/1001", UUID("22222222-2222-2222-2222-222222222222"))) == example["key"]


def test_golden_bytes_of_tagged_types() -> None:
    value = {
        "quantity": Decimal("12.50"),
        "target_time": datetime(2025, 3, 2, tzinfo=UTC),
        "target_date": date(2025, 3, 2),
        "shift_start": time(6, 30),
        "lead_time": timedelta(days=1, seconds=2, microseconds=3),
        "location_id": UUID(int=1),
        "odd": {"$decimal": "not a number"},
    }
    raw = stored(value)
    assert raw[1] == 1
    assert raw[HEADER_BYTES:].decode() == (
        '["prophet","1.2",{"quantity":{"$decimal":"12.50"},"target_time":{"$datetime":"2025-03-02T00:00:00+00:00"},'
        '"target_date":{"$date":"2025-03-02"},"shift_start":{"$time":"06:30:00"},"lead_time":{"$timedelta":[1,2,3]},'
        '"location_id":{"$uuid":"00000000-0000-0000-0000-000000000001"},'
        '"odd":{"$dict":[["$decimal","not a number"]]}}]'
    )
    assert round_trip(value) == value


def test_golden_bytes_of_nothing() -> None:
    raw = encode(None, lifetime_seconds=10).sealed(CHECKED_US, GENERATIONS)
    assert (
        raw == bytes.fromhex("0104" + "00" * 16 + "00002710" + "00000000" + "67c2a4b80001e240") + GENERATIONS
    )
    assert decode(raw, CHECKED_US, LIMITS) is None


def test_a_large_body_is_deflated() -> None:
    value = [{"target": hour, "predicted_quantity": 100.5} for hour in range(720)]
    raw = stored(value)
    assert raw[1] == 2
    assert json.loads(zlib.decompress(raw[HEADER_BYTES:])) == ["prophet", "1.2", value]
    assert len(raw) < len(json.dumps(value)) / 5
    assert round_trip(value) == value


zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.decimals()
    | (st.datetimes(timezones=zones) | st.datetimes() | st.times()).map(lambda moment: moment.replace(fold=0))
    | st.dates()
    | st.timedeltas()
    | st.uuids()
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "b", "$decimal", "$dict", "$x", ""]) | st.text("ab$"), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(values)
def test_what_goes_in_comes_out_in_the_same_types(value: Any) -> None:
    # repr tells 1 from 1.0 from True, Decimal("1.0") from Decimal("1.00") and compares NaN
    assert repr(round_trip(value)) == repr(value)


def test_tuples_come_out_as_lists_and_enums_as_what_they_hold() -> None:
    class Severity(str, Enum):  # noqa: UP042
        HIGH = "high"

    assert round_trip({"a": (1, (2,)), "b": Severity.HIGH}) == {"a": [1, [2]], "b": "high"}


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {1: "a"},
        {"a": {2, 3}},
        b"bytes",
        object(),
        "\ud800",
        [{None: 1}],
        pytest.param("x" * (MAX_BODY_BYTES + 1), id="too-large"),
    ],
)
def test_what_it_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError):
        stored(value)


def test_nesting_without_end_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidInputError):
        stored(value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"available_at": AVAILABLE.replace(tzinfo=None)},
        {"recorded_at": RECORDED.replace(tzinfo=None)},
        {"available_at": "2025-03-01"},
        {"model_name": None},
        {"model_version": 3},
    ],
)
def test_a_prediction_without_zone_or_model_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        prediction(1, **wrong)


def test_the_answer_says_everything() -> None:
    answer = decode(stored({"q": 1}), CHECKED_US + 5 * SECOND, LIMITS)
    assert answer is not None
    assert answer._asdict() == {
        "source": "cache",
        "value": {"q": 1},
        "model_name": "prophet",
        "model_version": "1.2",
        "available_at": AVAILABLE,
        "recorded_at": RECORDED,
        "age_seconds": 605.123456,
        "freshness": Freshness.FRESH,
        "checked_at": datetime(2025, 3, 1, 6, 10, 0, 123_456, tzinfo=UTC),
        "rebuilding": False,
    }


@pytest.mark.parametrize(
    ("seconds_after_available", "freshness"),
    [
        (-100, Freshness.FRESH),
        (3600, Freshness.FRESH),
        (3600.000001, Freshness.STALE),
        (7200, Freshness.STALE),
        (7200.000001, Freshness.EXPIRED),
        (10**9, Freshness.EXPIRED),
    ],
)
def test_freshness_turns_exactly_at_the_limits(seconds_after_available: float, freshness: Freshness) -> None:
    now_us = microseconds(AVAILABLE) + round(seconds_after_available * SECOND)
    answer = decode(stored(1, lifetime_seconds=4_000_000), now_us, LIMITS)
    assert answer is not None
    assert answer.freshness is freshness
    assert answer.age_seconds == pytest.approx(max(0, seconds_after_available), abs=1e-9)


def test_a_copy_that_is_no_longer_believed_is_at_best_stale() -> None:
    raw = stored(1, lifetime_seconds=300)
    at_the_end = CHECKED_US + 300 * SECOND
    before, after = decode(raw, at_the_end - 1, LIMITS), decode(raw, at_the_end, LIMITS)
    assert before is not None
    assert after is not None
    assert (before.freshness, after.freshness) == (Freshness.FRESH, Freshness.STALE)


def test_how_long_a_copy_is_believed() -> None:
    raw = stored(1, lifetime_seconds=300)
    assert examine(raw, CHECKED_US + SECOND, LIMITS, 10 * SECOND)[1:] == (299 * SECOND, 12_500)
    # its prediction has expired: ten seconds at most
    expired = (30 * SECOND, 60 * SECOND)
    assert examine(raw, CHECKED_US + SECOND, expired, 10 * SECOND)[1:] == (9 * SECOND, 12_500)
    assert examine(raw, CHECKED_US + SECOND, expired, 900 * SECOND)[1:] == (299 * SECOND, 12_500)
    nothing = encode(None, lifetime_seconds=20).sealed(CHECKED_US, GENERATIONS)
    assert examine(nothing, CHECKED_US + SECOND, LIMITS, 10 * SECOND) == (None, 19 * SECOND, 0)


@given(st.binary(max_size=200))
def test_garbage_is_undecodable_and_nothing_else(garbage: bytes) -> None:
    with pytest.raises(UndecodableError):
        decode(garbage if garbage[1:2] != b"\x04" else b"", CHECKED_US, LIMITS)


@given(st.integers(0, HEADER_BYTES + 40), st.binary(min_size=1, max_size=3))
def test_a_damaged_value_is_a_value_or_undecodable(position: int, damage: bytes) -> None:
    raw = bytearray(stored({"q": Decimal("1.5"), "t": AVAILABLE}))
    raw[position : position + len(damage)] = damage
    with contextlib.suppress(UndecodableError):
        decode(bytes(raw), CHECKED_US, LIMITS)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'["m","1"]',
        b'["m","1",2,3]',
        b'["m","1",2] ',
        b'["m","1",2][]',
        b'{"a":1,"b":2,"c":3}extra',
        b"\xff\xfe",
        b"[" * 100_000,
        b'["m","1",NaN]',
        b'["m","1",[-Infinity]]',
        b'["m","1",{"$decimal":"x"}]',
        b'["m","1",{"$decimal":"1e999999999"}]',
        b'["m","1",{"$uuid":5}]',
        b'["m","1",{"$timedelta":[99999999999]}]',
        b'["m","1",{"$datetime":"yesterday"}]',
    ],
)
def test_a_body_that_is_not_three_things_is_undecodable(body: bytes) -> None:
    with pytest.raises(UndecodableError):
        decode(b"\x01\x01" + stored()[2:HEADER_BYTES] + body, CHECKED_US, LIMITS)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_format_version_is_undecodable(version: int) -> None:
    with pytest.raises(UndecodableError):
        decode(bytes([version]) + stored(1)[1:], CHECKED_US, LIMITS)


def test_a_deflated_bomb_is_not_inflated() -> None:
    bomb = zlib.compress(b" " * (MAX_BODY_BYTES + 1))
    with pytest.raises(UndecodableError):
        decode(b"\x01\x02" + stored()[2:HEADER_BYTES] + bomb, CHECKED_US, LIMITS)


def test_a_pickle_is_never_loaded() -> None:
    pickled = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R."
    for raw in (pickled, stored()[:HEADER_BYTES] + pickled):
        with pytest.raises(UndecodableError):
            decode(raw, CHECKED_US, LIMITS)


def test_the_order_of_two_values_is_the_order_of_their_bytes() -> None:
    moments = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        AVAILABLE,
        AVAILABLE + timedelta(microseconds=1),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
    orders = [
        encode(prediction(1, available_at=one, recorded_at=two), lifetime_seconds=1).fixed[2:18]
        for one in moments
        for two in moments
    ]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)


def test_without_recorded_at_the_time_available_counts() -> None:
    assert prediction(1, recorded_at=None).order == (AVAILABLE, AVAILABLE)


def test_fields_too_large_for_the_header_are_capped() -> None:
    fixed = encode(prediction(1), lifetime_seconds=1e12, rebuild_seconds=1e12).fixed
    assert struct.unpack(">II", fixed[18:]) == (0xFFFFFFFF, 0xFFFFFFFF)


@pytest.mark.parametrize(("fresh", "stale"), [(-1, 5), (10, 5), (float("nan"), 5)])
def test_limits_that_contradict_each_other_are_refused(fresh: float, stale: float) -> None:
    with pytest.raises(InvalidInputError):
        Limits(fresh, stale)
