"""With a report the good rows are loaded and each bad one is reported: number, column, reason, values."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from typing import Any

import pytest

from db_utils.copy import Reject, RejectReport, copy_rows, execute_many, upsert_many
from db_utils.errors import InvalidDataError, InvalidInputError, UndefinedObjectError
from tests.integration.copy.conftest import ORGANIZATION, OTHER_ORGANIZATION, Asker
from tests.integration.copy.test_copy_rows import EVENT, event

Load = Callable[..., int]


def copy(connection: Any, rows: Any, report: RejectReport) -> int:
    return copy_rows(connection, "events", EVENT, rows, on_reject=report)


def copy_staged(connection: Any, rows: Any, report: RejectReport) -> int:
    return copy_rows(connection, "events", EVENT, rows, on_reject=report, through_temporary_table=True)


def copy_view(connection: Any, rows: Any, report: RejectReport) -> int:
    return copy_rows(connection, "my_events", EVENT, rows, on_reject=report)


def insert(connection: Any, rows: Any, report: RejectReport) -> int:
    sql = f"INSERT INTO events ({', '.join(EVENT)}) VALUES %s"
    return execute_many(connection, sql, rows, on_reject=report)


def upsert(connection: Any, rows: Any, report: RejectReport) -> int:
    key = ["organization_id", "time", "event_id"]
    return upsert_many(connection, "events", EVENT, rows, conflict_columns=key, on_reject=report)


LOADS = [copy, copy_staged, copy_view, insert, upsert]

FAULTS = [
    # what is wrong, the column, the SQLSTATE, the constraint
    ({"quantity": "many"}, "quantity", "22P02", None),
    ({"organization_id": "1"}, "organization_id", "22P02", None),
    ({"time": "yesterday-ish"}, "time", "22007", None),
    ({"quality_score": 12345}, "quality_score", "22003", None),
    ({"event_type": None}, "event_type", "23502", None),
    ({"quality_score": 101}, "quality_score", "23514", "events_quality_score_check"),
    ({"event_type": "party"}, "event_type", "23514", "events_event_type_check"),
    (
        {"resource_id": OTHER_ORGANIZATION},
        "organization_id, resource_id",
        "23503",
        "events_organization_id_resource_id_fkey",
    ),
    ({"metadata": '{"a":'}, "metadata", "22P02", None),
    ({"time": dt.datetime(2026, 1, 1)}, "time", None, None),
    ({"metadata": {"a": object()}}, "metadata", None, None),
    ({"event_type": "a\0"}, "event_type", None, None),
]


@pytest.mark.thorough
@pytest.mark.parametrize("count", [20, 3000])
@pytest.mark.parametrize("load", LOADS)
def test_every_fault_is_told_apart(connection: Any, ask: Asker, load: Load, count: int) -> None:
    rows = [event(number) for number in range(count)]
    faults = {place * count // len(FAULTS): fault for place, fault in enumerate(FAULTS)}
    for place, (changes, _, _, _) in faults.items():
        rows[place] = event(place, **changes)
    report = RejectReport()
    assert load(connection, iter(rows), report) == count - len(FAULTS)
    assert {
        reject.row_number - 1: (reject.column, reject.sqlstate, reject.constraint) for reject in report
    } == {place: fault[1:] for place, fault in faults.items()}
    for reject in report:
        assert reject.values == rows[reject.row_number - 1]
        assert reject.reason
        assert "_chunk" not in reject.reason
        assert "stage" not in reject.reason
    assert report.count == len(report) == len(FAULTS)
    kept = {row[0] for row in ask.rows("SELECT event_id FROM events")}
    assert kept == set(range(count)) - set(faults)


@pytest.mark.parametrize("count", [20, 3000])
@pytest.mark.parametrize("load", [copy, copy_staged, copy_view, insert])
def test_the_first_of_two_rows_with_one_key_stays(
    connection: Any, ask: Asker, load: Load, count: int
) -> None:
    rows = [event(number) for number in range(count)]
    rows.insert(count - 5, event(3, quantity=1000))
    report = RejectReport()
    assert load(connection, rows, report) == count
    (reject,) = report
    assert (reject.row_number, reject.sqlstate, reject.constraint) == (count - 4, "23505", "events_pkey")
    assert reject.column == "organization_id, time, event_id"
    assert ask.value("SELECT quantity FROM events WHERE event_id = 3") == 0.75


@pytest.mark.parametrize("count", [2, 300])
def test_a_foreign_row_is_reported(connection: Any, count: int) -> None:
    rows = [event(number) for number in range(count)] + [event(count, organization_id=OTHER_ORGANIZATION)]
    report = RejectReport()
    assert copy_view(connection, rows, report) == count
    (reject,) = report
    assert (reject.row_number, reject.sqlstate) == (count + 1, "44000")


def test_what_a_trigger_refuses_is_reported(connection: Any, ask: Asker) -> None:
    ask.run("""
        CREATE FUNCTION pg_temp.no_sevens() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.n % 7 = 0 THEN RAISE EXCEPTION 'no sevens here'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER no_sevens BEFORE INSERT ON anything FOR EACH ROW EXECUTE FUNCTION pg_temp.no_sevens();
    """)
    report = RejectReport()
    rows = [(number,) for number in range(1000)]
    assert copy_rows(connection, "anything", ["n"], rows, on_reject=report) == 857
    assert [reject.row_number - 1 for reject in report] == list(range(0, 1000, 7))
    assert {reject.reason for reject in report} == {"no sevens here"}


@pytest.mark.slow
def test_many_bad_rows_of_every_kind_at_random(connection: Any, ask: Asker) -> None:
    """More than one batch, a tenth of it bad; the expected outcome is computed row by row in Python."""
    chance = random.Random(7)
    rows, expected, keys = [], {}, set()
    for number in range(1, 45_001):
        changes: dict[str, Any] = {}
        fault = None
        if chance.random() < 0.1:
            changes, column, _, _ = FAULTS[chance.randrange(len(FAULTS))]
            fault = column
        elif chance.random() < 0.01:
            changes = {"event_id": number - 1, "time": event(number - 1)[1]}
            fault = "organization_id, time, event_id" if number - 1 in keys else None
        if fault is None:
            keys.add(changes.get("event_id", number))
        else:
            expected[number] = fault
        rows.append(event(number, **changes))
    report = RejectReport(keep=100_000)
    assert copy(connection, rows, report) == len(rows) - len(expected)
    assert {reject.row_number: reject.column for reject in report} == expected
    assert {row[0] for row in ask.rows("SELECT event_id FROM events")} == keys


def test_only_bad_rows(connection: Any, ask: Asker) -> None:
    for rows in ([("x",)] * 5000, [(object(),)] * 5000, [("1", "2")] * 5000, [None] * 5000):
        report = RejectReport(keep=10)
        assert copy_rows(connection, "anything", ["n"], rows, on_reject=report) == 0
        assert (report.count, len(report.rejects)) == (5000, 10)
        assert [reject.row_number for reject in report] == list(range(1, 11))
    assert ask.value("SELECT count(*) FROM anything") == 0


def test_rows_of_the_wrong_width_are_reported(connection: Any) -> None:
    report = RejectReport()
    rows = [(1, "a"), (2,), (3, "c", 3), "ab", {"n": 5, "words": "e"}, {"n": 6}]
    assert copy_rows(connection, "anything", ["n", "words"], rows, on_reject=report) == 2
    assert [(reject.row_number, reject.values) for reject in report] == [
        (2, (2,)),
        (3, (3, "c", 3)),
        (4, ("ab",)),
        (6, (6,)),
    ]


def test_too_many_rejects_end_the_load(connection: Any, ask: Asker) -> None:
    rows = [("x" if number % 10 == 0 else number,) for number in range(1000)]
    report = RejectReport(max_rejects=5)
    with pytest.raises(InvalidDataError, match=r"more than 5 rows .*max_rejects.* row 1, column n"):
        copy_rows(connection, "anything", ["n"], rows, on_reject=report)
    assert report.count == 6
    connection.rollback()
    assert ask.value("SELECT count(*) FROM anything") == 0


def test_a_sink_sees_every_reject_and_the_report_counts_causes(connection: Any) -> None:
    seen: list[Reject] = []
    report = RejectReport(keep=2, sink=seen.append)
    rows = [event(1), event(2, quantity="a"), event(3, quality_score=500), event(4, quantity="b")]
    assert copy(connection, rows, report) == 1
    assert [reject.row_number for reject in seen] == [2, 3, 4]
    assert report.rejects == seen[:2]
    assert report.by_cause == {("quantity", "22P02"): 2, ("quality_score", "events_quality_score_check"): 1}
    assert bool(RejectReport())


def test_what_is_not_the_fault_of_a_row_still_raises(connection: Any, ask: Asker) -> None:
    report = RejectReport()
    with pytest.raises(UndefinedObjectError):
        copy_rows(connection, "anything", ["nope"], [(1,)], on_reject=report)
    with pytest.raises(InvalidInputError):
        copy_rows(connection, "anything", ["n"], [(1,)], on_reject=[])  # type: ignore[arg-type]
    failure = RuntimeError("the source broke")

    def rows() -> Any:
        yield (1,)
        raise failure

    with pytest.raises(RuntimeError) as caught:
        copy_rows(connection, "anything", ["n"], rows(), on_reject=report)
    assert caught.value is failure
    connection.rollback()
    assert len(report) == 0


def test_any_other_statement_reports_its_rows_too(connection: Any, ask: Asker) -> None:
    copy_rows(
        connection,
        "stock",
        ["organization_id", "product_id", "quantity"],
        [(ORGANIZATION, f"P{number}", number) for number in range(100)],
    )
    report = RejectReport()
    changes = [(f"P{number}", -1 if number in (3, 77) else number * 2) for number in range(100)]
    changes[50] = ("P50", "x")
    changes[60] = ("P60", object())
    changes[61] = ("P\0", 1)
    changes[62] = ()
    sql = "UPDATE stock SET quantity = v.q::numeric FROM (VALUES %s) AS v (p, q) WHERE product_id = v.p"
    sql = sql.replace("v.q::numeric", "v.q::text::numeric")
    changes = [(p, str(q)) if isinstance(q, int) else (p, q) for p, q in (c or (None, None) for c in changes)]
    affected = execute_many(connection, sql, changes, page_size=30, on_reject=report)
    assert affected == 94
    assert [(reject.row_number, reject.sqlstate) for reject in report] == [
        (4, "23514"),
        (51, "22P02"),
        (61, None),
        (62, None),
        (78, "23514"),
    ]
