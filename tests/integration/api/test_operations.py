"""Each prebuilt query has one path, the document matches the service, and results are the library's."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from barnameh.api import document
from barnameh.api.operations import LEFT_OUT
from db_utils import OperationalDataQueries, catalogue
from tests.support import api_columns
from tests.support.api import OPERATIONS, Api, is_fixed, read_calls


def test_each_entry_of_the_catalogue_has_one_path_or_a_reason() -> None:
    names = [entry.name for entry in catalogue.entries()]
    assert sorted([*OPERATIONS, *LEFT_OUT]) == sorted(names)
    assert all(len(reason.split()) > 4 for reason in LEFT_OUT.values())
    assert len({operation.path for operation in OPERATIONS.values()}) == len(OPERATIONS)


def test_the_document_is_the_one_that_the_operations_make() -> None:
    """A change of the API shows up in review: python -m barnameh.api.document."""
    made = document.text_of(document.document())
    assert document.OPENAPI.read_text(encoding="utf-8") == made
    assert len(json.loads(made)["paths"]) == len(OPERATIONS) + len(document.OTHER_PATHS)


def test_columns_are_those_of_the_server(api: Api) -> None:
    """python -m tests.support.api_columns URL."""
    known = api_columns.describe(api.owner.settings.database_url)
    assert api_columns.COLUMNS.read_text() == api_columns.text_of(known)


def test_answers_are_those_of_the_library(api: Api) -> None:
    queries = OperationalDataQueries(api.owner)
    asked = 0
    for operation, query in read_calls(api.facts):
        if operation.name.startswith("get_cached"):
            continue  # its age changes each time
        given = {name: value for name, value in query.items() if name != "limit"}
        expected = getattr(queries, operation.name)(api.organization_id, **given)
        answer = api.get(operation.name, **given, **({"limit": 10_000} if operation.paged else {}))
        assert answer.status_code == 200, (operation.name, query, answer.text)
        found = json.loads(answer.text, parse_float=Decimal)["data"]
        if operation.name in ("get_alerts", "get_events", "get_latest_optimization_runs"):
            found, expected = found[: len(expected)], expected[: len(found)]
        if not is_fixed(operation, query):
            assert [list(row) for row in found] == [list(row) for row in expected], (operation.name, query)
        else:
            assert _plain(found) == _plain(expected), (operation.name, query)
        asked += 1
    assert asked > 80


def _plain(value: Any) -> Any:
    """JSON on both sides: strings in JSON are compared as strings."""
    import datetime as dt

    from db_utils import Json

    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (Decimal, int, float)) and not isinstance(value, bool):
        return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if isinstance(value, dt.datetime):
        if value.year in (1, 9999):
            return None
        text = value.isoformat()
        return text.replace("+00:00", "Z")
    if isinstance(value, dt.timedelta):
        return _duration(value)
    if isinstance(value, (UUID, dt.date)):
        return str(value)
    assert not isinstance(value, Json)
    return value


def _duration(value: Any) -> str:
    days, seconds = value.days, value.seconds
    assert value.microseconds == 0
    return "P" + (f"{days}D" if days else "") + (f"T{seconds}S" if seconds else "" if days else "T0S")


def test_exact_numbers_come_out_as_they_are_stored(api: Api) -> None:
    exact = Decimal("123456789012.345678901234567890")
    done = api.post(
        "record_events",
        {
            "events": [
                {
                    "time": "2026-11-01T00:00:00Z",
                    "event_type": "production",
                    "resource_id": str(api.facts.resource_id),
                    "quantity": str(exact),
                }
            ]
        },
    )
    assert done.json() == {"data": 1}
    answer = api.get("get_events", start="2026-11-01T00:00:00Z", end="2026-11-01T00:00:01Z")
    assert f'"quantity":{exact}' in answer.text


@pytest.mark.parametrize("name", ["get_locations", "get_kpi_summary"])
def test_what_the_caller_has_already_is_not_sent_again(api: Api, name: str) -> None:
    query = {"start": api.facts.start, "end": api.facts.end} if name == "get_kpi_summary" else {}
    first = api.get(name, **query)
    again = api.get(name, **query, headers={"if-none-match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert api.get(name, **query, headers={"if-none-match": 'W/"0"'}).content == first.content


def test_what_is_written_is_there_and_a_second_time_it_is_refused(api: Api) -> None:
    body = {
        "title": "Look",
        "severity": "high",
        "alert_type": "test",
        "alert_id": "5b0e5a90-0000-4000-8000-000000000001",
    }
    assert api.post("raise_alert", body).json()["data"]["status"] == "active"
    again = api.post("raise_alert", body)
    assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")
    assert again.json()["type"].endswith("/exists-already")
    given = {"alert_id": body["alert_id"], "acknowledged_by": "Ada"}
    assert api.post("acknowledge_alert", given).json()["data"]["acknowledged_by"] == "Ada"
    wrong = api.post("acknowledge_alert", given)
    assert (wrong.status_code, wrong.json()["type"].rpartition("/")[2]) == (409, "wrong-state")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"title": "x", "severity": "high"}, 422, "alert_type"),
        ({"title": "x", "severity": "loud", "alert_type": "t"}, 422, "severity"),
        ({"title": 7, "severity": "high", "alert_type": "t"}, 422, "title"),
        ({"title": "x\0", "severity": "high", "alert_type": "t"}, 422, "title"),
        ({"title": "x", "severity": "high", "alert_type": "t", "colour": "red"}, 422, "colour"),
        (
            {
                "title": "x",
                "severity": "high",
                "alert_type": "t",
                "resource_id": "7" * 8 + "-7777" * 3 + "-" + "7" * 12,
            },
            422,
            "resource_id",
        ),
    ],
)
def test_bad_bodies_are_refused_with_the_name_of_what_is_wrong(
    api: Api, body: dict[str, Any], status: int, says: str
) -> None:
    answer = api.post("raise_alert", body)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_bodies_in_another_form_or_too_large_are_refused(api: Api) -> None:
    path, headers = api.path(OPERATIONS["raise_alert"]), {"authorization": f"Bearer {api.key}"}
    assert api.client.post(path, content=b"title=x", headers=headers).status_code == 415
    large = b'{"title":"' + b"x" * (8 * 1024 * 1024) + b'"}'
    answer = api.client.post(path, content=large, headers={**headers, "content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (413, "too-large")


def test_unknown_and_repeated_parameters_and_forms_are_refused(api: Api) -> None:
    assert api.get("get_events", dais=3).status_code == 422
    assert api.get("get_events", days=["3", "4"]).status_code == 422
    assert api.get("get_events", headers={"accept": "text/html"}).status_code == 406
    assert api.get("get_events", format="xml").status_code == 422
    assert api.client.get("/v1/nothing").json()["status"] == 404
    path = api.path(OPERATIONS["get_events"])
    assert api.client.post(path, headers={"authorization": f"Bearer {api.key}"}).status_code == 405


def test_health_readiness_and_metrics(api: Api) -> None:
    assert api.client.get("/healthz").json() == {"status": "ok"}
    assert api.client.get("/readyz").json() == {"status": "ready"}
    api.get("get_locations")
    text = api.client.get("/metrics").text
    assert 'barnameh_api_requests_total{endpoint="get_locations",status="200"}' in text
    assert str(api.organization_id) not in text
    listed = api.client.get("/v1/catalogue").json()
    assert {operation["name"] for operation in listed["operations"]} == set(OPERATIONS)
    assert len(api.client.get("/v1/openapi.json").json()["paths"]) >= len(OPERATIONS)
