"""The training loop: products on the array, gradients on the host, a rule that decides what is written.

Each step draws its data and its randomness from the seed and its own number, so a step never depends on how the
run got there: the number of the last step is the data position and the state of the random generators.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.stopping import raise_if_stopped
from eapu_hil.hal import HilError
from eapu_hil.network.finite import NotFiniteError
from eapu_hil.network.layers import Float32Array
from eapu_hil.network.optimizer import Optimizer, make_optimizer
from eapu_hil.tasks import Task
from eapu_hil.training.bench_account import BenchAccount
from eapu_hil.training.checkpoint_parts import fitting, under
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.diary import Diary
from eapu_hil.training.errors import DivergedError
from eapu_hil.training.model import Model, StagedModel
from eapu_hil.training.progress import Progress
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import (
    DIVERGED,
    FAILED,
    STOPPED,
    SUCCESS,
    Checkpoint,
    last_steps,
    load_checkpoint,
    read_metrics,
    read_snapshots,
)
from eapu_hil.training.summary import Ending, Origin, summarize
from eapu_hil.training.write_log import WriteCounts

DATA_STREAM, RULE_STREAM = 2, 3
ORIGIN = "origin."  # in the snapshots: what the ledger and the clock said before the first write

_LOG = logging.getLogger(__name__)


class TrainingLoop:
    """One run while it is open. account: of its bench; None without one."""

    def __init__(
        self,
        experiment: ExperimentConfig,
        task: Task,
        model: Model,
        account: BenchAccount | None,
        store: RunStore,
        diary: Diary,
    ) -> None:
        self._config = experiment
        self._task = task
        self._model = model
        self._stages = model if isinstance(model, StagedModel) else None
        self._account = account
        self._store = store
        self._diary = diary
        self._network = model.network
        self._optimizers: dict[str, Optimizer] = {}
        for layer in self._network.weighted:
            self._optimizers[layer.name] = make_optimizer(experiment.optimizer, layer.weights.shape)
            self._optimizers[f"{layer.name}.bias"] = make_optimizer(experiment.optimizer, layer.bias.shape)
        self._clock_s = self._now_s()
        self._wall_before_s, self._opened_s = 0.0, time.perf_counter()
        origin = under(read_snapshots(store.path), ORIGIN)
        counts = account.counts() if account is not None else None
        self._origin = Origin.from_arrays(origin) if origin else Origin(counts, self._clock_s)
        if origin:
            self._origin = self._on_one_clock(self._origin)
        if not origin or self._origin.clock_s != float(origin["clock_s"]):
            store.save_snapshots({ORIGIN + key: value for key, value in self._origin.as_arrays().items()})

    def _on_one_clock(self, origin: Origin) -> Origin:
        """`origin` by the clock of this session: that of the sessions before may have been another one."""
        sessions = [session.get("clock") for session in self._store.start.get("sessions", [])]
        times_s = [line["clock_s"] for line in read_metrics(self._store.path) if "clock_s" in line]
        last_s = times_s[-1] if times_s else origin.clock_s
        if len(set(sessions[-2:])) <= 1 and self._clock_s >= last_s:
            return origin
        _LOG.warning(
            "the bench's clock is another one than before, or was set back: bench time goes on from here"
        )
        return replace(origin, clock_s=self._clock_s - (last_s - origin.clock_s))

    def run(self, progress: Progress) -> dict[str, Any]:
        """Takes the run up where it stands and goes on to the end; whatever ends it, the run directory says how."""
        config = self._config
        progress.on_start(config.steps)
        status, error = FAILED, ""
        try:
            done = self._take_up()
            # Quick after a resume: it shows what the chip still holds.
            self._evaluate(done, done > 0, progress)
            for step in range(done + 1, config.steps + 1):
                raise_if_stopped()
                self._diary.wait_while_paused(step - 1, self._checkpoint)
                # Also when a run goes on: cells drift in a pause, and a refresh may have been cut short.
                look = config.refresh_every and ((step - 1) % config.refresh_every == 0 or step == done + 1)
                if look and step > 1:
                    self._refresh(step - 1)
                self._train_step(step, progress)
                if step < config.steps and step % config.evaluate_every == 0:
                    self._evaluate(step, True, progress)
                staged = self._stages is not None and self._stages.saves_after(step)
                if step < config.steps and (staged or step % config.checkpoint_every == 0):
                    self._checkpoint(step)
                    self._level_wear(step)
            self._checkpoint(config.steps)
            self._evaluate(config.steps, False, progress)
            self._store.save_snapshots({**self._maps("after"), **self._gallery()})
            status = SUCCESS
        except (KeyboardInterrupt, SystemExit):
            status = STOPPED
            self._diary.stopped()
            raise
        except NotFiniteError as sign:
            diverged = DivergedError(str(sign))
            status, error = DIVERGED, str(diverged)
            raise diverged from sign
        except HilError as reason:
            error = str(reason)
            self._diary.fault(reason)
            raise
        finally:
            progress.on_end()
            ending = Ending(status, self._clock_s, self._wall_s(), error)
            summary = summarize(
                config, self._task, self._network, self._account, self._origin, ending, self._store.path
            )
            self._store.finish(summary)
        return summary

    def _take_up(self) -> int:
        """Puts the initial weights in place, or everything back as it was; returns the last step that was taken."""
        checkpoint = load_checkpoint(self._store.path)
        if checkpoint is not None:
            return self._restore(checkpoint)
        last = last_steps(self._store.path)
        taken = max(last.metrics or 0, last.writes or 0)
        if taken:
            raise HilError(
                f"{self._store.path}: this run took {taken} steps and has no usable checkpoint, so it cannot be "
                "resumed; train a new run"
            )
        if self._model.array is not None:
            self._model.array.begin()
        self._store.save_snapshots(self._maps("before"))
        self._checkpoint(0)
        return 0

    def _restore(self, checkpoint: Checkpoint) -> int:
        arrays = checkpoint.arrays
        with fitting(checkpoint):
            for name, optimizer in self._optimizers.items():
                optimizer.restore(under(arrays, f"optimizer.{name}:"))
            for layer in self._network.weighted:
                layer.bias[...] = arrays[f"bias.{layer.name}"]
            self._model.restore(under(arrays, "model."))
            self._wall_before_s = float(arrays["wall_s"])
        if self._model.array is None:  # the steps after it left no trace: they are repeated
            return checkpoint.step
        last, unlogged = self._model.array.reconcile(checkpoint.step)
        for step, counts in unlogged.items():  # written, but stopped before its line
            self._store.append_metrics("step", {"step": step, "loss": None, **self._counted(counts)})
        return last

    def _train_step(self, step: int, progress: Progress) -> None:
        config, started_s = self._config, time.perf_counter()
        if self._stages is not None:
            self._stages.before_step(step)
        x, y = self._task.batch(np.random.default_rng([config.seed, DATA_STREAM, step]), config.batch)
        loss, d = self._task.loss(self._network.forward(x), y)
        if not math.isfinite(loss):
            raise NotFiniteError(f"step {step}: the loss is {loss}")
        lr = config.optimizer.rate(step - 1, config.steps)
        wanted: dict[str, Float32Array] = {}
        for layer, (d_weights, d_bias) in zip(self._network.weighted, self._network.backward(d), strict=True):
            layer.bias += self._optimizers[f"{layer.name}.bias"].step(d_bias, lr)
            wanted[layer.name] = self._optimizers[layer.name].step(d_weights, lr)
        counts = self._model.update(step, wanted, np.random.default_rng([config.seed, RULE_STREAM, step]))
        self._clock_s = self._now_s()
        metrics = {
            "step": step,
            "loss": loss,
            "lr": lr,
            "products_per_weight": self._reuse(),
            **self._counted(counts),
            "clock_s": self._clock_s,
            "wall_s": time.perf_counter() - started_s,
        }
        self._store.append_metrics("step", metrics)
        self._diary.after_step(step)
        progress.on_step(step, metrics)

    def _reuse(self) -> float:
        """Forward products that the mean weight took part in."""
        layers = self._network.weighted
        sizes = np.array([layer.weights.shape[0] * layer.weights.shape[1] for layer in layers])
        return float(np.array([layer.vectors for layer in layers]) @ sizes / sizes.sum())

    def _refresh(self, step: int) -> None:
        array = self._model.array
        counts = array.refresh(step) if array is not None else WriteCounts({})
        self._clock_s = self._now_s()
        self._store.append_metrics("refresh", {"step": step, **_written(counts), "clock_s": self._clock_s})

    def _level_wear(self, step: int) -> None:
        if self._model.array is None:
            return
        counts = self._model.array.level_wear(step)
        self._clock_s = self._now_s()
        if counts.writes:
            self._store.append_metrics("level", {"step": step, **_written(counts), "clock_s": self._clock_s})

    def _counted(self, counts: WriteCounts) -> dict[str, Any]:
        sizes = {layer.name: int(np.prod(layer.weights.shape)) for layer in self._network.weighted}
        changed = sum(counts.changed[name] * size for name, size in sizes.items())
        return {
            "update_ratio": changed / sum(sizes.values()),
            "update_ratio_layer": counts.changed,
            **_written(counts),
        }

    def _evaluate(self, step: int, quick: bool, progress: Progress) -> None:
        evaluation = self._task.evaluate(self._infer, quick=quick)
        self._clock_s = self._now_s()
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
        self._diary.show(step, evaluation)
        progress.on_evaluation(step, metrics)

    def _infer(self, x: Float32Array) -> Float32Array:
        """The network's answer; who watches is told, as an evaluation has no lines."""
        answer = self._network.infer(x)
        self._store.at_work()
        return answer

    def _gallery(self) -> dict[str, NDArray[Any]]:
        images: dict[str, NDArray[Any]] = {}
        names = []
        for number, item in enumerate(self._task.gallery(self._infer)):
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
        if self._account is not None:
            self._account.flush()

    def _maps(self, moment: str) -> dict[str, NDArray[Any]]:
        return self._account.maps(moment) if self._account is not None else {}

    def _now_s(self) -> float:
        """Bench time; 0 without a bench."""
        return self._account.clock_s() if self._account is not None else 0.0

    def _wall_s(self) -> float:
        return self._wall_before_s + time.perf_counter() - self._opened_s


def _written(counts: WriteCounts) -> dict[str, int]:
    return {"writes": counts.writes, "pulses": counts.pulses, "not_converged": counts.not_converged}
