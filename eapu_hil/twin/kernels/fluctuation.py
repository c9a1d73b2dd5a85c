"""The slow processes behind 1/f noise, a step ahead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import vectorised
from eapu_hil.twin.kernels.noise import Noise, draw_normals

_CHUNK = 256  # numbers of each half, while their noise is in the cache


@vectorised
def fluctuate(level: NDArray[np.float32], keep: float, add: float, noise: Noise) -> None:
    """An Ornstein-Uhlenbeck process of each cell: `keep` of where it was, and normal noise of sd `add`; in place."""
    words, z = np.empty(2 * _CHUNK, np.uint32), np.empty(2 * _CHUNK, np.float32)
    kept, added = np.float32(keep), np.float32(add)
    for begin in range(0, level.size, 2 * _CHUNK):
        draw_normals(noise.state, words[:_CHUNK], words[_CHUNK:], z[:_CHUNK], z[_CHUNK:])
        part = level[begin : begin + 2 * _CHUNK]
        for k in range(part.size):
            part[k] = kept * part[k] + added * z[k]
