"""Unexpected values, for hypothesis to draw from and to vary."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

INJECTIONS = [
    "'; DROP TABLE organizations; --", "' OR '1'='1", "\\'; DELETE FROM alerts; --", "$$; TRUNCATE alerts; $$",
    "1; UPDATE organizations SET name = 'x'", "') RETURNING *; --", "%s", "%(organization_id)s", "%", "{}", "\\copy",
    '"; DROP SCHEMA tenant CASCADE; --', "organizations; DROP TABLE alerts", "public.alerts WHERE true) TO STDOUT; --",
    "pg_sleep(60)", "../../etc/passwd", "$(reboot)", "`id`", "-1", "--help", "|", "*", "null", "NaN", "Infinity", "infinity",
]  # fmt: skip
STRANGE_TEXTS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udcff",
    "\uffff",
    "é" * 3,
    "‮",
    "\r\n",
    "x" * 100_000,
    "\U0001d4b3" * 1000,
]
FAR = [
    dt.datetime.min, dt.datetime.max, dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC),
    dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14))),
    dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.timezone(dt.timedelta(hours=-14))),
    dt.date.min, dt.date.max, dt.timedelta.min, dt.timedelta.max,
]  # fmt: skip
NUMBERS = [
    float("nan"), float("inf"), float("-inf"), -0.0, 1e308, 5e-324, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400,
    Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e1000"), Decimal("1e-1000"), True, False, 0, -1, 1j,
]  # fmt: skip
OTHERS: list[Any] = [
    None, b"", b"\xff\xfe\0", object(), type, ..., uuid.UUID(int=0), uuid.UUID("22222222-2222-2222-2222-222222222222"),
    [], {}, (), set(), [[]], [None], {"a": float("nan")}, {"": "\0"}, {1: 2}, lambda: None, iter([]), range(3), NotImplemented,
]  # fmt: skip

texts = (
    st.sampled_from(INJECTIONS + STRANGE_TEXTS)
    | st.text(max_size=30)
    | st.text(st.characters(categories=["Cs", "Cc"]), max_size=5)
)
_plain = (
    texts
    | st.sampled_from(FAR + NUMBERS + OTHERS)
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.binary(max_size=20)
    | st.uuids()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.dates()
    | st.timedeltas()
)
anything = _plain | st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
