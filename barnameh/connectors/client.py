"""The HTTP client of the sources: retries where that helps, and stays within their rate limits."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from barnameh.errors import QuotaError, SourceError

ATTEMPTS = 6
LONGEST_WAIT_SECONDS = 120.0
"""A longer wait ends the run; the next scheduled one continues."""
_NAMED_WAITS = {"minutely": 60.0, "hourly": 3600.0, "daily": 86_400.0}


@dataclass(frozen=True)
class Limit:
    """At most `weight` in any span of `seconds`."""

    weight: float
    seconds: float


@dataclass(frozen=True)
class Answer:
    """A source's answer, with its time by the source's clock."""

    content: bytes
    at: dt.datetime
    url: str


class _RetryableError(Exception):
    """Worth a retry, after the number of seconds that the source requests, if any."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class Throttle:
    """Keeps requests within the limits of one host, in every time span."""

    def __init__(
        self, limits: tuple[Limit, ...], clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._limits, self._clock, self._sleep = limits, clock, sleep
        self._asked: deque[tuple[float, float]] = deque()

    def wait(self, weight: float, *, longest_seconds: float | None = None) -> None:
        """Wait until a request of this weight is allowed, and count it; `QuotaError` if it takes too long."""
        while (seconds := max((self._wait_for(limit, weight) for limit in self._limits), default=0.0)) > 0:
            if longest_seconds is not None and seconds > longest_seconds:
                raise QuotaError(f"the quota of the source is used up for {seconds:.0f} s")
            self._sleep(seconds)
        now = self._clock()
        longest = max((limit.seconds for limit in self._limits), default=0.0)
        while self._asked and self._asked[0][0] <= now - longest:
            self._asked.popleft()
        self._asked.append((now, weight))

    def _wait_for(self, limit: Limit, weight: float) -> float:
        """Seconds until enough requests have left this limit's time span."""
        now = self._clock()
        recent = [(at, w) for at, w in self._asked if at > now - limit.seconds]
        excess = sum(w for _, w in recent) + weight - limit.weight
        free_at = now
        for at, w in recent:
            if excess <= 0:
                break
            excess -= w
            free_at = at + limit.seconds
        return free_at - now


class Quotas:
    """The quotas of a process with each host: for all organizations together, and half of that for each."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._throttles: dict[tuple[str, str], Throttle] = {}

    def throttles(self, host: str, limits: tuple[Limit, ...], organization: str) -> tuple[Throttle, ...]:
        """Return the throttles that apply to a request of this organization, in order."""
        half = tuple(Limit(limit.weight / 2, limit.seconds) for limit in limits)
        return self._throttle(host, organization, half), self._throttle(host, "", limits)

    def _throttle(self, host: str, organization: str, limits: tuple[Limit, ...]) -> Throttle:
        return self._throttles.setdefault((host, organization), Throttle(limits, self._clock, self._sleep))


class Client:
    """Sends one request at a time; see `get`. A context manager."""

    def __init__(
        self,
        limits: Mapping[str, tuple[Limit, ...]],
        *,
        contact: str = "",
        timeout_seconds: float = 30.0,
        hosts: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
        quotas: Quotas | None = None,
        organization: str = "",
        keeps_answers: bool = False,
    ) -> None:
        """`limits` by host. `hosts` redirects requests for a host (to a mirror, a test): host to base URL.

        With `quotas`, shared by the clients of a process, a request of this organization waits no longer than
        two minutes, so that it does not block others. Without them the client counts only its own requests,
        and waits. With `keeps_answers` it asks the same thing once, for organizations at the same place.
        """
        self._kept: dict[str, Answer] | None = {} if keeps_answers else None
        self._http = httpx.Client(
            timeout=timeout_seconds,
            transport=transport,
            follow_redirects=True,
            headers={"User-Agent": f"barnameh-connectors/1 ({contact or 'no contact given'})"},
        )
        self._throttles = {
            host: (Throttle(found, clock, sleep),)
            if quotas is None
            else quotas.throttles(host, found, organization)
            for host, found in limits.items()
        }
        self._longest_wait = None if quotas is None else LONGEST_WAIT_SECONDS
        self._hosts = dict(hosts or {})
        self._sleep = sleep

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, url: str, parameters: Mapping[str, Any], *, weight: float = 1.0) -> Answer:
        """Send a request, at most six times, and return the complete answer.

        Waits as the host's limits require, and as long as the source requests in `Retry-After` or its error
        message. Raises `SourceError` with the source's reason if it refuses, remains unreachable or requires
        too long a wait, and `QuotaError` if the quota of the organization, or of all, is used up.
        """
        asked = httpx.URL(url)
        question = str(asked.copy_merge_params(dict(parameters)))
        if self._kept is not None and question in self._kept:
            return self._kept[question]
        for attempt in range(1, ATTEMPTS + 1):
            for throttle in self._throttles.get(asked.host, ()):
                throttle.wait(weight, longest_seconds=self._longest_wait)
            try:
                answer = self._ask(asked, parameters)
                if self._kept is not None:
                    self._kept[question] = answer
                return answer
            except _RetryableError as again:
                wait = again.wait_seconds
                if wait is not None and wait > LONGEST_WAIT_SECONDS:
                    raise SourceError(f"{asked.host} asks to wait {wait:.0f} s: {again}") from None
                if attempt == ATTEMPTS:
                    raise SourceError(f"{asked.host} failed {ATTEMPTS} times, last: {again}") from None
                self._sleep(2.0**attempt if wait is None else wait)
        raise AssertionError("unreachable")

    def _ask(self, asked: httpx.URL, parameters: Mapping[str, Any]) -> Answer:
        base = self._hosts.get(asked.host)
        url = asked if base is None else httpx.URL(base).join(asked.raw_path.decode())
        try:
            response = self._http.get(url, params=dict(parameters))
        except httpx.TransportError as error:
            raise _RetryableError(f"{type(error).__name__}: {error}") from None
        if response.status_code == 429 or response.status_code >= 500:
            raise _RetryableError(_reason(response), _wait_named(response))
        if response.status_code >= 400:
            raise SourceError(f"{asked.host} refused: {_reason(response)}")
        if not response.content:
            raise _RetryableError("an empty answer")
        return Answer(response.content, _date(response), str(asked))


def _reason(response: httpx.Response) -> str:
    """Return the source's reason for a refusal, without our parameters."""
    text = response.text.strip()
    try:
        body = response.json()
        text = str(body.get("reason") or body.get("error_message") or body.get("message") or text)
    except (ValueError, AttributeError):
        found = re.search(r"<text>(.*?)</text>", text, re.DOTALL)
        text = found.group(1) if found else text
    return f"status {response.status_code}: {' '.join(text.split())[:200] or 'no reason given'}"


def _wait_named(response: httpx.Response) -> float | None:
    """How long the source asks to wait, in seconds."""
    if given := response.headers.get("Retry-After", "").strip():
        if given.isdigit():
            return float(given)
        try:
            return max(0.0, (email.utils.parsedate_to_datetime(given) - _date(response)).total_seconds())
        except (TypeError, ValueError):
            return None
    named = re.search(r"minutely|hourly|daily", response.text.lower())
    return _NAMED_WAITS[named.group()] if named else None


def _date(response: httpx.Response) -> dt.datetime:
    """Return the time of the answer by the source's clock; by ours if it sends none."""
    try:
        return email.utils.parsedate_to_datetime(response.headers["Date"]).astimezone(dt.UTC)
    except (KeyError, TypeError, ValueError):
        return dt.datetime.now(dt.UTC)
