"""Who may ask the page: programs of this machine, or whoever has the token; never another site's script.

A page of another site can make a browser send requests here. It cannot give them our Host (a name of its own that leads
here, DNS rebinding), nor our Origin, nor, without leave, a header of its own.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import socket
from http.cookies import CookieError, SimpleCookie

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "eapu_live"
ENTER = "/enter"  # where a token is handed in
MARK = "x-eapu"  # the header of what changes something
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d{1,5})?", re.IGNORECASE)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with no-referrer a form would send the Origin "null"
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Security:
    """ASGI middleware. token: what is asked for; None on loopback. names: of this machine, besides its numbers."""

    def __init__(self, app: ASGIApp, token: str | None, policy: str) -> None:
        """policy: the Content-Security-Policy of every answer."""
        self._app = app
        self._token = token
        self._names = {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}
        headers = {**_HEADERS, "content-security-policy": policy}
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        # As it was sent: the name of a run is one part of it, whatever slashes and bytes the name holds as %2F and the
        # like. Whoever looks a run up takes them back to what the file system has.
        scope = {**scope, "path": scope["raw_path"].decode("latin-1")}

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        refused = self._refused(scope)
        if refused is None:
            await self._app(scope, receive, secured)
        else:
            await _answer(*refused, scope["path"], secured)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence, None for what is let through."""
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 421, "this page is not called by that name; use the address that eapu-hil live printed"
        origins, path, method = headers.get(b"origin", []), scope["path"], scope["method"]
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            return 403, "a page of another site must not use this one"
        if "cross-site" in headers.get(b"sec-fetch-site", []) and method != "GET":
            return 403, "a page of another site must not use this one"
        if method not in ("GET", "HEAD", "POST"):
            return 405, "only GET and POST are served"
        if method == "POST" and not origins and not (MARK.encode() in headers and path.startswith("/api/")):
            return 403, "a POST needs the header X-Eapu: 1, or comes from this page"
        if method == "POST" and path.startswith("/api/") and MARK.encode() not in headers:
            return 403, "a POST to /api needs the header X-Eapu: 1"
        if self._token is not None and path != ENTER and not self._is_known(headers):
            return 401, "the token that eapu-hil live printed is missing or wrong"
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a browser that was sent here by this name was sent by us: numbers cannot be made to lead here."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].strip("[]").lower()
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_known(self, headers: dict[bytes, list[str]]) -> bool:
        given = [
            text.removeprefix("Bearer ")
            for text in headers.get(b"authorization", [])
            if text[:7] == "Bearer "
        ]
        for text in headers.get(b"cookie", []):
            given += cookie_values(text)
        return self._token is not None and any(is_token(text, self._token) for text in given)


def is_token(text: str, token: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(text.encode(), token.encode())


def cookie_values(text: str) -> list[str]:
    """The values of our cookie in a header."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(text)
    except CookieError:
        return []
    return [jar[COOKIE].value] if COOKIE in jar else []


async def _answer(status: int, text: str, path: str, send: Send) -> None:
    as_page = status == 401 and not path.startswith("/api/")
    body = _ASK if as_page else json.dumps({"error": text}).encode()
    kind = b"text/html; charset=utf-8" if as_page else b"application/json"
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_ASK = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>eapu-hil: token</title></head><body><h1>Token</h1>
<p>The token that <code>eapu-hil live</code> printed is missing or wrong.</p>
<form method="post" action="/enter">
<label>Token <input name="token" type="password" autocomplete="off" autofocus></label> <button>Enter</button>
</form></body></html>
"""
