"""Random bits: sixteen generators side by side, which the processor draws from at once; xoshiro128++ (doi
10.1145/3460772).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import vectorised

LANES = 16  # a state has four times as many words, at random at first


@vectorised
def draw_words(state: NDArray[np.uint32], words: NDArray[np.uint32]) -> None:
    """Fills `words`, a multiple of the lanes in number, with random bits."""
    for begin in range(0, words.size, LANES):
        drawn = words[begin : begin + LANES]
        for i in range(LANES):
            a, b = state[i], state[LANES + i]
            c, d = state[2 * LANES + i], state[3 * LANES + i]
            mixed = np.uint32(a + d)
            drawn[i] = np.uint32(
                np.uint32(np.uint32(mixed << np.uint32(7)) | np.uint32(mixed >> np.uint32(25))) + a
            )
            shifted = np.uint32(b << np.uint32(9))
            c = np.uint32(c ^ a)
            d = np.uint32(d ^ b)
            state[LANES + i] = np.uint32(b ^ c)
            state[i] = np.uint32(a ^ d)
            state[2 * LANES + i] = np.uint32(c ^ shifted)
            state[3 * LANES + i] = np.uint32(np.uint32(d << np.uint32(11)) | np.uint32(d >> np.uint32(21)))
