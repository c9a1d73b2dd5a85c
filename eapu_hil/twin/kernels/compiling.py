"""How kernels are compiled: once for each machine, and kept on its disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from logging import getLogger
from threading import Timer
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
_LOG = getLogger(__name__)
_SAID_AFTER_s = 1.0
# Vectors of the processor need sums in another order and roots without their rarest cases; NaN and infinity stay.
_VECTORS = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function: Function) -> Function:
    """A kernel: divisions by zero give what numpy gives; other threads go on meanwhile."""
    return cast(Function, njit(cache=True, error_model="numpy", nogil=True)(function))


def vectorised(function: Function) -> Function:
    """A kernel whose loops become the processor's vectors; sums may come in another order."""
    return cast(Function, njit(cache=True, error_model="numpy", nogil=True, fastmath=_VECTORS)(function))


@contextmanager
def first_time() -> Iterator[None]:
    """Around the first call of kernels: says so where they have to be compiled."""
    timer = Timer(
        _SAID_AFTER_s, _LOG.info, ["the twin is compiled for this machine, once: it takes some 20 s"]
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def record(values: Mapping[str, float]) -> NDArray[np.void]:
    """Numbers by name for a kernel, shape (1,): `law[0]["tau_s"]`."""
    made = np.zeros(1, dtype=[(name, np.float64) for name in values])
    for name, value in values.items():
        made[name] = value
    return made
