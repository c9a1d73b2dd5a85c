"""--notify: one line of JSON to a webhook when the work ends, fails or is stopped."""

from __future__ import annotations

import json
import re
import threading
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from eapu_hil.base.errors import HilError, one_line
from eapu_hil.base.provenance import now_iso
from eapu_hil.base.storage import plain
from eapu_hil.cli.terminal import Terminal

_WITHIN_s = 5.0


def notify(parser: ArgumentParser) -> None:
    """--notify, for commands that take long."""
    parser.add_argument(
        "--notify",
        type=_url,
        metavar="URL",
        help="post one line of JSON there when it ends, fails or is stopped; default: nothing is sent",
    )


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc
        _ = parts.port
    except ValueError:
        wrong = True
    if wrong or not re.fullmatch(r"[!-~]+", text):
        raise ArgumentTypeError(
            "expected an address such as https://example.org/hook, with no space and no user or password in it"
        )  # it may hold a secret
    return text


@contextmanager
def notified(
    url: str | None,
    terminal: Terminal,
    about: Mapping[str, Any],
    so_far: Callable[[], Mapping[str, Any]] = dict,
) -> Iterator[None]:
    """Around the work: posts how it ended once that is known, with all lines at 0 V.

    about: what stands in every message. so_far: what the work has come to, asked at its end. A webhook that does not
    take the message is a line on stderr.
    """
    if url is None:
        yield
        return
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        _tell(url, terminal, {**about, "what": "stop"}, so_far)
        raise
    except Exception as error:
        _tell(url, terminal, {**about, "what": "fault", "error": one_line(error)}, so_far)
        raise
    _tell(url, terminal, {**about, "what": "end"}, so_far)


def _tell(
    url: str, terminal: Terminal, content: Mapping[str, Any], so_far: Callable[[], Mapping[str, Any]]
) -> None:
    try:
        more = so_far()
    except HilError as error:
        more = {"damaged": one_line(error)}
    _post(url, terminal, {**content, **more, "time": now_iso()})


def _post(url: str, terminal: Terminal, content: Mapping[str, Any]) -> None:
    body = json.dumps(plain(content), allow_nan=False).encode() + b"\n"
    failures: list[str] = []
    # A thread of its own: a name that is looked up, or an answer that comes in drops, keeps to no time.
    sending = threading.Thread(target=lambda: failures.extend(_sent(url, body)), daemon=True)
    sending.start()
    sending.join(_WITHIN_s)
    if sending.is_alive():
        failures = [f"no answer within {_WITHIN_s:g} s"]
    for why in failures:
        terminal.note(f"--notify: {origin_of(url)} did not take the message: {why.replace(url, 'it')}")


def _sent(url: str, body: bytes) -> Iterator[str]:
    """Sends it; what went wrong, if anything."""
    import http.client  # these take their time to import, and few ask for them
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        url, body, {"Content-Type": "application/json", "User-Agent": "eapu-hil"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_WITHIN_s):
            return
    except urllib.error.HTTPError as error:
        yield f"it answered {error.code}"
        error.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield one_line(reason) if isinstance(reason, Exception) else str(reason)


def origin_of(url: str) -> str:
    """Scheme and host of a URL, for messages: the rest of it may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"
