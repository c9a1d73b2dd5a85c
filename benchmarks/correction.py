"""What errors of the converters and the wires cost in quality, and how much of it calibration brings back.

    python benchmarks/correction.py DIR [STEPS] [SEEDS] [OFFSET]

Trains the packaged experiment `denoise` for STEPS (1,500) with each seed (3; of the chip as well as of the training) on
three twins: without these errors; with gain errors of 5 %, offset errors of OFFSET (0.005) of the range, and wires of
1 ohm a cell; and on the same chip with `product_accuracy` of plan `quick` in its passport. A run that has finished is
not repeated.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from eapu_calibration.calibrate import calibrate, load_plan

from eapu_hil.bench import open_bench
from eapu_hil.compare import compare
from eapu_hil.config import ExperimentConfig, load_model
from eapu_hil.terminal import Terminal, TrainingBar

CASES = ("exact", "uncorrected", "corrected")


def errors(offset: float) -> dict[str, float]:
    return {
        "bench.overrides.adc.gain_error_sd": 0.05,
        "bench.overrides.adc.offset_error_sd": offset,
        "bench.overrides.circuit.line_resistance_ohm": 1.0,
    }


def experiment(case: str, seed: int, steps: int, offset: float, chips: Path) -> ExperimentConfig:
    """The chip of `corrected` is measured here, where that was not done before."""
    wrong = errors(offset)
    overrides = {"seed": seed, "bench.seed": seed, "steps": steps, "evaluate_every": steps}
    overrides |= dict.fromkeys(wrong, 0.0) if case == "exact" else wrong
    if case == "corrected":
        overrides["bench.chip"] = str(chips / f"seed{seed}")
    config = load_model(ExperimentConfig, "denoise", overrides, "experiments")
    if case == "corrected":
        with open_bench(config.bench) as bench:
            plan = load_plan("quick")
            for number, array in enumerate(bench.arrays):
                if np.all(bench.chip.line_gains(number).columns == 1.0):
                    names = ["product_accuracy"]
                    calibrate(
                        array, number, bench.chip, bench.recipe, plan, names, seed, lambda _: lambda _: None
                    )
    return config


def main() -> None:
    directory = Path(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    seeds = range(1, 1 + (int(sys.argv[3]) if len(sys.argv) > 3 else 3))
    offset = float(sys.argv[4]) if len(sys.argv) > 4 else 0.005
    experiments = {
        f"{case}_seed{seed}": experiment(
            case, seed, steps, offset, directory.with_name(f"{directory.name}-chips")
        )
        for seed in seeds
        for case in CASES
    }
    terminal = Terminal(as_json=False)
    rules = compare(experiments, directory, lambda name: TrainingBar(terminal, name))["rules"]
    psnr_db = {
        case: np.array([rules[f"{case}_seed{seed}"]["metric"]["final"] for seed in seeds]) for case in CASES
    }
    for case, values in psnr_db.items():
        print(f"{case:>12}", " ".join(f"{value:6.2f}" for value in values), f" mean {values.mean():.2f} dB")
    lost, left = (psnr_db["exact"] - psnr_db[case] for case in ("uncorrected", "corrected"))
    print(f"lost {lost.mean():.2f} dB, brought back {100 * (1 - left.mean() / lost.mean()):.0f} %")


if __name__ == "__main__":
    main()
