"""Threads of linear algebra: what they compute must not depend on how many there are.

A matrix product that is cut for other numbers of threads rounds differently, and a run then takes another way. So
products are made by one thread each, in pieces whose size does not depend on the number of threads, and several
threads take pieces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


def allowed_threads() -> int:
    """As many as there are cores for this process, or fewer where `OMP_NUM_THREADS` says so.

    Of a list, which says it for threads inside threads too, the first number counts.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip().lstrip("0")
    if not asked.isdecimal() or len(asked) > len(str(cores)):
        return cores
    return min(cores, int(asked))


@contextmanager
def one_thread_a_product() -> Iterator[None]:
    """Inside, each product of matrices is made by one thread, that which asks for it."""
    # scipy has a library of its own, which only knows the limit when it is loaded before.
    import scipy.linalg  # noqa: F401

    with threadpool_limits(limits=1, user_api="blas"):
        yield


class Workers:
    """Threads that take pieces of work; they start with the first work that has several pieces."""

    def __init__(self) -> None:
        self._count = allowed_threads()
        self._pool: ThreadPoolExecutor | None = None

    def each(self, act: Callable[[slice], None], pieces: Iterable[slice]) -> None:
        """Calls `act` with each piece, in any order, and returns when all is done; raises what it raises."""
        pieces = list(pieces)
        if self._count == 1 or len(pieces) < 2:
            for piece in pieces:
                act(piece)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._count, "eapu-hil-products")
        for _ in self._pool.map(act, pieces):
            pass
