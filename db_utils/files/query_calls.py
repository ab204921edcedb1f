"""Calls of prebuilt queries with arguments given as text."""

from __future__ import annotations

import datetime as dt
import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from db_utils.connections.manager import DatabaseManager
from db_utils.errors import InvalidInputError, NotFoundError
from db_utils.queries import OperationalDataQueries
from db_utils.queries.catalogue import reads

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(seconds?|minutes?|hours?|days?|weeks?|[smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def call(
    db: DatabaseManager, method: str, organization: str | None, given: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Call this query and return its rows: a single row as a list of one, None as an empty list."""
    queries = OperationalDataQueries(db)
    known = [name for name in dir(OperationalDataQueries) if reads(name)]
    if method not in known:
        near = difflib.get_close_matches(method, known, n=2)
        advice = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "db-utils queries lists them (those that read: get_…)"
        )
        raise NotFoundError(f"there is no prebuilt query {method}: {advice}")
    function: Callable[..., Any] = getattr(queries, method)
    parameters = inspect.signature(function).parameters
    hints = typing.get_type_hints(getattr(OperationalDataQueries, method))
    if "organization_id" in parameters and organization is None:
        raise InvalidInputError(f"{method} needs one organization: give it with --organization")
    for name in given:
        if name not in parameters or name == "organization_id":
            takes = ", ".join(name for name in parameters if name != "organization_id")
            raise InvalidInputError(f"{method} has no parameter {name}: it takes {takes}")
    arguments: dict[str, Any] = {name: typed(name, text, hints[name]) for name, text in given.items()}
    if "organization_id" in parameters:
        arguments["organization_id"] = organization
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in arguments]
    if missing:
        raise InvalidInputError(f"{method} needs {', '.join(missing)}: --param {missing[0]}=VALUE")
    answer = function(**arguments)
    if answer is None:
        return []
    rows = answer if isinstance(answer, list) else [answer]
    if not all(isinstance(row, dict) for row in rows):
        raise InvalidInputError(f"{method} does not return rows: it cannot be exported")
    return rows


def typed(name: str, text: str, hint: Any) -> Any:
    """Convert this text to the type of the parameter's hint. Raises `InvalidInputError`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not type(None)]
        if any(_is(kind, str) for kind in kinds):
            return text
        return typed(name, text, kinds[0])
    if origin is typing.Literal:
        if text not in inner:
            raise InvalidInputError(f"--param {name}: {text!r} is not one of {', '.join(map(str, inner))}")
        return text
    if origin is not None and hint is not str:
        return [typed(name, part.strip(), inner[0]) for part in text.split(",")] if inner else text.split(",")
    return _simple(name, text, hint)


def _is(hint: Any, kind: type) -> bool:
    return isinstance(hint, type) and issubclass(hint, kind)


def _simple(name: str, text: str, hint: Any) -> Any:
    try:
        if hint in (int, float, Decimal) and "_" in text:
            raise ValueError(text)  # Python accepts 1_000, which is refused here
        if hint is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                text.lower()
            ]
        if hint is int:
            return int(text)
        if hint in (float, Decimal):
            return Decimal(text)
        if hint is dt.datetime:
            return dt.datetime.fromisoformat(text)
        if hint is dt.date:
            return dt.date.fromisoformat(text)
        if hint is dt.timedelta:
            return duration(text)
    except (ValueError, KeyError, InvalidOperation):
        kind = {
            dt.datetime: "time in ISO 8601",
            dt.date: "day in ISO 8601",
            int: "whole number",
            bool: "true or false",
        }
        raise InvalidInputError(
            f"--param {name}: {text!r} is no {kind.get(hint, 'value that it takes')}"
        ) from None
    return text


def duration(text: str) -> dt.timedelta:
    """Parse a duration such as 90 minutes, 24h or 7 days. Raises `ValueError`."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    return dt.timedelta(**{_UNITS[found[2][0]]: float(found[1])})
