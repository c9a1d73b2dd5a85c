"""Layers of PyTorch whose products run where their weights lie: on the arrays of a bench, or in torch without one.

A layer keeps its weights as a parameter too, with the numbers last read from the array: that is what the gradient with
respect to the weights belongs to, and what an optimizer sees.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eapu_hil.network.layers import Float32Array, Weights


class _Product(torch.autograd.Function):
    """x @ W.T for a parameter W of shape (n_out, n_in); forward and backward products by `weights` (n_in, n_out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parameter: Tensor, weights: Weights) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weights, ctx.dtype = weights, parameter.dtype
        return _like(weights.forward(_numpy(x)), x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (d,) = grad_outputs
        (x,) = ctx.saved_tensors
        want_x, want_parameter, _ = ctx.needs_input_grad
        d_x = _like(ctx.weights.backward(_numpy(d)), d) if want_x else None
        d_parameter = (d.T @ x).to(ctx.dtype) if want_parameter else None
        return d_x, d_parameter, None


def _numpy(x: Tensor) -> Float32Array:
    return np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float32)


def _like(y: Float32Array, x: Tensor) -> Tensor:
    return torch.from_numpy(y).to(device=x.device, dtype=x.dtype)


class CrossbarLayer(nn.Module):
    """The base of the layers.

    weight: shape (n_out, ...), flattened (n_out, n_in). bias: digital, or None. weights: where the products are made,
    shape (n_in, n_out); None for torch itself. `eapu_hil.torch.bench.BenchCells` sets it.
    """

    def __init__(self, weight_shape: tuple[int, ...], bias: bool) -> None:
        super().__init__()
        n_in = math.prod(weight_shape[1:])
        self.weight = nn.Parameter(torch.empty(weight_shape))
        self.bias = nn.Parameter(torch.zeros(weight_shape[0])) if bias else None
        self.weights: Weights | None = None
        # He et al. 2015, doi 10.1109/ICCV.2015.123, for a ReLU behind the layer, as in eapu_hil.network.layers.
        nn.init.normal_(self.weight, std=math.sqrt(2 / n_in))

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(n_in, n_out), as `eapu_hil.network.layers.Weights` has it."""
        return math.prod(self.weight.shape[1:]), self.weight.shape[0]

    def product(self, x: Tensor) -> Tensor:
        """(n, n_in) -> (n, n_out), without the bias."""
        if self.weights is None:
            return F.linear(x, self.weight.flatten(1))
        y: Tensor = _Product.apply(x, self.weight.flatten(1), self.weights)  # type: ignore[no-untyped-call]  # torch gives no types here
        return y


class CrossbarLinear(CrossbarLayer):
    """y = x W.T + b, as `torch.nn.Linear`."""

    def __init__(self, n_in: int, n_out: int, bias: bool = True) -> None:
        super().__init__((n_out, n_in), bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        y = self.product(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


class CrossbarConv2d(CrossbarLayer):
    """A convolution as one product of all patches with the weights, as `torch.nn.Conv2d` with zero padding."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__((channels_out, channels_in, kernel, kernel), bias)
        self._kernel, self._stride, self._padding = kernel, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, height, width) -> (batch, channels_out, height', width')."""
        patches = F.unfold(x, self._kernel, padding=self._padding, stride=self._stride).transpose(1, 2)
        y = self.product(patches.flatten(0, 1)).view(*patches.shape[:2], -1).transpose(1, 2)
        height = (x.shape[2] + 2 * self._padding - self._kernel) // self._stride + 1
        y = y.reshape(*y.shape[:2], height, -1)
        return y if self.bias is None else y + self.bias[:, None, None]
