"""Steps of a training, through `train`: everything a run does at each step is in them, the run's files too."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from peers import there

from eapu_hil.base.loading import load_model
from eapu_hil.network.layers import Float32Array
from eapu_hil.network.network import Network
from eapu_hil.training.config import ExperimentConfig
from speed.benches import StepClock, layer_experiment, time_steps
from speed.figures import Figure, ms, needs
from speed.timing import processor_s, with_threads

SIZE, BATCH, STEPS = 256, 64, 24
DEMO_STEPS, DEMO_TURNS = 20, 3


def layer_step() -> list[Figure]:
    """A step of a 256 x 256 layer, batch 64, against aihwkit's and PyTorch's."""
    peers: dict[str, Callable[[], object]] = {}
    if there("aihwkit"):
        from peers.analog_steps import analog_steps

        peers |= analog_steps()
    if there("torch"):
        from peers.digital_steps import digital_step

        peers["torch, digital"] = digital_step()
    taken: dict[str, list[float]] = {name: [] for name in peers}

    def between() -> None:
        for name, way in peers.items():
            taken[name].append(processor_s(way))

    with tempfile.TemporaryDirectory() as scratch:
        experiment = layer_experiment(Path(scratch), SIZE, BATCH)
        clock = time_steps(experiment, Path(scratch) / "run", StepClock(STEPS, between=between))
    ours_s = statistics.median(clock.steps_s)
    work = f"step {SIZE} x {SIZE}, batch {BATCH}, {statistics.median(clock.writes):.0f} writes"
    goals = {"aihwkit ReRamES in-situ SGD": 0.65, "aihwkit mixed precision": 1.7}
    figures = [
        Figure(work, ms(ours_s), f"x {name}, {ms(peer_s)}", ours_s / peer_s, goals.get(name))
        for name, peer_s in ((name, statistics.median(times_s)) for name, times_s in taken.items())
    ]
    if not there("aihwkit"):
        figures += [
            Figure(work, ms(ours_s), f"{name}: {needs('aihwkit')}", None, goal)
            for name, goal in goals.items()
        ]
    return figures


class _Noted:
    """Weights that make no products but note which are asked of them: (vectors, lines in, lines out)."""

    def __init__(self, shape: tuple[int, int], asked: list[tuple[int, int, int]]) -> None:
        self.shape, self._asked = shape, asked

    def forward(self, x: Float32Array) -> Float32Array:
        n_in, n_out = self.shape
        self._asked += [(len(x), n_in, n_out), (n_in, len(x), n_out)]  # the product, and later the gradient
        return np.zeros((len(x), n_out), np.float32)

    def backward(self, d: Float32Array) -> Float32Array:
        n_in, n_out = self.shape
        self._asked.append((len(d), n_out, n_in))
        return np.zeros((len(d), n_in), np.float32)


def matrix_products(experiment: ExperimentConfig) -> Callable[[], object]:
    """The matrix products of a step in float32 and nothing else: forward, backward, and gradients of the weights."""
    task = experiment.task.make()
    asked: list[tuple[int, int, int]] = []
    network = Network(task.layers(), lambda name, spec: _Noted(spec.matrix_shape, asked))  # noqa: ARG005 - a contract
    rng = np.random.default_rng(0)
    x, y = task.batch(rng, experiment.batch)
    network.backward(task.loss(network.forward(x), y)[1])
    factors = [
        (rng.random((rows, inner), dtype=np.float32), rng.random((inner, columns), dtype=np.float32))
        for rows, inner, columns in asked
    ]

    def multiply() -> None:
        for left, right in factors:
            left @ right

    return multiply


def packaged_step(name: str, steps: int) -> tuple[float, float]:
    """Medians of a step of a packaged experiment and of its matrix products, s."""
    experiment = load_model(ExperimentConfig, name, [], "experiments")
    products = matrix_products(experiment)
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        between = partial(_note, taken, products)
        clock = time_steps(experiment, Path(scratch) / "run", StepClock(steps, between=between))
    return statistics.median(clock.steps_s), statistics.median(taken)


def _note(taken: list[float], way: Callable[[], object]) -> None:
    taken.append(processor_s(way))


def denoise_step() -> list[Figure]:
    """A step of the packaged experiment `denoise` against its matrix products."""
    step_s, products_s = packaged_step("denoise", 40)
    return [
        Figure(
            "denoise, a step",
            ms(step_s),
            f"x its matrix products, {ms(products_s)}",
            step_s / products_s,
            6.0,
        )
    ]


def digits_step() -> list[Figure]:
    """A step of the packaged experiment `digits`."""
    step_s, products_s = packaged_step("digits", 60)
    return [
        Figure("digits, a step, ms", ms(step_s), f"its matrix products {ms(products_s)}", 1e3 * step_s, 3.0)
    ]


def demo() -> list[Figure]:
    """Wall time of a step of the demo with all cores, and with an earlier checkout (EARLIER) in turn."""
    cores, earlier = os.cpu_count() or 1, os.environ.get("EARLIER") or None
    trees = {"now": None} if earlier is None else {"now": None, "earlier": Path(earlier)}
    taken: dict[str, list[float]] = {name: [] for name in trees}
    for _ in range(DEMO_TURNS):
        for name, tree in trees.items():
            taken[name].append(_wall_s(cores, tree))
    wall_s = {name: statistics.median(times_s) for name, times_s in taken.items()}
    work = f"demo, wall time of {DEMO_STEPS} of its 1,500 steps, {cores} cores"
    value = ms(wall_s["now"] / DEMO_STEPS)
    if earlier is None:
        return [Figure(work, value, "no earlier checkout to compare with: EARLIER=DIR", None, 1 / 3)]
    before = ms(wall_s["earlier"] / DEMO_STEPS)
    return [Figure(work, value, f"x {earlier}, {before}", wall_s["now"] / wall_s["earlier"], 1 / 3)]


def _wall_s(threads: int, tree: Path | None) -> float:
    """Of `DEMO_STEPS` steps in a process of its own. tree: a checkout whose code runs; None for this one."""
    environment = with_threads(threads)
    if tree is not None:
        code = [tree, tree / "drivers", tree / "calibration"]
        environment["PYTHONPATH"] = os.pathsep.join([*map(str, code), environment.get("PYTHONPATH", "")])
    script = "from speed.training import print_wall; print_wall()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, stdout=subprocess.PIPE, check=True
    )
    return float(done.stdout)


def print_wall() -> None:
    """What `_wall_s` runs in a process of its own."""
    experiment = load_model(ExperimentConfig, "denoise", [], "experiments")
    with tempfile.TemporaryDirectory() as scratch:
        clock = time_steps(experiment, Path(scratch) / "run", StepClock(DEMO_STEPS))
    print(sum(clock.walls_s))
