"""Benches and experiments that several figures use, through the public doors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eapu_hil.base.loading import load_model
from eapu_hil.bench import Bench, open_bench
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.trainer import train

G_LOW_S, G_HIGH_S = 5e-6, 35e-6  # of random targets
LAYER_RATE = 1e-5


@contextmanager
def twin(
    arrays: int, shape: tuple[int, int], chip: Path | None = None, *, commission: bool = True
) -> Iterator[Bench]:
    """The packaged twin, with every non-ideality, of another size."""
    overrides = [f"arrays={arrays}", f"shape=[{shape[0]},{shape[1]}]"]
    with open_bench("twin", overrides, chip, commission=commission) as bench:
        yield bench


def random_targets_S(rng: np.random.Generator, count: int) -> np.ndarray:
    """Conductances inside the recipe's window."""
    return rng.uniform(G_LOW_S, G_HIGH_S, count)


def layer_experiment(directory: Path, size: int, batch: int) -> ExperimentConfig:
    """A dense layer of `size` x `size` weights on arrays of 128 x 64 cells.

    In front of it is a convolution of one weight: of a first layer the trainer leaves out the product backward.
    The learning rate makes EaPU write some 30 weights a step.
    """
    rng, edge = np.random.default_rng(0), int(np.sqrt(size))
    x = rng.standard_normal((8 * batch, edge, edge), dtype=np.float32)
    y = rng.standard_normal((8 * batch, size), dtype=np.float32)
    np.savez(directory / "layer.npz", x=x, y=y)
    changes = {
        "name": "layer",
        "bench.arrays": 2 * size * size // (128 * 64) + 1,
        "task": {
            "name": "arrays",
            "kind": "regression",
            "scale": "none",
            "data": {"train": str(directory / "layer.npz")},
            "layers": [{"conv": 1, "kernel": 1}, size],
        },
        "optimizer": {"name": "adam", "lr": LAYER_RATE},
        "batch": batch,
    }
    return load_model(ExperimentConfig, "digits", changes, "experiments")


class _EnoughError(Exception):
    """Ends a training that was only begun to be timed."""


class StepClock:
    """A `Progress` that notes the processor time of each step, and ends the training after some.

    between: called after each step, outside the time of steps. skipped: first steps that do not count.
    """

    def __init__(self, steps: int, skipped: int = 2, between: Callable[[], object] = lambda: None) -> None:
        self.steps_s: list[float] = []
        self.walls_s: list[float] = []
        self.writes: list[int] = []
        self._left, self._skipped, self._between = steps + skipped, skipped, between
        self._processor_s, self._wall_s = 0.0, 0.0

    def on_start(self, total_steps: int) -> None:  # noqa: ARG002 - the contract fixes it
        self._go_on()

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None:
        if step > self._skipped:
            self.steps_s.append(time.process_time() - self._processor_s)
            self.walls_s.append(time.perf_counter() - self._wall_s)
            self.writes.append(metrics.get("writes", 0))
            self._between()
        self._left -= 1
        if self._left == 0:
            raise _EnoughError
        self._go_on()

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None:  # noqa: ARG002 - the contract fixes it
        self._go_on()

    def on_end(self) -> None: ...

    def _go_on(self) -> None:
        self._processor_s, self._wall_s = time.process_time(), time.perf_counter()


def time_steps(experiment: ExperimentConfig, run: Path, clock: StepClock) -> StepClock:
    """Trains until `clock` has seen enough; nothing is evaluated but the untrained network, and nothing saved."""
    never = experiment.steps + 1
    calm = experiment.model_copy(update={"evaluate_every": never, "checkpoint_every": never})
    try:
        train(calm, run, clock)
    except _EnoughError:
        return clock
    raise RuntimeError(f"{experiment.name}: {experiment.steps} steps are fewer than are timed")
