"""On Citus: prebuilt reads that a session repeats for the same organization are planned once.

Citus plans each statement on the coordinator and again on the worker, and small reads are mostly planning. It keeps the
coordinator's plan of a prepared statement if the organization is a constant in it, not a parameter.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from db_utils.connections.checkout import Checkout

# Of a session: those used last. Each keeps about 100 kB on the server.
_MOST = 100
_numbers = itertools.count(1)


class _Form(NamedTuple):
    name: str
    types: str
    arguments: str
    text: str


reads: dict[str, _Form] = {}

# A migration changed the columns of the result, or the statement was deallocated.
OUTDATED = ("0A000", "26000")


def register(name: str, sql: str, parameters: Sequence[tuple[str, str]]) -> None:
    """Have this read prepared where it is repeated; `parameters` are names and types, with organization_id among them."""
    others = [(each, kind) for each, kind in parameters if each != "organization_id"]
    text = sql
    for number, (each, _) in enumerate(others, 1):
        text = text.replace(f"%({each})s", f"${number}")
    types = ", ".join(kind for _, kind in others)
    arguments = ", ".join(f"%({each})s" for each, _ in others)
    reads[sql] = _Form(name, f"({types})" if others else "", f"({arguments})" if others else "", text)


def repeated(checkout: Checkout, settings: str, sql: str, parameters: Any) -> str | None:
    """Return what to send instead of `settings` and a prebuilt read; None where it is sent as it is."""
    form = reads[sql]
    if not isinstance(parameters, Mapping):
        return None
    known = checkout.planned
    key = (settings, sql, str(parameters.get("organization_id")))
    seen = known.pop(key, None)
    # Once is not worth it: a session may serve thousands of organizations.
    known[key] = f"{form.name}_{next(_numbers)}" if seen == "" else seen or ""
    text = f"EXECUTE {known[key]}{form.arguments}" if known[key] else None
    if seen == "":
        text = f"PREPARE {known[key]}{form.types} AS {form.text};\n{text}"
    if len(known) > _MOST:
        oldest = known.pop(next(iter(known)))
        if oldest:
            text = f"DEALLOCATE {oldest};\n{text or sql}"
    return None if text is None else f"{settings}\n{text}"
