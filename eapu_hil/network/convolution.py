"""Convolutions: each is one product of all patches of the images with the matrix."""

from __future__ import annotations

import numpy as np

from eapu_hil.network.layers import Float32Array, WeightLayer, Weights


class ConvLayer(WeightLayer):
    """A convolution as one product of all image patches with the matrix."""

    def __init__(self, name: str, weights: Weights, kernel: int) -> None:
        super().__init__(name, weights)
        self._kernel = kernel
        # reused from step to step: fresh megabytes cost more in page faults than the copying itself
        self._padded = np.empty((0, 0, 0, 0), dtype=np.float32)
        self._patches = np.empty((0, 0), dtype=np.float32)

    def forward(self, x: Float32Array, keep: bool) -> Float32Array:
        y = self._product(self._unfold(x, keep), keep)
        return y.reshape(*x.shape[:3], y.shape[1])

    def backward(self, d: Float32Array, want_input: bool) -> Float32Array:
        size = d.shape[:3]
        patches = self._differentiate(d.reshape(-1, d.shape[3]), want_input)
        return _fold(patches, size, self._kernel) if want_input else d

    def _unfold(self, x: Float32Array, keep: bool) -> Float32Array:
        """The patch around every pixel: (batch, h, w, c) -> (batch * h * w, kernel * kernel * c)."""
        batch, height, width, channels = x.shape
        k, r = self._kernel, self._kernel // 2
        padded_shape = (batch, height + 2 * r, width + 2 * r, channels)
        padded, patches = self._padded, self._patches
        if not keep or padded.shape != padded_shape:
            padded = np.zeros(padded_shape, dtype=np.float32)
            patches = np.empty((batch * height * width, k * k * channels), dtype=np.float32)
        if keep:
            self._padded, self._patches = padded, patches
        padded[:, r : r + height, r : r + width] = x
        # A row of a patch lies in one piece in the image.
        image, row, pixel, value = padded.strides
        windows = np.lib.stride_tricks.as_strided(
            padded, (batch, height, width, k, k * channels), (image, row, pixel, row, value), writeable=False
        )
        patches.reshape(windows.shape)[...] = windows
        return patches


def _fold(patches: Float32Array, size: tuple[int, ...], kernel: int) -> Float32Array:
    """The adjoint of `_unfold`: adds up what every patch says about a pixel, (*size, c). size: batch, h, w."""
    rows = _overlaid(patches.reshape(*size, kernel, -1), axis=1)
    return _overlaid(rows.reshape(*size, kernel, -1), axis=2)


def _overlaid(taps: Float32Array, axis: int) -> Float32Array:
    """The sum of all taps, each where it belongs: (batch, h, w, kernel, n) -> (batch, h, w, n).

    axis: along which they lie side by side, the middle one in place.
    """
    kernel, length = taps.shape[3], taps.shape[axis]
    total = taps[:, :, :, kernel // 2].copy()
    for tap in range(kernel):
        offset = tap - kernel // 2
        if offset:
            to, source = _shifted(offset, length)
            before = (slice(None),) * axis
            total[(*before, to)] += taps[:, :, :, tap][(*before, source)]
    return total


def _shifted(offset: int, length: int) -> tuple[slice, slice]:
    """Where pixels at +offset of a patch centre lie in the image, and the centres they belong to."""
    return slice(max(offset, 0), length + min(offset, 0)), slice(max(-offset, 0), length - max(offset, 0))
