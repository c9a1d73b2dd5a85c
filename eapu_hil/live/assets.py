"""Placeholder of the page's files, until the page itself is there."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Asset:
    content: bytes
    media_type: str


def asset(name: str) -> Asset | None:
    return (
        Asset(b"<!doctype html><title>eapu-hil</title>", "text/html")
        if name in ("index.html", "run.html")
        else None
    )


def stopped_page(text: str, back: str) -> bytes:
    return f'<!doctype html><title>eapu-hil</title><p>{escape(text)}</p><a href="{escape(back)}">back</a>'.encode()
