"""The results of a run: the numbers of summary.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.counts import LedgerCounts
from eapu_hil.bench.energy import CORNERS, EnergyModel, energy_j, pulses_per_cell, split_j, writes_per_cell
from eapu_hil.network.network import Network
from eapu_hil.tasks import Task
from eapu_hil.training.bench_account import BenchAccount
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.records import WriteCause
from eapu_hil.training.runs import read_metrics, read_writes

_OF_THE_BENCH = (
    "cells",
    "writes_total",
    "refresh_writes_total",
    "moved_writes_total",
    "pulses_total",
    "verify_reads_total",
    "vmm_total",
    "writes_per_cell",
    "pulses_per_cell",
    "pulses_per_cell_max",
    "energy_j",
    "energy_range_j",
    "vmm_cells_total",
    "energy_assumptions",
)


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a run began: the ledger and the bench clock before its first write. counts: None without a bench."""

    counts: LedgerCounts | None
    clock_s: float

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """For a file; `from_arrays` takes it back."""
        counted = self.counts.as_arrays() if self.counts is not None else {}
        return {**counted, "clock_s": np.array(self.clock_s)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Origin:
        """The inverse of `as_arrays`."""
        counts = LedgerCounts.from_arrays(arrays) if len(arrays) > 1 else None
        return cls(counts, float(arrays["clock_s"]))


@dataclass(frozen=True)
class Ending:
    """How a run ended. status: success, stopped, diverged or failed.

    clock_s: bench clock when it was last asked. wall_s: time at work, without the pauses before a resume.
    error: one line, of a run that diverged or failed.
    """

    status: str
    clock_s: float
    wall_s: float
    error: str = ""


def summarize(
    config: ExperimentConfig,
    task: Task,
    network: Network,
    account: BenchAccount | None,
    origin: Origin,
    ending: Ending,
    run_dir: Path,
) -> dict[str, Any]:
    """The summary of a run, without asking the bench: it may be what failed. Null: what a run without one lacks.

    account: of the bench; None without one.
    """
    steps = read_metrics(run_dir, "step")
    summary: dict[str, Any] = {
        "task": config.task.name,
        "rule": config.rule.name,
        "backend": config.rule.name if config.rule.trains_on == "host" else config.bench.backend,
        "seed": config.seed,
        "steps": len(steps),
        "exit_status": ending.status,
        "error": ending.error or None,
        "weights": sum(int(np.prod(layer.weights.shape)) for layer in network.weighted),
        "metric": _metric(task.metric_name, read_metrics(run_dir, "evaluation")),
        **_update_ratios(steps),
        "products_per_weight": _mean_reuse(steps),
        "bench_time_s": ending.clock_s - origin.clock_s,
        "wall_s": ending.wall_s,
    }
    if account is None or origin.counts is None:
        return {**summary, **dict.fromkeys(_OF_THE_BENCH)}
    used, cause = account.used(), read_writes(run_dir)["cause"]
    counts, assumptions = account.counts() - origin.counts, EnergyModel()
    return {
        **summary,
        "cells": int(used.sum()),
        "writes_total": int(counts.writes.sum()),
        "refresh_writes_total": int(np.count_nonzero(cause == WriteCause.REFRESH)),
        "moved_writes_total": int(np.count_nonzero(cause == WriteCause.MOVE)),
        "pulses_total": int(counts.pulses.sum()),
        "verify_reads_total": int(counts.verify_reads.sum()),
        "vmm_total": int(counts.vmm_vectors),
        "writes_per_cell": writes_per_cell(counts, used),
        "pulses_per_cell": pulses_per_cell(counts, used),
        "pulses_per_cell_max": int(counts.pulses.max()),
        "energy_j": energy_j(counts, assumptions),
        "energy_range_j": {corner: vars(split_j(counts, EnergyModel.corner(corner))) for corner in CORNERS},
        "vmm_cells_total": int(counts.vmm_cells),
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


def _mean_reuse(steps: list[dict[str, Any]]) -> float | None:
    """Forward products that the mean weight took part in, in the mean step."""
    known = [line["products_per_weight"] for line in steps if line.get("products_per_weight") is not None]
    return float(np.mean(known)) if known else None


def _update_ratios(steps: list[dict[str, Any]]) -> dict[str, float | None]:
    ratios = np.array([line["update_ratio"] for line in steps])
    if ratios.size == 0:
        return {"update_ratio_mean": None, "update_ratio_last": None}
    tenth = max(1, ratios.size // 10)
    return {"update_ratio_mean": float(ratios.mean()), "update_ratio_last": float(ratios[-tenth:].mean())}
