"""Retries after a conflict:

exactly as many as requested, with exactly the requested delays, and no real sleep.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from db_utils.connections.retry import exponential_delay, run_with_retries
from db_utils.errors import InvalidInputError, SerializationError, UniqueViolationError


def failing(
    times: int, error: type[Exception] = SerializationError
) -> tuple[Callable[[object], str], list[int]]:
    calls: list[int] = []

    def function(transaction: object) -> str:
        calls.append(len(calls) + 1)
        if len(calls) <= times:
            raise error("conflict")
        return "done"

    return function, calls


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_it_runs_once_more_than_it_fails(failures: int) -> None:
    function, calls = failing(failures)
    slept: list[float] = []
    answer = run_with_retries(
        lambda: nullcontext(object()), function, retries=3, delay=lambda n: n / 8, sleep=slept.append
    )
    assert answer == "done"
    assert len(calls) == failures + 1
    assert slept == [n / 8 for n in range(1, failures + 1)]


def test_the_last_conflict_is_raised() -> None:
    function, calls = failing(99)
    slept: list[float] = []
    with pytest.raises(SerializationError):
        run_with_retries(
            lambda: nullcontext(object()), function, retries=2, delay=lambda n: 0.0, sleep=slept.append
        )
    assert len(calls) == 3
    assert len(slept) == 2


def test_other_errors_are_raised_at_once() -> None:
    function, calls = failing(99, UniqueViolationError)
    with pytest.raises(UniqueViolationError):
        run_with_retries(lambda: nullcontext(object()), function, retries=5, sleep=lambda seconds: None)
    assert len(calls) == 1


@pytest.mark.parametrize("retries", [-1, 1.5, True, "3", None])
def test_a_number_of_retries_is_a_whole_number(retries: object) -> None:
    with pytest.raises(InvalidInputError, match="retries"):
        run_with_retries(lambda: nullcontext(object()), lambda transaction: None, retries=retries)  # type: ignore[arg-type]


def test_delays_grow_to_a_second_and_never_beyond() -> None:
    for failures in range(1, 40):
        full = min(1.0, 0.01 * 2 ** (failures - 1))
        assert full / 2 <= exponential_delay(failures) <= full
