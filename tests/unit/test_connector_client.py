"""Requests to sources: limits on the test's own clock, injected faults, no waiting."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnameh.connectors.client import ATTEMPTS, LONGEST_WAIT_SECONDS, Client, Limit, Quotas, Throttle
from barnameh.connectors.open_meteo import OpenMeteo
from barnameh.errors import QuotaError, SourceError


class Clock:
    """A clock that sleeping advances."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def client(answer: Callable[[httpx.Request], httpx.Response], clock: Clock, *limits: Limit) -> Client:
    return Client(
        {"source.test": limits}, clock=clock, sleep=clock.sleep, transport=httpx.MockTransport(answer)
    )


def most_in_a_span(asked: list[tuple[float, float]], seconds: float) -> float:
    return max(sum(weight for at, weight in asked if start <= at < start + seconds) for start, _ in asked)


@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(0.5, 10)), min_size=1, max_size=60),
    st.floats(10, 40),
)
def test_no_span_holds_more_than_the_limit(steps: list[tuple[float, float]], most: float) -> None:
    clock, asked = Clock(), []
    throttle = Throttle((Limit(most, 60), Limit(3 * most, 600)), clock, clock.sleep)
    for pause, weight in steps:
        clock.now += pause
        throttle.wait(weight)
        asked.append((clock.now, weight))
    for limit, seconds in ((most, 60), (3 * most, 600)):
        # Just before the end of the span, so that rounding of floats does not matter.
        assert most_in_a_span(asked, seconds - 1e-6) <= limit + 1e-9


def test_a_years_backfill_stays_below_what_open_meteo_admits() -> None:
    clock, asked = Clock(), []
    limits = OpenMeteo().limits["archive-api.open-meteo.com"]
    throttle = Throttle(limits, clock, clock.sleep)
    for _ in range(300):  # locations, a year each in windows of ninety days
        for days in (90, 90, 90, 95):
            throttle.wait(days / 14)
            asked.append((clock.now, days / 14))
    for admitted, seconds in ((600, 60), (5000, 3600), (10_000, 86_400)):
        assert most_in_a_span(asked, seconds) < admitted


def test_one_organization_does_not_use_up_what_all_may_ask() -> None:
    """A worker's clients share their quota without waiting: the greedy one gets half, the others the rest, and the limit holds."""
    clock, asked, limit = Clock(), [], Limit(100, 3600)
    quotas = Quotas(clock, clock.sleep)

    def ask(organization: str, times: int) -> int:
        for number in range(times):
            # A client per task, as in the worker.
            one = Client(
                {"source.test": (limit,)}, clock=clock, sleep=clock.sleep, quotas=quotas, organization=organization,
                transport=httpx.MockTransport(lambda request: httpx.Response(200, content=b"data")),
            )  # fmt: skip
            try:
                one.get("https://source.test/x", {})
            except QuotaError:
                return number
            asked.append((clock.now, 1.0))
        return times

    assert ask("greedy", 1000) == 50
    assert [ask(name, 20) for name in ("b", "c")] == [20, 20]
    assert ask("d", 20) == 10
    assert ask("greedy", 1) == 0
    assert clock.slept == []
    clock.now = 3600 - LONGEST_WAIT_SECONDS  # how long it waits
    assert ask("greedy", 1000) == 50
    assert most_in_a_span(asked, 3600 - 1e-6) <= 100


def test_it_asks_again_where_that_helps() -> None:
    clock = Clock()
    answers = iter(
        [
            httpx.Response(500),
            httpx.Response(429, headers={"Retry-After": "17"}),
            httpx.Response(429, json={"error": True, "reason": "Minutely API request limit exceeded."}),
            httpx.Response(200, content=b""),
            httpx.Response(200, content=b"data", headers={"Date": "Sat, 28 Nov 2026 10:20:30 GMT"}),
        ]
    )
    answer = client(lambda request: next(answers), clock).get("https://source.test/x", {})
    assert answer.content == b"data"
    assert answer.at == dt.datetime(2026, 11, 28, 10, 20, 30, tzinfo=dt.UTC)
    assert clock.slept == [2, 17, 60, 16]


def test_it_gives_up_with_the_sources_own_words() -> None:
    clock, asked = Clock(), []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503, text="down for maintenance")

    with pytest.raises(SourceError, match="failed 6 times, last: status 503: down for maintenance"):
        client(refuse, clock).get("https://source.test/x", {"apikey": "secret"})
    assert len(asked) == ATTEMPTS


@pytest.mark.parametrize("window", ["Hourly", "Daily"])
def test_a_long_wait_ends_the_run(window: str) -> None:
    clock = Clock()
    body = {"error": True, "reason": f"{window} API request limit exceeded. Please try again later."}
    with pytest.raises(SourceError, match=f"asks to wait.*{window} API request limit"):
        client(lambda request: httpx.Response(429, json=body), clock).get("https://source.test/x", {})
    assert clock.slept == []


def test_a_refusal_is_not_asked_again_and_shows_no_key() -> None:
    clock, asked = Clock(), []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(400, json={"error": True, "reason": "Latitude must be in range"})

    with pytest.raises(SourceError, match="refused: status 400: Latitude must be in range") as refusal:
        client(refuse, clock).get("https://source.test/x", {"apikey": "secret"})
    assert len(asked) == 1
    assert "secret" not in str(refusal.value)


def test_a_cut_connection_is_asked_again() -> None:
    clock = Clock()

    def cut(request: httpx.Request) -> httpx.Response:
        if not clock.slept:
            raise httpx.RemoteProtocolError("peer closed connection")
        return httpx.Response(200, content=b"whole")

    assert client(cut, clock).get("https://source.test/x", {}).content == b"whole"
