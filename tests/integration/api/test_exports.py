"""Downloads contain all rows, in constant memory, and a failed one never looks like a complete file."""

from __future__ import annotations

import csv
import io
import json
import socket
import threading
from typing import Any

import pyarrow.ipc
import pytest

from barnameh.api import exports
from db_utils import DatabaseManager, OperationalDataQueries
from tests.support.api import OPERATIONS, UNLIMITED, Api, api_on, is_fixed, read_calls
from tests.support.api_process import running


@pytest.mark.thorough
def test_every_list_downloads_as_all_three(api: Api) -> None:
    seen = 0
    for operation, query in read_calls(api.facts):
        given = {name: value for name, value in query.items() if name != "limit"}
        if not operation.paged or not is_fixed(operation, query):
            continue  # up to now, which changes each time
        rows = api.get(operation.name, **given, limit=10_000).json()["data"]
        lines = api.get(operation.name, **given, format="ndjson")
        assert lines.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line) for line in lines.text.splitlines()] == rows, operation.name
        table = list(
            csv.DictReader(io.StringIO(api.get(operation.name, **given, headers={"accept": "text/csv"}).text))
        )
        assert [list(row) for row in table] == [list(row) for row in rows], operation.name
        arrow = pyarrow.ipc.open_stream(api.get(operation.name, **given, format="arrow").content).read_all()
        assert arrow.num_rows == len(table) == len(rows)
        assert arrow.schema.names == list(operation.columns)
        for column, kind in operation.columns.items():
            if kind in ("uuid", "text", "numeric", "bigint", "integer", "boolean"):
                expected = [row[column] for row in rows]
                assert [_typed(row[column], kind) for row in table] == expected, (operation.name, column)
                assert arrow[column].to_pylist() == expected, (operation.name, column)
        seen += bool(rows)
    assert seen >= 20


def _typed(text: str, kind: str) -> Any:
    if text == "":
        return None
    if kind in ("numeric", "bigint", "integer", "boolean"):
        return json.loads(text)
    return text


@pytest.mark.thorough
def test_a_download_takes_no_pages_and_none_of_http_1_0(api: Api) -> None:
    assert api.get("get_events", format="csv", limit=5).status_code == 422
    with (
        running(api.owner.settings.database_url) as service,
        socket.create_connection(("127.0.0.1", service.port)) as link,
    ):
        path = api.path(OPERATIONS["get_events"])
        link.sendall(f"GET {path}?format=csv HTTP/1.0\r\nAuthorization: Bearer {api.key}\r\n\r\n".encode())
        assert b" 505 " in link.recv(200)


@pytest.mark.thorough
def test_a_failure_in_the_middle_cuts_the_answer_off(api: Api) -> None:
    """A row that cannot be computed, after many that can."""
    with running(api.owner.settings.database_url) as service:
        body = service.cut_download(api, pid_of_query)
        assert body.count(b"\n") > 1_000
        assert not body.endswith(b"0\r\n\r\n")


def pid_of_query(owner: DatabaseManager) -> int:
    rows = owner.execute_query(
        "SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'barnameh api' AND query LIKE 'COPY%'"
    )
    return len(rows)


def test_no_more_downloads_than_the_service_allows(seeded_database: DatabaseManager) -> None:
    with api_on(seeded_database, UNLIMITED) as api:
        limiter = api.client.app.service.exports  # type: ignore[attr-defined]
        limiter.total_tokens = 1
        hold, held = threading.Event(), threading.Event()

        def produce(sink: exports.Sink) -> None:
            held.set()
            hold.wait(30)

        async def occupy() -> None:
            async for _ in exports.chunks(produce, limiter):
                pass

        assert api.client.portal is not None
        under_way = api.client.portal.start_task_soon(occupy)
        assert held.wait(30)
        busy = api.get("get_events", format="csv")
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
        hold.set()
        under_way.result(30)
        assert api.get("get_events", format="csv").status_code == 200


@pytest.mark.slow
def test_a_million_rows_take_no_memory(server_url: str, seeded_template: str) -> None:
    from tests.conftest import fresh_database

    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url) as owner:
        owner.execute(
            "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity) "
            "SELECT l.organization_id, timestamptz '2020-01-01Z' + n * interval '1 minute', 'BULK', l.location_id, n "
            "FROM (SELECT organization_id, location_id FROM locations WHERE organization_id = %s ORDER BY 2 LIMIT 1) AS l, "
            "generate_series(1, 1000000) AS n",
            (OperationalDataQueries(owner).get_organizations()[0]["organization_id"],),
        )
        with running(url) as service:
            key, organization_id = service.key(owner)
            count, peak = service.measured_download(
                key,
                organization_id,
                "/demand/demand-history?product_id=BULK&format=csv&start=2019-01-01T00:00:00Z",
            )
    assert count == 1_000_001
    assert peak < 256 * 1024 * 1024
