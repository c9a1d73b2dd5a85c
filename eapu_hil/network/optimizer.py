"""Optimizers whose state lives on the host, and the schedule of their learning rate.

They only compute the wanted change of each weight; an update rule decides what becomes of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, model_validator

from eapu_hil.hal import HilError

GradArray = NDArray[np.float32]
State = dict[str, NDArray[Any]]

_CHUNK = 65_536  # weights worked on at a time, so that they stay in the cache

Decay = Annotated[float, Field(ge=0, lt=1)]


class _Schedule(BaseModel):
    """Learning rate.

    lr: the largest rate.
    warmup_steps: linear rise over this many first steps.
    schedule: `constant` afterwards, or `cosine` down to `final_fraction * lr` at the end of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: PositiveFloat
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: NonNegativeInt = 0
    final_fraction: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _fraction_needs_cosine(self) -> _Schedule:
        if self.schedule == "constant" and self.final_fraction != 0:
            raise ValueError("final_fraction needs schedule: cosine")
        return self

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step` (from 0) of a run of `steps`."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.lr
        progress = min(1.0, (step - self.warmup_steps) / max(1, steps - self.warmup_steps))
        fraction = self.final_fraction + (1 - self.final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))
        return self.lr * fraction


class AdamConfig(_Schedule):
    """Adam. betas: decay of the mean gradient and of the mean square. eps: added to the root of that."""

    name: Literal["adam"] = "adam"
    lr: PositiveFloat = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8


class SgdConfig(_Schedule):
    """Gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.1
    momentum: Decay = 0.9


OptimizerConfig = Annotated[AdamConfig | SgdConfig, Field(discriminator="name")]


class Optimizer(Protocol):
    """One instance for each tensor."""

    def step(self, grad: GradArray, lr: float) -> GradArray:
        """The change to add to the tensor, in its units and shape.

        The array is reused: it holds until the next call. Raises ValueError if `grad` has another shape.
        """
        ...

    def state(self) -> State:
        """A copy of what a checkpoint has to keep."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `state` returned. Raises HilError if it belongs to another optimizer or tensor."""
        ...


class Adam:
    """Adam without weight decay: Kingma & Ba, arXiv 1412.6980, algorithm 1. The same step as torch's Adam.

        m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2      change = -lr m_hat / (sqrt(v_hat) + eps)

    The state keeps m / (1 - b1) and v / (1 - b2), and the bias corrections go into two scalars: one pass.
    """

    def __init__(
        self, shape: tuple[int, ...], *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self._shape = shape
        self._betas = betas
        self._eps = eps
        self._steps = 0
        self._mean, self._square, self._change = np.zeros((3, math.prod(shape)), np.float32)

    def step(self, grad: GradArray, lr: float) -> GradArray:
        """See `Optimizer.step`."""
        from eapu_hil.network.kernels.adam import (
            adam_step,
        )  # its compiler takes its time; a configuration needs none

        flat = _flat(grad, self._shape)
        self._steps += 1
        beta1, beta2 = self._betas
        # sqrt(v_hat) = root * sqrt(square), so eps / root can be added before the division.
        root = math.sqrt((1 - beta2) / (1 - beta2**self._steps))
        factor = np.float32(-lr * (1 - beta1) / (1 - beta1**self._steps) / root)
        eps, decay1, decay2 = np.float32(self._eps / root), np.float32(beta1), np.float32(beta2)
        adam_step(flat, self._mean, self._square, self._change, (decay1, decay2), eps, factor)
        return self._change.reshape(self._shape)

    def state(self) -> State:
        """`mean`, `square`: m / (1 - b1) and v / (1 - b2), flat; `steps`: how many were made."""
        return {"mean": self._mean.copy(), "square": self._square.copy(), "steps": np.array(self._steps)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Optimizer.restore`."""
        _require_state(state, {"mean": self._mean.shape, "square": self._square.shape, "steps": ()})
        self._mean[:] = state["mean"]
        self._square[:] = state["square"]
        self._steps = int(state["steps"])


class Sgd:
    """Gradient descent with momentum as torch.optim.SGD: buf = momentum buf + g, change = -lr buf."""

    def __init__(self, shape: tuple[int, ...], *, momentum: float = 0.9) -> None:
        self._shape = shape
        self._momentum = np.float32(momentum)
        self._buffer, self._change = np.zeros((2, math.prod(shape)), np.float32)

    def step(self, grad: GradArray, lr: float) -> GradArray:
        """See `Optimizer.step`."""
        flat = _flat(grad, self._shape)
        for start in range(0, flat.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            buffer = self._buffer[part]
            buffer *= self._momentum
            buffer += flat[part]
            np.multiply(buffer, np.float32(-lr), out=self._change[part])
        return self._change.reshape(self._shape)

    def state(self) -> State:
        """`buffer`: the decayed sum of gradients, flat."""
        return {"buffer": self._buffer.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Optimizer.restore`."""
        _require_state(state, {"buffer": self._buffer.shape})
        self._buffer[:] = state["buffer"]


def make_optimizer(config: OptimizerConfig, shape: tuple[int, ...]) -> Optimizer:
    """A fresh optimizer for one tensor of `shape`."""
    match config:
        case AdamConfig():
            return Adam(shape, betas=config.betas, eps=config.eps)
        case SgdConfig():
            return Sgd(shape, momentum=config.momentum)


def _flat(grad: GradArray, shape: tuple[int, ...]) -> GradArray:
    if grad.shape != shape:
        raise ValueError(f"the gradient has shape {grad.shape}, the optimizer was made for {shape}")
    return np.ascontiguousarray(grad).reshape(-1)


def _require_state(state: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[int, ...]]) -> None:
    held = {key: value.shape for key, value in state.items()}
    if held != dict(expected):
        raise HilError(f"the checkpoint's optimizer state is {held}; expected {dict(expected)}")
