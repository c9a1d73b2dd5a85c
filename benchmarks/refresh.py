"""What a day does to a trained network, and what a refresh brings back.

    python benchmarks/refresh.py DIR [STEPS] [SEEDS]

Trains the packaged experiment `denoise` for STEPS (800) with each seed (3; of the chip as well as of the training),
lets each chip stand for a day of bench time, and refreshes it as `refresh_every` does. A training that has finished is
not repeated.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from eapu_hil.base.loading import load_model
from eapu_hil.bench import open_bench
from eapu_hil.cli.bars import TrainingBar
from eapu_hil.cli.terminal import Terminal
from eapu_hil.placement.layout import Layout
from eapu_hil.study.compare import compare
from eapu_hil.training.array_model import ArrayModel
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import load_checkpoint

DAY_s = 86400.0
MOMENTS = ("trained", "a day later", "refreshed", "a second later")


def experiment(seed: int, steps: int) -> ExperimentConfig:
    overrides = {"seed": seed, "bench.seed": seed, "steps": steps, "evaluate_every": steps}
    return load_model(ExperimentConfig, "denoise", overrides, "experiments")


def aged_db(config: ExperimentConfig, run: Path) -> tuple[list[float], int]:
    """PSNR of a copy of the finished `run` at each of `MOMENTS`, and how many cells were written again."""
    checkpoint = load_checkpoint(run)
    assert checkpoint is not None
    task = config.task.make()
    with RunStore.open(run, finished=True) as store, open_bench(config.bench, chip_dir=run / "chip") as bench:
        model = ArrayModel(task, config, bench, Layout.read(run), store)
        for layer in model.network.weighted:
            layer.bias[...] = checkpoint.arrays[f"bias.{layer.name}"]

        def psnr_db() -> float:
            return task.evaluate(model.network.infer, quick=False).value

        def wait(duration_s: float) -> None:
            for array in bench.arrays:
                array.wait(duration_s / len(bench.arrays))  # arrays of a bench share its clock

        found = [psnr_db()]
        wait(DAY_s)
        found.append(psnr_db())
        written = model.refresh(checkpoint.step).writes
        found.append(psnr_db())
        wait(1.0)
        return [*found, psnr_db()], written


def main() -> None:
    directory = Path(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 800
    seeds = range(1, 1 + (int(sys.argv[3]) if len(sys.argv) > 3 else 3))
    experiments = {f"seed{seed}": experiment(seed, steps) for seed in seeds}
    terminal = Terminal(as_json=False)
    compare(experiments, directory, lambda name: TrainingBar(terminal, name))
    psnr_db, written = [], []
    for name, config in experiments.items():
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(shutil.copytree(directory / name, Path(scratch) / name))
            values, writes = aged_db(config, copy)
        psnr_db.append(values)
        written.append(writes)
    for moment, values in zip(MOMENTS, np.transpose(psnr_db), strict=True):
        print(f"{moment:>15}", " ".join(f"{value:6.2f}" for value in values), f" mean {values.mean():.2f} dB")
    print("cells written again:", *written)


if __name__ == "__main__":
    main()
