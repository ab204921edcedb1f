"""The OpenAPI document, made from the operations: `python -m barnameh.api.document` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, Depends, FastAPI, Query
from fastapi import Path as PathParameter
from fastapi.security import HTTPBearer

from barnameh.api.exports import MEDIA_TYPES
from barnameh.api.operations import Operation, operations
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
OTHER_PATHS: tuple[str, ...] = ()
"""Paths that are no prebuilt query."""

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
    found = app.openapi()
    known = found["components"]["responses"] = {}
    for path in found["paths"].values():
        for described in path.values():
            for status, response in described["responses"].items():
                if int(status) >= 300:  # the same everywhere: written once
                    known[f"Status{status}"] = response
                    described["responses"][status] = {"$ref": f"#/components/responses/Status{status}"}
    found["components"]["schemas"].pop("HTTPValidationError", None)
    found["components"]["schemas"].pop("ValidationError", None)
    found["components"]["schemas"]["ProblemDetails"] = ProblemDetails.model_json_schema()
    return found


def _add(app: FastAPI, operation: Operation) -> None:
    security = HTTPBearer(scheme_name="key", description="An API key: barnameh keys create", auto_error=False)
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
        dependencies=[Depends(security)],
    )


def _without_arguments(path: Any) -> Any:
    def described(organization_id: Any) -> None: ...

    described.__annotations__ = {"organization_id": path}
    return described


def text_of(found: dict[str, Any]) -> str:
    """As the file holds it."""
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OPENAPI.write_text(text_of(document()), encoding="utf-8")
