"""The application: routes, errors, and what begins and ends with it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

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


def create_app(db: DatabaseManager, settings: ApiSettings | None = None) -> FastAPI:
    """The API on this database, whose login should be an application's own (docs/tenants.md); `db` stays the caller's."""
    settings = settings or ApiSettings()
    service = Service(db, settings)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            service.end()

    # The document is a file that is made from the same operations (`document`), so that no start waits for it.
    app = FastAPI(title="Barnameh", lifespan=life, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.service = service
    # One route for all, and a look into a dictionary: a hundred patterns in a row would cost as much as a small read.
    endpoints = {
        operation.path.removeprefix(ROOT): (operation.writes, endpoint(service, operation))
        for operation in operations()
    }

    async def ask(request: Request) -> Response:
        path = request.path_params
        writes, answer = endpoints.get(f"/{path['topic']}/{path['name']}", (False, None))
        if answer is None:
            raise HTTPException(404)
        if writes is not (request.method == "POST"):
            raise HTTPException(405, headers={"allow": "POST" if writes else "GET, HEAD"})
        return await answer(request)

    live = Live(service)
    app.add_route(ROOT + "/{topic}/{name}", ask, methods=["GET", "POST"])
    app.add_route(f"{ROOT}/stream", live.stream)
    Board(service, live).add_to(app)

    async def openapi(request: Request) -> Response:
        request.scope["note"]["endpoint"] = "openapi"
        return Response(_openapi(), media_type=JSON)

    async def catalogue(request: Request) -> Response:
        request.scope["note"]["endpoint"] = "catalogue"
        return Response(_catalogue(), media_type=JSON)

    async def healthz(request: Request) -> Response:
        request.scope["note"]["endpoint"] = "healthz"
        return Response(b'{"status":"ok"}', media_type=JSON)

    async def readyz(request: Request) -> Response:
        request.scope["note"]["endpoint"] = "readyz"
        if service.ending.is_set():
            raise Problem(503, "ending", "The service is ending", "Another one takes over.")
        await service.run(_check_database, service)
        return Response(b'{"status":"ready"}', media_type=JSON)

    async def metrics(request: Request) -> Response:
        request.scope["note"]["endpoint"] = "metrics"
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    app.add_route("/v1/openapi.json", openapi)
    app.add_route("/v1/catalogue", catalogue)
    app.add_route("/healthz", healthz)
    app.add_route("/readyz", readyz)
    app.add_route("/metrics", metrics)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        kinds = {404: ("not-found", "There is no such thing"), 405: ("wrong-method", "Not with this method")}
        kind, title = kinds.get(error.status_code, ("refused", "The request was refused"))
        detail = (
            "There is no such path: /v1/catalogue lists them."
            if error.status_code == 404
            else str(error.detail)
        )
        return Problem(error.status_code, kind, title, detail, headers=error.headers or {}).response()

    app.add_middleware(Guard, metrics=service.metrics)
    return app


_READY = "SELECT to_regprocedure('public.use_api_key(text, text)') IS NOT NULL AS is_there"


def _check_database(service: Service) -> None:
    """Raises `Problem` 503 where the database does not answer, or has not the schema that this service needs."""
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
