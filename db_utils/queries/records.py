"""Records for bulk writes: their keys, checked here and sent as JSON.

Each class below is a `TypedDict`: any mapping with these keys is accepted. Missing required keys, unknown
keys and values of the wrong type are refused with the number of the row, before anything is written. When a
row is corrected, a missing key leaves the recorded value unchanged, and None makes it unknown. NaN, NaT and
pandas' NA mean None. A frame of pandas, polars or Arrow is accepted for a list of rows: its columns are the
keys. A location, resource, employee or shift may be given by its code instead of its id.
"""
# No `from __future__ import annotations` here: the rows are checked against the annotations at run time.

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache, partial
from itertools import islice
from math import inf, isfinite
from numbers import Real
from types import NoneType, UnionType
from typing import Annotated, Any, TypedDict, Union, get_args, get_origin, get_type_hints

from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import (
    Id,
    Metadata,
    Number,
    choice_of,
    date_of,
    metadata_of,
    number_of,
    span_of,
    text_of,
    time_of,
    whole_of,
    word_of,
)
from db_utils.queries.codes import Code
from db_utils.text_keys import CODED, code_of, is_identifier, parse_uuid, shown

PAGE_ROWS = 5_000

EVENT_TYPES = (
    "production",
    "setup",
    "maintenance",
    "breakdown",
    "idle",
    "error",
    "inspection",
    "shift_start",
    "shift_end",
    "trip",
    "arrival",
    "departure",
    "delay",
)
"""Known event types; the first five are a resource's states, which its figures use. Others may be used."""
ATTENDANCE_STATUSES = ("present", "late", "remote", "absent", "sick", "vacation")
ANOMALY_TYPES = ("bottleneck", "failure", "quality", "performance", "safety")
SEVERITIES = ("low", "medium", "high", "critical")
FACTOR_TYPES = ("weather", "holiday", "market", "calendar", "event", "other")


class Words(tuple[str, ...]):
    """Known words for keys that accept others too."""


class _Event(TypedDict):
    time: dt.datetime
    event_type: Annotated[str, Words(EVENT_TYPES)]


class EventRecord(_Event, total=False):
    """An operational event.

    `time` is when it began. `event_type` is production, setup, maintenance, breakdown or idle, the states
    that a resource's figures use; or error, inspection, shift_start, shift_end, trip, arrival, departure,
    delay, or a custom word, which no figure uses. `event_id` makes sending again safe (default: a new one): a
    UUID, or the producer's own key, from which the id is derived: UUID version 5 of `operational_events:key`
    in the namespace of the organization's id. `location_id` may be omitted with a `resource_id`: it is then
    the resource's location at that time. `duration_minutes` is 0 to 1440 (0: an event without duration;
    omitted: not known); `quantity` includes scrap and is for production only; `quality_score` is 0 to 100.
    """

    event_id: Id | None
    location_id: Id | None
    resource_id: Id | None
    employee_id: Id | None
    cause: str | None
    product_id: str | None
    quantity: Number | None
    scrap_quantity: Number | None
    quality_score: Number | None
    duration_minutes: Number | None
    metadata: Metadata | None


class _Demand(TypedDict):
    time: dt.datetime
    product_id: str
    location_id: Id
    quantity: Number


class DemandRecord(_Demand, total=False):
    """Demand of one product at one location in one bucket of time.

    `time` is the start of the bucket, `quantity` in the product's own unit, `revenue` in the organization's
    currency. `recorded_at` is when another system recorded the quantity (None: not known); by default it is
    the database's clock.
    """

    revenue: Number | None
    metadata: Metadata | None
    recorded_at: dt.datetime | None


class _Metric(TypedDict):
    time: dt.datetime
    resource_id: Id


class MetricRecord(_Metric, total=False):
    """One sample of a resource.

    `time` is the start of the time it covers: `sample_minutes` (up to 1440), or at most 60 minutes if
    omitted, and never beyond the next sample of the resource. `utilization_pct` and `efficiency_pct` are 0 to
    100; `downtime_minutes` is at most `sample_minutes`, and omitted where not known.
    """

    utilization_pct: Number | None
    efficiency_pct: Number | None
    downtime_minutes: Number | None
    sample_minutes: Number | None
    metadata: Metadata | None


class _Attendance(TypedDict):
    time: dt.datetime
    employee_id: Id
    status: Annotated[str, ATTENDANCE_STATUSES]


class AttendanceRecord(_Attendance, total=False):
    """One scheduled period of work of one employee.

    `time` is when it was due to begin; `status` is present, late, remote, absent, sick or vacation; `scheduled_hours` is
    above 0 (default 8), `hours_worked` 0 when away (else not known by default), `performance_score` 0 to 100 and only when not away.
    """

    shift_id: Id | None
    scheduled_hours: Number | None
    hours_worked: Number | None
    performance_score: Number | None
    metadata: Metadata | None


class _DemandForecast(TypedDict):
    product_id: str
    location_id: Id
    target_time: dt.datetime
    predicted_quantity: Number


class DemandForecastRecord(_DemandForecast, total=False):
    """The demand that a model expects of one product at one location in one bucket of time.

    `target_time` is the start of the bucket, `target_interval` its length (default a day: a local day of the
    location). `lower_bound` and `upper_bound` come together and hold `interval_coverage_pct` percent of the outcomes
    (default 90).
    """

    target_interval: dt.timedelta | None
    lower_bound: Number | None
    upper_bound: Number | None
    interval_coverage_pct: Number | None
    metadata: Metadata | None


class _Backtest(TypedDict):
    model_name: str
    model_version: str
    target_interval: dt.timedelta
    first_step: int
    last_step: int
    as_of: dt.datetime
    first_origin: dt.datetime
    last_origin: dt.datetime
    origin_count: int
    better_origin_count: int
    target_count: int
    naive_name: str


class BacktestRecord(_Backtest, total=False):
    """Accuracy of a model on past data, over all series or for one (`product_id` and `location_id`).

    `first_step` to `last_step` are the targets counted from the origin, `as_of` is when all inputs were
    known. `wape_pct` (100 * sum of |actual - predicted| / sum of actual), `mase` and `pinball` (of the 5, 50
    and 95 % quantiles) scaled by the error of last season's value; `interval_coverage_pct` is the share of
    outcomes within the 90 % interval; `skill_pct` compares with the better naive forecast, whose figures are
    the `naive_` ones.
    """

    product_id: str | None
    location_id: Id | None
    wape_pct: Number | None
    mase: Number | None
    pinball: Number | None
    interval_coverage_pct: Number | None
    naive_wape_pct: Number | None
    naive_pinball: Number | None
    skill_pct: Number | None
    reason: str | None


class _Anomaly(TypedDict):
    resource_id: Id
    anomaly_type: Annotated[str, ANOMALY_TYPES]
    severity: Annotated[str, SEVERITIES]
    probability: Number
    predicted_for: dt.datetime


class AnomalyRecord(_Anomaly, total=False):
    """An anomaly that a model expects of one resource.

    `anomaly_type` is bottleneck, failure, quality, performance or safety, `severity` low, medium, high or
    critical, `probability` 0 to 1. Without `anomaly_id` it is derived from resource, type, `predicted_for`
    and the run, so that saving a run twice stores it once.
    """

    anomaly_id: Id | None
    description: str | None
    metadata: Metadata | None


class _AbsenceForecast(TypedDict):
    target_date: dt.date


class AbsenceForecastRecord(_AbsenceForecast, total=False):
    """Either `employee_id` with `absence_probability` (0 to 1), or `location_id` with `expected_absences`.

    `target_date` is the local day.
    """

    employee_id: Id | None
    absence_probability: Number | None
    location_id: Id | None
    expected_absences: Number | None
    metadata: Metadata | None


class _Factor(TypedDict):
    time: dt.datetime
    factor_type: Annotated[str, FACTOR_TYPES]
    name: str
    value: Number
    unit: str
    available_at: dt.datetime


class FactorRecord(_Factor, total=False):
    """One reading of an external factor.

    `time` is the time it is about and `available_at` when it became known, so a weather forecast and the
    weather are two readings of one `name`. `factor_type` is weather, holiday, market, calendar, event or
    other; without `location_id` it applies to the whole organization.
    """

    location_id: Id | None
    metadata: Metadata | None


Encode = Callable[[Any, str], Any]
"""Checks a value and converts it to JSON without loss: numbers and times become texts."""


def _time(value: Any, name: str) -> str:
    if type(value) is dt.datetime and value.tzinfo is dt.UTC:
        return value.isoformat()
    return time_of(value, name).isoformat()


def _date(value: Any, name: str) -> str:
    return date_of(value, name).isoformat()


def _span(value: Any, name: str) -> str:
    span = span_of(value, name)
    return f"{span.days} days {span.seconds}.{span.microseconds:06d} seconds"


@lru_cache(maxsize=8192)
def _known_uuid(value: uuid.UUID | str) -> str | None:
    try:
        return str(parse_uuid(value, ""))
    except InvalidInputError:
        return None


@lru_cache(maxsize=8192)
def _known_code(value: str) -> Code:
    return Code(code_of(value, ""))


_SPELLED_AS_STORED = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _uuid(value: Any, name: str) -> str:
    if type(value) is str and _SPELLED_AS_STORED.fullmatch(value):
        return value
    try:
        known = _known_uuid(value) if type(value) is not str or is_identifier(value) else None
    except TypeError:  # not hashable
        known = None
    if known is not None:
        return known
    if name not in CODED and name != "event_id":
        return str(parse_uuid(value, name))
    try:
        return _known_code(value) if type(value) is str else Code(code_of(value, name))
    except InvalidInputError:
        return Code(code_of(value, name))


_PERCENT = (0, 100, "0 to 100")
_NOT_NEGATIVE = (0, inf, "0 or more")
_RANGES: Mapping[str, tuple[float, float, str]] = {
    "duration_minutes": (0, 1440, "0 to 1440, one day: split what lasted longer into days"),
    "quality_score": _PERCENT,
    "utilization_pct": _PERCENT,
    "efficiency_pct": _PERCENT,
    "performance_score": _PERCENT,
    "interval_coverage_pct": _PERCENT,
    "downtime_minutes": (0, 1440, "0 to 1440"),
    "quantity": _NOT_NEGATIVE,
    "scrap_quantity": _NOT_NEGATIVE,
    "probability": (0, 1, "0 to 1"),
    "absence_probability": (0, 1, "0 to 1"),
}
"""Limits of the tables' constraints, to name the row in errors: minimum, maximum, and the text."""


def _number(value: Any, name: str) -> str:
    kind = type(value)
    if kind is not int and not (kind is float and isfinite(value)):
        value = number_of(value, name)
    if name in _RANGES:
        least, most, said = _RANGES[name]
        if not least <= value <= most:
            raise InvalidInputError(f"{name} is {shown(value)}: give {said}")
    return repr(value) if kind is float else str(value)


_ENCODERS: tuple[tuple[Any, Encode], ...] = (
    (dt.datetime, _time),
    (dt.date, _date),
    (dt.timedelta, _span),
    (str, text_of),
    (int, partial(whole_of, least=0, most=2**31 - 1)),
    (Id, _uuid),
    (Number, _number),
    (Metadata, metadata_of),
)


@lru_cache(maxsize=32)
def _encoders_of(kind: type) -> tuple[Mapping[str, Encode], frozenset[str]]:
    """Return the encoder of each key of this record, and its required keys."""
    encoders = {name: _encoder_of(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
    return encoders, frozenset(kind.__required_keys__)  # type: ignore[attr-defined]


def _encoder_of(hint: Any) -> Encode:
    if get_origin(hint) is Annotated:
        words = hint.__metadata__[0]
        return (
            partial(word_of, known=words) if isinstance(words, Words) else partial(choice_of, choices=words)
        )
    members = set(get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)) - {NoneType}
    for known, encode in _ENCODERS:
        if members == set(get_args(known) if get_origin(known) in (Union, UnionType) else (known,)):
            return encode
    raise TypeError(f"no encoder is known for {hint}")


def encoded_rows(kind: type, rows: object, name: str, *, with_none: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the rows one by one, checked and converted to JSON types.

    `rows` are mappings, or a frame. None is omitted, or stays as null with `with_none`, if None differs from
    a missing key. Equal values are written in one way only, so that rows can be compared: times in UTC,
    identifiers in lowercase.
    """
    mappings = _mappings(rows)
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(mappings, Iterable):
        raise InvalidInputError(f"{name} is {type(rows).__name__}: give a list of dicts, or a frame")
    encoders, required = _encoders_of(kind)
    number = 1
    for chunk in pages(mappings):
        checked = _by_column(chunk, encoders, required, with_none=with_none)
        yield from checked or _by_row(chunk, encoders, required, name, number, with_none=with_none)
        number += len(chunk)


def _by_column(
    rows: Sequence[Any], encoders: Mapping[str, Encode], required: frozenset[str], *, with_none: bool
) -> list[dict[str, Any]] | None:
    """Encode the rows by column, each distinct value once; faster than row by row.

    Returns None if a row is invalid or has other keys: `_by_row` then reports which.
    """
    names = list(rows[0]) if type(rows[0]) is dict else []
    keys = set(names)
    if not required <= keys <= encoders.keys() or any(
        type(row) is not dict or row.keys() != keys for row in rows
    ):
        return None
    columns = []
    try:
        for name in names:
            encode, column = encoders[name], [row[name] for row in rows]
            kinds = set(map(type, column))
            if encode is _time and kinds == {dt.datetime} and {value.tzinfo for value in column} == {dt.UTC}:
                columns.append([value.isoformat() for value in column])
                continue
            # Of one type, because 1 equals True; and no times, because two in a repeated hour may be equal.
            kinds.discard(NoneType)
            distinct = set(column) if len(kinds) == 1 and kinds < _LOOKED_UP else column
            if isinstance(distinct, set) and 2 * len(distinct) < len(column):
                known = {value: None if _is_missing(value) else encode(value, name) for value in distinct}
                columns.append([known[value] for value in column])
            else:
                columns.append([None if _is_missing(value) else encode(value, name) for value in column])
            if name in required and None in columns[-1]:
                return None
    except InvalidInputError:
        return None
    encoded = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    if with_none or not any(None in column for column in columns):
        return encoded
    return [{name: value for name, value in row.items() if value is not None} for row in encoded]


def _by_row(
    rows: Sequence[Any],
    encoders: Mapping[str, Encode],
    required: frozenset[str],
    name: str,
    first_number: int,
    *,
    with_none: bool,
) -> Iterator[dict[str, Any]]:
    """Encode the rows one by one. Raises `InvalidInputError` that names row, key and accepted values."""
    for number, row in enumerate(rows, start=first_number):
        if not isinstance(row, Mapping):
            raise InvalidInputError(f"{name}: row {number} is {type(row).__name__}: give a dict")
        try:
            encoded: dict[str, Any] = {}
            for key, value in row.items():
                encode = encoders[key]
                if not _is_missing(value):
                    encoded[key] = encode(value, key)
                elif with_none:
                    encoded[key] = None
        except KeyError:
            unknown = next(key for key in row if key not in encoders)
            raise InvalidInputError(
                f"{name}: row {number} has a key {unknown!r}: the keys are {', '.join(sorted(encoders))}"
            ) from None
        except InvalidInputError as error:
            raise InvalidInputError(f"{name}: row {number}: {error}") from None
        lacking = [key for key in required if encoded.get(key) is None]
        if lacking:
            raise InvalidInputError(f"{name}: row {number} lacks {', '.join(sorted(lacking))}")
        yield encoded


def _mappings(rows: object) -> object:
    """Return the rows of a frame one by one as dicts; anything else unchanged."""
    frame: Any = rows
    if hasattr(frame, "iter_rows"):  # polars
        found: object = frame.iter_rows(named=True)
        return found
    if hasattr(frame, "to_batches"):  # Arrow
        return (row for batch in frame.to_batches() for row in batch.to_pylist())
    if hasattr(
        frame, "itertuples"
    ):  # pandas, whose named levels of the index are columns too, as in write_frame
        frame = frame.reset_index() if any(level is not None for level in frame.index.names) else frame
        return _rows_of_pandas(frame)
    return rows


def _rows_of_pandas(frame: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a pandas frame; instants as datetimes in UTC, converted by column."""
    names = list(frame.columns)
    for first in range(0, len(frame), PAGE_ROWS):
        columns = []
        for place in range(len(names)):
            column = frame.iloc[first : first + PAGE_ROWS, place]
            instants = getattr(column.dtype, "tz", None) is not None
            values = (
                column.dt.tz_convert("UTC").array.to_pydatetime()
                if instants
                else column.to_numpy(dtype=object)
            )
            columns.append(values.tolist())
        yield from (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


_LOOKED_UP = frozenset((str, int, float, uuid.UUID))
_NEVER_MISSING = frozenset((str, int, bool, dt.datetime, dt.date, uuid.UUID, dict))


def _is_missing(value: Any) -> bool:
    """Whether this value means "not known"."""
    kind = type(value)
    if kind in _NEVER_MISSING:
        return False
    if value is None or kind.__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (Real, Decimal)) and bool(value != value)


def pages(rows: Iterable[dict[str, Any]], page_rows: int = PAGE_ROWS) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows in lists of at most `page_rows`, in constant memory."""
    iterator = iter(rows)
    while page := list(islice(iterator, page_rows)):
        yield page


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as JSON text for jsonb_to_recordset."""
    return json.dumps(rows, separators=(",", ":"))
