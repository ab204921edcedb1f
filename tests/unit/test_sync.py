"""The sender's requests to Convex, and its reactions to the responses."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from barnameh.sync.client import ConvexClient, DeniedError, RefusedError, UnreachableError
from barnameh.sync.documents import document_of, kinds_module
from barnameh.sync.sender import MOST_BYTES, _that_fit
from db_utils.outbox import KINDS

CONVEX = Path(__file__).resolve().parents[2] / "convex" / "convex"


def test_both_sides_have_the_same_kinds_and_columns() -> None:
    assert (CONVEX / "kinds.ts").read_text(encoding="utf-8") == kinds_module()
    functions = (CONVEX / "sync.ts").read_text(encoding="utf-8")
    schema = (CONVEX / "schema.ts").read_text(encoding="utf-8")
    for kind in KINDS:
        assert functions.count(f'v.literal("{kind}")') == 2
        assert f"...kinds.{kind}.fields" in schema


def test_values_as_convex_takes_them() -> None:
    row = {
        "at": dt.datetime(2026, 11, 29, 4, 0, 0, 500_000, tzinfo=dt.UTC),
        "day": dt.date(2026, 11, 29),
        "id": UUID(int=1),
        "share": Decimal("0.5"),
        "days": 7,
        "none": None,
    }
    assert document_of(row) == {
        "at": 1_795_924_800_500.0, "day": "2026-11-29", "id": str(UUID(int=1)), "share": 0.5, "days": 7, "none": None
    }  # fmt: skip


def answered(response: httpx.Response | Exception) -> Any:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Convex key"
        assert json.loads(request.content)["format"] == "json"
        if isinstance(response, Exception):
            raise response
        return response

    with ConvexClient("https://x.convex.cloud/", "key", transport=httpx.MockTransport(handle)) as client:
        assert "key" not in repr(client)
        return client.mutation("sync:apply", {})


def failed(message: str, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json={"status": "error", "errorMessage": message})


def test_answers_and_what_they_mean() -> None:
    assert answered(httpx.Response(200, json={"status": "success", "value": 5})) == 5
    for refused in (
        failed("ArgumentValidationError"),
        failed("Uncaught", 560),
        httpx.Response(400),
        httpx.Response(413),
    ):
        with pytest.raises(RefusedError):
            answered(refused)
    for status in (401, 403):
        with pytest.raises(DeniedError, match="CONVEX_DEPLOY_KEY"):
            answered(httpx.Response(status))
    passing = (
        httpx.Response(429), httpx.Response(500), httpx.Response(503), httpx.Response(307), httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]), failed("OptimisticConcurrencyControlFailure: try again"), httpx.ReadTimeout("late"),
    )  # fmt: skip
    for response in passing:
        with pytest.raises(UnreachableError):
            answered(response)
    date = {"Retry-After": "Sun, 29 Nov 2026 04:01:00 GMT", "Date": "Sun, 29 Nov 2026 04:00:00 GMT"}
    for headers, seconds in (
        ({"Retry-After": "7"}, 7),
        (date, 60),
        ({"Retry-After": "9999999"}, 600),
        ({}, None),
    ):
        with pytest.raises(UnreachableError) as told:
            answered(httpx.Response(503, headers=headers))
        assert told.value.retry_after_seconds == seconds
    with (
        pytest.raises(RefusedError, match="JSON"),
        ConvexClient(
            "https://x", "key", transport=httpx.MockTransport(lambda _: httpx.Response(200))
        ) as client,
    ):
        client.mutation("sync:apply", {"value": float("nan")})


def test_a_call_holds_what_fits_and_one_in_any_case() -> None:
    large: dict[str, Any] = {"title": "x" * (MOST_BYTES // 2)}
    documents = {("alert", str(n)): dict(large) for n in range(3)}
    assert list(_that_fit(documents)) == [("alert", "0")]
    assert len(_that_fit({("alert", str(n)): {"title": "x"} for n in range(500)})) == 500
    assert len(_that_fit({("alert", "0"): {"title": "x" * 2 * MOST_BYTES}})) == 1
