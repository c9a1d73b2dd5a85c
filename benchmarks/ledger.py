"""What a training step costs on chips of 1e3 to 1e7 cells of which the network uses 444: nothing should grow.

    python benchmarks/ledger.py [CELLS_MAX]

The same small network is trained with wear levelling on chips of one array of growing size, and of a growing number of
arrays of 128 x 64. The arrays answer at once and hold no physics, so what is left is the account: interlock, ledger,
records, placement and rules. Processor time of one thread, medians (set OMP_NUM_THREADS=1).

A checkpoint is one with a look at the wear of rows, a refresh one with a look at every cell that is used. Begin and end
of the run read the whole chip and keep its counters, as the closing and opening of a chip do.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.loading import load_model
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.chip_id import chip_id
from eapu_hil.bench.config import BenchConfig
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.interlock import Interlock
from eapu_hil.bench.ledger import Ledger
from eapu_hil.bench.opening import Bench
from eapu_hil.bench.passport import Chip, own_chip
from eapu_hil.hal import (
    Cells,
    Direction,
    FloatArray,
    Identity,
    IntArray,
    Limits,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.training.array_model import ArrayModel
from eapu_hil.training.bench_account import BenchAccount
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.loop import TrainingLoop
from eapu_hil.training.matrices import choose_layout
from eapu_hil.training.run_store import RunStore

STEPS, CHECKPOINT_EVERY, REFRESH_EVERY = 100, 20, 25
ERROR_S = 2e-6
CHIPS = [(1, (side, side)) for side in (32, 100, 316, 1000, 3162)] + [
    (arrays, (128, 64)) for arrays in (1, 12, 122, 1220)
]


class PlainArray:
    """A `Crossbar` without physics: cells hold what they are told, give or take `ERROR_S`."""

    def __init__(self, number: int, shape: tuple[int, int], limits: Limits) -> None:
        self.identity = Identity("plain", f"plain-{number}", "", "")
        self.shape, self.limits = shape, limits
        self._g_S = np.full(shape, 2e-6)
        self._rng = np.random.default_rng(number)
        self._clock_s = 0.0

    def clock_s(self) -> float:
        return self._clock_s

    def wait(self, duration_s: float) -> None:
        self._clock_s += duration_s

    def read(self, cells: Cells, v_read_v: float) -> Reading:  # noqa: ARG002 - the contract fixes it
        return Reading(self._g_S[cells.row, cells.col], np.zeros(len(cells), np.uint8))

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> FloatArray:
        g_S = self._g_S if direction is Direction.FORWARD else self._g_S.T
        driven = slice(None) if lines_in is None else lines_in[:, None]
        part_S = g_S[driven, slice(None) if lines_out is None else lines_out]
        currents_a: FloatArray = v_in_v.astype(np.float64) @ part_S
        return currents_a

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        return PulseOutcome(np.zeros(len(pulses.cells), np.uint8))

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:  # noqa: ARG002 - the contract fixes it
        at, n = (targets.cells.row, targets.cells.col), len(targets.cells)
        before_S = self._g_S[at]
        self._g_S[at] = np.maximum(targets.g_target_S + ERROR_S * self._rng.standard_normal(n), 1e-7)
        pulses, reads, energy_j = np.full(n, 3), np.full(n, 4), np.full(n, 1e-12)
        return WriteOutcome(before_S, self._g_S[at], pulses, reads, energy_j, np.zeros(n, np.uint8))

    def ground(self) -> None: ...


@dataclass
class Clock:
    """A `Progress` that notes the processor time of this thread at the end of each step."""

    ends_s: list[float] = field(default_factory=list)

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None:  # noqa: ARG002 - the contract fixes it
        self.ends_s.append(time.thread_time())

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_end(self) -> None: ...

    def medians_s(self) -> tuple[float, float, float]:
        """Of a step, and of what a checkpoint and a refresh take beyond it."""
        steps_s = dict(zip(range(2, STEPS + 1), np.diff(self.ends_s), strict=True))
        saved = [step for step in steps_s if step % CHECKPOINT_EVERY == 1]
        looked = [step for step in steps_s if step % REFRESH_EVERY == 1]
        step_s = statistics.median(s for step, s in steps_s.items() if step not in (*saved, *looked))
        checkpoint_s, refresh_s = (statistics.median(steps_s[at] for at in its) for its in (saved, looked))
        return step_s, checkpoint_s - step_s, refresh_s - step_s


@contextmanager
def plain_bench(config: BenchConfig, directory: Path) -> Iterator[Bench]:
    """What `open_bench` makes of a bench file, of `PlainArray`s."""
    with own_chip(directory):
        known = (directory / "passport.yaml").exists()
        ledger = Ledger(directory / "ledger", config.arrays, config.shape, chip_id(directory), known=known)
        limits = config.limits.as_limits()
        if known:
            chip = Chip.open(directory)
        else:
            chip = Chip.create(directory, "plain", "plain", config.shape, config.arrays, simulated=True)
            chip.record_ledger()
            error = {
                "levels_S": [1e-6],
                "sigma_write_S": [ERROR_S],
                "sigma_relax_S": [0.0],
                "relax_time_s": 1,
            }
            chip.record("write_error", error, {}, 0.0)
        arrays = []
        for number in range(config.arrays):
            device = PlainArray(number, config.shape, limits)
            interlock = Interlock(device, limits, f"array {number}")
            none = Corrections.none(config.shape)
            arrays.append(BenchArray(device, interlock, config.recipe, ledger.arrays[number], none))
        try:
            yield Bench(config, arrays, chip, ledger, config.recipe)
        finally:
            for array in arrays:
                array.close()
            ledger.close()


def experiment(arrays: int, shape: tuple[int, int]) -> ExperimentConfig:
    changes = {
        "task.hidden": 3,
        "bench.arrays": arrays,
        "bench.shape": list(shape),
        "steps": STEPS,
        "evaluate_every": STEPS,
        "checkpoint_every": CHECKPOINT_EVERY,
        "refresh_every": REFRESH_EVERY,
        "wear_levelling": {"threshold_growth": 1.0, "share_pairs": True, "move_rows": True},
    }
    return load_model(ExperimentConfig, "digits", changes, "experiments")


def measure(arrays: int, shape: tuple[int, int], scratch: Path) -> list[float]:
    """Seconds: to make the chip, a step, a checkpoint, a refresh, begin and end of the run, close and open the chip."""
    config = experiment(arrays, shape)
    task = config.task.make()
    clock, started_s = Clock(), time.thread_time()
    with plain_bench(config.bench, scratch / "chip") as bench, RunStore.create(scratch / "run", {}) as store:
        opened_s = time.thread_time()
        layout = choose_layout(task, bench, config.rule)
        model = ArrayModel(task, config, bench, layout, store)
        TrainingLoop(config, task, model, BenchAccount(bench, layout), store).run(clock)
        ended_s = time.thread_time()
    closed_s = time.thread_time()
    with plain_bench(config.bench, scratch / "chip"):
        again_s = time.thread_time()
    around_s = ended_s - opened_s - (clock.ends_s[-1] - clock.ends_s[0])
    return [*clock.medians_s(), around_s, opened_s - started_s, closed_s - ended_s, again_s - closed_s]


def main() -> None:
    most = float(sys.argv[1]) if len(sys.argv) > 1 else 1.1e7
    print(
        f"{'chip':>18} {'cells':>9}   ms: {'step':>7} {'checkpoint':>10} {'refresh':>8}   "
        f"s: {'begin + end':>11} {'new chip':>8} {'close':>6} {'open':>6}"
    )
    for arrays, shape in CHIPS:
        cells = arrays * shape[0] * shape[1]
        if cells > most:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            step, checkpoint, refresh, *others = measure(arrays, shape, Path(scratch))
        milli = " ".join(f"{1e3 * s:{width}.2f}" for s, width in ((step, 7), (checkpoint, 10), (refresh, 8)))
        whole = " ".join(f"{s:{width}.2f}" for s, width in zip(others, (11, 8, 6, 6), strict=True))
        print(f"{arrays:5} x {shape[0]:4} x {shape[1]:4} {cells:9}       {milli}      {whole}", flush=True)


if __name__ == "__main__":
    main()
