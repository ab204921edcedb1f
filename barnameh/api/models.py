"""Pydantic models out of the catalogue: what an endpoint takes, and what it answers."""

from __future__ import annotations

import datetime as dt
import inspect
import json
import typing
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from db_utils.catalogue import CODED, Id, Metadata, Number, Words, coded_parameters, signature_of

Exact = Annotated[
    Decimal,
    Field(allow_inf_nan=False),
    WithJsonSchema({"type": "number", "description": "Exact; beyond 15 digits send it as a text."}),
]
"""A number as it goes in; exact numbers come out as numbers too."""

Coded = Annotated[
    str, Field(min_length=1, max_length=1000, description="The id (a UUID), or the organization's own code.")
]
"""What names a location, resource, employee or shift that is there."""

MOST_ROWS = 10_000
"""Rows that one write takes."""

_strict = ConfigDict(extra="forbid")

# An instant without end is null in JSON: what is so since ever, or until further notice.
_COLUMN_TYPES: Mapping[str, Any] = {
    "uuid": UUID,
    "text": str,
    "text[]": list[str],
    "uuid[]": list[UUID],
    "numeric": Annotated[Decimal, WithJsonSchema({"type": "number"})],
    "double precision": float,
    "bigint": int,
    "integer": int,
    "boolean": bool,
    "date": dt.date,
    "timestamp with time zone": dt.datetime,
    "timestamp without time zone": Annotated[
        str, Field(description="A time of the place's own clock, without an offset.")
    ],
    "interval": dt.timedelta,
    "timestamp with time zone[]": list[dt.datetime],
    "json": Any,
    "jsonb": Any,
}


class Prediction(BaseModel):
    """An answer of the prediction cache, and everything to know before trusting it."""

    source: Literal["cache", "database"]
    value: list[dict[str, Any]] | dict[str, Any] | None
    model_name: str
    model_version: str
    available_at: dt.datetime
    recorded_at: dt.datetime
    age_seconds: float
    freshness: str
    checked_at: dt.datetime
    rebuilding: bool


def columns() -> Mapping[str, Mapping[str, str]]:
    """Name and PostgreSQL type of each column of each answer; made by `tests.support.api_columns` and held by a test."""
    return _columns()


@cache
def _columns() -> Mapping[str, Mapping[str, str]]:
    known: Mapping[str, Mapping[str, str]] = json.loads(
        Path(__file__).with_name("columns.json").read_text(encoding="utf-8")
    )
    return known


def parameters_model(name: str, leave_out: Iterable[str] = ()) -> type[BaseModel]:
    """The arguments of a method after the organization, as they come in."""
    left_out, coded = {"organization_id", *leave_out}, coded_parameters(name)
    fields: dict[str, Any] = {}
    for parameter in signature_of(name)[0]:
        if parameter.name not in left_out:
            required = parameter.default is inspect.Parameter.empty
            default = parameter.default if not isinstance(parameter.default, tuple) else []
            taken = incoming(parameter.annotation, coded=parameter.name in coded)
            fields[parameter.name] = (taken, ... if required else default)
    return create_model(f"{_title(name)}Arguments", __config__=_strict, **fields)


def incoming(hint: Any, *, coded: bool = False) -> Any:
    """The type of an argument as pydantic is to read it; `coded`: an identifier for which a code will do."""
    if hint == Id:
        return Coded if coded else UUID
    if hint == Number:
        return Exact
    if hint == Metadata:
        return dict[str, Any]
    if hint is dt.datetime:
        return AwareDatetime
    origin = get_origin(hint)
    if origin is Annotated and isinstance(get_args(hint)[1], Words):
        known = ", ".join(get_args(hint)[1])
        return Annotated[
            str, Field(pattern="^[a-z][a-z0-9_]{0,62}$", description=f"{known}, or a word of your own.")
        ]
    if origin is Annotated:  # a text that is one of these words
        return Literal[get_args(hint)[1]]
    if origin in (Union, UnionType):
        members = get_args(hint)
        rest = tuple(member for member in members if member is not NoneType)
        whole = next((known for known in (Id, Number) if set(get_args(known)) == set(rest)), None)
        inner = incoming(whole if whole is not None else rest[0], coded=coded)
        return inner | None if len(rest) < len(members) else inner
    if (
        origin is not None
        and isinstance(origin, type)
        and issubclass(origin, Iterable)
        and origin is not dict
    ):
        (item,) = get_args(hint)[:1]
        if is_typeddict(item):
            return Annotated[list[_record(item)], Field(max_length=MOST_ROWS)]  # type: ignore[misc]
        return list[Coded if coded else item]  # type: ignore[misc]
    return hint


@cache
def _record(kind: Any) -> type[BaseModel]:
    """A row of a write, from the class that `db_utils` describes it with."""
    fields: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        required = name in kind.__required_keys__
        taken = incoming(hint, coded=name in CODED or name == "event_id")
        fields[name] = (taken, ...) if required else (taken, None)
    return create_model(kind.__name__, __config__=_strict, __doc__=inspect.getdoc(kind), **fields)


def answer_model(name: str, *, paged: bool) -> type[BaseModel]:
    """The document that an endpoint answers with: `data`, and `next` where it answers in pages."""
    returned = signature_of(name)[1]
    data: Any
    if name in columns():
        row = create_model(
            f"{_title(name)}Row",
            **{
                column: (
                    _COLUMN_TYPES[kind] if kind in ("json", "jsonb") else _COLUMN_TYPES[kind] | None,
                    ...,
                )
                for column, kind in columns()[name].items()
            },
        )  # type: ignore[call-overload]
        data = list[row] if get_origin(returned) is list else row  # type: ignore[valid-type]
    elif returned in (int, UUID):
        data = returned
    else:
        data = Prediction | None
    fields: dict[str, Any] = {"data": (data, ...)}
    if paged:
        text = "Give it as `cursor` for the next page; null: this is the last one."
        fields["next"] = (str | None, Field(description=text))
    return create_model(f"{_title(name)}Answer", **fields)


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
