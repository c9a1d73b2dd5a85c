"""Where the time of a training step goes: array products against everything else.

Usage: python benchmarks/training.py [EXPERIMENT] [STEPS]

Trains a packaged experiment for some steps under the profiler and prints the share of the steps' time that was
spent in products on the arrays (`ArrayWeights.forward` and `.backward`, with the twin's wires, noise and
converters inside), in writes, and in the rest.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eapu_hil.base.loading import load_model
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.trainer import train

PARTS = {
    "array products": [("array_weights.py", "forward"), ("array_weights.py", "backward")],
    "writes (read, pulse, verify, log)": [("pairs.py", "write")],
    "rules": [("eapu.py", "propose"), ("eapu_residual.py", "propose"), ("bp.py", "propose")],
    "optimizer": [("optimizer.py", "step")],
    "data": [("denoise.py", "batch"), ("super_resolution.py", "batch"), ("digits.py", "batch")],
}


class StepsOnly:
    """Profiles from the end of the first evaluation to the end of the last step."""

    def __init__(self, profile: cProfile.Profile) -> None:
        self._profile = profile
        self._steps = 0

    def on_start(self, total_steps: int) -> None:
        self._steps = total_steps

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None:  # noqa: ARG002
        if step == self._steps:
            self._profile.disable()

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None:  # noqa: ARG002
        if step == 0:
            self._profile.enable()

    def on_end(self) -> None: ...


def cumulative_s(stats: pstats.Stats, file: str, function: str) -> float:
    """Time spent in `function` of `file`, called functions included."""
    entries = stats.stats.items()  # type: ignore[attr-defined]
    return sum(value[3] for key, value in entries if Path(key[0]).name == file and key[2] == function)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "denoise"
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    settings = [f"steps={steps}", f"evaluate_every={steps}", f"checkpoint_every={steps}"]
    experiment = load_model(ExperimentConfig, name, settings, "experiments")
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as directory:
        train(experiment, Path(directory) / "run", StepsOnly(profile))
    stats = pstats.Stats(profile)
    times_s = {part: sum(cumulative_s(stats, *call) for call in calls) for part, calls in PARTS.items()}
    total_s = stats.total_tt  # type: ignore[attr-defined]
    print(f"{name}: {steps} steps, {1e3 * total_s / steps:.1f} ms a step (profiler included)")
    for part, time_s in {**times_s, "the rest": total_s - sum(times_s.values())}.items():
        print(f"{part:36s} {100 * time_s / total_s:5.1f} %")


if __name__ == "__main__":
    main()
