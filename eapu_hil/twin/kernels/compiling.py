"""How kernels are compiled: once for each machine, and kept on its disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import getLogger
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numba.core.event import Event, Listener, register
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
_LOG = getLogger(__name__)
# Vectors of the processor need sums in another order and roots without their rarest cases; NaN and infinity stay.
_VECTORS = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function: Function) -> Function:
    """A kernel: divisions by zero give what numpy gives; other threads go on meanwhile."""
    return cast(Function, njit(cache=True, error_model="numpy", nogil=True)(function))


def vectorised(function: Function) -> Function:
    """A kernel whose loops become the processor's vectors; sums may come in another order."""
    return cast(Function, njit(cache=True, error_model="numpy", nogil=True, fastmath=_VECTORS)(function))


class _Saying(Listener):
    """Says that kernels are compiled, once a process: whoever waits for the first run wants to know why."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: Event) -> None:
        """Before a function of numba is compiled; one that is kept on the disk is not."""
        ours = event.data["dispatcher"].py_func.__module__.startswith(__package__)
        if ours and not self._said:
            self._said = True
            _LOG.warning("the twin is compiled for this machine, once: it takes some 20 s")

    def on_end(self, event: Event) -> None:
        """Nothing to say."""


register("numba:compile", _Saying())  # type: ignore[no-untyped-call]  # numba has few types


def record(values: Mapping[str, float]) -> NDArray[np.void]:
    """Numbers by name for a kernel, shape (1,): `law[0]["tau_s"]`."""
    made = np.zeros(1, dtype=[(name, np.float64) for name in values])
    for name, value in values.items():
        made[name] = value
    return made
