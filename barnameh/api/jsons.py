"""JSON serialization: exact decimals as numbers, times in UTC, durations in ISO 8601."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec


def _other(value: Any) -> Any:
    if isinstance(value, dt.date):  # a subclass: infinity, which JSON cannot represent
        return None
    raise NotImplementedError(f"a value of type {type(value).__name__} has no form in JSON")


_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_other)


def encode(value: Any) -> bytes:
    """Serialize as JSON. The timestamp `infinity` becomes null."""
    return _encoder.encode(value)


def encode_lines(rows: list[dict[str, Any]]) -> bytes:
    """Serialize one row per line."""
    return _encoder.encode_lines(rows)
