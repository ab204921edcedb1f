"""Arrow data as Python values, with narrow floats widened by their decimals. Needs pyarrow and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def widened(array: pa.Array) -> pa.Array:
    """Widen floats of 32 and 16 bits by their shortest decimal: 0.1 stays 0.1, not 0.10000000149011612."""
    kind = array.type
    if pa.types.is_float32(kind):
        return array.cast(pa.string()).cast(pa.float64())
    if pa.types.is_float16(kind):
        numbers = array.cast(pa.float32()).to_numpy(zero_copy_only=False).astype(np.float16)
        missing = array.is_null().to_numpy(zero_copy_only=False)
        return pa.array(numbers.astype(str).astype(np.float64), mask=missing)
    return array


def python_values(array: pa.Array) -> list[Any]:
    """Convert to Python values: times to the microsecond, narrow floats widened, maps as dicts."""
    kind = array.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        array = array.cast(pa.timestamp("us", kind.tz), safe=False)
    elif pa.types.is_duration(kind) and kind.unit == "ns":
        array = array.cast(pa.duration("us"), safe=False)
    elif pa.types.is_time64(kind):
        array = array.cast(pa.time64("us"), safe=False)
    elif pa.types.is_map(kind):
        return [None if value is None else dict(value) for value in array.to_pylist()]
    elif pa.types.is_floating(kind):
        array = widened(array)
    values: list[Any] = array.to_pylist()
    if _holds_narrow_floats(kind) and not pa.types.is_floating(kind):
        return [_mended(value, kind) for value in values]
    return values


def _holds_narrow_floats(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return any(_holds_narrow_floats(kind.field(place).type) for place in range(kind.num_fields))
    return bool(pa.types.is_float32(kind) or pa.types.is_float16(kind))


def _mended(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_float32(kind):
        return float(str(np.float32(value)))
    if pa.types.is_float16(kind):
        return float(str(np.float16(value)))
    if isinstance(value, dict):
        return {name: _mended(item, kind.field(name).type) for name, item in value.items()}
    if isinstance(value, list):
        return [_mended(item, kind.value_type) for item in value]
    return value
