"""Times of the crossbar circuit (eapu_hil.twin.circuit), and how far its closed form is from the exact matrix.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/circuit.py [--large]

Processor time of one thread. A cold start is an elimination; a sparse LU of the same circuit stands beside it where
that ends soon. The series is 600 steps of 8 to 40 cells written at random: its worst step says how long a product may
wait. Its errors are those of every 60th step (the last of a large array): of entries, and of a product of random
voltages in units of its white noise. --large adds 512 x 512.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.sparse import block_array, csr_array, diags_array, eye_array, kron
from scipy.sparse.linalg import splu

from eapu_hil.hal import FloatArray
from eapu_hil.twin.circuit import LineNetwork
from eapu_hil.twin.elimination import Elimination

G_RANGE_S = (1e-6, 4e-5)
STEPS = 600


def wire(nodes: int, open_end: int) -> csr_array:
    """Laplacian of one wire in units of a segment, held at its far end and open at `open_end`."""
    diagonal = np.full(nodes, 2.0)
    diagonal[open_end] -= 1.0
    beside = np.full(nodes - 1, -1.0)
    return csr_array(diags_array([beside, diagonal, beside], offsets=(-1, 0, 1)))


def sparse_lu(g_S: FloatArray, segment_ohm: float) -> FloatArray:
    """The transfer matrix from one sparse factorisation, one solve a column."""
    m, n = g_S.shape
    cells = diags_array(g_S.ravel())
    rows = kron(eye_array(m), wire(n, -1)) / segment_ohm
    columns = kron(wire(m, 0), eye_array(n)) / segment_ohm
    system = block_array([[rows + cells, -cells], [-cells, columns + cells]]).tocsc()
    ends = np.zeros((2 * m * n, n))
    ends[2 * m * n - n + np.arange(n), np.arange(n)] = 1 / segment_ohm
    factor = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    transfer_S: FloatArray = factor.solve(ends)[np.arange(m) * n] / segment_ohm
    return transfer_S


def seconds(action: Callable[[], object], rounds: int) -> float:
    """Median processor time."""
    taken = []
    for _ in range(rounds):
        start = time.thread_time()
        action()
        taken.append(time.thread_time() - start)
    return float(np.median(taken))


def exact(g_S: FloatArray, segment_ohm: float) -> FloatArray:
    elimination = Elimination(g_S, segment_ohm, segment_ohm)
    elimination.advance()
    return elimination.transfer_S


def cold(shape: tuple[int, int], segment_ohm: float, rounds: int) -> float:
    g_S = np.random.default_rng(0).uniform(*G_RANGE_S, shape)

    def start() -> None:
        LineNetwork(shape, segment_ohm, segment_ohm).transfer(g_S)

    cold_s = seconds(start, rounds)
    line = f"  cold start               {1e3 * cold_s:10.2f} ms"
    if max(shape) <= 128:
        lu_s = seconds(lambda: sparse_lu(g_S, segment_ohm), 3)
        expected = sparse_lu(g_S, segment_ohm)
        off = np.abs(exact(g_S, segment_ohm) - expected).max() / expected.max()
        line += f"   sparse LU {lu_s / cold_s:.1f} times as long; largest difference {off:.0e} of the largest entry"
    say(line)
    return cold_s


def after_writes(shape: tuple[int, int], segment_ohm: float, cold_s: float) -> None:
    """Eight cells a step, none of which makes an elimination due."""
    rng = np.random.default_rng(1)
    g_S = rng.uniform(*G_RANGE_S, shape)
    network = LineNetwork(shape, segment_ohm, segment_ohm)
    network.transfer(g_S)

    def step() -> None:
        network.update(rng.choice(g_S.size, 8, replace=False), rng.uniform(*G_RANGE_S, 8))

    step_s = seconds(step, 25)
    say(f"  after 8 written cells    {1e3 * step_s:10.3f} ms   {100 * step_s / cold_s:.2f} % of a cold start")


def series(shape: tuple[int, int], segment_ohm: float) -> None:
    rng = np.random.default_rng(2)
    g_S = rng.uniform(*G_RANGE_S, shape)
    network = LineNetwork(shape, segment_ohm, segment_ohm)
    network.transfer(g_S)
    v_v, taken, entries_S, columns = rng.uniform(-0.2, 0.2, (64, shape[0])), [], [], []
    for step in range(STEPS):
        written = rng.choice(g_S.size, int(rng.integers(8, 41)), replace=False)
        g_S.flat[written] = rng.uniform(*G_RANGE_S, written.size)
        start = time.thread_time()
        transfer_S = network.update(written, g_S.flat[written])
        taken.append(time.thread_time() - start)
        if step % 60 == 59 and (max(shape) <= 128 or step == STEPS - 1):
            error_S = transfer_S - exact(g_S, segment_ohm)
            entries_S.append(np.abs(error_S).max())
            noise_S = np.hypot(0.03e-6, 0.004 * g_S) * network.attenuation(g_S)
            noise_a = np.sqrt(np.square(v_v) @ np.square(noise_S))
            columns.append(np.sqrt(np.mean(np.square((v_v @ error_S) / noise_a), axis=0)).max())
    median_s, worst_s = float(np.median(taken)), max(taken)
    say(
        f"  {STEPS} steps of 8 to 40      {1e3 * median_s:10.3f} ms   mean {1e3 * np.mean(taken):.3f} ms, worst"
        f" {1e3 * worst_s:.2f} ms ({worst_s / median_s:.1f} medians); {network.eliminations - 1} eliminations;"
        f" errors: entries {1e6 * max(entries_S):.4f} uS, columns {100 * max(columns):.2f} % of the white noise"
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def measure(shape: tuple[int, int], segment_ohm: float) -> None:
    say(f"{shape[0]} x {shape[1]}, {segment_ohm} ohm a segment")
    cold_s = cold(shape, segment_ohm, 7 if max(shape) <= 128 else 1)
    if max(shape) <= 256:
        after_writes(shape, segment_ohm, cold_s)
        series(shape, segment_ohm)


if __name__ == "__main__":
    LineNetwork((8, 8), 1.0, 1.0).transfer(np.ones((8, 8)))  # compiles
    for array_shape in ((128, 64), (128, 128), (256, 256)):
        for ohm in (0.35, 1.0) if array_shape == (128, 64) else (0.35,):
            measure(array_shape, ohm)
    if "--large" in sys.argv[1:]:
        measure((512, 512), 0.35)
