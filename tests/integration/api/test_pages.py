"""All pages together are the complete result, whatever their size; nothing is truncated silently."""

from __future__ import annotations

import base64
import json

import pytest

from barnameh.api.pages import order_of
from db_utils import catalogue
from tests.support.api import OPERATIONS, Api, is_fixed, read_calls

# They are ordered by a KPI's position in its list, or by a possibly infinite instant, which are not columns. A few rows
# per location, resource, shift or employee.
WHOLE = {
    "get_kpi_summary",
    "get_kpi_trend",
    "get_location_kpis",
    "get_resource_kpis",
    "get_shift_kpis",
    "get_location_history",
    "get_resource_history",
    "get_employee_history",
}


def test_pages_put_together_are_the_whole(api: Api) -> None:
    turned = set()
    for operation, query in read_calls(api.facts):
        if not operation.paged or not is_fixed(operation, query):
            continue
        given = {name: value for name, value in query.items() if name != "limit"}
        whole = api.get(operation.name, **given, limit=10_000).json()
        assert whole["next"] is None, operation.name
        count = len(whole["data"])
        if count < 2:
            continue
        limit = count // 2  # two pages, or three
        rows, cursor = [], None
        while True:
            answer = api.get(operation.name, **given, limit=limit, cursor=cursor)
            assert answer.status_code == 200, (operation.name, answer.text)
            page = answer.json()
            rows += page["data"]
            cursor = page["next"]
            if cursor is None:
                break
            assert len(page["data"]) == limit
            turned.add(operation.name)
        assert rows == whole["data"], (operation.name, given)
    assert len(turned) >= 25


def test_which_reads_are_answered_whole(api: Api) -> None:
    found = set()
    for operation, query in read_calls(api.facts):
        if operation.streams:
            given = {name: value for name, value in query.items() if name != "limit"}
            read = catalogue.read_of(operation.name, api.organization_id, given)
            if order_of(read.sql, tuple(operation.columns)) is None:
                found.add(operation.name)
    assert found == WHOLE


def test_rows_between_pages_neither_repeat_nor_hide_others(api: Api) -> None:
    first = api.get("get_alerts", limit=2).json()
    api.post("raise_alert", {"title": "In between", "severity": "low", "alert_type": "test"})
    second = api.get("get_alerts", limit=10_000, cursor=first["next"]).json()
    ids = [row["alert_id"] for row in first["data"] + second["data"]]
    whole = [row["alert_id"] for row in api.get("get_alerts", limit=10_000).json()["data"]]
    assert whole[1:] == ids


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "ä", "W10", base64.urlsafe_b64encode(b'["0","a","b"]').decode(), "A" * 5_000],
)
def test_a_cursor_of_something_else_is_refused(api: Api, cursor: str) -> None:
    answer = api.get("get_alerts", cursor=cursor)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (422, "invalid-cursor")


def test_a_cursor_belongs_to_its_parameters(api: Api) -> None:
    cursor = api.get("get_alerts", limit=1).json()["next"]
    assert api.get("get_alerts", limit=3, cursor=cursor).status_code == 200
    assert api.get("get_alerts", limit=1, cursor=cursor, severity="high").status_code == 422
    assert api.get("get_active_alerts", limit=1, cursor=cursor).status_code == 422


def test_a_cursor_that_was_tampered_with_is_refused_or_reads_own_rows(api: Api) -> None:
    cursor = api.get("get_alerts", limit=1).json()["next"]
    parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for forged in ("no time", "'; SELECT 1 --", "infinity", None):
        parts[1] = forged
        text = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")
        answer = api.get("get_alerts", limit=1, cursor=text)
        assert answer.status_code in (200, 422)
        assert "SELECT" not in answer.text.replace(str(forged), "")


def test_limits_of_a_page(api: Api) -> None:
    assert api.get("get_events", limit=0).status_code == 422
    assert api.get("get_events", limit=10_001).status_code == 422
    assert OPERATIONS["get_events"].paged
