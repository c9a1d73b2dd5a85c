"""Products: the matrices of the moment, and what converters make of the currents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.kernels.compiling import compiled, vectorised
from eapu_hil.twin.kernels.noise import Noise, draw_normals

Real = NDArray[np.floating]
_CHUNK = 256  # numbers of each half, while their noise is in the cache


@compiled
def chosen_matrices(
    transfer_S: FloatArray,
    attenuation: NDArray[np.float32],
    g_S: FloatArray,
    slow: NDArray[np.float32],
    white_S2: float,
    white2: float,
    gain: FloatArray,
    driven: IntArray,
    measured: IntArray,
    forward: bool,
    product_S: Real,
    variance_S2: NDArray[np.float32],
) -> None:
    """What products of some lines need: current per volt, S, and its variance from the white noise of the cells, S^2.

    transfer_S, attenuation: (rows, columns) of the whole array. g_S, slow: (rows * columns,). white_S2, white2: squares
    of the absolute and the relative noise. gain: of the measured lines' converters. forward: whether rows are driven.
    product_S, variance_S2: (driven, measured), filled.
    """
    columns = transfer_S.shape[1]
    for a in range(driven.size):
        for b in range(measured.size):
            i, j = (driven[a], measured[b]) if forward else (measured[b], driven[a])
            g, share = g_S[i * columns + j], attenuation[i, j]
            product_S[a, b] = (transfer_S[i, j] + slow[i * columns + j] * g * share) * gain[b]
            variance_S2[a, b] = (white_S2 + white2 * g * g) * (share * gain[b]) ** 2


@vectorised
def largest(values: Real) -> float:
    """The largest magnitude; `values` is flat."""
    found = values.dtype.type(0)
    for i in range(values.size):
        found = max(found, abs(values[i]))
    return float(found)


@vectorised
def disturb(
    current_a: Real, variance_a2: NDArray[np.float32], offset_a: Real, own_a2: float, noise: Noise
) -> None:
    """Adds offsets and noise to currents (batch, lines), in place.

    variance_a2: of the noise that each current carries already, (batch, lines), or (0, 0) for none. own_a2: of the
    converter's own noise. Both are independent and normal, so that one draw stands for both.
    """
    lines = current_a.shape[1]
    flat, carried = current_a.reshape(-1), variance_a2.reshape(-1)
    words = np.empty(2 * _CHUNK, np.uint32)
    z = np.empty(2 * _CHUNK, np.float32)
    own = np.float32(own_a2)
    for vector in range(current_a.shape[0]):
        row = current_a[vector]
        for j in range(lines):
            row[j] += offset_a[j]
    for begin in range(0, flat.size, 2 * _CHUNK):
        draw_normals(noise.state, words[:_CHUNK], words[_CHUNK:], z[:_CHUNK], z[_CHUNK:])
        part = flat[begin : begin + 2 * _CHUNK]
        if carried.size:
            spread = carried[begin : begin + 2 * _CHUNK]
            for k in range(part.size):
                part[k] += np.sqrt(spread[k] + own) * z[k]
        else:
            sd = np.sqrt(own)
            for k in range(part.size):
                part[k] += sd * z[k]


@vectorised
def rounded(values: Real, per_code: float, top_code: float) -> None:
    """Rounds flat values to whole codes and back, in place; those beyond the largest code become it."""
    step = values.dtype.type(per_code)
    inverse, top = values.dtype.type(1.0 / per_code), values.dtype.type(top_code)
    for i in range(values.size):
        code = np.rint(values[i] * inverse)
        values[i] = min(max(code, -top), top) * step
