"""The customer's own codes in place of identifiers: told apart, and looked up, in this one place.

Wherever a method takes a location, resource, employee or shift, what reads as a UUID is its identifier and everything else its
code (`location_code`, `resource_code`, `employee_code`, `shift_code`); a location or resource without such a code may be called by
its name, which is as unique. All codes of a call are looked up by one statement; a call with identifiers only sends none.
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
"""Arguments that are lists of such, and of which."""

Wanted = Mapping[str, Iterable[str]]
"""Codes to be looked up, by the argument that tells their kind."""


class Code(str):
    """A code that is not looked up yet, in place of an identifier."""

    __slots__ = ()


def coded_parameters(method: Callable[..., Any]) -> list[str]:
    """The parameters of this method of the prebuilt queries that take codes; not the new identifier of what it makes."""
    made = method.__name__.partition("create_")[2]
    names = list(inspect.signature(method).parameters)
    return [n for n in names if n in _LISTS or (n in CODED and CODED[n] != made)]


def takes_codes(method: Callable[..., Any]) -> Callable[..., Any]:
    """This method of the prebuilt queries, which takes codes for the identifiers of things that are there."""
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
    """Those of these arguments of a read that are codes."""
    return {name: value for name, value in arguments.items() if _has_code(name, value)}


def _has_code(name: str, value: Any) -> bool:
    if name in _LISTS:
        return isinstance(value, (list, tuple, set, frozenset)) and not all(map(is_identifier, value))
    return name in CODED and value is not None and not is_identifier(value)


def identifiers_of(db: Executor, organization_id: uuid.UUID, coded: Mapping[str, Any]) -> dict[str, Any]:
    """These arguments with identifiers in place of codes. Raises `NotFoundError`, which names the unknown ones."""
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
    """The identifiers of those codes that the organization has, by kind and code; by one statement."""
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
    """Each row by its code, then each by its name: a code goes before another thing's name."""
    for column in ("code", "name"):
        for row in rows:
            if row[column] is not None:
                yield {**row, "called": row[column]}


def unknown_codes(
    db: Executor, organization_id: uuid.UUID, unknown: Mapping[str, Sequence[str]], where: str = ""
) -> NotFoundError:
    """The refusal of codes that the organization does not have, with the nearest that it has."""
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
    """This new code in its one spelling, or None. Raises `InvalidInputError` for what would be taken for an identifier."""
    if value is None:
        return None
    code = code_of(value, name)
    if is_identifier(code):
        raise InvalidInputError(
            f"{name} is {code!r}, which reads as a UUID: give it as the id, or give another code"
        )
    return code


def new_code(value: object, name: str) -> str:
    """This new code in its one spelling. Raises `InvalidInputError`."""
    code = checked_code(value, name)
    if code is None:
        raise InvalidInputError(f"{name} is None: give a code")
    return code
