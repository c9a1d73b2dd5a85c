"""Serves the live page until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from eapu_hil.base.locks import local_holder
from eapu_hil.hal import ConfigError
from eapu_hil.live.app import make_app
from eapu_hil.live.connections import Connection
from eapu_hil.live.hub import Hub
from eapu_hil.live.places import Place

PORT = 8321
LOOPBACK = "127.0.0.1"
_ENDS_WITHIN_s = 1  # with event streams open, which never end by themselves
_BACKLOG = 512
_LOOKED_AT_s = 60.0  # for how long a page that came with a run stays once that has ended and nobody looks


@dataclass(frozen=True)
class Address:
    """Where the page is. token: what it asks for; None on loopback."""

    url: str
    token: str | None


def open_socket(host: str, port: int | None) -> socket.socket:
    """A listening socket. port: 0 takes any; None takes `PORT`, or any where that is in use. Raises ConfigError."""
    try:
        return _bound(host, PORT if port is None else port)
    except OSError as error:
        if port is None:
            return _bound(host, 0)
        raise ConfigError(
            f"--port {port}: {host} cannot be listened on: {error.strerror or error}; --port 0 takes any that is free"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    root: Path,
    listening: socket.socket,
    *,
    open_to_all: bool,
    with_run: bool,
    tell: Callable[[Address], None],
) -> None:
    """Serves the runs in `root` until SIGINT or SIGTERM.

    open_to_all: asks for a token. with_run: also ends a minute after nobody works on a run there, or looks at it.
    tell: is told where the page is, when it can be asked.
    """
    token = secrets.token_urlsafe(24) if open_to_all else None
    app, hub = make_app(Place(root), token)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_ENDS_WITHIN_s,
        backlog=_BACKLOG,
    )
    server = uvicorn.Server(config)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    tell(Address(f"http://{shown}:{port}/", token))
    asyncio.run(_serve(server, listening, hub if with_run else None))


async def _serve(server: uvicorn.Server, listening: socket.socket, hub: Hub | None) -> None:
    watch = None if hub is None else asyncio.create_task(_end_when_over(server, hub))
    await server.serve(sockets=[listening])
    if watch is not None:
        watch.cancel()


async def _end_when_over(server: uvicorn.Server, hub: Hub) -> None:
    needed_s = time.monotonic()
    while time.monotonic() < needed_s + _LOOKED_AT_s:
        await asyncio.sleep(1.0)
        locks = [entry.lock for entry in hub.place.entries()]
        if hub.streams or any(lock is not None and local_holder(lock) is not None for lock in locks):
            needed_s = time.monotonic()
    server.should_exit = True


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: without it asyncio leaves Nagle's algorithm on, and each answer waits 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if hasattr(socket, "SO_REUSEADDR"):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except BaseException:
        with contextlib.suppress(OSError):
            listening.close()
        raise
    return listening
