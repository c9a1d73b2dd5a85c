"""The training loop: products on the array, gradients on the host, a rule that decides what is written.

Each step draws its data and its randomness from the seed and its own number, so a step never depends on how the
run got there: the number of the last step is the data position and the state of the random generators.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.loading import load_model
from eapu_hil.base.stopping import raise_if_stopped
from eapu_hil.base.storage import read_json, write_json
from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.opening import prepare_for_training
from eapu_hil.hal import DivergedError, HilError
from eapu_hil.network.layers import Float32Array
from eapu_hil.network.network import Network
from eapu_hil.network.optimizer import Optimizer, make_optimizer
from eapu_hil.placement.mapping import Tile
from eapu_hil.placement.row_moves import read_moves
from eapu_hil.tasks import Task, make_task
from eapu_hil.training.array_model import ArrayModel, choose_tiles, require_fit
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.data_record import data_record, require_same_data
from eapu_hil.training.mapped_model import MappedModel
from eapu_hil.training.model import Applied, DigitalModel, Model
from eapu_hil.training.runs import Checkpoint, RunStore, load_checkpoint, read_snapshots, read_start
from eapu_hil.training.summary import Ending, Origin, summarize

DATA_STREAM, RULE_STREAM = 2, 3
PLACEMENT = "placement.json"  # where the run's weights lie on the arrays
ORIGIN = "origin."  # in the snapshots: what the ledger and the clock said before the first write


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
        **data_record(task),
    }
    with RunStore.create(run_dir, start) as store, _open_bench(experiment, run_dir) as bench:
        store.amend_start({"identities": _identities(bench)})
        return _Trainer(experiment, task, _model(experiment, task, bench, store), store).run(progress)


def resume(run_dir: Path, progress: Progress) -> dict[str, Any]:
    """Goes on with a run after a stop or a crash and returns the summary.

    What was written after the last checkpoint has happened to the chip: those steps are not repeated, the cells
    are read anew, and rules that keep an account are told what was already asked for. Raises ConfigError when
    there is nothing to resume, HilError when what a finished step left behind is damaged.
    """
    experiment = _experiment_of(run_dir)
    task = make_task(experiment.task)
    require_same_data(task, run_dir, read_start(run_dir))
    with RunStore.open(run_dir) as store, _open_bench(experiment, run_dir) as bench:
        store.amend_start({"identities": _identities(bench)})
        return _Trainer(experiment, task, _model(experiment, task, bench, store), store).run(progress)


@contextmanager
def trained_network(run_dir: Path) -> Iterator[tuple[Task, Network]]:
    """The network of a run, as its chip holds it now, with its task: for evaluating and applying it.

    Raises HilError when the run stopped before its first checkpoint.
    """
    experiment = _experiment_of(run_dir)
    task = make_task(experiment.task)
    require_same_data(task, run_dir, read_start(run_dir))
    checkpoint = load_checkpoint(run_dir)
    if checkpoint is None:
        raise HilError(f"{run_dir}: no checkpoint; this run stopped before its first step")
    with _open_bench(experiment, run_dir) as bench:
        model = _written_model(experiment, task, bench, run_dir)
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


def _model(experiment: ExperimentConfig, task: Task, bench: Bench | None, store: RunStore) -> Model:
    """The network of a run that is trained. Its places are chosen once, before the first weight is written."""
    if bench is not None and not (store.path / PLACEMENT).exists() and store.last_steps().writes is None:
        prepare_for_training(bench)
        placement = {
            name: [tile.to_plain() for tile in tiles]
            for name, tiles in choose_tiles(task, bench, experiment.rule).items()
        }
        write_json(store.path / PLACEMENT, placement)
    return _written_model(experiment, task, bench, store.path, store)


def _written_model(
    experiment: ExperimentConfig,
    task: Task,
    bench: Bench | None,
    run_dir: Path,
    store: RunStore | None = None,
) -> Model:
    """The network where the run put it. Raises HilError when the run does not say where that is."""
    if bench is None:
        return DigitalModel(task, experiment.seed)
    placement = read_json(run_dir / PLACEMENT)
    if placement is None:
        raise HilError(f"{run_dir / PLACEMENT}: missing; the cells of this run's weights are not known")
    tiles = {name: [Tile.from_plain(tile) for tile in plain] for name, plain in placement.items()}
    model = ArrayModel(task, experiment, bench, tiles, store, read_moves(run_dir))
    mapped = experiment.rule.name in ("offline_then_map", "hybrid")
    return MappedModel(task, experiment, model) if mapped else model


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
        self._clock_s = model.clock_s()
        self._wall_before_s, self._opened_s = 0.0, time.perf_counter()
        origin = _under(read_snapshots(store.path), ORIGIN)
        self._origin = Origin.from_arrays(origin) if origin else Origin(model.counts(), self._clock_s)
        if not origin:
            store.save_snapshots({ORIGIN + key: value for key, value in self._origin.as_arrays().items()})

    def run(self, progress: Progress) -> dict[str, Any]:
        """Takes the run up where it stands and goes on to the end; whatever ends it, the run directory says how."""
        config = self._config
        progress.on_start(config.steps)
        status = "failed"
        try:
            done = self._take_up()
            # Quick after a resume: it shows what the chip still holds.
            self._evaluate(done, done > 0, progress)
            for step in range(done + 1, config.steps + 1):
                raise_if_stopped()
                # Also when a run goes on: cells drift in a pause, and a refresh may have been cut short.
                look = config.refresh_every and ((step - 1) % config.refresh_every == 0 or step == done + 1)
                if look and step > 1:
                    self._refresh(step - 1)
                self._train_step(step, progress)
                if step < config.steps and step % config.evaluate_every == 0:
                    self._evaluate(step, True, progress)
                due = step % config.checkpoint_every == 0 or self._model.saves_after(step)
                if step < config.steps and due:
                    self._checkpoint(step)
                    self._level(step)
            self._checkpoint(config.steps)
            self._evaluate(config.steps, False, progress)
            self._store.save_snapshots({**self._model.maps("after"), **self._gallery()})
            status = "success"
        except (KeyboardInterrupt, SystemExit):
            status = "stopped"
            raise
        finally:
            progress.on_end()
            ending = Ending(status, self._clock_s, self._wall_s())
            summary = summarize(config, self._task, self._model, self._origin, ending, self._store.path)
            self._store.finish(summary)
        return summary

    def _take_up(self) -> int:
        """Puts the initial weights in place, or everything back as it was; returns the last step that was taken."""
        checkpoint = load_checkpoint(self._store.path)
        if checkpoint is not None:
            return self._restore(checkpoint)
        last = self._store.last_steps()
        taken = max(last.metrics or 0, last.writes or 0)
        if taken:
            raise HilError(
                f"{self._store.path}: no checkpoint of this run is usable, and {taken} steps were taken: "
                "it cannot go on; train anew"
            )
        self._model.begin()
        self._store.save_snapshots(self._model.maps("before"))
        self._checkpoint(0)
        return 0

    def _restore(self, checkpoint: Checkpoint) -> int:
        arrays = checkpoint.arrays
        for name, optimizer in self._optimizers.items():
            optimizer.restore(_under(arrays, f"optimizer.{name}:"))
        for layer in self._network.weighted:
            layer.bias[...] = arrays[f"bias.{layer.name}"]
        self._model.restore(_under(arrays, "model."))
        self._wall_before_s = float(arrays["wall_s"])
        last, unlogged = self._model.reconcile(checkpoint.step)
        for step, applied in unlogged.items():  # written, but stopped before its line
            self._store.append_metrics("step", {"step": step, "loss": None, **self._counted(applied)})
        return last

    def _train_step(self, step: int, progress: Progress) -> None:
        config, started_s = self._config, time.perf_counter()
        self._model.before_step(step)
        x, y = self._task.batch(np.random.default_rng([config.seed, DATA_STREAM, step]), config.batch)
        loss, d = self._task.loss(self._network.forward(x), y)
        if not math.isfinite(loss):
            raise DivergedError(f"step {step}: the loss is {loss}")
        lr = config.optimizer.rate(step - 1, config.steps)
        wanted: dict[str, Float32Array] = {}
        for layer, (d_weights, d_bias) in zip(self._network.weighted, self._network.backward(d), strict=True):
            layer.bias += self._optimizers[f"{layer.name}.bias"].step(d_bias, lr)
            wanted[layer.name] = self._optimizers[layer.name].step(d_weights, lr)
        applied = self._model.update(step, wanted, np.random.default_rng([config.seed, RULE_STREAM, step]))
        self._clock_s = self._model.clock_s()
        metrics = {
            "step": step,
            "loss": loss,
            "lr": lr,
            "products_per_weight": self._reuse(),
            **self._counted(applied),
            "clock_s": self._clock_s,
            "wall_s": time.perf_counter() - started_s,
        }
        self._store.append_metrics("step", metrics)
        progress.on_step(step, metrics)

    def _reuse(self) -> float:
        """Forward products that the mean weight took part in."""
        layers = self._network.weighted
        sizes = np.array([layer.weights.shape[0] * layer.weights.shape[1] for layer in layers])
        return float(np.array([layer.vectors for layer in layers]) @ sizes / sizes.sum())

    def _refresh(self, step: int) -> None:
        applied = self._model.refresh(step)
        self._clock_s = self._model.clock_s()
        self._store.append_metrics("refresh", {"step": step, **_written(applied), "clock_s": self._clock_s})

    def _level(self, step: int) -> None:
        applied = self._model.level(step)
        self._clock_s = self._model.clock_s()
        if applied.writes:
            self._store.append_metrics("level", {"step": step, **_written(applied), "clock_s": self._clock_s})

    def _counted(self, applied: Applied) -> dict[str, Any]:
        sizes = {layer.name: int(np.prod(layer.weights.shape)) for layer in self._network.weighted}
        changed = sum(applied.changed[name] * size for name, size in sizes.items())
        return {
            "update_ratio": changed / sum(sizes.values()),
            "update_ratio_layer": applied.changed,
            **_written(applied),
        }

    def _evaluate(self, step: int, quick: bool, progress: Progress) -> None:
        evaluation = self._task.evaluate(self._network.infer, quick=quick)
        self._clock_s = self._model.clock_s()
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
        arrays["wall_s"] = np.array(self._wall_s())
        self._store.save_checkpoint(step, arrays)
        self._model.flush()

    def _wall_s(self) -> float:
        return self._wall_before_s + time.perf_counter() - self._opened_s


def _written(applied: Applied) -> dict[str, int]:
    return {"writes": applied.writes, "pulses": applied.pulses, "not_converged": applied.not_converged}


def _under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
