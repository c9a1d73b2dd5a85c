"""How kernels are compiled: once for each machine, and kept on its disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from logging import getLogger
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache
from numba.core.event import Event, Listener, register
from numba.core.runtime.nrt import rtsys
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
_LOG = getLogger(__name__)
_OWN = __package__.partition(".")[0]
# Vectors of the processor need sums in another order and roots without their rarest cases; NaN and infinity stay.
_VECTORS = {"contract", "reassoc", "nsz", "arcp"}


@cache
def _sources(folder: Path) -> str:
    """A kernel has those of other files in it, but numba looks only whether its own file has changed: this says of the
    rest, which lie beside it and here.
    """
    files = {*folder.glob("*.py"), *Path(__file__).parent.glob("*.py")}
    return sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


def compiled(function: Function) -> Function:
    """A kernel: divisions by zero give what numpy gives. No other thread comes in between: kernels share scratch."""
    return _kept(function, error_model="numpy")


def inlined(function: Function) -> Function:
    """A kernel for one cell, which becomes part of its callers: a call counts references of all arrays it is given."""
    return _kept(function, error_model="numpy", forceinline=True)


def vectorised(function: Function) -> Function:
    """A kernel whose loops become the processor's vectors; sums may come in another order."""
    return _kept(function, error_model="numpy", fastmath=_VECTORS)


def _kept(function: Function, **options: Any) -> Function:
    """Compiled for each kind of arguments at their first use, and kept on the disk where that can be."""
    try:
        kernel = njit(cache=True, **options)(function)
    except RuntimeError:  # no directory for it
        _LOG.debug("%s is compiled in each process: set NUMBA_CACHE_DIR to a directory", function.__name__)
        return cast(Function, njit(**options)(function))
    kernel._cache = _Kept(function)
    return cast(Function, kernel)


class _Kept(FunctionCache):
    """A kernel's machine code on the disk."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]  # numba has few types
        file = self._cache_file
        file._source_stamp = (file._source_stamp, _sources(Path(function.__code__.co_filename).parent))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """As numba's own, but without what only a compilation needs, which takes longer to import than all else."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # numba has few types


class _Saying(Listener):
    """Says that kernels are compiled, once a process: whoever waits for the first run wants to know why."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: Event) -> None:
        """Before a function of numba is compiled; one that is kept on the disk is not."""
        ours = event.data["dispatcher"].py_func.__module__.startswith(_OWN)
        if ours and not self._said:
            self._said = True
            _LOG.warning("loops are compiled for this machine, once: those of the twin take some 20 s")

    def on_end(self, event: Event) -> None:
        """Nothing to say."""


register("numba:compile", _Saying())  # type: ignore[no-untyped-call]  # numba has few types


def record(values: Mapping[str, float]) -> NDArray[np.void]:
    """Numbers by name for a kernel, shape (1,): `law[0]["tau_s"]`."""
    made = np.zeros(1, dtype=[(name, np.float64) for name in values])
    for name, value in values.items():
        made[name] = value
    return made
