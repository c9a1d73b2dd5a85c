"""Twins with hidden random parameters: calibrated through the contract, fitted, and predicted.

    python benchmarks/fit_twin.py [TWINS] [SEED] [BENCH]

Each of TWINS (4) has 13 parameters and two columns of its relaxation table drawn anew; it is measured with plan
`quick`, on 128 x 64 cells, and fitted. Prints how many hidden values lie in their 95 % intervals, and how far the
errors of a fresh programming of 4,000 random targets lie from those of the fitted twin after 1 s, 1 h and 1 day
(Kolmogorov-Smirnov distance).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from eapu_calibration.calibrate import calibrate
from eapu_calibration.fit_twin import TwinFit, fit_twin
from eapu_calibration.plan import load_plan
from scipy import stats

from eapu_hil.base.loading import load_model
from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.forming import form
from eapu_hil.hal import Cells, FloatArray, Targets
from eapu_hil.twin.preset import TwinPreset

# name: lowest and highest that is drawn, evenly in the logarithm
RANGES = {
    "gate.threshold_v": (0.62, 0.8),
    "gate.slope_S_per_v": (36e-6, 52e-6),
    "variation.gate_threshold_v": (0.02, 0.05),
    "variation.gate_slope_relative": (0.03, 0.08),
    "write_noise.set_absolute_S": (0.4e-6, 1.0e-6),
    "write_noise.set_relative": (0.03, 0.08),
    "forming.v_form_v": (2.6, 2.9),
    "forming.v_form_sd_v": (0.1, 0.2),
    "faults.stuck_fraction": (0.002, 0.02),
    "read_noise.flicker_relative_per_decade": (0.003, 0.008),
    "adc.gain_error_sd": (0.005, 0.03),
    "relaxation.jump_decades": (4.0, 12.0),
    "relaxation.passing_share": (0.2, 0.5),
}
TABLE = ("variance_1s_S2", "variance_per_decade_S2")
TIMES_s = (1.0, 3600.0, 86400.0)
TARGETS = 4000
ALWAYS_KEPT = 4  # what fit_twin never fits


def hidden(base: TwinPreset, rng: np.random.Generator) -> dict[str, Any]:
    """Parameters by dotted key; the table's variances are those of the base, each column with a factor of its own."""
    drawn: dict[str, Any] = {
        key: float(np.exp(rng.uniform(np.log(low), np.log(high)))) for key, (low, high) in RANGES.items()
    }
    for name in TABLE:
        column = np.asarray(getattr(base.relaxation, name))
        tilt = np.exp(rng.uniform(-0.3, 0.3) + rng.uniform(-0.3, 0.3) * np.linspace(-1, 1, column.size))
        drawn[f"relaxation.{name}"] = (column * tilt).tolist()
    return drawn


def errors_uS(bench: Bench, rng: np.random.Generator) -> dict[float, FloatArray]:
    """Errors of random targets at each time after the write, uS."""
    array = bench.arrays[0]
    good = Cells.all(array.shape)
    cells = good[rng.permutation(len(good))[:TARGETS]]
    recipe = bench.recipe
    targets_S = rng.uniform(recipe.g_min_S, recipe.g_max_S, len(cells))
    outcome = array.program(Targets(cells, targets_S))
    began_s, written = array.clock_s(), outcome.status == 0
    found = {}
    for time_s in TIMES_s:
        array.wait(began_s + time_s - array.clock_s())
        found[time_s] = 1e6 * (array.read(cells, recipe.v_read_v).g_S - targets_S)[written]
    return found


def inside(fit: TwinFit, drawn: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """By parameter: how many of its values lie in their intervals, of how many that have one."""
    fitted = {one.key: one.estimate for one in fit.fitted}
    counts = {}
    for key, truth in drawn.items():
        estimate = fitted.get(key)
        if estimate is None:
            continue
        if isinstance(truth, list):
            at_S = np.asarray(fitted["relaxation.g_S"].value)
            truth = np.interp(at_S, fit.base.relaxation.g_S, truth)
        known = np.isfinite(estimate.low)
        held = (estimate.low <= truth) & (truth <= estimate.high) & known
        counts[key] = (int(np.sum(held)), int(np.sum(known)))
    return counts


def main() -> None:
    twins = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    through = sys.argv[3] if len(sys.argv) > 3 else "twin"  # sim_controller: through the firmware
    base = load_model(TwinPreset, "rram_180nm", [], "presets")
    totals: dict[str, list[int]] = {}
    for number in range(twins):
        rng = np.random.default_rng([seed, number])
        drawn = hidden(base, rng)
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            config = {"arrays": 1, "seed": 100 + number, "chip": str(directory / "chip")}
            overrides = {f"overrides.{key}": value for key, value in drawn.items()}
            with open_bench(through, {**config, **overrides}, commission=False) as bench:
                plan = load_plan("quick")
                names = ["forming", *plan.names]
                calibrate(bench, 0, plan, names, seed=seed, progress_of=lambda _: lambda _: None)
                began_s = time.perf_counter()
                fit = fit_twin(bench.chip, 0, base, rng)
                fit_s = time.perf_counter() - began_s
                real = errors_uS(bench, np.random.default_rng(7))
            (directory / "fitted.yaml").write_text(fit.text("fitted", "of a hidden twin"), encoding="utf-8")
            config = {"arrays": 1, "seed": 900 + number, "preset": str(directory / "fitted.yaml")}
            with open_bench("twin", config, commission=False) as bench:
                form(bench.arrays[0], Cells.all(bench.arrays[0].shape), bench.recipe)
                predicted = errors_uS(bench, np.random.default_rng(8))
        apart = {time_s: stats.ks_2samp(real[time_s], predicted[time_s]).statistic for time_s in TIMES_s}
        print(f"twin {number}: fitted in {fit_s:.0f} s; distance",
              ", ".join(f"{value:.3f} at {time_s:g} s" for time_s, value in apart.items()), flush=True)  # fmt: skip
        for key, counts in inside(fit, drawn).items():
            total = totals.setdefault(key, [0, 0])
            total[0] += counts[0]
            total[1] += counts[1]
        for kept in fit.kept[:-ALWAYS_KEPT]:
            print("  kept", kept.keys, kept.reason)
    for key, (held, of) in totals.items():
        print(f"{key:44s} {held:3d} of {of}")
    held, of = np.sum(list(totals.values()), axis=0)
    print(f"{'in all':44s} {held:3d} of {of} ({100 * held / of:.1f} %)")


if __name__ == "__main__":
    main()
