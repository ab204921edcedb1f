"""The endpoints, generated from the catalogue of prebuilt queries: one path each, or a reason for none."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import get_origin

from pydantic import BaseModel, Field, create_model

from barnameh.api.models import answer_model, columns, parameters_model
from barnameh.api.pages import LEAST_ROWS, MOST_ROWS, USUAL_ROWS
from db_utils import OperationalDataQueries, catalogue

ROOT = "/v1/organizations/{organization_id}"

LEFT_OUT: Mapping[str, str] = {
    "create_organization": "a key belongs to an existing organization: the operator creates it",
    "get_or_create_organization": "a key belongs to an existing organization: the operator creates it",
    "get_organizations": "a key sees one organization: use get_organization",
}
"""Methods without a path, and why."""

_WORKED_ON = frozenset(("get_demand_training_frame",))
"""Reads whose rows do not come from a single statement: answered whole, from memory."""


@dataclass(frozen=True)
class Operation:
    """One endpoint."""

    name: str
    """The method of `OperationalDataQueries`."""
    topic: str
    path: str
    question: str
    description: str
    writes: bool
    paged: bool
    """Whether the response is a list, which is paged and can be downloaded as a stream."""
    streams: bool
    """Whether a single statement returns the rows, so that streaming them takes constant memory."""

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """Query parameters of a read, body of a write. Built on first use: all together take a second."""
        model = parameters_model(self.name, ("limit",) if self.paged else ())
        return _with_pages(model) if self.paged else model

    @property
    def answer(self) -> type[BaseModel]:
        """The response document."""
        return answer_model(self.name, paged=self.paged)

    @property
    def columns(self) -> Mapping[str, str]:
        """Name and PostgreSQL type of each column."""
        return columns()[self.name]


@cache
def operations() -> tuple[Operation, ...]:
    """Return all operations, in the catalogue's order."""
    return tuple(_operation(entry) for entry in catalogue.entries() if entry.name not in LEFT_OUT)


def _operation(entry: catalogue.Entry) -> Operation:
    method = getattr(OperationalDataQueries, entry.name)
    is_list = get_origin(catalogue.signature_of(entry.name)[1]) is list
    paged = is_list and not entry.writes
    return Operation(
        name=entry.name,
        topic=entry.topic,
        path=f"{ROOT}/{_hyphens(entry.topic)}/{_hyphens(entry.name if entry.writes else entry.name.removeprefix('get_'))}",
        question=entry.question,
        description=(inspect.getdoc(method) or "").partition("\n")[2].strip(),
        writes=entry.writes,
        paged=paged,
        streams=paged and entry.name not in _WORKED_ON,
    )


def _with_pages(arguments: type[BaseModel]) -> type[BaseModel]:
    own = {"limit", "cursor", "format"} & set(arguments.model_fields)
    assert not own, f"{arguments.__name__} already has arguments called {own}"
    return create_model(
        arguments.__name__,
        __base__=arguments,
        limit=(
            int | None,
            Field(None, ge=LEAST_ROWS, le=MOST_ROWS, description=f"Rows per page; {USUAL_ROWS} by default."),
        ),
        cursor=(
            str | None,
            Field(None, description="`next` of the previous page, with the same parameters."),
        ),
        format=(
            str | None,
            Field(
                None,
                pattern="^(json|csv|ndjson|arrow)$",
                description="Overrides the header Accept. csv, ndjson and arrow: all rows, as a stream.",
            ),
        ),
    )


def _hyphens(name: str) -> str:
    return name.replace("_", "-")
