"""What errors of the converters and the wires cost in quality, and how much of it calibration brings back.

    python benchmarks/correction.py DIR [STEPS] [SEEDS] [OFFSET]

For each seed (3; of the chip as well as of the training) three default twins: without these errors; with gain errors of
5 %, offset errors of OFFSET (0.05) of the range of the converters and wires of 1 ohm a cell, nothing of which is known;
and the same after calibration: offset of the reads as commissioning finds it, `product_accuracy` of plan `quick`.

  mapped    the packaged experiment `denoise` is trained on the host, and its weights are written once to a chip that
            neither relaxes nor fluctuates, so that nothing else differs
  trained   it is trained on the chip with EaPU

both for STEPS (1,500). A training that has finished is not repeated.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from eapu_calibration.calibrate import calibrate
from eapu_calibration.plan import load_plan

from eapu_hil.base.loading import load_model
from eapu_hil.bench import open_bench
from eapu_hil.bench.forming import exercise, form
from eapu_hil.bench.opening import prepare_for_training
from eapu_hil.cli.bars import TrainingBar
from eapu_hil.cli.terminal import Terminal
from eapu_hil.hal import Cells, CellStatus
from eapu_hil.network.network import Network, named_weight_specs
from eapu_hil.placement.array_weights import ArrayWeights
from eapu_hil.placement.pairs import ConductancePairs
from eapu_hil.study.compare import compare
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.matrices import choose_layout
from eapu_hil.training.runs import load_checkpoint

CASES = ("exact", "uncorrected", "corrected")


def experiment(case: str, seed: int, steps: int, offset: float, chip: Path) -> ExperimentConfig:
    """case: one of `CASES`, or "host" for training without an array."""
    wrong = {
        "bench.overrides.adc.gain_error_sd": 0.05,
        "bench.overrides.adc.offset_error_sd": offset,
        "bench.overrides.circuit.line_resistance_ohm": 1.0,
    }
    overrides = {"seed": seed, "bench.seed": seed, "steps": steps, "evaluate_every": steps}
    if case == "host":
        overrides["rule"] = {"name": "digital"}
    else:
        overrides["bench.chip"] = str(chip)
    overrides |= wrong if case in ("uncorrected", "corrected") else dict.fromkeys(wrong, 0.0)
    return load_model(ExperimentConfig, "denoise", overrides, "experiments")


def make_chip(case: str, config: ExperimentConfig) -> None:
    """Forms a chip, with the offset of its reads unknown if `uncorrected`; measures its products if `corrected`."""
    assert config.bench.chip is not None
    if config.bench.chip.exists():
        return
    with open_bench(config.bench, commission=False) as bench:
        for number, array in enumerate(bench.arrays):
            if case == "uncorrected":
                cells = Cells.all(array.shape)
                form(array, cells, bench.recipe)
                status = exercise(array, cells, bench.recipe).reshape(array.shape)
                bench.chip.record("forming", {"array": number}, {"status": status}, array.clock_s())
        prepare_for_training(bench)
        if case == "corrected":
            plan, names = load_plan("quick"), ["product_accuracy"]
            for number in range(len(bench.arrays)):
                calibrate(bench, number, plan, names, seed=0, progress_of=lambda _: lambda _: None)


def mapped_db(case: str, config: ExperimentConfig, host_run: Path) -> float:
    """PSNR of the network of `host_run` when its weights are written to the chip of `config`."""
    quiet = {f"bench.overrides.{name}.enabled": False for name in ("relaxation", "read_noise", "rtn")}
    config = load_model(ExperimentConfig, config, quiet, "experiments")
    make_chip(case, config)
    checkpoint = load_checkpoint(host_run)
    assert checkpoint is not None
    task = config.task.make()
    with open_bench(config.bench) as bench:
        recipe, tiles = bench.recipe, choose_layout(task, bench).tiles
        shapes = {name: spec.matrix_shape for name, spec in named_weight_specs(task.layers()).items()}
        window_S = recipe.g_max_S - recipe.g_min_S
        # The host trains without a window; this range holds nearly all of its weights.
        r_wg = {name: 2.0 * np.sqrt(2.0 / shape[0]) / window_S for name, shape in shapes.items()}
        numbers = range(len(bench.arrays))
        bad = [bench.chip.bad_cells(number) != CellStatus.OK for number in numbers]
        sigma_of = bench.chip.write_error().sigma_S
        arrays = bench.arrays.without_record()
        pairs = ConductancePairs(arrays, tiles, shapes, r_wg, recipe, sigma_of, bad, lambda _: None)
        for name in shapes:
            pairs.program_matrix(name, checkpoint.arrays[f"model.{name}"])
        network = Network(
            task.layers(),
            lambda name, spec: ArrayWeights(
                spec.matrix_shape, bench.arrays, tiles[name], r_wg[name], recipe.v_in_max_v
            ),
        )
        for layer in network.weighted:
            layer.bias[...] = checkpoint.arrays[f"bias.{layer.name}"]
        return task.evaluate(network.infer, quick=False).value


def say(what: str, psnr_db: dict[str, list[float]]) -> None:
    for case, values in psnr_db.items():
        each = " ".join(f"{value:6.2f}" for value in values)
        print(f"{what} {case:>12} {each}  mean {np.mean(values):.2f} dB")
    lost, left = (np.mean(psnr_db["exact"]) - np.mean(psnr_db[case]) for case in ("uncorrected", "corrected"))
    print(f"{what}: lost {lost:.2f} dB, brought back {100 * (1 - left / lost):.0f} %", flush=True)


def main() -> None:
    directory = Path(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    seeds = range(1, 1 + (int(sys.argv[3]) if len(sys.argv) > 3 else 3))
    offset = float(sys.argv[4]) if len(sys.argv) > 4 else 0.05
    directory.mkdir(exist_ok=True)
    terminal = Terminal(as_json=False)

    def one(case: str, seed: int, what: str) -> ExperimentConfig:
        return experiment(case, seed, steps, offset, directory / f"{what}-chips" / f"{case}_seed{seed}")

    host = {f"seed{seed}": one("host", seed, "host") for seed in seeds}
    compare(host, directory / "host", lambda name: TrainingBar(terminal, name))
    mapped = {
        case: [
            mapped_db(case, one(case, seed, "mapped"), directory / "host" / f"seed{seed}") for seed in seeds
        ]
        for case in CASES
    }
    say("mapped", mapped)

    trained = {f"{case}_seed{seed}": one(case, seed, "trained") for seed in seeds for case in CASES}
    for name, config in trained.items():
        make_chip(name.partition("_")[0], config)
    rules = compare(trained, directory / "trained", lambda name: TrainingBar(terminal, name))["rules"]
    final = {name: float(run["metric"]["final"]) for name, run in rules.items()}
    say("trained", {case: [final[f"{case}_seed{seed}"] for seed in seeds] for case in CASES})


if __name__ == "__main__":
    main()
