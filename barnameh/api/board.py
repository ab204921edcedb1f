"""The wall board: one page on an organization's operations; its parts are rendered here on each change."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import jinja2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from barnameh.api import board_parts
from barnameh.api.keys import Caller
from barnameh.api.live import Live
from barnameh.api.problems import Problem
from barnameh.api.service import COOKIE, Service

COOKIE_SECONDS = 30 * 86_400
"""A wall board stays logged in until its key expires."""
KEPT_SECONDS = 2.0
"""How long the boards of an organization share one read of a part."""

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
_FOLDER = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

Page = Callable[[Request], Awaitable[Response]]


class Board:
    """The routes of the pages, using the service's database and live streams."""

    def __init__(self, service: Service, live: Live) -> None:
        self._service, self._live = service, live
        self._kept: dict[tuple[UUID, str], tuple[float, str]] = {}

    def routes(self) -> list[Route]:
        """Its paths."""
        return [
            Route("/", self.page),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/board/stream", self.stream),
            Route("/board/{part}", self.part),
            Route("/static/{name}", self.asset),
        ]

    async def page(self, request: Request) -> Response:
        """Return the board, or the login page."""
        request.scope["note"]["endpoint"] = "board"
        try:
            caller = await self._caller(request)
        except Problem as problem:
            if problem.status != 401:
                raise
            refused = problem.detail if request.cookies.get(COOKIE) else ""
            return _html("login.html", problem=refused)
        organization = await self._service.run(
            board_parts.organization, self._service.scope(caller.organization_id)
        )
        rendered = await asyncio.gather(*(self._rendered(caller, name) for name in board_parts.PARTS))
        parts = dict(zip(board_parts.PARTS, rendered, strict=True))
        return _html("board.html", organization=organization, parts=parts)

    async def part(self, request: Request) -> Response:
        """Return the current state of one part."""
        request.scope["note"]["endpoint"] = "board part"
        caller = await self._caller(request)
        name = request.path_params["part"]
        if name not in board_parts.PARTS:
            raise Problem(404, "not-found", "Not found", "The board has no such part.")
        return Response(await self._rendered(caller, name), 200, HEADERS, media_type="text/html")

    async def stream(self, request: Request) -> Response:
        """Stream changes to the page's script."""
        request.scope["note"].update(endpoint="board stream", is_stream=True)
        caller = await self._caller(request)
        kinds = frozenset(("alert", "anomaly", "resource_status", "forecast", "plan"))
        return await self._live.response(request, caller, kinds, {})

    async def login(self, request: Request) -> Response:
        """Accept a key and store it in a cookie that scripts cannot read."""
        request.scope["note"]["endpoint"] = "login"
        _same_site(request)
        async with request.form(max_files=0, max_fields=4, max_part_size=1024) as form:
            key = str(form.get("key", "")).strip()
        try:
            caller = await self._service.caller(key, request)
        except Problem as problem:
            if problem.status not in (401, 429):
                raise
            page = _html("login.html", problem=problem.detail)
            page.status_code = problem.status
            return page
        answer = RedirectResponse("/", 303, {"cache-control": "no-store"})
        answer.set_cookie(
            COOKIE,
            key,
            max_age=COOKIE_SECONDS,
            expires=caller.expires_at,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def logout(self, request: Request) -> Response:
        """Forget the key."""
        request.scope["note"]["endpoint"] = "logout"
        _same_site(request)
        answer = RedirectResponse("/", 303, {"cache-control": "no-store"})
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return answer

    async def asset(self, request: Request) -> Response:
        """Serve a style sheet or script of the page; nothing is loaded from other hosts."""
        request.scope["note"]["endpoint"] = "static"
        name = request.path_params["name"]
        found = _assets().get(name)
        if found is None:
            raise Problem(404, "not-found", "Not found", "There is no such file.")
        headers = {"etag": found[1], "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == found[1]:
            return Response(None, 304, headers)
        return Response(found[0], 200, headers, media_type=_TYPES[Path(name).suffix])

    async def _caller(self, request: Request) -> Caller:
        return await self._service.caller(request.cookies.get(COOKIE), request)

    async def _rendered(self, caller: Caller, name: str) -> str:
        """Return the part, read at most once in two seconds for all boards of the organization."""
        known = self._kept.get((caller.organization_id, name))
        if known is not None and known[0] > time.monotonic():
            return known[1]
        scope = self._service.scope(caller.organization_id)
        values = await self._service.run(board_parts.PARTS[name], scope)
        text = templates().get_template(f"parts/{name}.html").render(values)
        if len(self._kept) > 1_000:
            self._kept.clear()
        self._kept[caller.organization_id, name] = (time.monotonic() + KEPT_SECONDS, text)
        return text


def _same_site(request: Request) -> None:
    """Reject forms submitted from other sites."""
    origin = request.headers.get("origin")
    if origin not in (None, "null") and urlsplit(origin).netloc != request.headers.get("host"):
        raise Problem(403, "not-allowed", "Not allowed", "The form came from another site.")


def _html(template: str, **values: Any) -> Response:
    return Response(templates().get_template(template).render(values), 200, HEADERS, media_type="text/html")


@cache
def templates() -> jinja2.Environment:
    """Return the templates of pages and parts; every value is escaped."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(board_parts.FILTERS)
    return found


@cache
def _assets() -> dict[str, tuple[bytes, str]]:
    files = sorted((_FOLDER / "static").iterdir())
    return {
        file.name: (file.read_bytes(), f'"{hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()}"')
        for file in files
    }
