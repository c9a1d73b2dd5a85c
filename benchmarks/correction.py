"""What errors of the converters and the wires cost in quality, and how much of it calibration brings back.

    python benchmarks/correction.py DIR [STEPS] [SEEDS] [OFFSET]

The default twin with gain errors of 5 %, offset errors of OFFSET (0.005) of the range and wires of 1 ohm a cell, for
each seed (3; of the chip as well as of the training), with and without `product_accuracy` of plan `quick` in the
passport.

  mapped    the packaged experiment `denoise` is trained on the host and its weights written to the chip once, which
            neither relaxes nor fluctuates, so that nothing else changes; without error means: with products computed
            from what the cells read
  trained   it is trained on the chip with EaPU; without error means: on a twin that has none of these errors

both for STEPS (1,500). A training that has finished is not repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from eapu_calibration.calibrate import calibrate, load_plan

from eapu_hil.array_model import choose_tiles
from eapu_hil.bench import Bench, open_bench, prepare_for_training
from eapu_hil.chip import LineGains
from eapu_hil.compare import compare
from eapu_hil.config import ExperimentConfig, load_model
from eapu_hil.hal import CellStatus
from eapu_hil.layers import DigitalWeights, Weights, WeightSpec
from eapu_hil.mapping import ArrayWeights
from eapu_hil.network import Network, named_weight_specs
from eapu_hil.pairs import ConductancePairs
from eapu_hil.runs import load_checkpoint
from eapu_hil.tasks import make_task
from eapu_hil.terminal import Terminal, TrainingBar

CASES = ("exact", "uncorrected", "corrected")


def experiment(case: str, seed: int, steps: int, offset: float, chips: Path) -> ExperimentConfig:
    wrong = {
        "bench.overrides.adc.gain_error_sd": 0.05,
        "bench.overrides.adc.offset_error_sd": offset,
        "bench.overrides.circuit.line_resistance_ohm": 1.0,
    }
    overrides = {"seed": seed, "bench.seed": seed, "steps": steps, "evaluate_every": steps}
    if case == "host":
        overrides["rule"] = {"name": "digital"}
    overrides |= dict.fromkeys(wrong, 0.0) if case == "exact" else wrong
    if case == "corrected":
        overrides["bench.chip"] = str(chips / f"seed{seed}")
    return load_model(ExperimentConfig, "denoise", overrides, "experiments")


def measure_products(bench: Bench) -> None:
    """On every array, where that was not done before."""
    plan = load_plan("quick")
    for number, array in enumerate(bench.arrays):
        if np.all(bench.chip.line_gains(number).columns == 1.0):
            names = ["product_accuracy"]
            calibrate(array, number, bench.chip, bench.recipe, plan, names, 0, lambda _: lambda _: None)


def mapped_db(config: ExperimentConfig, host_run: Path) -> dict[str, float]:
    """PSNR by case of the network of `host_run` when its weights are written to the chip of `config`."""
    quiet = {f"bench.overrides.{name}.enabled": False for name in ("relaxation", "read_noise", "rtn")}
    config = load_model(ExperimentConfig, config, quiet, "experiments")
    checkpoint = load_checkpoint(host_run)
    assert checkpoint is not None
    task = make_task(config.task)
    with open_bench(config.bench) as bench:
        measure_products(bench)
        prepare_for_training(bench)
        recipe, tiles = bench.recipe, choose_tiles(task, bench)
        shapes = {name: spec.matrix_shape for name, spec in named_weight_specs(task.layers()).items()}
        window_s = recipe.g_max_s - recipe.g_min_s
        # The host trains without a window; this range holds nearly all of its weights.
        r_wg = {name: 2.0 * np.sqrt(2.0 / shape[0]) / window_s for name, shape in shapes.items()}
        numbers = range(len(bench.arrays))
        bad = [bench.chip.bad_cells(number) != CellStatus.OK for number in numbers]
        sigma_of = bench.chip.write_error().sigma_s
        pairs = ConductancePairs(bench.arrays, tiles, shapes, r_wg, recipe, sigma_of, bad, lambda _: None)
        for name in shapes:
            pairs.program_matrix(name, checkpoint.arrays[f"model.{name}"], np.zeros_like(bad))
        pairs.refresh()

        def on_chip(gains: list[LineGains]) -> Callable[[str, WeightSpec], Weights]:
            return lambda name, spec: ArrayWeights(
                spec.matrix_shape, bench.arrays, tiles[name], r_wg[name], recipe.v_read_v, gains
            )

        cases: dict[str, Callable[[str, WeightSpec], Weights]] = {
            "exact": lambda name, _: DigitalWeights(pairs.matrix(name)),
            "uncorrected": on_chip([LineGains.unknown(array.shape) for array in bench.arrays]),
            "corrected": on_chip([bench.chip.line_gains(number) for number in numbers]),
        }
        found = {}
        for case, make in cases.items():
            network = Network(task.layers(), make)
            for layer in network.weighted:
                layer.bias[...] = checkpoint.arrays[f"bias.{layer.name}"]
            found[case] = task.evaluate(network.infer, quick=False).value
        return found


def say(what: str, psnr_db: dict[str, list[float]]) -> None:
    for case, values in psnr_db.items():
        print(
            f"{what} {case:>12}",
            " ".join(f"{value:6.2f}" for value in values),
            f" mean {np.mean(values):.2f} dB",
        )
    lost, left = (np.mean(psnr_db["exact"]) - np.mean(psnr_db[case]) for case in ("uncorrected", "corrected"))
    print(f"{what}: lost {lost:.2f} dB, brought back {100 * (1 - left / lost):.0f} %", flush=True)


def main() -> None:
    directory = Path(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    seeds = range(1, 1 + (int(sys.argv[3]) if len(sys.argv) > 3 else 3))
    offset = float(sys.argv[4]) if len(sys.argv) > 4 else 0.005
    directory.mkdir(exist_ok=True)
    terminal = Terminal(as_json=False)

    def one(case: str, seed: int, chips: str) -> ExperimentConfig:
        return experiment(case, seed, steps, offset, directory / chips)

    host = {f"seed{seed}": one("host", seed, "none") for seed in seeds}
    compare(host, directory / "host", lambda name: TrainingBar(terminal, name))
    mapped = [
        mapped_db(one("corrected", seed, "mapped-chips"), directory / "host" / f"seed{seed}")
        for seed in seeds
    ]
    say("mapped", {case: [found[case] for found in mapped] for case in CASES})

    trained = {f"{case}_seed{seed}": one(case, seed, "trained-chips") for seed in seeds for case in CASES}
    for name, config in trained.items():
        if name.startswith("corrected"):
            with open_bench(config.bench) as bench:
                measure_products(bench)
    rules = compare(trained, directory / "trained", lambda name: TrainingBar(terminal, name))["rules"]
    say(
        "trained",
        {case: [rules[f"{case}_seed{seed}"]["metric"]["final"] for seed in seeds] for case in CASES},
    )


if __name__ == "__main__":
    main()
