"""Libraries of machine code that files name. A file never loads one by itself: the caller allows it, by its path."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from eapu_hil.base.errors import ConfigError

_ALLOWED: ContextVar[tuple[str, ...]] = ContextVar("allowed libraries", default=())


@contextmanager
def allow_libraries(paths: Collection[str]) -> Iterator[None]:
    """Within it files may name these libraries, beside those that were allowed before."""
    token = _ALLOWED.set((*_ALLOWED.get(), *map(str, paths)))
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def allowed_libraries() -> tuple[str, ...]:
    """Those that may be loaded now, as they were given."""
    return _ALLOWED.get()


def require_library(library: str, known: Collection[str]) -> str:
    """`library` if it is one of the `known` names, or allowed: then its path in full.

    Raises ConfigError with the flag that allows it.
    """
    if library in known:
        return library
    for allowed in _ALLOWED.get():
        if library == allowed or _full(library) == _full(allowed):
            return _full(library) if Path(library).exists() else library
    raise ConfigError(
        f"{library!r} loads code of a library, and a file may not do that by itself; if you trust that library, add "
        f"--allow-library {library} (in Python: with allow_libraries([{library!r}])); without it allowed are "
        f"{', '.join(known)}"
    )


def _full(path: str) -> str:
    return str(Path(path).expanduser().resolve())
