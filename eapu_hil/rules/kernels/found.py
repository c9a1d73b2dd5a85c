"""Chunks of weights: their errors, and where flags are set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled
from eapu_hil.hal import IntArray

CHUNK = 4096  # weights whose scratch stays in the cache


@compiled
def found(hit: NDArray[np.bool_], where: IntArray) -> int:
    """Puts the positions of the flags that are set into `where`, one longer than `hit`. Returns how many.

    Flags are a multiple of eight. Whether one of them is set is chance: no branch depends on it.
    """
    eights, count, some = hit.view(np.uint64), 0, 0
    with_some = np.empty(eights.size + 1, np.int64)
    for eight in range(eights.size):
        with_some[some] = eight
        some += eights[eight] != 0
    for at in range(some):
        for k in range(8 * with_some[at], 8 * with_some[at] + 8):
            where[count] = k
            count += hit[k]
    return count


@compiled
def of_chunk(errors_S: NDArray[np.floating], start: int, weights: int) -> NDArray[np.floating]:
    """The errors of the chunk that begins at `start`. errors_S: of each weight, or one for all."""
    size = min(CHUNK, weights - start)
    if errors_S.size == weights:
        return errors_S[start : start + size]
    return np.full(size, errors_S[0])
