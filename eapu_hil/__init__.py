"""A bench for training neural networks on memristor crossbars, and a numpy twin of that bench.

The doors of a script, imported when they are first used: `open_bench`, `train`, `resume`, `load_run`. So
`import eapu_hil` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eapu_hil.bench import open_bench
    from eapu_hil.training import load_run, resume, train

    __version__: str

__all__ = ["__version__", "load_run", "open_bench", "resume", "train"]

_DOORS = {
    "load_run": "eapu_hil.training",
    "open_bench": "eapu_hil.bench",
    "resume": "eapu_hil.training",
    "train": "eapu_hil.training",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("eapu-hil")
    if name in _DOORS:
        return getattr(import_module(_DOORS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
