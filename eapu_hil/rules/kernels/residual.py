"""One pass over an accumulator of unwritten changes (`eapu_hil.rules.residual`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled, vectorised
from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.rules.kernels.found import CHUNK, found, of_chunk

Single = NDArray[np.float32]


@vectorised
def _add(
    acc_S: Single,
    dg_S: Single,
    up_S: NDArray[np.floating],
    down_S: NDArray[np.floating],
    kappa: np.float32,
    hit: NDArray[np.bool_],
) -> np.int32:
    """Returns the bits of the largest |acc|: those of NaN are larger than any."""
    largest = np.int32(0)
    for k in range(dg_S.size):
        now_S = np.float32(acc_S[k] + dg_S[k])
        acc_S[k] = now_S
        hit[k] = (now_S >= kappa * np.float32(up_S[k])) | (-now_S >= kappa * np.float32(down_S[k]))
        largest = max(largest, np.float32(abs(now_S)).view(np.int32))
    return largest


@compiled
def owed(
    acc_S: Single,
    dg_S: Single,
    up_S: NDArray[np.floating],
    down_S: NDArray[np.floating],
    kappa: np.float32,
    index: IntArray,
    step_S: FloatArray,
) -> tuple[int, float]:
    """Adds `dg_S` to `acc_S`, and moves what has reached kappa times its error into `index` and `step_S`, as long.

    up_S, down_S: of each weight, or one for all. Returns how many they are, and the largest |acc|.
    """
    hit, where = np.zeros(CHUNK, np.bool_), np.empty(CHUNK + 1, np.int64)
    count, largest = 0, np.int32(0)
    for start in range(0, dg_S.size, CHUNK):
        part_S = dg_S[start : start + CHUNK]
        raising_S, lowering_S = of_chunk(up_S, start, dg_S.size), of_chunk(down_S, start, dg_S.size)
        hit[part_S.size :] = False
        largest = max(largest, _add(acc_S[start : start + CHUNK], part_S, raising_S, lowering_S, kappa, hit))
        for at in range(found(hit, where)):
            here = start + where[at]
            # Without any write error the threshold is 0, and an accumulator of 0 has nothing to write.
            if acc_S[here] != 0.0:
                index[count], step_S[count] = here, acc_S[here]
                acc_S[here] = 0.0
                count += 1
    return count, float(np.int32(largest).view(np.float32))
