"""aihwkit's `program_weights` on 256 x 256 cells: passes of pulses and reads of the whole tile (device ReRamES)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from aihwkit.nn import AnalogLinear
from aihwkit.simulator.presets import ReRamESPreset

SIZE, PASSES = 256, 20


def analog_writing() -> Callable[[], object]:
    """Each call programs other random targets, in `PASSES` passes."""
    torch.manual_seed(1)
    layer = AnalogLinear(SIZE, SIZE, bias=False, rpu_config=ReRamESPreset())
    (tile,) = layer.analog_tiles()

    def write() -> None:
        tile.tile.set_weights(torch.rand(SIZE, SIZE) - 0.5)
        tile.program_weights(from_reference=False, max_iter=PASSES, tolerance=None)

    return write
