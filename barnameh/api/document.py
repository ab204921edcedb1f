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
    401: "No key, or one that opens nothing",
    404: "No such thing, or one of another organization",
    422: "A value that cannot be used; `invalid` names it",
    429: "Too many requests of this key; Retry-After says when to come again",
    500: "A fault of the service; its log has it under X-Request-Id",
    503: "The database or the service is not there at the moment; Retry-After says when to come again",
    504: "It took longer than allowed",
}
OTHER_PATHS: tuple[str, ...] = (f"{ROOT}/stream",)
"""Paths that are not prebuilt queries."""

_KEY = HTTPBearer(scheme_name="key", description="An API key: barnameh keys create", auto_error=False)
_OF_READS = {406: "No form that can be had"}
_OF_WRITES = {
    403: "The key reads only",
    409: "It is there already, or in another state",
    413: "The body is too large",
    415: "The body is no JSON",
}


def document() -> dict[str, Any]:
    """The whole document."""
    app = FastAPI(
        title="Barnameh operations API",
        version="1",
        description=(
            "Every prebuilt query and write, for one organization at a time. Exact numbers are JSON numbers, times are UTC, "
            "an instant without end is null. Errors are application/problem+json (RFC 9457). See docs/api.md."
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
        responses[304] = {"description": "What If-None-Match names is still so"}
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
            Header(description="`id` of the newest event that was heard: what came since is told first."),
        ] = None,
    ) -> None: ...

    described.__annotations__ = get_type_hints(described, include_extras=True)
    app.add_api_route(
        f"{ROOT}/stream",
        described,
        operation_id="stream",
        tags=["live"],
        summary="What changes, as it changes?",
        description=(
            "Server-Sent Events: `hello` once what was missed is told, then an event named as its kind for each change, with "
            "`kind`, `key`, `changed_at` and `row`, what it is now (null: not current any more); `gap`: some changes are not "
            "there any more, read afresh."
        ),
        response_class=Response,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            409: _problem("The organization's changes are not written down"),
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
    """The document as the file has it."""
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OPENAPI.write_text(text_of(document()), encoding="utf-8")
