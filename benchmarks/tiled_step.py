"""The processor time of a training step of one large layer, tiled over all arrays of a bench.

Usage: python benchmarks/tiled_step.py [STEPS]

A layer of 256 x 256 on 16 arrays of 128 x 64 of the twin, batch 64: both products, the gradient, and a write of 29
weights with verify, on the disk before it is believed. Prints the median and the quartiles, and where the time goes.
The chip is one whose cells need no forming, so that the script begins at once.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from eapu_hil.bench import open_bench
from eapu_hil.placement.array_weights import ArrayWeights
from eapu_hil.placement.mapping import place
from eapu_hil.placement.pairs import ConductancePairs, WriteBatch
from eapu_hil.training.records import write_records

SIZE, BATCH, WRITES = 256, 64, 29
ARRAYS, SHAPE = 16, (128, 64)
BENCH = {
    "backend": "twin",
    "arrays": ARRAYS,
    "shape": list(SHAPE),
    "overrides": {"forming.enabled": False, "faults.stuck_fraction": 0.0},
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 1000,
    },
}


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    profile, times_s = cProfile.Profile(), []
    with tempfile.TemporaryDirectory() as directory, open_bench(BENCH, commission=False) as bench:
        log = (Path(directory) / "writes.bin").open("wb", buffering=0)

        def on_written(batch: WriteBatch) -> None:
            log.write(write_records(1, 0.0, batch.array, batch.targets, batch.outcome).tobytes())
            os.fsync(log.fileno())

        recipe, arrays = bench.recipe, bench.arrays.without_record()
        shapes = {"layer": (SIZE, SIZE)}
        tiles = place(shapes, [np.zeros(SHAPE)] * ARRAYS)
        r_wg = {"layer": 0.3 / (recipe.g_max_S - recipe.g_min_S)}
        bad = [np.zeros(SHAPE, bool)] * ARRAYS
        pairs = ConductancePairs(
            arrays, tiles, shapes, r_wg, recipe, lambda g_S: 1e-6 + 0.02 * g_S, bad, on_written
        )
        rng = np.random.default_rng(1)
        pairs.program_matrix("layer", 0.08 * rng.standard_normal((SIZE, SIZE), dtype=np.float32))
        weights = ArrayWeights((SIZE, SIZE), arrays, tiles["layer"], r_wg["layer"], recipe.v_in_max_v)
        always = recipe.model_copy(update={"rewrite_in_band": True})

        def step() -> None:
            x = rng.standard_normal((BATCH, SIZE), dtype=np.float32)
            d = weights.forward(x)
            weights.backward(d)
            x.T @ d  # the gradient
            chosen = rng.choice(SIZE * SIZE, WRITES, replace=False)
            pairs.write(chosen, rng.choice([-4e-6, 4e-6], WRITES), always)

        step()
        for _ in range(steps):
            began_s = time.process_time()
            step()
            times_s.append(time.process_time() - began_s)
        profile.enable()
        for _ in range(steps):
            step()
        profile.disable()
        log.close()
    low, middle, high = 1e3 * np.percentile(times_s, [25, 50, 75])
    print(
        f"{SIZE} x {SIZE} on {ARRAYS} arrays, {WRITES} writes: {middle:.1f} ms a step ({low:.1f} to {high:.1f})"
    )
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
