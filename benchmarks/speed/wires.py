"""Resistive lines: a product after a write costs what the wires have to be solved anew.

Only products are timed. A product after 8 written cells less one after none is the correction; a product after all
cells were written less one after none is a new solve.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from functools import partial

import numpy as np
from peers import there

from eapu_hil.bench.array import BenchArray
from eapu_hil.hal import Cells, Direction, Targets
from speed.benches import random_targets_S, twin
from speed.figures import Figure, ms, needs
from speed.timing import processor_s, user_s

FEW, VECTORS, PATIENCE_s = 8, 64, 120
COLD = """
import numpy as np
from speed.benches import twin
from eapu_hil.hal import Direction
with twin(1, (512, 512), commission=False) as bench:
    bench.arrays[0].vmm(np.full((1, 512), 0.1), Direction.FORWARD)
"""


def _write(array: BenchArray, rng: np.random.Generator, count: int) -> None:
    rows, columns = array.shape
    chosen = rng.choice(rows * columns, count, replace=False)
    array.program(Targets(Cells(chosen // columns, chosen % columns), random_targets_S(rng, count)))


def after_writes() -> list[Figure]:
    """An array of 128 x 64 cells."""
    rng, shape = np.random.default_rng(0), (128, 64)
    calm, few, whole = [], [], []
    with twin(1, shape) as bench:
        array = bench.arrays[0].without_record()
        v_in_v = rng.uniform(-0.2, 0.2, (VECTORS, shape[0]))
        product = partial(array.vmm, v_in_v, Direction.FORWARD)
        for _ in range(12):
            _write(array, rng, shape[0] * shape[1])
            whole.append(processor_s(product))
        for _ in range(96):
            calm.append(processor_s(product))
            _write(array, rng, FEW)
            few.append(processor_s(product))
        g_S = np.maximum(array.read(Cells.all(shape), bench.recipe.v_read_v).g_S.reshape(shape), 1e-9)
    calm_s = statistics.median(calm)
    correction_s, solve_s = statistics.median(few) - calm_s, statistics.median(whole) - calm_s
    mean_s = statistics.mean(few) - calm_s
    work = f"wires of 128 x 64 after {FEW} written cells"
    figures = [
        Figure(work, ms(correction_s), f"x a new solve, {ms(solve_s)}", correction_s / solve_s, 0.04),
        Figure(f"{work}, mean of 96", ms(mean_s), f"x a new solve, {ms(solve_s)}", mean_s / solve_s),
    ]
    if not there("badcrossbar"):
        return [*figures, Figure("new solve of 128 x 64", ms(solve_s), needs("badcrossbar"))]
    from peers.exact_wires import exact_products

    # Any resistance of a segment takes as long.
    peer_s = statistics.median(processor_s(exact_products(g_S, 1.0, v_in_v)) for _ in range(5))
    work = f"new solve of 128 x 64 and {VECTORS} products"
    whole_s = statistics.median(whole)
    return [*figures, Figure(work, ms(whole_s), f"x badcrossbar, {ms(peer_s)}", whole_s / peer_s)]


def large() -> list[Figure]:
    """The slowest of 60 products after writes at 256 x 256, and a bench of 512 x 512 from nothing to a product."""
    rng, shape, few = np.random.default_rng(0), (256, 256), []
    with twin(1, shape) as bench:
        array = bench.arrays[0].without_record()
        _write(array, rng, shape[0] * shape[1])
        v_in_v = rng.uniform(-0.2, 0.2, (VECTORS, shape[0]))
        product = partial(array.vmm, v_in_v, Direction.FORWARD)
        product()
        for _ in range(60):
            _write(array, rng, FEW)
            few.append(processor_s(product))
    median_s, worst_s = statistics.median(few), max(few)
    work = f"256 x 256, product after {FEW} written cells, slowest of 60"
    return [
        Figure(work, ms(worst_s), f"x the median, {ms(median_s)}", worst_s / median_s, 2.0),
        _cold(),
    ]


def _cold() -> Figure:
    work = "512 x 512, opened and multiplied in a new process, s"
    try:
        took_s = user_s([sys.executable, "-P", "-c", COLD], patience_s=PATIENCE_s)
    except subprocess.TimeoutExpired:
        return Figure(work, "", f"nothing in {PATIENCE_s} s", float("inf"), 5.0)
    return Figure(work, ms(took_s), "user time", took_s, 5.0)
