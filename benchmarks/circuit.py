"""Times of the exact crossbar circuit (eapu_hil.twin.circuit) beside a sparse LU of the same circuit.

    OMP_NUM_THREADS=1 python benchmarks/circuit.py

All ways are timed in turn in one process, so that the ratios hold on a busy or a slow machine too. The mean
of a step with writes includes the factorisations that become due on the way, the median hardly ever does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.sparse import block_array, csr_array, diags_array, eye_array, kron
from scipy.sparse.linalg import splu

from eapu_hil.hal import FloatArray
from eapu_hil.twin.circuit import LineNetwork

SEGMENT_OHM = 1.0
ROUNDS = 21


def wire(nodes: int, open_end: int) -> csr_array:
    """Laplacian of one wire in units of a segment, held at its far end and open at `open_end`."""
    diagonal = np.full(nodes, 2.0)
    diagonal[open_end] -= 1.0
    beside = np.full(nodes - 1, -1.0)
    return csr_array(diags_array([beside, diagonal, beside], offsets=(-1, 0, 1)))


def sparse_lu(g_S: FloatArray) -> FloatArray:
    """The transfer matrix from one sparse factorisation, one solve a column."""
    m, n = g_S.shape
    cells = diags_array(g_S.ravel())
    rows = kron(eye_array(m), wire(n, -1)) / SEGMENT_OHM
    columns = kron(wire(m, 0), eye_array(n)) / SEGMENT_OHM
    system = block_array([[rows + cells, -cells], [-cells, columns + cells]]).tocsc()
    ends = np.zeros((2 * m * n, n))
    ends[2 * m * n - n + np.arange(n), np.arange(n)] = 1 / SEGMENT_OHM
    factor = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    transfer_S: FloatArray = factor.solve(ends)[np.arange(m) * n] / SEGMENT_OHM
    return transfer_S


class Writes:
    """A network kept up to date while a number of cells change a step, as in training."""

    def __init__(self, g_S: FloatArray, cells: int, rng: np.random.Generator) -> None:
        self.g_S, self.cells, self.rng = g_S.copy(), cells, rng
        self.network = LineNetwork(g_S.shape, SEGMENT_OHM, SEGMENT_OHM)
        self.network.attenuation(self.g_S)

    def write(self) -> None:
        written = self.rng.choice(self.g_S.size, self.cells, replace=False)
        self.g_S.flat[written] = self.rng.uniform(2e-6, 4e-5, self.cells)

    def step(self) -> None:
        self.write()
        self.network.transfer(self.g_S)


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    g_S = rng.uniform(2e-6, 4e-5, shape)
    steps = {cells: Writes(g_S, cells, rng) for cells in (1, 8, 32, 96)}

    def factorised() -> LineNetwork:
        network = LineNetwork(shape, SEGMENT_OHM, SEGMENT_OHM)
        network.transfer(g_S)
        return network

    ways: dict[str, Callable[[], object]] = {
        "sparse LU": lambda: sparse_lu(g_S),
        "factorisation": factorised,
        **{f"step with {cells} cells written": writes.step for cells, writes in steps.items()},
    }
    taken: dict[str, list[float]] = {name: [] for name in (*ways, "attenuation")}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            taken[name].append(seconds(way))
        taken["attenuation"].append(seconds(partial(factorised().attenuation, g_S)))
    lu_s = float(np.median(taken["sparse LU"]))
    expected = sparse_lu(g_S)
    off = np.abs(factorised().transfer(g_S) - expected).max() / expected.max()
    lines = [
        f"{shape[0]} x {shape[1]}, largest difference from the sparse LU {off:.1e} of the largest element",
        f"  {'':28s}{'median':>10s}{'mean':>10s}",
    ]
    for name, times in taken.items():
        median_s, mean_s = float(np.median(times)), float(np.mean(times))
        ratio = lu_s / median_s
        lines.append(
            f"  {name:28s}{1e3 * median_s:7.3f} ms{1e3 * mean_s:7.3f} ms   sparse LU / this: {ratio:.1f}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    for array_shape in ((64, 64), (128, 64)):
        measure(array_shape)
