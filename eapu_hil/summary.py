"""What a run came to: the numbers of summary.json."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.config import ExperimentConfig
from eapu_hil.energy import EnergyModel, energy_j, writes_per_cell
from eapu_hil.ledger import LedgerCounts
from eapu_hil.model import Model
from eapu_hil.runs import read_metrics
from eapu_hil.tasks import Task


class RunTotals:
    """Where the ledger and the clock stood when the run began, kept over resumes."""

    def __init__(self, counts: LedgerCounts | None, clock_s: float) -> None:
        self._counts = counts
        self._clock_s = clock_s
        self._wall_before_s = 0.0
        self._opened_s = time.perf_counter()

    def since(self, counts: LedgerCounts | None) -> LedgerCounts | None:
        """What the ledger gained since the run began."""
        return counts - self._counts if counts is not None and self._counts is not None else None

    def bench_time_s(self, clock_s: float) -> float:
        """Bench time since the run began."""
        return clock_s - self._clock_s

    def wall_s(self) -> float:
        """Time at work, without the pauses between a stop and a resume."""
        return self._wall_before_s + time.perf_counter() - self._opened_s

    def state(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        counted = self._counts.as_arrays() if self._counts is not None else {}
        return {**counted, "clock_s": np.array(self._clock_s), "wall_s": np.array(self.wall_s())}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `state` returned."""
        self._clock_s = float(state["clock_s"])
        self._wall_before_s = float(state["wall_s"])
        self._opened_s = time.perf_counter()
        if self._counts is not None:
            self._counts = LedgerCounts.from_arrays(state)


def summarize(
    config: ExperimentConfig, task: Task, model: Model, totals: RunTotals, status: str, run_dir: Path
) -> dict[str, Any]:
    """The summary of a run; `status` is success, stopped or failed."""
    steps = read_metrics(run_dir, "step")
    summary: dict[str, Any] = {
        "task": config.task.name,
        "rule": config.rule.name,
        "backend": "digital" if config.rule.name == "digital" else config.bench.backend,
        "seed": config.seed,
        "steps": len(steps),
        "exit_status": status,
        "weights": sum(int(np.prod(layer.weights.shape)) for layer in model.network.weighted),
        "metric": _metric(task.metric_name, read_metrics(run_dir, "evaluation")),
        **_update_ratios(steps),
        "bench_time_s": totals.bench_time_s(model.clock_s()),
        "wall_s": totals.wall_s(),
    }
    counts, used = totals.since(model.counts()), model.used()
    if counts is None or used is None:
        return summary
    assumptions = EnergyModel()
    return {
        **summary,
        "cells": int(used.sum()),
        "writes_total": int(counts.writes.sum()),
        "pulses_total": int(counts.pulses.sum()),
        "verify_reads_total": int(counts.verify_reads.sum()),
        "vmm_total": int(counts.vmm_vectors),
        "writes_per_cell": writes_per_cell(counts, used),
        "pulses_per_cell_max": int(counts.pulses.max()),
        "energy_j": energy_j(counts, assumptions),
        "energy_assumptions": vars(assumptions),
    }


def _metric(name: str, evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    """Over the whole held-out set if the run got that far, else over the quick evaluations."""
    whole = [line for line in evaluations if not line["quick"]]
    ended = len(whole) > 1
    chosen = whole if ended else evaluations
    values = [line["metric"] for line in chosen if line["metric"] is not None]
    return {
        "name": name,
        "input": chosen[-1]["input"] if chosen else None,
        "initial": values[0] if values else None,
        "final": values[-1] if values else None,
        "best": max(values, default=None),
        "ssim": chosen[-1]["ssim"] if chosen else None,
        "items": chosen[-1]["items"] if chosen else [],
    }


def _update_ratios(steps: list[dict[str, Any]]) -> dict[str, float | None]:
    ratios = np.array([line["update_ratio"] for line in steps])
    if ratios.size == 0:
        return {"update_ratio_mean": None, "update_ratio_last": None}
    tenth = max(1, ratios.size // 10)
    return {"update_ratio_mean": float(ratios.mean()), "update_ratio_last": float(ratios[-tenth:].mean())}
