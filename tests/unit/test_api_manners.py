"""Limits of a key, and error responses; neither needs a database."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack

import pytest
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from barnameh.api import limits, live
from barnameh.api.limits import Limits
from barnameh.api.problems import (
    MEDIA_TYPE,
    TYPED,
    TYPES,
    Problem,
    ProblemDetails,
    internal,
    invalid,
    problem_of,
    problem_of_http,
)
from db_utils import DbUtilsError, catalogue, errors


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    clock = Clock()
    held = Limits(2.0, 3, 0, clock=clock)
    left = [held.take("a")["ratelimit"] for _ in range(3)]
    assert left == ['"key";r=2;t=1', '"key";r=1;t=1', '"key";r=0;t=2']
    with pytest.raises(Problem) as refused:
        held.take("a")
    assert refused.value.status == 429
    assert refused.value.headers["retry-after"] == "1"
    assert refused.value.headers["ratelimit-policy"] == '"key";q=3;w=2'
    assert held.take("b")["ratelimit"] == '"key";r=2;t=1'  # of another key
    clock.now += 0.5  # the time until a token is available again
    held.take("a")
    with pytest.raises(Problem):
        held.take("a")
    clock.now += 1e6
    assert [held.take("a")["ratelimit"][:9] for _ in range(3)] == ['"key";r=2', '"key";r=1', '"key";r=0']


def test_who_comes_when_told_to_is_let_through() -> None:
    clock = Clock()
    held = Limits(0.3, 1, 0, clock=clock)
    held.take("a")
    with pytest.raises(Problem) as refused:
        held.take("a")
    clock.now += int(refused.value.headers["retry-after"])
    held.take("a")


def test_no_rate_is_no_limit() -> None:
    held = Limits(0, 1, 0)
    assert {str(held.take("a")) for _ in range(1_000)} == {"{}"}


def test_so_many_at_once_and_a_place_comes_free_however_it_ends() -> None:
    held = Limits(0, 1, 2)
    with ExitStack() as stack:
        stack.enter_context(held.under_way("a"))
        with pytest.raises(ZeroDivisionError), held.under_way("a"):
            raise ZeroDivisionError
        stack.enter_context(held.under_way("a"))
        with pytest.raises(Problem) as refused, held.under_way("a"):
            pass
        assert (refused.value.status, refused.value.kind) == (429, "too-many-at-once")
        with held.under_way("b"):
            pass
    with held.under_way("a"), held.under_way("a"):
        pass


def test_keys_that_nobody_uses_are_forgotten_and_one_under_way_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MOST_REMEMBERED", 10)
    held = Limits(1.0, 1, 1)
    with held.under_way("kept"):
        for number in range(100):
            held.take(str(number))
        assert len(held._buckets) == 10
        with pytest.raises(Problem), held.under_way("kept"):
            pass


def all_errors() -> list[type[DbUtilsError]]:
    """Every error class of the library that a request may raise."""
    found: list[type[DbUtilsError]] = [DbUtilsError]
    for kind in found:
        found += [sub for sub in kind.__subclasses__() if sub not in found]
    return [kind for kind in found if kind.__module__.startswith("db_utils")]


SECRET = "SELECT secret FROM t; host db.internal"
OWN_WORDS = (
    errors.InvalidInputError,
    errors.NotFoundError,
    errors.ConstraintViolationError,
    errors.InvalidDataError,
    catalogue.WrongStateError,
    catalogue.DifferentValuesError,
    catalogue.UnknownReferenceError,
)


@pytest.mark.parametrize("kind", all_errors())
def test_every_typed_error_has_an_answer_that_tells_no_host(kind: type[DbUtilsError]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, SECRET)
    error.sqlstate = None
    problem = problem_of(error)
    answer = problem.response()
    document = json.loads(bytes(answer.body))
    ProblemDetails.model_validate(document)
    assert answer.media_type == MEDIA_TYPE
    assert answer.headers["cache-control"] == "no-store"
    assert document["status"] == answer.status_code == problem.status
    assert document["type"].startswith(TYPES)
    if problem.status >= 500:
        assert "secret" not in str(document)
        assert "internal" not in document["detail"]
    if problem.status == 503:
        assert answer.headers["retry-after"] == "1"
    # The library's own messages about an argument or a rule; messages of server and driver stay in the log.
    assert ("secret" in str(document)) <= issubclass(kind, OWN_WORDS)
    if kind in TYPED:
        assert problem.kind != "internal"


def test_the_narrower_kind_comes_first() -> None:
    for number, kind in enumerate(TYPED):
        assert not any(issubclass(kind, earlier) for earlier in TYPED[:number]), kind


def test_the_databases_code_is_told_and_nothing_else_of_it() -> None:
    error = errors.QueryTimeoutError("cancelled on db.internal", sqlstate="57014")
    assert problem_of(error).members == {"sqlstate": "57014"}
    assert internal().members == {}


def test_paths_and_methods_that_are_not_there() -> None:
    assert problem_of_http(HTTPException(404)).kind == "not-found"
    refused = problem_of_http(HTTPException(405, headers={"allow": "GET, HEAD"}))
    assert (refused.status, refused.kind, refused.headers) == (405, "wrong-method", {"allow": "GET, HEAD"})
    assert problem_of_http(HTTPException(400, "odd form")).detail == "odd form"


class _Model(BaseModel):
    days: int
    names: list[int] = []


def test_what_cannot_be_used_is_named_and_not_repeated() -> None:
    with pytest.raises(ValidationError) as raised:
        _Model.model_validate({"days": "a secret", "names": ["x"] * 50})
    problem = invalid(raised.value, "query")
    assert problem.status == 422
    assert problem.detail.startswith("query: days: ")
    assert [part["name"] for part in problem.members["invalid"]][:2] == ["days", "names.0"]
    assert len(problem.members["invalid"]) == 10
    assert "secret" not in str(problem.members)


def test_a_stream_is_pinged_also_while_events_come() -> None:
    """The key is checked again on each ping, also for clients that receive many events."""

    async def pings() -> int:
        client = live._Client(frozenset(("alert",)), pinged_at=0.0)
        heard = []
        for second in range(1, 61):
            client.give(live.Event("alert", b"{}", str(second)))
            client.ping(float(second))
            while not client.queue.empty():
                heard.append(client.queue.get_nowait())
        assert sum(event is not live._PING for event in heard) == 60
        return sum(event is live._PING for event in heard)

    assert asyncio.run(pings()) == 60 // live.PING_SECONDS


def test_who_reads_too_slowly_is_cut_off_and_waits_for_no_more() -> None:
    async def told() -> list[live.Event | None]:
        client = live._Client(frozenset(("alert",)), pinged_at=0.0)
        for number in range(live.MOST_WAITING + 5):
            client.give(live.Event("alert", b"{}", str(number)))
            client.give(live.Event("plan", b"{}", "of no interest"))
        return [client.queue.get_nowait() for _ in range(client.queue.qsize())]

    waiting = asyncio.run(told())
    assert len(waiting) <= live.MOST_WAITING + 1
    assert None in waiting
