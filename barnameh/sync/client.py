"""Client of Convex's HTTP API, limited to what the sender needs: mutations and queries, with a deploy key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

import httpx

from barnameh.errors import ServiceError

LONGEST_RETRY_AFTER_SECONDS = 600.0


class UnreachableError(ServiceError):
    """The deployment did not answer, or asks to retry: it is unknown whether the call was applied."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RefusedError(ServiceError):
    """A function failed or rejected its arguments: the same call will fail again."""


class DeniedError(ServiceError):
    """The deployment rejected the key."""


class ConvexClient:
    """Calls internal functions of one deployment. Use it as a context manager, or `close()` it."""

    def __init__(
        self,
        url: str,
        deploy_key: str,
        *,
        timeout_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` such as https://happy-otter-123.convex.cloud; http:// only locally or in your own network."""
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            headers={"Authorization": f"Convex {deploy_key}", "Convex-Client": "barnameh-1.0"},
            timeout=timeout_seconds,
            transport=transport,
            follow_redirects=False,  # never send the key to another host
        )

    def __repr__(self) -> str:
        return f"<ConvexClient {self.url}>"

    def __enter__(self) -> ConvexClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def mutation(self, path: str, args: Mapping[str, Any]) -> Any:
        """Run a mutation such as sync:apply; see `call`."""
        return self.call("mutation", path, args)

    def query(self, path: str, args: Mapping[str, Any]) -> Any:
        """Run a query such as sync:state; see `call`."""
        return self.call("query", path, args)

    def call(self, kind: str, path: str, args: Mapping[str, Any]) -> Any:
        """Call a function and return its result.

        Raises `UnreachableError` if a retry may help, `RefusedError` if the function fails, `DeniedError` if
        the key is rejected.
        """
        try:
            body = json.dumps({"path": path, "args": args, "format": "json"}, allow_nan=False)
        except ValueError as error:
            raise RefusedError(f"a value cannot be written as JSON: {error}") from None
        try:
            response = self._http.post(
                f"{self.url}/api/{kind}", content=body.encode(), headers={"Content-Type": "application/json"}
            )
        except httpx.HTTPError as error:
            raise UnreachableError(f"{self.url} does not answer: {type(error).__name__} {error}") from None
        return _value(response, path)


def _value(response: httpx.Response, path: str) -> Any:
    """Return the value of a response; anything unknown is treated as worth a retry, not as an answer."""
    status = response.status_code
    if status in (401, 403):
        raise DeniedError(
            f"the deployment answers {status} to {path}: give the deploy key of this deployment as CONVEX_DEPLOY_KEY"
        )
    if status in (400, 404, 413, 422):
        raise RefusedError(f"{path} answers {status}: {response.text[:500]}")
    if status not in (200, 560):
        raise UnreachableError(f"{path} answers {status}: {response.text[:200]}", _retry_after(response))
    try:
        answer = response.json()
        outcome = answer["status"]
    except (ValueError, TypeError, KeyError):
        raise UnreachableError(
            f"{path} returned an answer unlike Convex's: {response.text[:200]!r}"
        ) from None
    if outcome == "success":
        return answer.get("value")
    message = str(answer.get("errorMessage", answer))
    if "OptimisticConcurrencyControlFailure" in message or "TooManyConcurrent" in message:
        raise UnreachableError(f"{path}: {message[:500]}")
    raise RefusedError(f"{path}: {message[:1000]}")


def _retry_after(response: httpx.Response) -> float | None:
    told = response.headers.get("Retry-After", "").strip()
    if told.isdigit():
        return min(float(told), LONGEST_RETRY_AFTER_SECONDS)
    try:
        at, now = parsedate_to_datetime(told), parsedate_to_datetime(response.headers.get("Date", ""))
        return min(max((at - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER_SECONDS)
    except (ValueError, TypeError):
        return None
