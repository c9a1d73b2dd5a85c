"""The training loop: products on the array, gradients on the host, a rule that decides what is written.

Each step draws its data and its randomness from the seed and its own number, so a step never depends on how the
run got there: the number of the last step is the data position and the state of the random generators.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eapu_hil.array_model import ArrayModel, require_fit
from eapu_hil.bench import Bench, open_bench, prepare_for_training
from eapu_hil.config import ExperimentConfig, load_model
from eapu_hil.hal import HilError
from eapu_hil.layers import Float32Array
from eapu_hil.mapping import Tile
from eapu_hil.model import DigitalModel, Model
from eapu_hil.network import Network
from eapu_hil.optimizer import Optimizer, make_optimizer
from eapu_hil.runs import Checkpoint, RunStore, load_checkpoint, read_start
from eapu_hil.storage import read_json, write_json
from eapu_hil.summary import RunTotals, summarize
from eapu_hil.tasks import Task, make_task

DATA_STREAM, RULE_STREAM = 2, 3
PLACEMENT = "placement.json"  # where the run's weights lie on the arrays


class Progress(Protocol):
    """What the trainer tells while it works."""

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_end(self) -> None: ...


def train(experiment: ExperimentConfig, run_dir: Path, progress: Progress) -> dict[str, Any]:
    """Trains in a new run directory and returns the summary.

    Raises ConfigError, with nothing left behind, when the experiment cannot be run as it is.
    """
    task = make_task(experiment.task)
    if experiment.rule.name != "digital":
        require_fit(task, experiment)
    start = {
        "name": experiment.name,
        "experiment": experiment.model_dump(mode="json"),
        "seed": experiment.seed,
    }
    with RunStore.create(run_dir, start) as store, _open_bench(experiment, run_dir) as bench:
        store.amend_start({"identities": _identities(bench)})
        trainer = _Trainer(experiment, task, _new_model(experiment, task, bench, store), store)
        trainer.begin()
        return trainer.run(1, progress)


def resume(run_dir: Path, progress: Progress) -> dict[str, Any]:
    """Goes on with a run after a stop or a crash and returns the summary.

    What was written after the last checkpoint has happened to the chip: those steps are not repeated, the cells
    are read anew, and rules that keep an account are told what was already asked for.
    """
    experiment = _experiment_of(run_dir)
    task = make_task(experiment.task)
    with RunStore.open(run_dir) as store, _open_bench(experiment, run_dir) as bench:
        store.amend_start({"identities": _identities(bench)})
        checkpoint = load_checkpoint(run_dir)
        if checkpoint is None:
            # Stopped while the initial weights were written: cells that are in place are only read.
            trainer = _Trainer(experiment, task, _new_model(experiment, task, bench, store), store)
            trainer.begin()
            return trainer.run(1, progress)
        trainer = _Trainer(experiment, task, _old_model(experiment, task, bench, run_dir, store), store)
        return trainer.run(trainer.restore(checkpoint), progress)


@contextmanager
def trained_network(run_dir: Path) -> Iterator[tuple[Task, Network]]:
    """The network of a run, as its chip holds it now, with its task: for evaluating and applying it.

    Raises HilError when the run stopped before its first checkpoint.
    """
    experiment = _experiment_of(run_dir)
    task = make_task(experiment.task)
    checkpoint = load_checkpoint(run_dir)
    if checkpoint is None:
        raise HilError(f"{run_dir}: no checkpoint; this run stopped before its first step")
    with _open_bench(experiment, run_dir) as bench:
        model = _old_model(experiment, task, bench, run_dir, None)
        model.restore(_under(checkpoint.arrays, "model."))
        for layer in model.network.weighted:
            layer.bias[...] = checkpoint.arrays[f"bias.{layer.name}"]
        yield task, model.network


@contextmanager
def _open_bench(experiment: ExperimentConfig, run_dir: Path) -> Iterator[Bench | None]:
    """The experiment's bench; None for the digital reference. Without a chip of its own it gets one of the run's."""
    if experiment.rule.name == "digital":
        yield None
        return
    config = experiment.bench
    if experiment.recipe is not None:
        config = config.model_copy(update={"recipe": experiment.recipe})
    with open_bench(config, chip_dir=run_dir / "chip" if config.chip is None else None) as bench:
        yield bench


def _new_model(experiment: ExperimentConfig, task: Task, bench: Bench | None, store: RunStore) -> Model:
    """The network before its first weight is written: places are chosen and noted in the run."""
    if bench is None:
        return DigitalModel(task, experiment.seed)
    prepare_for_training(bench)
    model = ArrayModel(task, experiment, bench, store)
    placement = {name: [tile.to_plain() for tile in tiles] for name, tiles in model.tiles.items()}
    write_json(store.path / PLACEMENT, placement)
    return model


def _old_model(
    experiment: ExperimentConfig, task: Task, bench: Bench | None, run_dir: Path, store: RunStore | None
) -> Model:
    """The network where the run put it. Raises HilError when the run does not say where that is."""
    if bench is None:
        return DigitalModel(task, experiment.seed)
    placement = read_json(run_dir / PLACEMENT)
    if placement is None:
        raise HilError(f"{run_dir / PLACEMENT}: missing; the cells of this run's weights are not known")
    tiles = {name: [Tile.from_plain(tile) for tile in plain] for name, plain in placement.items()}
    return ArrayModel(task, experiment, bench, store, tiles)


def _identities(bench: Bench | None) -> list[dict[str, str]]:
    return [vars(array.identity) for array in bench.arrays] if bench is not None else []


def _experiment_of(run_dir: Path) -> ExperimentConfig:
    return load_model(ExperimentConfig, read_start(run_dir)["experiment"], (), "experiments")


class _Trainer:
    """One run while it is open."""

    def __init__(self, experiment: ExperimentConfig, task: Task, model: Model, store: RunStore) -> None:
        self._config = experiment
        self._task = task
        self._model = model
        self._store = store
        self._network = model.network
        self._optimizers: dict[str, Optimizer] = {}
        for layer in self._network.weighted:
            self._optimizers[layer.name] = make_optimizer(experiment.optimizer, layer.weights.shape)
            self._optimizers[f"{layer.name}.bias"] = make_optimizer(experiment.optimizer, layer.bias.shape)
        self._totals = RunTotals(model.counts(), model.clock_s())

    def begin(self) -> None:
        """Writes the initial weights and what is known before the first step."""
        self._model.begin()
        self._store.save_snapshots(self._model.maps("before"))
        self._checkpoint(0)

    def restore(self, checkpoint: Checkpoint) -> int:
        """Takes up a checkpoint; returns the step to go on with."""
        arrays = checkpoint.arrays
        for name, optimizer in self._optimizers.items():
            optimizer.restore(_under(arrays, f"optimizer.{name}:"))
        for layer in self._network.weighted:
            layer.bias[...] = arrays[f"bias.{layer.name}"]
        self._model.restore(_under(arrays, "model."))
        self._totals.restore(_under(arrays, "totals."))
        return self._model.reconcile(checkpoint.step) + 1

    def run(self, first_step: int, progress: Progress) -> dict[str, Any]:
        """Steps `first_step` to the end; whatever ends it, the run directory says how."""
        config = self._config
        progress.on_start(config.steps)
        status = "failed"
        try:
            # Quick after a resume: it shows what the chip still holds.
            self._evaluate(first_step - 1, first_step > 1, progress)
            for step in range(first_step, config.steps + 1):
                self._train_step(step, progress)
                if step == config.steps:
                    break
                if step % config.evaluate_every == 0:
                    self._evaluate(step, True, progress)
                if step % config.checkpoint_every == 0:
                    self._checkpoint(step)
            self._checkpoint(config.steps)
            self._evaluate(config.steps, False, progress)
            self._store.save_snapshots({**self._model.maps("after"), **self._gallery()})
            status = "success"
        except (KeyboardInterrupt, SystemExit):
            status = "stopped"
            raise
        finally:
            progress.on_end()
            summary = summarize(config, self._task, self._model, self._totals, status, self._store.path)
            self._store.finish(summary)
        return summary

    def _train_step(self, step: int, progress: Progress) -> None:
        config, started_s = self._config, time.perf_counter()
        x, y = self._task.batch(np.random.default_rng([config.seed, DATA_STREAM, step]), config.batch)
        loss, d = self._task.loss(self._network.forward(x), y)
        lr = config.optimizer.rate(step - 1, config.steps)
        wanted: dict[str, Float32Array] = {}
        for layer, (d_weights, d_bias) in zip(self._network.weighted, self._network.backward(d), strict=True):
            layer.bias += self._optimizers[f"{layer.name}.bias"].step(d_bias, lr)
            wanted[layer.name] = self._optimizers[layer.name].step(d_weights, lr)
        applied = self._model.update(step, wanted, np.random.default_rng([config.seed, RULE_STREAM, step]))
        weights = sum(change.size for change in wanted.values())
        changed = sum(applied.changed[name] * change.size for name, change in wanted.items())
        metrics = {
            "step": step,
            "loss": loss,
            "lr": lr,
            "update_ratio": changed / weights,
            "update_ratio_layer": applied.changed,
            "writes": applied.writes,
            "pulses": applied.pulses,
            "not_converged": applied.not_converged,
            "clock_s": self._model.clock_s(),
            "wall_s": time.perf_counter() - started_s,
        }
        self._store.append_metrics("step", metrics)
        progress.on_step(step, metrics)

    def _evaluate(self, step: int, quick: bool, progress: Progress) -> None:
        evaluation = self._task.evaluate(self._network.infer, quick=quick)
        metrics = {
            "step": step,
            "name": self._task.metric_name,
            "metric": evaluation.value,
            "input": evaluation.input,
            "ssim": evaluation.ssim,
            "quick": quick,
            "items": [vars(item) for item in evaluation.items],
        }
        self._store.append_metrics("evaluation", metrics)
        progress.on_evaluation(step, metrics)

    def _gallery(self) -> dict[str, NDArray[Any]]:
        images: dict[str, NDArray[Any]] = {}
        names = []
        for number, item in enumerate(self._task.gallery(self._network.infer)):
            names.append(item.name)
            for part in ("input", "output", "reference"):
                images[f"gallery_{number}_{part}"] = getattr(item, part)
        return {**images, "gallery_names": np.array(names)} if names else {}

    def _checkpoint(self, step: int) -> None:
        arrays: dict[str, NDArray[Any]] = {}
        for name, optimizer in self._optimizers.items():
            arrays |= {f"optimizer.{name}:{key}": value for key, value in optimizer.state().items()}
        for layer in self._network.weighted:
            arrays[f"bias.{layer.name}"] = layer.bias
        arrays |= {f"model.{key}": value for key, value in self._model.state().items()}
        arrays |= {f"totals.{key}": value for key, value in self._totals.state().items()}
        self._store.save_checkpoint(step, arrays)
        self._model.flush()


def _under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
