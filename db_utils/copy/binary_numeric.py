"""Encode numbers as digits of PostgreSQL's numeric, whole columns at a time.

PostgreSQL stores a numeric as base-10,000 digits around the decimal point. Here all values of a column get
the same number of digits, including leading and trailing zeros, which the server drops.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from db_utils.copy.arrow_values import widened

_MOST_DIGITS = 38
_MOST_DECIMALS = 20


class NotBinaryError(ValueError):
    """This column must be sent as text."""


def numbers_of(array: pa.Array, filler: Any = 0) -> Any:
    """Return the values as numpy numbers, with NULLs filled."""
    return (pc.fill_null(array, filler) if array.null_count else array).to_numpy(zero_copy_only=False)


def numeric(array: pa.Array) -> Any:
    """Return the fields of a numeric column, a line of bytes each. Raises `NotBinaryError`."""
    kind = array.type
    if pa.types.is_integer(kind):
        numbers = numbers_of(array.cast(pa.int64()))
        return _block(*_groups_of_64_bits(_magnitude(numbers), 0), 0, numbers < 0)
    if pa.types.is_floating(kind):
        return _float_digits(array)
    if pa.types.is_decimal128(kind):
        filled = pc.fill_null(array, Decimal(0)) if array.null_count else array
        return _decimal_digits(filled, kind.scale)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text_digits(pc.fill_null(array, "0") if array.null_count else array)
    raise NotBinaryError


def _text_digits(array: pa.Array) -> Any:
    """Encode decimals, with as many decimal places as given."""
    if pc.any(pc.match_substring_regex(array, "[eE]")).as_py():
        raise NotBinaryError
    points = pc.find_substring(array, ".").to_numpy()
    shown = np.where(points < 0, 0, pc.binary_length(array).to_numpy() - points - 1)
    scale = int(shown.max(initial=0))
    longest = int(np.where(points < 0, pc.binary_length(array).to_numpy(), points).max(initial=0))
    if scale > _MOST_DECIMALS or longest > _MOST_DIGITS - scale:  # Arrow would truncate these digits
        raise NotBinaryError
    return _decimal_digits(array.cast(pa.decimal128(_MOST_DIGITS, scale)), shown)


def _float_digits(array: pa.Array) -> Any:
    """Encode floats as the shortest decimals that read back as the same floats."""
    numbers = numbers_of(widened(array), 0.0)
    finite = np.isfinite(numbers)
    plain = np.where(finite, numbers, 0.0)
    for scale in (2, 4, 6, 8):
        with np.errstate(over="ignore"):
            scaled = np.rint(plain * 10.0**scale)
        # Up to 15 digits, a decimal and its nearest float are interchangeable.
        if np.all(np.abs(scaled) < 1e15) and np.array_equal(scaled / 10.0**scale, plain):
            groups, whole = _groups_of_64_bits(np.abs(scaled).astype(np.uint64), scale)
            block = _block(groups, whole, None, scaled < 0)
            break
    else:
        size = np.abs(plain[plain != 0])
        # Beyond these Arrow would silently return another number.
        if size.min() < 10.0**-_MOST_DECIMALS or size.max() >= 10.0 ** (_MOST_DIGITS - _MOST_DECIMALS):
            raise NotBinaryError
        texts = pa.array(plain).cast(pa.string())
        block = _decimal_digits(texts.cast(pa.decimal128(_MOST_DIGITS, _MOST_DECIMALS)), None)
    for odd, sign in (
        (np.isnan(numbers), b"\xc0\x00"),
        (numbers == np.inf, b"\xd0\x00"),
        (numbers == -np.inf, b"\xf0\x00"),
    ):
        block[odd, 4:6] = np.frombuffer(sign, np.uint8)
    return block


def _decimal_digits(array: pa.Array, shown: Any) -> Any:
    scale = array.type.scale
    if scale < 0:
        raise NotBinaryError
    words = np.frombuffer(array.buffers()[1], np.uint64)[array.offset * 2 : (array.offset + len(array)) * 2]
    low, high = words[::2], words[1::2]
    small = low.view(np.int64) if low.flags.c_contiguous else np.ascontiguousarray(low).view(np.int64)
    if scale <= 16 and np.array_equal(high, (small >> 63).view(np.uint64)):
        return _block(*_groups_of_64_bits(_magnitude(small), scale), shown, small < 0)
    negative = high >> np.uint64(63) != 0
    low = np.where(negative, ~low + np.uint64(1), low)
    high = np.where(negative, ~high + (low == 0), high)
    return _block(*_groups_of_128_bits(high, low, scale), shown, negative)


def _magnitude(numbers: Any) -> Any:
    bits = numbers.view(np.uint64) if numbers.dtype == np.int64 else numbers.astype(np.int64).view(np.uint64)
    return np.where(numbers < 0, ~bits + np.uint64(1), bits)


def _groups_of_64_bits(magnitude: Any, scale: int) -> tuple[list[Any], int]:
    """Return the base-10,000 digits of magnitude / 10 ** scale, and how many precede the point."""
    whole, fraction = np.divmod(magnitude, np.uint64(10**scale))
    fraction = fraction * np.uint64(10 ** (-scale % 4))
    before: list[Any] = []
    while len(whole) and whole.max() > 0:
        whole, digit = np.divmod(whole, np.uint64(10_000))
        before.append(digit)
    after: list[Any] = []
    for _ in range(-(-scale // 4)):
        fraction, digit = np.divmod(fraction, np.uint64(10_000))
        after.append(digit)
    return before[::-1] + after[::-1], len(before)


def _groups_of_128_bits(high: Any, low: Any, scale: int) -> tuple[list[Any], int]:
    """Return the same for 38 digits: long division of five 32-bit limbs by 10,000."""
    bits, mask = np.uint64(32), np.uint64(2**32 - 1)
    limbs = [np.zeros_like(high), high >> bits, high & mask, low >> bits, low & mask]
    carry = np.zeros_like(high)
    for place in range(4, -1, -1):
        product = limbs[place] * np.uint64(10 ** (-scale % 4)) + carry
        limbs[place], carry = product & mask, product >> bits
    digits: list[Any] = []
    for _ in range(11):
        rest = np.zeros_like(high)
        for place, limb in enumerate(limbs):
            limbs[place], rest = np.divmod(rest << bits | limb, np.uint64(10_000))
        digits.append(rest)
    return digits[::-1], 11 - -(-scale // 4)


def _block(groups: list[Any], whole: int, shown: Any, negative: Any) -> Any:
    """Return the fields of these digits. `shown` is the number of decimal places; None: as many as needed."""
    count = len(negative)
    block = np.zeros((count, 4 + len(groups)), ">i2")
    block[:, 0] = len(groups)
    block[:, 1] = whole - 1
    block[:, 2] = np.where(negative, 0x4000, 0)
    for place, digit in enumerate(groups):
        block[:, 4 + place] = digit
    if shown is None:
        zeros_only = np.ones(count, dtype=bool)
        decimals = np.full(count, 4 * (len(groups) - whole))
        for digit in reversed(groups[whole:]):
            decimals -= np.where(zeros_only, _TRAILING_ZEROS[digit], 0)
            zeros_only &= digit == 0
        block[:, 3] = decimals
    else:
        block[:, 3] = shown
    return block.view(np.uint8).reshape(count, -1)


_TRAILING_ZEROS = np.array([4] + [len(str(n)) - len(str(n).rstrip("0")) for n in range(1, 10_000)])
