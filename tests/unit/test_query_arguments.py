"""Every method, every argument, bad values: refused before anything is sent, and the argument is named."""

from __future__ import annotations

import datetime as dt
import inspect
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from db_utils import OperationalDataQueries
from db_utils.errors import InvalidInputError
from tests.support.query_calls import READS, READS_OF_ALL, WRITES, WRITES_OF_ALL, Facts, public_methods

ONE = uuid.UUID("00000000-0000-4000-8000-000000000001")
NOON = dt.datetime(2025, 3, 4, 12, tzinfo=dt.UTC)
FACTS = Facts(ONE, ONE, ONE, ONE, "P", ONE, "welding", NOON)

NOT_IDS = ["", "not-a-uuid", "1111", 7, b"x", object(), 1.5, "11111111-1111-1111-1111-11111111111g"]
NOT_CODES = ["", "  ", b"x", object(), 1.5, True, "a\0b", "\ud800", ["a"]]
NOT_TEXTS = ["", "  ", 7, b"x", "a\0b", "\ud800", ["a"]]
NOT_TIMES = [dt.datetime(2025, 1, 1), dt.date(2025, 1, 1), "2025-01-01T00:00:00Z", 0, 1.5]
NOT_DATES = [NOON, "2025-01-01", 20250101]
NOT_NUMBERS = ["1", True, float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity"), [1], NOON]
NOT_DAYS = [0, -1, 36_501, 1.5, True, "7", Decimal(7), float("nan"), 10**30]
NOT_FLAGS = [0, 1, "yes", None]
NOT_SPANS = [5, "1 day", dt.timedelta(days=-1), dt.timedelta(days=40_000)]
NOT_WORDS = ["", "unheard of", 7]
NOT_LISTS = ["welding", 7, [""], [1], {"a": 1}]
NOT_ROWS = ["rows", 7, None, {"time": NOON}, [7], [None], [[("time", NOON)]], [{"unheard of": 1}], [{}]]
NOT_MAPPINGS = ["{}", 7, [("a", 1)], {"a": object()}, {"a": float("nan")}, {"a": ["b\0"]}]

BAD: dict[str, list[Any]] = {
    **dict.fromkeys(
        (
            "organization_id",
            "plan_id",
            "anomaly_id",
            "run_id",
            "alert_id",
        ),
        NOT_IDS,
    ),
    **dict.fromkeys(("location_id", "resource_id", "employee_id", "shift_id", "event_id"), NOT_CODES),
    **{code: [*NOT_CODES, str(ONE), ONE.hex] for code in ("location_code", "resource_code", "shift_code")},
    **dict.fromkeys(
        (
            "name",
            "full_name",
            "title",
            "industry",
            "timezone",
            "address",
            "resource_type",
            "capacity_unit",
            "unit",
            "role",
            "skill",
            "cause",
            "product_id",
            "model_name",
            "model_version",
            "algorithm",
            "objective_unit",
            "error_message",
            "alert_type",
            "message",
            "acknowledged_by",
            "resolution",
        ),
        NOT_TEXTS,
    ),
    **dict.fromkeys(
        (
            "start",
            "end",
            "as_of",
            "known_by",
            "time",
            "starts_at",
            "ends_at",
            "available_at",
            "occurred_at",
            "closed_at",
            "effective_at",
            "window_start",
            "window_end",
            "in_service_from",
        ),
        NOT_TIMES,
    ),
    **dict.fromkeys(
        ("valid_from", "first_date", "end_date", "plan_date", "hired_on_date", "first_day", "last_day"),
        NOT_DATES,
    ),
    **dict.fromkeys(("is_in_service", "is_employed", "is_hard"), NOT_FLAGS[:-1]),  # None: unchanged
    **dict.fromkeys(
        (
            "quantity",
            "scrap_quantity",
            "quality_score",
            "duration_minutes",
            "fill_quantity",
            "below_pct",
            "latitude_degrees",
            "longitude_degrees",
            "rated_capacity_per_hour",
            "planned_quantity",
            "actual_quantity",
            "objective_value",
        ),
        NOT_NUMBERS,
    ),
    "days": NOT_DAYS,
    "limit": [0, -5, 1.0, True, "10", 10**9],
    "required_employees": [-1, 1.5, True, "2"],
    "priority": [0, 6, 2.5, True, "1"],
    **dict.fromkeys(
        ("replace", "include_acknowledged", "include_inactive", "is_active", "by_series"), NOT_FLAGS
    ),
    **dict.fromkeys(("lead", "carry", "history", "delay"), NOT_SPANS),
    **dict.fromkeys(
        (
            "location_type",
            "status",
            "bucket",
            "by",
            "severity",
            "event_type",
            "outcome",
            "anomaly_type",
            "factor_type",
            "run_type",
            "on_repeat",
            "kind",
            "purpose",
            "action",
        ),
        NOT_WORDS,
    ),
    "role": ["", 7],
    "reason": [7, b"x", "a\0b", "\ud800"],
    **dict.fromkeys(("note", "fingerprint", "decision", "decided_by"), NOT_TEXTS),
    **dict.fromkeys(
        (
            "hours_per_week",
            "max_hours_per_week",
            "min_rest_hours",
            "rate_per_hour",
            "setup_minutes",
            "weight",
        ),
        NOT_NUMBERS,
    ),
    "max_consecutive_days": [0, -1, 1.5, True, "2"],
    "may_work_at": [[""], [1.5], "x", 7],
    "employee_code": ["", "  ", b"x", 1.5, "a\0b", "\ud800", ["a"]],
    "items": [7, [7], [{"unheard of": 1}]],
    "horizon": [0, 1001, 1.5, True, "2"],
    **dict.fromkeys(("metadata", "settings", "parameters", "config"), NOT_MAPPINGS),
    **dict.fromkeys(("skills", "required_skills", "factor_names", "products"), NOT_LISTS),
    **dict.fromkeys(
        ("events", "demand", "metrics", "attendance", "forecasts", "anomalies", "factors", "backtests"),
        NOT_ROWS,
    ),
    "result": [None, object(), {"a": float("nan")}, {"a": object()}],
}


class NoDatabase:
    """Fails on any statement."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise AssertionError(f"{name} was called")

        return fail


def good_calls() -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """A well-formed call of every method, with as many arguments as possible at once."""
    for name, calls in READS.items():
        for positional, keywords in calls(FACTS):
            yield name, (ONE, *positional), keywords
    for name, (positional, keywords) in WRITES.items():
        yield name, (ONE, *positional), keywords
    for name, (positional, keywords) in WRITES_OF_ALL.items():
        yield name, positional, keywords
    yield "get_organizations", (), {"industry": "toys"}


def cases() -> list[tuple[str, str, dict[str, Any]]]:
    """A valid call of every method for each of its arguments."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, positional, keywords in good_calls():
        arguments = list(inspect.signature(getattr(OperationalDataQueries, name)).parameters)[1:]
        base = {**dict(zip(arguments, positional, strict=False)), **keywords}
        for argument in arguments:
            call = {other: value for other, value in base.items() if not _excludes(argument, other)}
            if argument == "end":
                call["start"] = NOON - dt.timedelta(days=1)
            if argument == "end_date":
                call["first_date"] = dt.date(2024, 1, 1)
            found[name, argument] = call
    return [(name, argument, call) for (name, argument), call in found.items()]


def _excludes(argument: str, other: str) -> bool:
    """Whether this argument excludes the other."""
    edges = ("start", "end", "first_date", "end_date")
    return other in edges if argument == "days" else argument in edges and other == "days"


CASES = cases()


def test_every_method_has_a_good_call() -> None:
    assert {name for name, _, _ in good_calls()} == set(public_methods())
    assert set(READS) | READS_OF_ALL | set(WRITES) | set(WRITES_OF_ALL) == set(public_methods())


@pytest.mark.parametrize(("name", "argument", "call"), CASES, ids=[f"{n}-{a}" for n, a, _ in CASES])
def test_bad_input_is_refused_before_anything_is_sent(name: str, argument: str, call: dict[str, Any]) -> None:
    method = getattr(OperationalDataQueries(NoDatabase()), name)  # type: ignore[arg-type]
    is_its_own = name == f"create_{argument.removesuffix('_id')}"  # of a new row: not an existing code
    whose = inspect.signature(method).parameters.get("organization_id")
    missing = [None] if argument == "organization_id" and whose and whose.default is whose.empty else []
    for bad in (NOT_IDS if is_its_own else BAD[argument]) + missing:
        if name == "record_event" and bad != bad:
            continue
        with pytest.raises(InvalidInputError) as refused:
            method(**{**call, argument: bad})
        assert argument in str(refused.value)
        assert "\0" not in str(refused.value)


@pytest.mark.parametrize("name", sorted(public_methods()))
def test_after_the_subject_arguments_have_names(name: str) -> None:
    parameters = list(inspect.signature(getattr(OperationalDataQueries, name)).parameters.values())[1:]
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    if positional[1:] == ["model_name", "model_version"]:
        return  # both identify the model
    assert len(positional) <= 2
    assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters)
    if len(positional) == 2:
        assert positional[0] == "organization_id"


PERIODS = [
    name for name in READS if "days" in inspect.signature(getattr(OperationalDataQueries, name)).parameters
]


@pytest.mark.parametrize("name", PERIODS)
def test_a_period_is_days_or_start_and_end(name: str) -> None:
    method = getattr(OperationalDataQueries(NoDatabase()), name)
    parameters = inspect.signature(method).parameters
    given: dict[str, Any] = {
        k: "P"
        for k in ("product_id",)
        if k in parameters and parameters[k].default is inspect.Parameter.empty
    }
    if "start" in parameters:
        for wrong in (
            {"days": 3, "start": NOON},
            {"days": 3, "end": NOON},
            {"end": NOON},
            {"start": NOON, "end": NOON},
            {"start": NOON, "end": NOON - dt.timedelta(seconds=1)},
        ):
            with pytest.raises(InvalidInputError, match=r"days|start|end"):
                method(ONE, **given, **wrong)
    elif "first_date" in parameters:
        day = NOON.date()
        for wrong in (
            {"days": 3, "first_date": day},
            {"days": 3, "end_date": day},
            {"end_date": day},
            {"first_date": day, "end_date": day},
        ):
            with pytest.raises(InvalidInputError, match=r"days|_date"):
                method(ONE, **given, **wrong)
    else:
        pytest.fail(f"{name} has no period")


def test_a_trend_is_of_so_many_buckets_and_of_who_can_be_told_apart() -> None:
    queries = OperationalDataQueries(NoDatabase())  # type: ignore[arg-type]
    for wrong, said in (
        ({"days": 367}, "days"),
        ({"bucket": "hour", "days": 42}, "1,000 buckets"),
        ({"start": NOON - dt.timedelta(days=1001), "end": NOON}, "1,000 buckets"),
        ({"location_id": ONE}, "by='location'"),
        ({"by": "location", "resource_id": ONE}, "by='resource'"),
        ({"by": "shift"}, "organization, location, resource"),
        ({"bucket": "year"}, "hour, day, week, month"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            queries.get_kpi_trend(ONE, **wrong)  # type: ignore[arg-type]


def test_a_confirmed_anomaly_needs_the_time_at_which_it_happened() -> None:
    queries = OperationalDataQueries(NoDatabase())  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="occurred_at is missing"):
        queries.close_anomaly_prediction(ONE, ONE, outcome="confirmed")
    with pytest.raises(InvalidInputError, match="occurred_at is given"):
        queries.close_anomaly_prediction(ONE, ONE, outcome="false_alarm", occurred_at=NOON)


def test_a_shift_ends_after_it_starts_and_within_a_day() -> None:
    queries = OperationalDataQueries(NoDatabase())  # type: ignore[arg-type]
    for hours in (0, -1, 25.01):
        with pytest.raises(InvalidInputError, match="ends_at"):
            queries.create_shift(
                ONE, "Late", location_id=ONE, starts_at=NOON, ends_at=NOON + dt.timedelta(hours=hours)
            )


@pytest.mark.parametrize("name", ["get_demand_series", "get_demand_training_frame"])
@pytest.mark.parametrize(
    ("bucket", "length", "count"),
    [
        ("quarter_hour", dt.timedelta(minutes=15), 1_000_000),
        ("half_hour", dt.timedelta(minutes=30), 1_000_000),
        ("hour", dt.timedelta(hours=1), 1_000_000),
        ("day", dt.timedelta(days=1), 100_000),
        ("week", dt.timedelta(weeks=1), 100_000),
    ],
)
def test_a_period_makes_at_most_so_many_buckets(
    name: str, bucket: str, length: dt.timedelta, count: int
) -> None:
    method = getattr(OperationalDataQueries(NoDatabase()), name)
    start = dt.datetime(1, 1, 2, tzinfo=dt.UTC)
    most = start + count * length
    with pytest.raises(AssertionError, match="was called"):
        method(ONE, "P", bucket=bucket, start=start, end=most)
    for end in (
        most + length,
        dt.datetime(9999, 12, 30, tzinfo=dt.UTC),
        None if most.year < 2000 else most + length,
    ):
        with pytest.raises(InvalidInputError, match=rf"^start to end makes [\d,]+ buckets .* {count:,} "):
            method(ONE, "P", bucket=bucket, start=start, end=end)


def test_days_make_at_most_a_million_buckets() -> None:
    queries = OperationalDataQueries(NoDatabase())  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"^days=10417 makes 1,000,032 buckets at each location"):
        queries.get_demand_series(ONE, "P", bucket="quarter_hour", days=10_417)
    with pytest.raises(AssertionError, match="was called"):
        queries.get_demand_series(ONE, "P", bucket="quarter_hour", days=10_416)
