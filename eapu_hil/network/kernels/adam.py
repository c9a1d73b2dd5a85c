"""Adam's step in one pass over its state (`eapu_hil.network.optimizer`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import vectorised

Single = NDArray[np.float32]


@vectorised
def adam_step(
    grad: Single,
    mean: Single,
    square: Single,
    change: Single,
    decays: tuple[np.float32, np.float32],
    eps: np.float32,
    factor: np.float32,
) -> None:
    """mean = decay mean + g, square = decay square + g^2, change = factor mean / (sqrt(square) + eps); all (n,)."""
    decay1, decay2 = decays
    for i in range(grad.size):
        g = grad[i]
        m = mean[i] * decay1 + g
        s = square[i] * decay2 + g * g
        mean[i], square[i] = m, s
        change[i] = factor * m / (np.sqrt(s) + eps)
