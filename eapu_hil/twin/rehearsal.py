"""Compiles what a simulated board or instrument uses before its host, which waits only so long, asks for it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from eapu_hil.hal import Polarity
from eapu_hil.twin.array import TwinArray
from eapu_hil.twin.chip import TwinChip
from eapu_hil.twin.converters import FullScale
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.products import ChipProducts
from eapu_hil.twin.state import StateFiles

_SHAPE = (2, 2)
_NO_LINES: dict[str, tuple[int, ...]] = dict.fromkeys(
    ("open_rows", "open_columns", "shorted_rows", "shorted_columns"), ()
)


def rehearse(preset: TwinPreset) -> None:
    """Does everything once with a few cells of their own."""
    # Windows cannot remove files that are mapped: some then stay in the folder of temporary files.
    with TemporaryDirectory(prefix="eapu_hil-", ignore_cleanup_errors=True) as scratch:
        files = StateFiles(Path(scratch) / "clock"), StateFiles(Path(scratch) / "cells")
        whole = preset.model_copy(update={"faults": preset.faults.model_copy(update=_NO_LINES)})
        chip = TwinChip(whole, _SHAPE, 1, files, 0)
        _act(TwinArray(chip, 0, ChipProducts(chip)), chip)


def _act(array: TwinArray, chip: TwinChip) -> None:
    cells = np.arange(4)
    full_scale = FullScale(1e-3, 127)
    dtype = np.float64 if array.dac.exact else np.float32
    polarities = np.full(4, Polarity.SET, np.int64)
    for _ in range(2):  # the second product follows the pulses
        array.read_codes(cells // 2, cells % 2, 0.1, full_scale)
        lines = np.arange(2)
        array.product_codes(True, lines, lines, np.full((1, 2), 0.1, dtype), full_scale)
        array.stress(cells, polarities, np.full(4, 1.0), np.full(4, 2.0), np.full(4, 1e-6))
        chip.clock.advance(2 * array.preset.relaxation.update_interval_s)
        array.conducting_S(np.full(2, 2.0))
