"""Verify reads: whole rows, with the noise of each of their cells and the resistance of the lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.kernels.cells import CellState
from eapu_hil.twin.kernels.compiling import compiled, vectorised
from eapu_hil.twin.kernels.noise import Noise, draw_normals, normal


class Senses(NamedTuple):
    """What reads the rows. gain, offset: of each column's converter, (arrays * columns,).

    law: `ohm` of a line segment; `white_S`, `white` of the white noise; `full_scale_a`, `top_code` (0: exact), `sd_a`
    of the converters; `row_s` that a row takes. slot: scratch, (arrays * rows,), -1 between requests.
    """

    rows: int
    columns: int
    law: NDArray[np.void]
    gain: FloatArray
    offset: FloatArray
    slot: IntArray


@vectorised
def _sample(
    cells: CellState,
    law: NDArray[np.void],
    begin: int,
    z: NDArray[np.float32],
    to_ground_ohm: float,
    path_S: FloatArray,
) -> None:
    """Conductance of each cell of a row at this moment, in series with the rest of its column, S."""
    white_S, white = law[0]["white_S"] ** 2, law[0]["white"] ** 2
    for j in range(path_S.size):
        g_S = cells.g_S[begin + j]
        sampled_S = g_S * (1.0 + cells.slow[begin + j]) + np.sqrt(white_S + white * g_S * g_S) * z[j]
        sampled_S = max(sampled_S, 0.0)
        path_S[j] = sampled_S / (1.0 + sampled_S * to_ground_ohm)


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
    """Current per volt at the foot of each column when this row of the chip is driven alone, S.

    row: counted over all arrays. words, z, share: scratch. The row's line is a ladder: from its far end each node
    passes on a share of the voltage before it.
    """
    columns, half = senses.columns, z.size // 2
    if senses.law[0]["noisy"] > 0:
        draw_normals(noise.state, words[:half], words[half:], z[:half], z[half:])
    ohm = senses.law[0]["ohm"]
    to_ground_ohm = ohm * (senses.rows - row % senses.rows)
    _sample(cells, senses.law, row * columns, z, to_ground_ohm, seen_S)
    if ohm == 0.0:
        return
    passed = 1.0
    for j in range(columns - 1, -1, -1):
        passed = 1.0 / (ohm * seen_S[j] + 2.0 - passed)
        share[j] = passed
    node_v = 1.0
    for j in range(columns):
        node_v *= share[j]
        seen_S[j] *= node_v


@compiled
def converted(current_a: float, senses: Senses, line: int, noise: Noise) -> float:
    """What the converter of a column makes of a current, A."""
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

    The gain of the converters is in it. Returns how many rows were read.
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
        current_S[k] = seen_S[slot, column] * senses.gain[row // senses.rows * columns + column]
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
        current_a = converted(g_S[k] * v_row_v, senses, line, noise)
        g_S[k] = current_a / v_row_v
        saturated[k] = law["top_code"] > 0 and abs(current_a) >= law["full_scale_a"] * (1 - 1e-9)
    return float(rows * law["row_s"])
