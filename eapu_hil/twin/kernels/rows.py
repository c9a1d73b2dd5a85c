"""Verify reads: whole rows, with the noise of each of their cells and the resistance of the lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled, vectorised
from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.kernels.cells import CellState
from eapu_hil.twin.kernels.noise import Noise, draw_normals, normal


class Senses(NamedTuple):
    """What reads the rows. gain, offset: of each column's converter, (arrays * columns,).

    law: `ohm` of a line segment; `white_S`, `white` of the white noise; `full_scale_a`, `top_code` (0: exact), `sd_a`
    of the converters; `read_row_s` that a row takes. slot: scratch, (arrays * rows,), -1 between requests.
    """

    rows: int
    columns: int
    law: NDArray[np.void]
    gain: FloatArray
    offset: FloatArray
    slot: IntArray


@vectorised
def _sample(
    cells: CellState, law: NDArray[np.void], begin: int, z: NDArray[np.float32], sampled_S: FloatArray
) -> None:
    """Conductance of each cell of a row at this moment, S."""
    white_S2, white2 = law[0]["white_S"] ** 2, law[0]["white"] ** 2
    for j in range(sampled_S.size):
        g_S = cells.g_S[begin + j]
        sd_S = np.sqrt(white_S2 + white2 * g_S * g_S)
        sampled_S[j] = max(g_S * (1.0 + cells.slow[begin + j]) + sd_S * z[j], 0.0)


@compiled
def drive_row(g_S: FloatArray, row_ohm: float, to_ground_ohm: float, share: FloatArray) -> None:
    """Makes of the conductances of a row, driven alone, the current per volt at the foot of each column, S; in place.

    Only its gates are on, so that all other cells are off. row_ohm: of a segment of its line. to_ground_ohm: of the
    columns from there to their ends, which are at 0 V. share: scratch, (columns,). The line is a ladder: from its far
    end each node passes on a share of the voltage before it.
    """
    for j in range(g_S.size):
        g_S[j] /= 1.0 + g_S[j] * to_ground_ohm
    if row_ohm == 0.0:
        return
    passed = 1.0
    for j in range(g_S.size - 1, -1, -1):
        passed = 1.0 / (row_ohm * g_S[j] + 2.0 - passed)
        share[j] = passed
    node_v = 1.0
    for j in range(g_S.size):
        node_v *= share[j]
        g_S[j] *= node_v


@compiled
def read_row(
    cells: CellState,
    senses: Senses,
    row: int,
    noise: Noise,
    words: NDArray[np.uint32],
    z: NDArray[np.float32],
    share: FloatArray,
    seen_S: FloatArray,
) -> None:
    """See `drive_row`, with the noise of the moment; row: counted over all arrays. words, z, share: scratch."""
    law, half = senses.law[0], z.size // 2
    if law["noisy"] > 0:
        draw_normals(noise.state, words[:half], words[half:], z[:half], z[half:])
    _sample(cells, senses.law, row * senses.columns, z, seen_S)
    drive_row(seen_S, law["ohm"], law["ohm"] * (senses.rows - row % senses.rows), share)


@compiled
def converted(current_a: float, senses: Senses, line: int, noise: Noise) -> float:
    """What the converter of a column makes of a current, A, once its gain is in it."""
    law = senses.law[0]
    full_scale_a, top_code = law["full_scale_a"], law["top_code"]
    current_a += full_scale_a * senses.offset[line]
    if law["sd_a"] > 0:
        current_a += law["sd_a"] * normal(noise)
    if top_code > 0:
        code = min(max(np.rint(current_a * (top_code / full_scale_a)), -top_code), top_code)
        current_a = code * (full_scale_a / top_code)
    return current_a


@compiled
def sense(
    cells: CellState, senses: Senses, index: IntArray, count: int, noise: Noise, current_S: FloatArray
) -> int:
    """Reads the first `count` cells of `index`, each row once: current per volt in front of the converters, S.

    Returns how many rows were read.
    """
    columns = senses.columns
    padded = 2 * (-(-columns // 32) * 16)  # two halves, each a multiple of the random numbers' lanes
    words, z = np.empty(padded, np.uint32), np.zeros(padded, np.float32)
    share = np.empty(columns)
    rows = 0
    for k in range(count):
        row = index[k] // columns
        if senses.slot[row] < 0:
            senses.slot[row] = rows
            rows += 1
    seen_S = np.empty((rows, columns))
    done = 0
    for k in range(count):
        row, column = index[k] // columns, index[k] % columns
        slot = senses.slot[row]
        if slot == done:
            read_row(cells, senses, row, noise, words, z, share, seen_S[slot])
            done += 1
        current_S[k] = seen_S[slot, column]
    for k in range(count):
        senses.slot[index[k] // columns] = -1
    return rows


@compiled
def read_cells(
    cells: CellState,
    senses: Senses,
    index: IntArray,
    count: int,
    v_row_v: float,
    noise: Noise,
    g_S: FloatArray,
    saturated: NDArray[np.bool_],
) -> float:
    """Reads the first `count` cells of `index` at `v_row_v`: conductances as measured, S, and where a converter was at
    its end. Returns the bench time that it takes, s.
    """
    columns, law = senses.columns, senses.law[0]
    rows = sense(cells, senses, index, count, noise, g_S)
    for k in range(count):
        line = index[k] // columns // senses.rows * columns + index[k] % columns
        current_a = converted(g_S[k] * v_row_v * senses.gain[line], senses, line, noise)
        g_S[k] = current_a / v_row_v
        saturated[k] = law["top_code"] > 0 and abs(current_a) >= law["full_scale_a"] * (1 - 1e-9)
    return float(rows * law["read_row_s"])
