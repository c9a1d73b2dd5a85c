"""The command live, and --live of the commands whose work the page shows."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_hil.base.errors import ConfigError
from eapu_hil.cli import options
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_hil.live.server import Address

_EXTRA = ("starlette", "uvicorn", "bokeh")


def live(parser: ArgumentParser) -> None:
    """Show runs as they go on in a browser, with an emergency stop.

    Only programs of this machine can ask for the page, unless --listen names another address; it then asks for a token.
    """
    parser.add_argument(
        "directory",
        type=Path,
        nargs="?",
        default=Path("runs"),
        metavar="DIR|RUN",
        help="directory with runs below it, a run, or a chip that is measured; default: %(default)s",
    )
    parser.add_argument(
        "--port",
        type=options.port,
        metavar="N",
        help="port of the page, 0 for any that is free; default: 8321, or any where that is in use",
    )
    parser.add_argument(
        "--listen",
        metavar="HOST",
        help="address of this machine to listen on, such as 0.0.0.0; default: 127.0.0.1, this machine only",
    )
    parser.add_argument("--with-run", action="store_true", help=SUPPRESS)  # of --live
    parser.set_defaults(command=_live)


def beside(parser: ArgumentParser) -> None:
    """--live, for commands whose work the page shows."""
    parser.add_argument(
        "--live", action="store_true", help="show it in a browser meanwhile; see eapu-hil live --help"
    )


def _live(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    require_live()
    from eapu_hil.live import server
    from eapu_hil.training.run_list import NO_DIRECTORY

    if not args.directory.is_dir() and not args.with_run:
        raise ConfigError(f"{args.directory}: {NO_DIRECTORY}")
    host = args.listen or server.LOOPBACK
    told: dict[str, Any] = {}

    def tell(address: Address) -> None:
        told["url"] = address.url
        if args.with_run:
            sys.stdout.write(json.dumps({"url": address.url}) + "\n")
            sys.stdout.flush()
            return
        terminal.note(f"live page: {address.url}   (Ctrl-C ends it)")
        if address.token is not None:
            terminal.note(f"token: {address.token}")

    with server.open_socket(host, args.port) as listening:
        server.serve(
            args.directory,
            listening,
            open_to_all=not server.is_loopback(host),
            with_run=args.with_run,
            tell=tell,
        )
    return told


def require_live() -> None:
    """Raises ConfigError where the extra `live` is not installed."""
    if any(find_spec(name) is None for name in _EXTRA):
        raise ConfigError("the live page needs packages that are not installed: pip install 'eapu-hil[live]'")


@contextmanager
def page_beside(directory: Path, terminal: Terminal, *, wanted: bool) -> Iterator[None]:
    """Around work in `directory`: the page of it, as a process of its own, which may die without harm to the work.

    It stays as long as somebody works there or looks at it, and a minute longer. Raises ConfigError where it cannot be
    started at all.
    """
    if not wanted:
        yield
        return
    require_live()
    command = [sys.executable, "-P", "-m", "eapu_hil.cli", "live", str(directory), "--with-run"]
    page = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the work alone
        creationflags=getattr(subprocess, "DETACHED_PROCESS", 0),
    )
    threading.Thread(target=_say_where, args=(page, terminal), daemon=True).start()
    yield


def _say_where(page: subprocess.Popen[bytes], terminal: Terminal) -> None:
    """Reads the one line that the page prints."""
    assert page.stdout is not None
    with page.stdout:
        line = page.stdout.readline()
    try:
        url = json.loads(line)["url"]
    except (ValueError, KeyError, TypeError):
        terminal.note("the live page has not started; to see why: eapu-hil live")
        return
    terminal.note(f"live page: {url}")
