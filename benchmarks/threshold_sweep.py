"""EaPU with fixed thresholds against the threshold that the passport gives: quality and writes.

    python benchmarks/threshold_sweep.py DIR [STEPS] [SEEDS]

Trains the packaged experiment `denoise` for STEPS (800) with each threshold and each seed (5; of the chip as well
as of the training), in DIR, and prints a table and draws DIR/sweep.png. A run that has finished is not repeated. The
passport's threshold is the write error that commissioning measures on each fresh chip, by conductance.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from eapu_hil.base.colours import BLUE, GREY, VERMILLION
from eapu_hil.base.loading import load_model
from eapu_hil.cli.bars import TrainingBar
from eapu_hil.cli.terminal import Terminal
from eapu_hil.report.figures import new_figure
from eapu_hil.study.compare import compare
from eapu_hil.training.config import ExperimentConfig

THRESHOLDS_uS = (0.5, 1.0, 2.0, 3.0, 4.5, 7.0)
PASSPORT = "passport"


def experiment(threshold_uS: float | None, seed: int, steps: int) -> ExperimentConfig:
    rule: dict[str, Any] = {"name": "eapu"}
    if threshold_uS is not None:
        rule["threshold_uS"] = threshold_uS
    overrides = {"rule": rule, "seed": seed, "bench.seed": seed, "steps": steps, "evaluate_every": steps}
    return load_model(ExperimentConfig, "denoise", overrides, "experiments")


def draw(table: dict[str, np.ndarray[Any, Any]], path: Path) -> None:
    """table: PSNR and writes, (2, seeds), by threshold."""
    with new_figure(path, 3.0) as figure:
        axes: list[Axes] = list(figure.subplots(1, 2))
        for axis, row, title in zip(axes, (0, 1), ("PSNR (dB)", "Cells written"), strict=True):
            values = np.array([table[f"{threshold:g}"][row] for threshold in THRESHOLDS_uS])
            spread = values.std(axis=1, ddof=1)
            axis.errorbar(THRESHOLDS_uS, values.mean(axis=1), spread, color=BLUE, marker="o", capsize=2,
                          label="fixed, mean and sd of the seeds")  # fmt: skip
            own = table[PASSPORT][row]
            axis.axhline(own.mean(), color=VERMILLION, label="from the passport")
            axis.axhspan(
                own.mean() - own.std(ddof=1), own.mean() + own.std(ddof=1), color=VERMILLION, alpha=0.15
            )
            axis.set_title(title)
            axis.set_xlabel("threshold (µS)", color=GREY)
        axes[1].set_yscale("log")
        axes[0].legend()


def main() -> None:
    directory = Path(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 800
    seeds = range(1, 1 + (int(sys.argv[3]) if len(sys.argv) > 3 else 5))
    names = {**{f"{threshold:g}": threshold for threshold in THRESHOLDS_uS}, PASSPORT: None}
    experiments = {
        f"{name}_seed{seed}": experiment(threshold, seed, steps)
        for seed in seeds
        for name, threshold in names.items()
    }
    terminal = Terminal(as_json=False)
    rules = compare(experiments, directory, lambda name: TrainingBar(terminal, name))["rules"]
    table = {}
    for name in names:
        runs = [rules[f"{name}_seed{seed}"] for seed in seeds]
        table[name] = np.array([[run["metric"]["final"], run["writes_total"]] for run in runs]).T
    print(f"{'threshold':>10} {'PSNR (dB)':>16} {'cells written':>14}")
    for name, (psnr_db, writes) in table.items():
        print(f"{name:>10} {psnr_db.mean():9.2f} +-{psnr_db.std(ddof=1):5.2f} {writes.mean():14.0f}")
    draw(table, directory / "sweep.png")


if __name__ == "__main__":
    main()
