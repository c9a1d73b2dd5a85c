"""The routes of the live page. Every error is a status and `{"error": one sentence}`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from eapu_hil.base.errors import HilError, one_line
from eapu_hil.live.assets import CONTENT_SECURITY_POLICY, asset, stopped_page
from eapu_hil.live.feed import finite
from eapu_hil.live.hub import Hub
from eapu_hil.live.pausing import ask_to_continue, ask_to_pause
from eapu_hil.live.places import Entry, Place, UnknownError
from eapu_hil.live.security import COOKIE, ENTER, Security, is_token
from eapu_hil.live.stopping import NothingToStopError
from eapu_hil.live.stream import EventStream

_BODY_MOST = 1024  # of the form with the token
_BODY_WITHIN_s = 5.0
_NO_STORE = {"cache-control": "no-store"}


class _Routes:
    def __init__(self, hub: Hub, token: str | None) -> None:
        self._hub = hub
        self._token = token

    async def page(self, request: Request) -> Response:
        found = asset(request.path_params.get("name") or self._page_of(request))
        if found is None:
            raise UnknownError("no such file")
        return Response(found.content, media_type=found.media_type, headers={"cache-control": "no-cache"})

    async def charts(self, _request: Request) -> Response:
        found = asset("charts.js")
        if found is None:
            raise UnknownError("no such file")
        return Response(
            found.content, media_type=found.media_type, headers={"cache-control": "max-age=86400"}
        )

    async def runs(self, _request: Request) -> Response:
        return _json({"runs": await self._hub.runs()})

    async def describe(self, request: Request) -> Response:
        feed = self._hub.kept(self._entry(request)).feed
        return _json(await self._hub.read(feed.description))

    async def events(self, request: Request) -> ASGIApp:
        return EventStream(self._hub, self._entry(request))

    async def map(self, request: Request) -> Response:
        feed, its = self._hub.kept(self._entry(request)).feed, request.path_params
        arrays, quantity = _numbers(its["arrays"]), its["quantity"]
        content = await self._hub.read(lambda: b"".join(feed.map(array, quantity) for array in arrays))
        return Response(content, media_type="application/octet-stream", headers=_NO_STORE)

    async def picture(self, request: Request) -> Response:
        feed, name = self._hub.kept(self._entry(request)).feed, request.path_params["name"]
        content = await self._hub.read(lambda: feed.picture(name))
        return Response(content, media_type="image/png", headers=_NO_STORE)

    async def stop(self, request: Request) -> Response:
        stop = self._hub.stop(self._entry(request))
        return _json({"signalled": True, "pid": stop.pid, "text": stop.outcome.text})

    async def stop_by_form(self, request: Request) -> Response:
        try:
            text = self._hub.stop(self._entry(request)).outcome.text
        except NothingToStopError as error:
            text = str(error)
        return HTMLResponse(stopped_page(text, request.scope["raw_path"].decode("ascii")), headers=_NO_STORE)

    async def stop_all(self, _request: Request) -> Response:
        stopped = self._hub.stop_all()
        told = [
            {"id": entry.id, "name": entry.path.name, "pid": stop.pid, "text": stop.outcome.text}
            for entry, stop in stopped.items()
        ]
        return _json({"stopped": told, "text": _all_words(len(told))})

    async def stop_all_by_form(self, _request: Request) -> Response:
        return HTMLResponse(stopped_page(_all_words(len(self._hub.stop_all())), "/"), headers=_NO_STORE)

    async def pause(self, request: Request) -> Response:
        return _json({"text": ask_to_pause(self._entry(request))})

    async def go_on(self, request: Request) -> Response:
        return _json({"text": ask_to_continue(self._entry(request))})

    async def enter(self, request: Request) -> Response:
        """Takes the token from the form of the page that asks for it, and puts it into a cookie."""
        text = await _form_field(request, "token")
        if self._token is None or text is None or not is_token(text, self._token):
            return RedirectResponse("/", 303)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
        return answer

    def _entry(self, request: Request) -> Entry:
        return self._hub.place.find(unquote(request.path_params["id"], errors="surrogateescape"))

    def _page_of(self, request: Request) -> str:
        if "id" not in request.path_params:
            return "index.html"
        self._entry(request)
        return "run.html"


def make_app(place: Place, token: str | None) -> tuple[ASGIApp, Hub]:
    """The page of the runs in `place`. token: what every request has to bring; None asks for none."""
    hub = Hub(place)
    routes = _Routes(hub, token)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> Any:
        yield
        hub.close()

    run = "/api/run/{id}"
    app = Starlette(
        routes=[
            Route("/api/runs", routes.runs),
            Route("/api/stop", routes.stop_all, methods=["POST"]),
            Route(f"{run}/stop", routes.stop, methods=["POST"]),
            Route(f"{run}/pause", routes.pause, methods=["POST"]),
            Route(f"{run}/continue", routes.go_on, methods=["POST"]),
            Route(f"{run}/events", _Raw(routes.events)),
            Route(f"{run}/map/{{arrays}}/{{quantity}}", routes.map),
            Route(f"{run}/picture/{{name}}", routes.picture),
            Route(run, routes.describe),
            Route("/charts.js", routes.charts),
            Route("/static/{name}", routes.page),
            Route(ENTER, routes.enter, methods=["POST"]),
            Route("/run/{id}", routes.page),
            Route("/run/{id}", routes.stop_by_form, methods=["POST"]),
            Route("/", routes.page),
            Route("/", routes.stop_all_by_form, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _http_error, HilError: _error},
        middleware=[Middleware(Security, token=token, policy=CONTENT_SECURITY_POLICY)],
        lifespan=lifespan,
    )
    return app, hub


class _Raw:
    """An endpoint whose answer is an ASGI program of its own."""

    def __init__(self, endpoint: Callable[[Request], Awaitable[ASGIApp]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._endpoint(Request(scope, receive))
        await answer(scope, receive, send)


def _numbers(text: str) -> list[int]:
    """`0,3`: numbers of arrays, each once: an answer is no longer than the maps of a run. Raises UnknownError."""
    parts = text.split(",")
    if len(set(parts)) != len(parts) or not all(part.isascii() and part.isdigit() for part in parts):
        raise UnknownError("no such map: expected numbers of arrays, each once, such as 0,3")
    return [int(part[:10]) for part in parts]


def _json(content: Any, status: int = 200) -> Response:
    """As ASCII: the name of a directory may be bytes that are no text, which UTF-8 has no place for."""
    text = json.dumps(finite(content), separators=(",", ":"), allow_nan=False)
    return Response(text, status, media_type="application/json", headers=_NO_STORE)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json({"error": error.detail.lower()}, error.status_code)


async def _error(_request: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, UnknownError) else 409
    return _json({"error": one_line(error)}, status)


async def _form_field(request: Request, name: str) -> str | None:
    body = b""
    try:
        async with asyncio.timeout(_BODY_WITHIN_s):
            async for piece in request.stream():
                body += piece
                if len(body) > _BODY_MOST:
                    return None
    except (TimeoutError, ClientDisconnect):
        return None
    fields = parse_qs(body.decode("latin-1"), max_num_fields=_BODY_MOST)
    return fields.get(name, [None])[0]


def _all_words(count: int) -> str:
    if not count:
        return "no process of this machine works on a run here, so there was nothing to stop"
    return f"SIGTERM was sent to {count} run{'s' if count > 1 else ''}; each puts its lines to 0 V and ends"
