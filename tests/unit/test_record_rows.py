"""Rows to write: encoded by column or one by one with the same result, and invalid ones are named."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_utils.errors import InvalidInputError
from db_utils.queries.records import EventRecord, encoded_rows

PARIS = ZoneInfo("Europe/Paris")
TWICE = dt.datetime(2025, 10, 26, 2, 30, tzinfo=PARIS)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "time": st.sampled_from(
        [
            dt.datetime(2025, 3, 1, tzinfo=dt.UTC),
            TWICE,
            TWICE.replace(fold=1),
            pd.Timestamp("2025-03-01T01:00+01:00"),
        ]
    ),
    "event_type": st.sampled_from(["idle", "production", "my_own"]),
    "event_id": st.sampled_from(
        [None, "key 1", uuid.UUID(int=7), str(uuid.UUID(int=7)).upper(), uuid.UUID(int=8).hex]
    ),
    "resource_id": st.sampled_from(["V-1", "V-2", str(uuid.UUID(int=9)), None]),
    "quantity": st.sampled_from([None, 1, 1.0, 2.5, Decimal("1.00"), float("nan"), pd.NA]),
    "cause": st.sampled_from([None, "jam", "Stau", pd.NaT]),
    "metadata": st.sampled_from([None, {}, {"a": 1}]),
}
BAD: dict[str, st.SearchStrategy[Any]] = {
    "time": st.sampled_from([None, dt.datetime(2025, 3, 1), "2025-03-01"]),
    "event_type": st.sampled_from([None, "prodcution", 3, ""]),
    "event_id": st.just(""),
    "quantity": st.sampled_from([True, "1", -1, float("inf"), dt.datetime(2025, 3, 1, tzinfo=dt.UTC)]),
    "cause": st.sampled_from(["", 4]),
    "colour": st.just("red"),
}


@given(
    rows=st.lists(st.fixed_dictionaries(GOOD), min_size=1, max_size=6),
    worse=st.none() | st.sampled_from(sorted(BAD)).flatmap(lambda name: st.tuples(st.just(name), BAD[name])),
    with_none=st.booleans(),
)
def test_rows_together_are_as_rows_one_by_one(
    rows: list[dict[str, Any]], worse: tuple[str, Any] | None, with_none: bool
) -> None:
    if worse is not None:
        rows[-1][worse[0]] = worse[1]

    def encoded(several: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return list(encoded_rows(EventRecord, several, "events", with_none=with_none))

    # A single row, and all rows after a different one, so that each is encoded separately.
    unlike = {"time": dt.datetime(2025, 1, 1, tzinfo=dt.UTC), "event_type": "idle"}
    alone, message = _outcome(lambda: encoded([unlike, *rows])[1:])
    together, said = _outcome(lambda: encoded(rows))
    assert together == alone
    assert said.replace(f"row {len(rows)}", f"row {len(rows) + 1}") == message
    assert bool(said) == (worse is not None)


def _outcome(call: Callable[[], Any]) -> tuple[Any, str]:
    """The result, or the error message."""
    try:
        return call(), ""
    except InvalidInputError as error:
        return None, str(error)


def test_both_hours_that_come_twice_stay_apart() -> None:
    rows = [{"time": time, "event_type": "idle"} for time in (TWICE, TWICE.replace(fold=1))] * 3
    told = [row["time"] for row in encoded_rows(EventRecord, rows, "events")]
    assert told == ["2025-10-26T00:30:00+00:00", "2025-10-26T01:30:00+00:00"] * 3


def test_a_frame_is_as_its_rows() -> None:
    frame = pd.DataFrame(
        {
            "time": pd.to_datetime(
                ["2025-10-26T00:30Z", "2025-10-26T01:30Z", "2025-11-01T00:00:00.123456Z"], format="ISO8601"
            ),
            "event_type": "idle",
            "resource_id": ["V-1", None, "V-2"],
            "quantity": [1.5, float("nan"), 3.0],
        }
    )
    expected = [
        {"time": "2025-10-26T00:30:00+00:00", "event_type": "idle", "resource_id": "V-1", "quantity": "1.5"},
        {"time": "2025-10-26T01:30:00+00:00", "event_type": "idle"},
        {
            "time": "2025-11-01T00:00:00.123456+00:00",
            "event_type": "idle",
            "resource_id": "V-2",
            "quantity": "3.0",
        },
    ]
    for zone in ("UTC", "Europe/Paris"):
        told = frame.assign(time=frame["time"].dt.tz_convert(zone))
        assert list(encoded_rows(EventRecord, told, "events")) == expected
    with pytest.raises(InvalidInputError, match="row 1: time is a naive datetime"):
        list(encoded_rows(EventRecord, frame.assign(time=frame["time"].dt.tz_localize(None)), "events"))
