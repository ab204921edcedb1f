"""The ASGI application: routes, error handling, startup and shutdown."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from barnameh.api.board import Board
from barnameh.api.endpoints import JSON, endpoint
from barnameh.api.guard import Guard
from barnameh.api.jsons import encode
from barnameh.api.live import Live
from barnameh.api.operations import LEFT_OUT, ROOT, operations
from barnameh.api.problems import Problem, problem_of
from barnameh.api.service import Service
from barnameh.api.settings import ApiSettings
from db_utils import DatabaseManager, DbUtilsError
from db_utils.errors import SchemaError

OPENAPI = Path(__file__).with_name("openapi.json")
"""Generated from the same operations (`document`) and stored, so that startup does not wait for it."""

_BEFORE_ID = ROOT.partition("{")[0]
_METHODS = frozenset(("GET", "HEAD", "POST"))


class Application:
    """The API as an ASGI application: prebuilt queries by dictionary lookup, other paths by routes."""

    def __init__(self, service: Service) -> None:
        self.service = service
        live = Live(service)
        # Trying a hundred route patterns in turn would cost as much as a small read.
        self._endpoints = {
            operation.path.removeprefix(ROOT + "/"): (operation.writes, endpoint(service, operation))
            for operation in operations()
        }
        routes: list[BaseRoute] = [
            Route(f"{ROOT}/stream", live.stream),
            Route("/v1/openapi.json", self._document),
            Route("/v1/catalogue", self._catalogue),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            *Board(service, live).routes(),
        ]
        self._router = Router(routes, default=_nothing_there, lifespan=self._life)
        self._guarded = Guard(self._answer, service.metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the lifespan events."""
        scope["app"] = self
        await self._guarded(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_BEFORE_ID):
            organization_id, _, name = scope["path"][len(_BEFORE_ID) :].partition("/")
            found = self._endpoints.get(name)
            if found is not None:
                writes, answer = found
                if writes is not (scope["method"] == "POST") or scope["method"] not in _METHODS:
                    raise HTTPException(405, headers={"allow": "POST" if writes else "GET, HEAD"})
                scope["path_params"] = {"organization_id": organization_id}
                response = await answer(Request(scope, receive, send))
                await response(scope, receive, send)
                return
        await self._router(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _life(self, _: object) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.service.end()
            self.service.close()

    async def _document(self, request: Request) -> Response:
        request.scope["note"]["endpoint"] = "openapi"
        return Response(_openapi(), media_type=JSON)

    async def _catalogue(self, request: Request) -> Response:
        request.scope["note"]["endpoint"] = "catalogue"
        return Response(_catalogue(), media_type=JSON)

    async def _healthz(self, request: Request) -> Response:
        request.scope["note"]["endpoint"] = "healthz"
        return Response(b'{"status":"ok"}', media_type=JSON)

    async def _readyz(self, request: Request) -> Response:
        request.scope["note"]["endpoint"] = "readyz"
        if self.service.ending.is_set():
            raise Problem(503, "ending", "The service is shutting down", "Another one takes over.")
        await self.service.run(_check_database, self.service)
        return Response(b'{"status":"ready"}', media_type=JSON)

    async def _metrics(self, request: Request) -> Response:
        request.scope["note"]["endpoint"] = "metrics"
        metrics = self.service.metrics
        return Response(metrics.text(), media_type=metrics.content_type)


def create_app(db: DatabaseManager, settings: ApiSettings | None = None) -> Application:
    """Create the API on `db`, with an application login (docs/tenants.md). The caller closes `db`."""
    return Application(Service(db, settings or ApiSettings()))


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    raise HTTPException(404)


_READY = "SELECT to_regprocedure('public.use_api_key(text, text)') IS NOT NULL AS is_there"


def _check_database(service: Service) -> None:
    """Raise `Problem` 503 if the database does not answer, or lacks the schema that this service needs."""
    try:
        row = service.db.execute_query(_READY, timeout_seconds=2.0, primary=True)[0]
    except DbUtilsError as error:
        raise problem_of(error) from None
    if not row["is_there"]:
        raise problem_of(SchemaError())


@cache
def _openapi() -> bytes:
    return OPENAPI.read_bytes()


@cache
def _catalogue() -> bytes:
    return encode(
        {
            "operations": [
                {
                    "name": operation.name,
                    "topic": operation.topic,
                    "method": "POST" if operation.writes else "GET",
                    "path": operation.path,
                    "question": operation.question,
                }
                for operation in operations()
            ],
            "left_out": LEFT_OUT,
        }
    )
