"""What PyTorch takes without any physics: a training step of a linear layer, and a step of an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np
import torch
from numpy.typing import NDArray

SIZE, BATCH = 256, 64


def digital_step() -> Callable[[], object]:
    """Forward, backward and stochastic gradient descent of a 256 x 256 layer, batch 64."""
    torch.manual_seed(1)
    layer = torch.nn.Linear(SIZE, SIZE, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    x, target = torch.randn(2, BATCH, SIZE)
    x.requires_grad_()

    def step() -> None:
        optimizer.zero_grad()
        (layer(x) - target).square().sum().backward()
        optimizer.step()

    return step


def optimizer_step(
    make: Callable[[Sequence[torch.Tensor]], torch.optim.Optimizer], grads: Sequence[NDArray[np.float32]]
) -> Callable[[], object]:
    """A step of the optimizer that `make` gives for one matrix. grads: used in turn, each of the matrix's shape."""
    weights = torch.zeros(grads[0].shape, requires_grad=True)
    optimizer = make([weights])
    in_turn = cycle([torch.from_numpy(grad) for grad in grads])

    def step() -> None:
        weights.grad = next(in_turn)
        optimizer.step()

    return step
