"""Retry after a conflict; the number of retries and the delay are configured separately."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from db_utils.errors import InvalidInputError, SerializationError

Opened = TypeVar("Opened")
Result = TypeVar("Result")


def exponential_delay(failures: int) -> float:
    """Return the seconds to wait after so many failures: 10 ms, doubling up to 1 s, with full jitter."""
    return random.uniform(0.5, 1.0) * min(1.0, 0.01 * 2.0 ** (failures - 1))


def run_with_retries(
    begin: Callable[[], AbstractContextManager[Opened]],
    function: Callable[[Opened], Result],
    *,
    retries: int,
    delay: Callable[[int], float] = exponential_delay,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Run `function` until its transaction commits, and return its result.

    Retries from the start, at most `retries` times, while the server reports a serialization failure or a
    deadlock; the last such error is raised. Every other error is raised at once.
    """
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise InvalidInputError(f"retries is {retries!r}: give a whole number, 0 or more")
    for name, given in (("function", function), ("delay", delay)):
        if not callable(given):
            raise InvalidInputError(f"{name} must be a function, not {type(given).__name__}")
    failures = 0
    while True:
        try:
            with begin() as transaction:
                return function(transaction)
        except SerializationError:
            failures += 1
            if failures > retries:
                raise
            sleep(delay(failures))
