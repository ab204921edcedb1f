"""Errors as in RFC 9457: `application/problem+json`, one type for each kind, never with SQL or host names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from db_utils import DbUtilsError, errors
from db_utils.catalogue import DifferentValuesError, UnknownReferenceError, WrongStateError

MEDIA_TYPE = "application/problem+json"
TYPES = "https://barnameh.invalid/problems/"
"""Types are names, not pages: this host cannot exist (RFC 6761), and docs/api.md lists them."""


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Kind of problem; docs/api.md lists them.")
    title: str = Field(description="The kind, for people.")
    status: int = Field(description="Status of the answer.")
    detail: str = Field(description="What to change.")
    sqlstate: str | None = Field(default=None, description="The database's error code, if it refused.")


@dataclass
class Problem(Exception):  # noqa: N818 - named as RFC 9457 does
    """An error response; may be raised anywhere in a request."""

    status: int
    kind: str
    title: str
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """Return the answer."""
        document = {
            "type": TYPES + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        return Response(
            msgspec.json.encode(document),
            self.status,
            {"cache-control": "no-store", **self.headers},
            media_type=MEDIA_TYPE,
        )


_RETRY = {"retry-after": "1"}

# The first match counts. A detail of None is the error's own message, which names an argument or a rule; the
# other messages would name hosts or settings of the service.
_KINDS: tuple[tuple[type[DbUtilsError], int, str, str, str | None], ...] = (
    (errors.InvalidInputError, 422, "invalid-input", "Invalid value", None),
    (UnknownReferenceError, 422, "unknown-reference", "A row refers to something that does not exist", None),
    (errors.NotFoundError, 404, "not-found", "Not found", None),
    (WrongStateError, 409, "wrong-state", "Not possible in its current state", None),
    (DifferentValuesError, 409, "different-values", "Already recorded with other values", None),
    (errors.UniqueViolationError, 409, "exists-already", "Already exists", None),
    (errors.ExclusionViolationError, 409, "overlap", "Overlaps an existing one", None),
    (errors.ForeignKeyViolationError, 409, "still-referenced", "Still referenced", None),
    (errors.ConstraintViolationError, 422, "rule-broken", "A value violates a constraint of its table", None),
    (errors.InvalidDataError, 422, "invalid-data", "Invalid data", None),
    (errors.PermissionDeniedError, 403, "not-allowed", "Not allowed", "The key does not permit this."),
    (errors.SerializationError, 503, "try-again", "Conflict with another write",
     "Nothing was written: send the request again."),
    (errors.QueryTimeoutError, 504, "took-too-long", "The request timed out",
     "Request a shorter period or fewer items."),
    (errors.QueryCancelledError, 503, "cancelled", "The request was cancelled", "Send it again."),
    (errors.PoolTimeoutError, 503, "busy", "The service is busy", "All connections are in use: send it again."),
    (errors.ResourceExhaustedError, 503, "database-full", "The database is out of resources",
     "The operator has to free some."),
    (errors.ReadOnlyError, 503, "read-only", "The database is temporarily read-only", "Send it again later."),
    (errors.ServerUnavailableError, 503, "database-unavailable", "The database does not answer", "Send it again."),
    (errors.ConnectionFailedError, 503, "database-unavailable", "The database does not answer", "Send it again."),
    (errors.PoolClosedError, 503, "ending", "The service is shutting down",
     "Send it again: another one takes over."),
    (errors.UndefinedObjectError, 503, "schema-differs", "The database's schema does not match this service",
     "The operator has to apply the schema."),
    (errors.SchemaError, 503, "schema-differs", "The database's schema does not match this service",
     "The operator has to apply the schema."),
)  # fmt: skip
TYPED = tuple(kind for kind, *_ in _KINDS)


def problem_of(error: DbUtilsError) -> Problem:
    """Convert an error of `db_utils` to a problem."""
    members = {"sqlstate": error.sqlstate} if error.sqlstate else {}
    for kind, status, name, title, detail in _KINDS:
        if isinstance(error, kind):
            headers = _RETRY if status == 503 else {}
            return Problem(status, name, title, str(error) if detail is None else detail, members, headers)
    return internal(members)


def problem_of_http(error: HTTPException) -> Problem:
    """Return the response to an unknown path or method."""
    kinds = {404: ("not-found", "Not found"), 405: ("wrong-method", "Method not allowed")}
    kind, title = kinds.get(error.status_code, ("refused", "The request was refused"))
    detail = str(error.detail)
    if error.status_code == 404:
        detail = "There is no such path: /v1/catalogue lists them."
    return Problem(error.status_code, kind, title, detail, headers=error.headers or {})


def internal(members: Mapping[str, Any] = {}) -> Problem:
    """Return the response to an internal error."""
    return Problem(
        500, "internal", "The service failed", "It is in the service's log, under this request's id.", members
    )


def invalid(error: ValidationError, where: str) -> Problem:
    """Return the response to parameters or a body that pydantic rejected; names the first ten."""
    parts = [
        {"name": ".".join(map(str, found["loc"])) or where, "problem": found["msg"]}
        for found in error.errors(include_url=False, include_context=False, include_input=False)[:10]
    ]
    first = parts[0]
    return Problem(
        422,
        "invalid-input",
        "Invalid value",
        f"{where}: {first['name']}: {first['problem']}",
        {"invalid": parts},
    )
