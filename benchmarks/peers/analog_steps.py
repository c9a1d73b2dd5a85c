"""A training step of a 256 x 256 layer, batch 64, by aihwkit: forward, backward, and an update by pulses.

What a step costs grows with the gradient: it is that of the mean square error, as in examples of aihwkit, times a
factor.
Targets are random and change, so that updates never cease.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import torch
from aihwkit.nn import AnalogLinear
from aihwkit.optim import AnalogSGD
from aihwkit.simulator.presets import (
    MixedPrecisionReRamESPreset,
    ReRamArrayHfO2PresetDevice,
    ReRamESPreset,
    TTv2ReRamESPreset,
)

SIZE, BATCH, LEARNING_RATE, BATCHES = 256, 64, 0.1, 8
# With this factor mixed precision changes half of the weights in a step, ReRamES all; with 1 they change 2 and 40 %.
STRONG = 16.0


def analog_steps() -> dict[str, Callable[[], object]]:
    """By name: stochastic gradient descent in place, mixed precision, and Tiki-Taka v2."""
    hfo2 = ReRamESPreset(device=ReRamArrayHfO2PresetDevice())
    return {
        "aihwkit ReRamES in-situ SGD": _step(ReRamESPreset(), STRONG),
        "aihwkit mixed precision": _step(MixedPrecisionReRamESPreset(), STRONG),
        "aihwkit ReRamArrayHfO2 in-situ SGD": _step(hfo2, STRONG),
        "aihwkit TTv2": _step(TTv2ReRamESPreset(), STRONG),
        "aihwkit ReRamES, small gradient": _step(ReRamESPreset(), 1.0),
        "aihwkit mixed precision, small gradient": _step(MixedPrecisionReRamESPreset(), 1.0),
    }


def _step(config: object, factor: float) -> Callable[[], object]:
    torch.manual_seed(1)
    layer = AnalogLinear(SIZE, SIZE, bias=False, rpu_config=config)
    optimizer = AnalogSGD(layer.parameters(), lr=LEARNING_RATE)
    optimizer.regroup_param_groups(layer)
    inputs, targets = torch.randn(2, BATCHES, BATCH, SIZE)
    batches = cycle(zip(inputs, targets, strict=True))

    def step() -> None:
        x, target = next(batches)
        optimizer.zero_grad()
        loss = factor * (layer(x.requires_grad_()) - target).square().mean()
        loss.backward()
        optimizer.step()

    return step
