"""The handlers of the generated endpoints: arguments in, rows out."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, partial
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from barnameh.api import exports, pages
from barnameh.api.jsons import encode
from barnameh.api.operations import Operation
from barnameh.api.problems import Problem, invalid
from barnameh.api.service import Service
from db_utils import OperationalDataQueries, TenantScope
from db_utils.catalogue import coded_arguments, read_of

Endpoint = Callable[[Request], Awaitable[Response]]

JSON = "application/json"
_FORMS: Mapping[str, str] = {JSON: "json", "application/*": "json", "*/*": "json"} | {
    media_type: name for name, media_type in exports.MEDIA_TYPES.items()
}


def endpoint(service: Service, operation: Operation) -> Endpoint:
    """Return the handler of this operation's path."""
    return (_Write if operation.writes else _Read)(service, operation).answer


class _Read:
    def __init__(self, service: Service, operation: Operation) -> None:
        self._service, self._operation = service, operation
        self._lists: frozenset[str] | None = None

    @cached_property
    def _requires(self) -> bool:
        return any(field.is_required() for field in self._operation.arguments.model_fields.values())

    async def answer(self, request: Request) -> Response:
        service, operation = self._service, self._operation
        request.scope["note"]["endpoint"] = operation.name
        caller, headers = await service.admit(request)
        arguments = self._arguments(request)
        scope = service.scope(caller.organization_id)
        form = _form(request, arguments.pop("format", None)) if operation.paged else "json"
        limit, cursor = arguments.pop("limit", None), arguments.pop("cursor", None)
        if form != "json":
            if limit is not None or cursor is not None:
                raise Problem(
                    422,
                    "invalid-input",
                    "Invalid value",
                    f"limit and cursor apply to JSON only: {form} has all rows.",
                )
            return await self._download(request, scope, arguments, form, headers)
        with service.limits.under_way(caller.key):
            body = await service.run(self._answer, scope, arguments, limit or pages.USUAL_ROWS, cursor)
        return Answer(request, body, headers)

    def _arguments(self, request: Request) -> dict[str, Any]:
        model = self._operation.arguments
        if not request.scope["query_string"] and not self._requires:
            return {}
        if self._lists is None:
            self._lists = frozenset(name for name, field in model.model_fields.items() if _is_list(field))
        given: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name in self._lists:
                given.setdefault(name, []).append(value)
            elif name in given:
                raise Problem(
                    422, "invalid-input", "Invalid value", f"{name[:40]!r} is given more than once."
                )
            else:
                given[name] = value
        return values_of(model, partial(model.model_validate, given), "query")

    def _answer(self, scope: TenantScope, arguments: dict[str, Any], limit: int, cursor: str | None) -> bytes:
        operation = self._operation
        if not operation.paged:
            return (
                b'{"data":'
                + encode(self._service.call(scope.organization_id, operation.name, arguments))
                + b"}"
            )
        following = None
        if operation.streams:
            arguments = _identified(scope, arguments)
            rows, following = pages.page(
                scope,
                read_of(operation.name, scope.organization_id, arguments),
                operation.columns,
                limit=limit,
                cursor=cursor,
                question=partial(pages.question_of, scope.organization_id, operation.name, arguments),
            )
        elif cursor is not None:
            raise pages.bad_cursor()
        else:
            rows = self._service.call(scope.organization_id, operation.name, arguments)
        return b'{"data":' + encode(rows) + b',"next":' + encode(following) + b"}"

    async def _download(
        self,
        request: Request,
        scope: TenantScope,
        arguments: dict[str, Any],
        form: str,
        headers: dict[str, str],
    ) -> Response:
        service, operation = self._service, self._operation
        if request.scope["http_version"] == "1.0":
            # HTTP/1.0 cannot distinguish a truncated response from a complete one.
            raise Problem(
                505,
                "http-version",
                "HTTP/1.1 is needed",
                "Over HTTP/1.0 a truncated download goes unnoticed; behind nginx: proxy_http_version 1.1.",
            )
        if service.exports.available_tokens < 1:
            raise Problem(
                503,
                "busy",
                "The service is busy",
                "Too many downloads are in progress.",
                headers={"retry-after": "5"},
            )
        file = operation.path.rpartition("/")[2]
        headers = {
            **headers,
            "cache-control": "private, no-store",
            "content-disposition": f'attachment; filename="{file}.{form}"',
        }
        media_type = exports.MEDIA_TYPES[form]
        if request.method == "HEAD":
            return Response(None, 200, headers, media_type=media_type)
        produce = await service.run(self._producer, scope, arguments, form)
        body = exports.chunks(produce, service.exports)
        try:
            first = await anext(body, b"")  # earlier failures are still reported as error responses
        except BaseException:
            await body.aclose()  # type: ignore[attr-defined]
            raise

        async def whole() -> Any:
            try:
                yield first
                async for chunk in body:
                    yield chunk
            finally:
                await body.aclose()  # type: ignore[attr-defined]

        return StreamingResponse(whole(), 200, headers, media_type=media_type)

    def _producer(
        self, scope: TenantScope, arguments: dict[str, Any], form: str
    ) -> Callable[[exports.Sink], Any]:
        operation, types = self._operation, self._operation.columns
        if operation.streams:
            read = read_of(operation.name, scope.organization_id, _identified(scope, arguments))
            if form == "csv":
                return exports.write_csv(scope, read, types, self._service.settings.export_timeout_seconds)
            rows: Any = scope.stream(read.sql, read.parameters, batch_size=exports.BATCH_ROWS)
        else:
            rows = self._service.call(scope.organization_id, operation.name, arguments)
            if form == "csv":
                return exports.write_csv_rows(rows, types)
        if form == "ndjson":
            return exports.write_ndjson(rows)
        try:
            return exports.write_arrow(rows, types)
        except ImportError:
            raise Problem(
                406, "not-acceptable", "Format not available", "The service has no pyarrow: ask for csv."
            ) from None


class _Write:
    def __init__(self, service: Service, operation: Operation) -> None:
        self._service, self._operation = service, operation

    async def answer(self, request: Request) -> Response:
        service, operation = self._service, self._operation
        request.scope["note"]["endpoint"] = operation.name
        caller, headers = await service.admit(request, writes=True)
        if request.query_params:
            raise Problem(422, "invalid-input", "Invalid value", "A write takes its values in the body.")
        body = await json_body(request, service.settings.body_limit_bytes)
        with service.limits.under_way(caller.key):
            answer = await service.run(self._answer, service.scope(caller.organization_id), body)
        return Response(answer, 200, {**headers, "cache-control": "no-store"}, media_type=JSON)

    def _answer(self, scope: TenantScope, body: bytes) -> bytes:
        model = self._operation.arguments
        arguments = values_of(model, partial(model.model_validate_json, body, strict=True), "body")
        return (
            b'{"data":'
            + encode(self._service.call(scope.organization_id, self._operation.name, arguments))
            + b"}"
        )


def _identified(scope: TenantScope, arguments: dict[str, Any]) -> dict[str, Any]:
    """Replace codes in the arguments by identifiers."""
    coded = coded_arguments(arguments)
    if not coded:
        return arguments
    return {**arguments, **OperationalDataQueries(scope).identifiers_of(scope.organization_id, coded)}


def values_of(model: type[BaseModel], validate: Callable[[], BaseModel], where: str) -> dict[str, Any]:
    """Return the given parameters as values, without those not given. Raises `Problem` 422."""
    try:
        return validate().model_dump(exclude_unset=True)
    except ValidationError as error:
        raise invalid(error, where) from None


async def json_body(request: Request, limit_bytes: int) -> bytes:
    """Read the body. Raises `Problem` 415 if it is not JSON, 413 if it is too large."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise Problem(
            415,
            "unsupported-media-type",
            "Unsupported body format",
            f"Send JSON, with Content-Type: {JSON}.",
        )
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit_bytes:
            raise Problem(
                413,
                "too-large",
                "The body is too large",
                f"At most {limit_bytes:,} bytes: send it in parts.",
                headers={"connection": "close"},
            )
    return bytes(body)


class Answer(Response):
    """A body with its ETag, or 304 if the caller has it already; its headers are encoded only once."""

    _USUAL = (
        (b"content-type", JSON.encode()),
        (b"cache-control", b"private, no-cache"),
        (b"vary", b"Authorization, Accept"),
    )

    def __init__(self, request: Request, body: bytes, headers: Mapping[str, str]) -> None:
        tag = b'W/"%b"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()
        known = next((value for name, value in request.scope["headers"] if name == b"if-none-match"), None)
        has_it = known is not None and (
            known.strip() == b"*" or tag in (part.strip() for part in known.split(b","))
        )
        self.status_code, self.body, self.background = (304, b"", None) if has_it else (200, body, None)
        self.raw_headers = [
            *self._USUAL[1 if has_it else 0 :],  # no body, so no content type
            (b"etag", tag),
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()),
        ]
        if not has_it:
            self.raw_headers.append((b"content-length", b"%d" % len(body)))


def _form(request: Request, given: str | None) -> str:
    """Return the format that the caller prefers: json, csv, ndjson or arrow. Raises `Problem` 406."""
    if given is not None:
        return given
    accepted = request.headers.get("accept", "").strip()
    if accepted in ("", "*/*", JSON):
        return "json"
    best, found = 0.0, None
    for part in accepted.split(","):
        media_type, *options = (word.strip().lower() for word in part.split(";"))
        weight = next((option[2:] for option in options if option.startswith("q=")), "1")
        try:
            quality = float(weight)
        except ValueError:
            quality = 0.0
        if media_type in _FORMS and quality > best:
            best, found = quality, _FORMS[media_type]
    if found is None:
        known = ", ".join((JSON, *exports.MEDIA_TYPES.values()))
        raise Problem(406, "not-acceptable", "Format not available", f"Accept one of {known}.")
    return found


def _is_list(field: Any) -> bool:
    members = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return any(get_origin(member) is list for member in members)
