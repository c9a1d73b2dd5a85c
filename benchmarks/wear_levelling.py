"""What wear levelling gains in life and costs in quality: the packaged `digits` or `denoise`, several seeds.

python benchmarks/wear_levelling.py DIR [EXPERIMENT [STEPS [SEEDS]]]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from eapu_hil.base.loading import load_model
from eapu_hil.study.batch import run_all
from eapu_hil.training.config import ExperimentConfig

SETTINGS = {
    "off": None,
    "growth 0.5": {"threshold_growth": 0.5},
    "growth 1": {"threshold_growth": 1.0},
    "growth 2": {"threshold_growth": 2.0},
    "share pairs": {"threshold_growth": 0.0, "share_pairs": True},
    "growth 1, share pairs": {"threshold_growth": 1.0, "share_pairs": True},
    "growth 2, share pairs": {"threshold_growth": 2.0, "share_pairs": True},
    "move rows": {"threshold_growth": 0.0, "move_rows": True},
}

PLAIN = str.maketrans({" ": "_", ",": None})  # names of directories


def main(directory: Path, experiment: str = "digits", steps: int = 800, seeds: int = 3) -> None:
    """Trains each setting with each seed, and prints means over the seeds."""
    wanted = {}
    for setting, levelling in SETTINGS.items():
        for seed in range(1, seeds + 1):
            changes = {"steps": steps, "evaluate_every": steps, "seed": seed, "wear_levelling": levelling}
            wanted[setting, seed] = load_model(ExperimentConfig, experiment, changes, "experiments")
    names = {key: f"{key[0].translate(PLAIN)}_{key[1]}" for key in wanted}
    runs = {names[key]: its for key, its in wanted.items()}
    ended = run_all(runs, directory, os.cpu_count() or 1, lambda *_: None)
    print(
        f"{experiment}, {steps} steps, {seeds} seeds: metric, writes, pulses of a cell: mean, 99.9 %, hottest"
    )
    base = np.ones(3)
    for setting in SETTINGS:
        rows = []
        for seed in range(1, seeds + 1):
            summary = ended[names[setting, seed]].summary
            if summary is None:
                raise SystemExit(f"{setting}, seed {seed}: {ended[names[setting, seed]].error}")
            cell = summary["pulses_per_cell"]
            rows.append(
                [summary["metric"]["final"], summary["writes_total"], cell["mean"], cell["p999"], cell["max"]]
            )
        mean, sd = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) if seeds > 1 else np.zeros(5)
        base = mean[2:] if setting == "off" else base
        life = " ".join(f"{one:.2f}" for one in base / mean[2:])
        print(
            f"{setting:>21}: {mean[0]:.4f} +- {sd[0]:.4f}  {mean[1]:.0f}  {mean[2]:.1f} {mean[3]:.0f} "
            f"{mean[4]:.0f}  life x {life}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3], *map(int, sys.argv[3:5]))
