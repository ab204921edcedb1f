"""The prebuilt queries as data: for programs that offer all of them, such as an HTTP API."""

from __future__ import annotations

import inspect
import typing
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from db_utils.queries import (
    DifferentValuesError,
    OperationalDataQueries,
    UnknownReferenceError,
    WrongStateError,
)
from db_utils.queries.arguments import Id, Metadata, Number
from db_utils.queries.catalogue import Entry, entries, reads
from db_utils.queries.codes import coded_arguments
from db_utils.queries.codes import coded_parameters as _coded_parameters
from db_utils.queries.records import Words
from db_utils.text_keys import CODED

__all__ = [
    "CODED",
    "DifferentValuesError",
    "Entry",
    "Id",
    "Metadata",
    "Number",
    "Read",
    "UnknownReferenceError",
    "Words",
    "WrongStateError",
    "coded_arguments",
    "coded_parameters",
    "entries",
    "read_of",
    "reads",
    "signature_of",
]


@dataclass(frozen=True)
class Read:
    """The statement behind a read, without a row limit, for callers that stream or page its rows."""

    sql: str
    parameters: Mapping[str, Any]


class _Found(Exception):  # noqa: N818 - it is how the answer comes, no error
    def __init__(self, sql: str, parameters: Mapping[str, Any]) -> None:
        self.read = Read(sql, {**parameters, **({"row_limit": None} if "row_limit" in parameters else {})})


class _Recorder:
    """Takes the place of the database and records the first statement."""

    def execute_query(self, sql: str, parameters: Mapping[str, Any], **_: Any) -> NoReturn:
        """Record it."""
        raise _Found(sql, parameters)


_recorded = OperationalDataQueries(cast(Any, _Recorder()))


def read_of(name: str, organization_id: uuid.UUID, arguments: Mapping[str, Any]) -> Read:
    """Return the statement that this read sends for these arguments; nothing is sent.

    For reads whose rows come from one statement. A read that post-processes its rows
    (`get_demand_training_frame`) returns its first statement. Raises `InvalidInputError` as the read itself does.
    """
    method: Callable[..., Any] = getattr(_recorded, name)
    try:
        method(organization_id, **arguments)
    except _Found as found:
        return found.read
    raise AttributeError(f"{name} sends no statement")


def coded_parameters(name: str) -> list[str]:
    """Return the parameters of a method that accept a code in place of an identifier."""
    return _coded_parameters(getattr(OperationalDataQueries, name))


def signature_of(name: str) -> tuple[list[inspect.Parameter], Any]:
    """Return the parameters of a method, after `self`, with their types resolved, and the type of what it returns."""
    method = getattr(OperationalDataQueries, name)
    module = inspect.getmodule(method)
    assert module is not None
    hints = typing.get_type_hints(method, vars(module), include_extras=True)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return [parameter.replace(annotation=hints[parameter.name]) for parameter in parameters], hints["return"]
