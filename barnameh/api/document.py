"""The OpenAPI document, generated from the operations; `python -m barnameh.api.document` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from uuid import UUID

from fastapi import Body, Depends, FastAPI, Header, Query, Response
from fastapi import Path as PathParameter
from fastapi.security import HTTPBearer

from barnameh.api.exports import MEDIA_TYPES
from barnameh.api.operations import ROOT, Operation, operations
from barnameh.api.problems import MEDIA_TYPE, ProblemDetails

OPENAPI = Path(__file__).with_name("openapi.json")

_ERRORS = {
    401: "Missing or invalid key",
    404: "Not found, or of another organization",
    422: "Invalid value; `invalid` names it",
    429: "Too many requests with this key; Retry-After says when to retry",
    500: "Internal error; logged under X-Request-Id",
    503: "The database or the service is temporarily unavailable; Retry-After says when to retry",
    504: "The request timed out",
}
OTHER_PATHS: tuple[str, ...] = (f"{ROOT}/stream",)
"""Paths that are not prebuilt queries."""

_KEY = HTTPBearer(scheme_name="key", description="An API key: barnameh keys create", auto_error=False)
_OF_READS = {406: "None of the accepted formats is available"}
_OF_WRITES = {
    403: "The key is read-only",
    409: "Already exists, or in another state",
    413: "The body is too large",
    415: "The body is not JSON",
}


def document() -> dict[str, Any]:
    """Return the whole document."""
    app = FastAPI(
        title="Barnameh operations API",
        version="1",
        description=(
            "Every prebuilt query and write, for one organization at a time. Exact numbers are JSON numbers, times are UTC, "
            "infinity is null. Errors are application/problem+json (RFC 9457). See docs/api.md."
        ),
    )
    for operation in operations():
        _add(app, operation)
    _add_stream(app)
    found = app.openapi()
    known: dict[str, Any] = {}
    found["components"]["responses"] = known
    for path in found["paths"].values():
        for described in path.values():
            for status, response in described["responses"].items():
                if int(status) >= 300:  # identical everywhere, so written once
                    if known.setdefault(f"Status{status}", response) != response:
                        continue
                    described["responses"][status] = {"$ref": f"#/components/responses/Status{status}"}
    found["components"]["schemas"].pop("HTTPValidationError", None)
    found["components"]["schemas"].pop("ValidationError", None)
    found["components"]["schemas"]["ProblemDetails"] = ProblemDetails.model_json_schema()
    return found


def _add(app: FastAPI, operation: Operation) -> None:
    arguments: Any = (
        Annotated[operation.arguments, Body()]
        if operation.writes
        else Annotated[operation.arguments, Query()]
    )

    def described(organization_id: Any, arguments: Any = None) -> None: ...

    described.__annotations__ = {
        "organization_id": Annotated[UUID, PathParameter(description="The organization of the key.")],
        "arguments": arguments,
    }
    described.__defaults__ = None
    if not operation.arguments.model_fields:
        described = _without_arguments(described.__annotations__["organization_id"])
    responses: dict[int | str, Any] = {
        status: {
            "description": text,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status, text in sorted({**_ERRORS, **(_OF_WRITES if operation.writes else _OF_READS)}.items())
    }
    if not operation.writes:
        responses[304] = {"description": "Unchanged since the version in If-None-Match"}
    if operation.paged:
        form = {"schema": {"type": "string", "format": "binary"}}
        responses[505] = {
            "description": "A download over HTTP/1.0",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        responses[200] = {"content": dict.fromkeys(MEDIA_TYPES.values(), form)}
    app.add_api_route(
        operation.path,
        described,
        methods=["POST" if operation.writes else "GET"],
        operation_id=operation.name,
        tags=[operation.topic.replace("_", " ")],
        summary=operation.question,
        description=operation.description,
        response_model=operation.answer,
        responses=responses,
        dependencies=[Depends(_KEY)],
    )


def _add_stream(app: FastAPI) -> None:
    def described(
        organization_id: Annotated[UUID, PathParameter(description="The organization of the key.")],
        topics: Annotated[
            str | None,
            Query(
                description="Kinds to receive, separated by commas: alert, anomaly, resource_status, forecast, plan, kpi."
            ),
        ] = None,
        last_event_id: Annotated[
            str | None,
            Header(description="`id` of the newest event received: events since then are sent first."),
        ] = None,
    ) -> None: ...

    described.__annotations__ = get_type_hints(described, include_extras=True)
    app.add_api_route(
        f"{ROOT}/stream",
        described,
        operation_id="stream",
        tags=["live"],
        summary="What changes, as it happens?",
        description=(
            "Server-Sent Events: `hello` after missed events, then an event named after its kind for each "
            "change, with `kind`, `key`, `changed_at` and `row`, its current state (null: no longer current); "
            "`gap`: some changes are no longer available, read everything again."
        ),
        response_class=Response,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            409: _problem("The organization's changes are not recorded"),
            **{status: _problem(text) for status, text in _ERRORS.items()},
        },
        dependencies=[Depends(_KEY)],
    )


def _problem(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }


def _without_arguments(path: Any) -> Any:
    def described(organization_id: Any) -> None: ...

    described.__annotations__ = {"organization_id": path}
    return described


def text_of(found: dict[str, Any]) -> str:
    """Return the document as the file has it."""
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OPENAPI.write_text(text_of(document()), encoding="utf-8")
