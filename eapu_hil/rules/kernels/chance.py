"""EaPU's draws (`eapu_hil.rules.eapu`): 8 random bits for each weight, and more where these do not decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled, vectorised
from eapu_hil.base.kernels.words import LANES, draw_words
from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.rules.kernels.found import CHUNK, found, of_chunk

Single = NDArray[np.float32]
_PER_WORD = 4  # bytes


@vectorised
def _compare(
    bits: NDArray[np.uint8],
    dg_S: Single,
    up_S: NDArray[np.floating],
    down_S: NDArray[np.floating],
    per_bit: np.float32,
    hit: NDArray[np.bool_],
) -> np.int32:
    """Which of a chunk's numbers may pass. Returns the bits of the largest |dG|: those of NaN are larger than any."""
    largest = np.int32(0)
    for k in range(dg_S.size):
        least, wanted_S = np.float32(bits[k]) * per_bit, dg_S[k]
        # Not "at least": an error that is not a number must not pass unseen.
        passed = (wanted_S < least * np.float32(up_S[k])) & (-wanted_S < least * np.float32(down_S[k]))
        hit[k] = not passed
        largest = max(largest, np.float32(abs(wanted_S)).view(np.int32))
    return largest


@compiled
def drawn(
    dg_S: Single,
    up_S: NDArray[np.floating],
    down_S: NDArray[np.floating],
    scale: float,
    floor_S: float,
    state: NDArray[np.uint32],
    index: IntArray,
    step_S: FloatArray,
) -> tuple[int, float, float]:
    """Puts the weights with u th < |dG| into `index` and the larger of both into `step_S`: as long as `dg_S`.

    up_S, down_S: errors of each weight, or one for all; th is `scale` times them. state: of `draw_words`.
    Returns how many they are, the largest |dG|, and an error below `floor_S` if one was met, else infinity.
    """
    words = np.empty(CHUNK // _PER_WORD, np.uint32)
    bits, more = words.view(np.uint8), np.empty(2 * CHUNK, np.uint32)
    hit, where = np.zeros(CHUNK, np.bool_), np.empty(CHUNK + 1, np.int64)
    # Rounding in single precision must not turn a lower bound of u into something above it.
    per_bit = np.float32(scale * (1 - 2e-6) / 256)
    count, below_S, largest = 0, np.inf, np.int32(0)
    for start in range(0, dg_S.size, CHUNK):
        part_S = dg_S[start : start + CHUNK]
        raising_S, lowering_S = of_chunk(up_S, start, dg_S.size), of_chunk(down_S, start, dg_S.size)
        draw_words(state, words)
        hit[part_S.size :] = False
        largest = max(largest, _compare(bits, part_S, raising_S, lowering_S, per_bit, hit))
        candidates = found(hit, where)
        draw_words(state, more[: -(-2 * candidates // LANES) * LANES])
        for at in range(candidates):
            k = where[at]
            rest = more[2 * at] * 2.0**-32 + more[2 * at + 1] * 2.0**-64
            wanted_S = float(part_S[k])
            # Signs are chance as well: both errors are taken, one of them in vain.
            up_too_S, down_too_S = raising_S[k], lowering_S[k]
            error_S = float(up_too_S if wanted_S > 0 else down_too_S)
            if not error_S >= floor_S * (1 - 1e-6):
                below_S = error_S
            threshold_S, size_S = error_S * scale, abs(wanted_S)
            index[count] = start + k
            step_S[count] = np.copysign(max(size_S, threshold_S), wanted_S)
            count += (bits[k] + rest) * (1 / 256) * threshold_S < size_S
    return count, float(np.int32(largest).view(np.float32)), below_S
