"""What the library logs: slow statements and pool events, but no values and no passwords."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from db_utils import DatabaseManager, errors
from db_utils.connections import telemetry
from tests.integration.connections.conftest import ORGANIZATION

SECRET = "s3cr3t-p4ss"


def test_a_slow_statement_is_logged_without_its_values(
    manager_with: Callable[..., DatabaseManager], caplog: pytest.LogCaptureFixture
) -> None:
    db = manager_with(slow_query_seconds=0.05)
    db.execute_query("SELECT %s AS quick", (SECRET,))
    assert caplog.records == []
    db.execute_query("SELECT pg_sleep(0.06),\n   %s AS slow", (SECRET,))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("db_utils.query", logging.WARNING)
    assert "SELECT pg_sleep(0.06), %s AS slow" in record.getMessage()
    assert SECRET not in caplog.text


def test_none_is_logged_where_the_limit_is_zero(
    manager_with: Callable[..., DatabaseManager], caplog: pytest.LogCaptureFixture
) -> None:
    manager_with(slow_query_seconds=0).execute("SELECT pg_sleep(0.01)")
    assert caplog.records == []


@pytest.mark.parametrize(
    "sql",
    [
        f"ALTER ROLE x PASSWORD '{SECRET}'",
        f"create role x login encrypted password '{SECRET}'",
        f"ALTER ROLE x PASSWORD  E'{SECRET}'",
        f"ALTER ROLE x PASSWORD $$${SECRET}$$",
        f"ALTER ROLE x PASSWORD $q${SECRET}$q$",
        f"CREATE SUBSCRIPTION s CONNECTION 'host=h password={SECRET}' PUBLICATION p",
    ],
)
def test_a_password_in_a_statement_is_not_logged(sql: str) -> None:
    assert SECRET not in telemetry.safe_text(sql)


def test_no_secret_in_any_message_repr_or_traceback(
    manager_with: Callable[..., DatabaseManager], library_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    for url in (
        f"postgresql://nobody_of_this_name:{SECRET}@127.0.0.1:1/d",
        f"postgresql://nobody_of_this_name:{SECRET}@no-such-host.invalid/d",
        f"postgresql://nobody_of_this_name:{SECRET}@/d?host=/nowhere",
    ):
        db = manager_with(database_url=url)
        for use in (db.execute_query, db.stream, db.listen):
            with pytest.raises(errors.ConnectionFailedError) as caught:
                list(use("SELECT 1"))  # type: ignore[operator]
            shown += traceback.format_exception(caught.value)
        shown += [
            repr(db),
            repr(db.health()),
            repr(db.settings),
            repr(db._pool),
            repr(db.tenant("1" * 32)),
            repr(db.engine),
        ]
    assert SECRET not in "\n".join(shown)
    assert SECRET not in caplog.text


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans of managers created from now on."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    monkeypatch.undo()
    telemetry.spans.look()


def test_spans_follow_the_names_of_opentelemetry(
    manager_with: Callable[..., DatabaseManager], spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = manager_with()
    assert telemetry.spans.wanted
    texts = ("SELECT %s AS value", "DELETE FROM nowhere")
    db.execute_query(texts[0], (SECRET,))
    with pytest.raises(errors.UndefinedObjectError):
        db.execute(texts[1])
    monkeypatch.undo()
    telemetry.spans.look()
    assert not telemetry.spans.wanted
    # Managers that other tests left to the garbage collector may still create spans.
    finished = [
        span for span in spans.get_finished_spans() if (span.attributes or {}).get("db.query.text") in texts
    ]
    read, delete = finished
    assert (read.name, delete.name) == ("SELECT", "DELETE")
    assert read.kind is trace.SpanKind.CLIENT
    assert read.attributes is not None
    assert read.attributes["db.system.name"] == "postgresql"
    assert read.attributes["db.query.text"] == "SELECT %s AS value"
    assert delete.status.status_code is trace.StatusCode.ERROR
    assert delete.attributes is not None
    assert (delete.attributes["error.type"], delete.attributes["db.response.status_code"]) == (
        "UndefinedObjectError",
        "42P01",
    )
    assert SECRET not in "".join(span.to_json() for span in (read, delete))


def test_loads_and_frames_have_spans_too_and_none_quotes_a_row(
    manager_with: Callable[..., DatabaseManager], spans: InMemorySpanExporter
) -> None:
    db = manager_with()
    db.execute("TRUNCATE notes")
    columns = ["organization_id", "note_id", "text"]
    row = (ORGANIZATION, 1, SECRET)
    db.copy_rows("notes", columns, [row])
    db.upsert_many("notes", columns, [row], conflict_columns=columns[:2])
    db.read_frame("SELECT text FROM notes WHERE text = %s", (SECRET,))
    for load in (
        lambda: db.copy_rows("notes", columns, [row]),
        lambda: db.execute("INSERT INTO notes VALUES (%s, %s, %s)", row),
        lambda: db.execute("SELECT %s::uuid", (SECRET,)),
    ):
        with pytest.raises(errors.DbUtilsError):
            load()
    found = spans.get_finished_spans()
    texts = [str((span.attributes or {})["db.query.text"]) for span in found]
    for text in (
        "COPY notes FROM STDIN",
        "INSERT INTO notes ON CONFLICT",
        "SELECT text FROM notes WHERE text = %s",
    ):
        assert text in texts
    assert sum(span.status.status_code is trace.StatusCode.ERROR for span in found) == 3
    assert SECRET not in "".join(span.to_json() for span in found)


@pytest.mark.parametrize(
    "sql", [f"ALTER ROLE x PASSWORD '{SECRET}' SYNTAX", "CREATE USER MAPPING (password %s) SYNTAX"]
)
def test_a_statement_with_a_password_is_not_quoted_in_a_traceback(db: DatabaseManager, sql: str) -> None:
    """The server quotes the line with the error."""
    with pytest.raises(errors.QueryError) as caught:
        db.execute(sql, (SECRET,) if "%s" in sql else None)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
