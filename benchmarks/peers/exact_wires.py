"""Products of an array with resistive lines by badcrossbar, which factorises the circuit at each call."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

with warnings.catch_warnings(record=True):  # it says, whatever the filters, that it cannot draw without cairo
    import badcrossbar

logging.getLogger().handlers.clear()  # its import sets up the root logger to print
logging.getLogger("badcrossbar").setLevel(logging.WARNING)


def exact_products(
    g_S: NDArray[np.float64], segment_ohm: float, v_in_v: NDArray[np.float64]
) -> Callable[[], object]:
    """Output currents for voltages (batch, rows). segment_ohm: between two cells, of rows and columns."""

    def product() -> object:
        return badcrossbar.compute(
            v_in_v.T, 1 / g_S, r_i=segment_ohm, node_voltages=False, all_currents=False
        )

    return product
