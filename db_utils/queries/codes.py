"""Look up the customer's codes given in place of identifiers.

Wherever a method takes a location, resource, employee or shift, a UUID is its identifier and any other text
is its code (`location_code`, `resource_code`, `employee_code`, `shift_code`); for locations and resources the
name, which is unique too, works as well. All codes of a call are looked up in one statement; a call with
identifiers only sends none.
"""

from __future__ import annotations

import difflib
import inspect
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

from db_utils.connections.executor import Executor
from db_utils.errors import InvalidInputError, NotFoundError
from db_utils.queries.loader import query
from db_utils.text_keys import CODED, code_of, is_identifier, text_key, unknown_code
from db_utils.values import Row

_LISTS: Mapping[str, str] = {"may_work_at": "location_id"}
"""Arguments that are lists of these, with their kind."""

Wanted = Mapping[str, Iterable[str]]
"""Codes to look up, by the argument that determines their kind."""


class Code(str):
    """A code that has not been looked up yet, in place of an identifier."""

    __slots__ = ()


def coded_parameters(method: Callable[..., Any]) -> list[str]:
    """Return the parameters of this query method that take codes, but not new identifiers."""
    made = method.__name__.partition("create_")[2]
    names = list(inspect.signature(method).parameters)
    return [n for n in names if n in _LISTS or (n in CODED and CODED[n] != made)]


def takes_codes(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make this query method accept codes in place of existing identifiers."""
    order = list(inspect.signature(method).parameters)[1:]
    names = coded_parameters(method)
    if not names:
        return method

    @wraps(method)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(order, args, strict=False)), **kwargs}
        coded = {name: given[name] for name in names if _has_code(name, given.get(name))}
        if not coded or len(args) > len(order) or "organization_id" not in given:
            return method(self, *args, **kwargs)
        return method(self, **{**given, **self.identifiers_of(given["organization_id"], coded)})

    return called


def coded_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments of a read that are codes."""
    return {name: value for name, value in arguments.items() if _has_code(name, value)}


def _has_code(name: str, value: Any) -> bool:
    if name in _LISTS:
        return isinstance(value, (list, tuple, set, frozenset)) and not all(map(is_identifier, value))
    return name in CODED and value is not None and not is_identifier(value)


def identifiers_of(db: Executor, organization_id: uuid.UUID, coded: Mapping[str, Any]) -> dict[str, Any]:
    """Return these arguments with codes replaced. Raises `NotFoundError` that names unknown codes."""
    texts: dict[str, Any] = {}
    wanted: dict[str, set[str]] = {}
    for name, value in coded.items():
        kind = _LISTS.get(name, name)
        items = list(value) if name in _LISTS else [value]
        texts[name] = [item if is_identifier(item) else Code(code_of(item, name)) for item in items]
        wanted.setdefault(kind, set()).update(item for item in texts[name] if isinstance(item, Code))
    found = look_up(db, organization_id, wanted)
    unknown = {
        name: [item for item in items if isinstance(item, Code) and item not in found[_LISTS.get(name, name)]]
        for name, items in texts.items()
    }
    if any(unknown.values()):
        raise unknown_codes(db, organization_id, {name: codes for name, codes in unknown.items() if codes})
    resolved: dict[str, Any] = {}
    for name, items in texts.items():
        known = found[_LISTS.get(name, name)]
        ids = [known[item] if isinstance(item, Code) else item for item in items]
        resolved[name] = ids if name in _LISTS else ids[0]
    return resolved


def look_up(db: Executor, organization_id: uuid.UUID, wanted: Wanted) -> dict[str, dict[str, uuid.UUID]]:
    """Return the identifiers of the codes that the organization has, by kind and code, in one statement."""
    asked = {kind: set(codes) for kind, codes in wanted.items()}
    parameters: dict[str, Any] = {"organization_id": organization_id}
    for kind, thing in CODED.items():
        codes = asked.get(kind, ())
        parameters[f"{thing}_codes"] = sorted({*codes, *map(text_key, codes)})
    found: dict[str, dict[str, uuid.UUID]] = {kind: {} for kind in asked}
    for row in _called(db.execute_query(query("find_codes").sql, parameters, primary=True)):
        if row["kind"] in found:
            found[row["kind"]].setdefault(row["called"], row["identifier"])
    for kind, codes in asked.items():
        known = found[kind]
        known.update(
            {code: known[text_key(code)] for code in codes if code not in known and text_key(code) in known}
        )
    return found


def _called(rows: Sequence[Row]) -> Iterable[Row]:
    """Index the rows by code, then by name: a code takes precedence over another row's name."""
    for column in ("code", "name"):
        for row in rows:
            if row[column] is not None:
                yield {**row, "called": row[column]}


def unknown_codes(
    db: Executor, organization_id: uuid.UUID, unknown: Mapping[str, Sequence[str]], where: str = ""
) -> NotFoundError:
    """Return the error for unknown codes, with the closest known ones."""
    said = []
    for name, codes in unknown.items():
        kind = _LISTS.get(name, name)
        rows = db.execute_query(
            query("find_codes_like").sql, {"organization_id": organization_id, "kind": kind}, primary=True
        )
        near = difflib.get_close_matches(codes[0], sorted({row["called"] for row in rows}), n=2)
        advice = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
        said.append(unknown_code(name, kind, codes, advice))
    return NotFoundError(f"{where}{'; '.join(said)}")


def checked_code(value: object, name: str) -> str | None:
    """Return this new code normalized, or None. Raises `InvalidInputError` for what reads as a UUID."""
    if value is None:
        return None
    code = code_of(value, name)
    if is_identifier(code):
        raise InvalidInputError(
            f"{name} is {code!r}, which reads as a UUID: give it as the id, or give another code"
        )
    return code


def new_code(value: object, name: str) -> str:
    """Return this new code normalized. Raises `InvalidInputError`."""
    code = checked_code(value, name)
    if code is None:
        raise InvalidInputError(f"{name} is None: give a code")
    return code
