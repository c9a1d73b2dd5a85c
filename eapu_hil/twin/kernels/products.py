"""Products: the matrices of the moment, and what converters make of the currents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled, vectorised
from eapu_hil.hal import FloatArray
from eapu_hil.twin.kernels.noise import Noise, draw_normals

Real = NDArray[np.floating]
_CHUNK = 256  # numbers of each half, while their noise is in the cache


@vectorised
def current_matrices(
    transfer_S: FloatArray,
    attenuation: NDArray[np.float32],
    g_S: FloatArray,
    slow: NDArray[np.float32],
    white_S2: float,
    white2: float,
    product_S: Real,
    variance_S2: NDArray[np.float32],
) -> None:
    """Current per volt of each cell at the moment, S, and its variance from the white noise of the cell, S^2.

    Of a whole array; all flat, row after row, the last two filled. white_S2, white2: squares of the absolute and the
    relative noise.
    """
    for k in range(product_S.size):
        g, share = g_S[k], attenuation[k]
        product_S[k] = transfer_S[k] + slow[k] * g * share
        variance_S2[k] = (white_S2 + white2 * g * g) * share * share


@vectorised
def amplify(current_a: Real, variance_a2: NDArray[np.float32], gain: Real) -> None:
    """Applies the gain of each line's converter to currents (batch, lines) and to their variance, in place.

    variance_a2: (batch, lines), or (0, 0) for none.
    """
    gain2 = (gain**2).astype(np.float32)
    for vector in range(current_a.shape[0]):
        row = current_a[vector]
        for j in range(gain.size):
            row[j] *= gain[j]
    for vector in range(variance_a2.shape[0]):
        spread = variance_a2[vector]
        for j in range(gain.size):
            spread[j] *= gain2[j]


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
    if not carried.size and own == 0:
        return
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


@compiled
def measured(
    current_a: Real,
    variance_a2: NDArray[np.float32],
    gain: Real,
    offset: FloatArray,
    ranges_a: FloatArray,
    own_sd: float,
    top_code: float,
    noise: Noise,
) -> None:
    """What converters make of currents (arrays, batch, lines), in place.

    Those of an array are measured in the smallest of `ranges_a` that holds the largest of them.
    variance_a2: see `disturb`; (1, 0, 0) for none. gain, offset: of each line, (arrays, lines); own_sd: of the
    converter's own noise; the last two are shares of the range. top_code: 0 for a converter that does not round.
    """
    for k in range(current_a.shape[0]):
        its_a, spread_a2 = current_a[k], variance_a2[min(k, variance_a2.shape[0] - 1)]
        amplify(its_a, spread_a2, gain[k])
        largest_a, range_a = largest(its_a.reshape(-1)), ranges_a[-1]
        for at in range(ranges_a.size - 1, -1, -1):
            if ranges_a[at] >= largest_a:
                range_a = ranges_a[at]
        disturb(
            its_a, spread_a2, (range_a * offset[k]).astype(current_a.dtype), (own_sd * range_a) ** 2, noise
        )
        if top_code > 0:
            rounded(its_a.reshape(-1), range_a / top_code, top_code)


@vectorised
def quantised(values: Real, per_step: float, found: NDArray[np.float32]) -> float:
    """Fills `found` with flat values rounded to whole steps. Returns the largest magnitude, in steps."""
    inverse, step, most = np.float32(1.0 / per_step), np.float32(per_step), np.float32(0)
    for i in range(values.size):
        code = np.rint(np.float32(values[i]) * inverse)
        found[i] = code * step
        most = max(most, abs(code))
    return float(most)
