"""The claims that are made for EaPU, each against what a table measured: value, assumptions, verdict.

The claims are those of the abstract of Liu, Shi, Liu et al., Nat. Commun. (2025), doi
10.1038/s41467-025-66240-7, and of what was written about it. Verdicts are taken from unrounded numbers, and from
the worst seed. There is no verdict on runs that are short or few, nor where the seeds differ by more than the distance
to the claim: see `eapu_hil.study.verdicts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eapu_hil.base.quantities import MISSING, metric_style, share, with_prefix
from eapu_hil.bench.energy import CORNERS, EnergyModel, digital_j, gpu_j
from eapu_hil.rules import BP, DIGITAL, EAPU
from eapu_hil.study.lifetime import EnduranceModel, runs_to_failure
from eapu_hil.study.results import Results, Run, known_values
from eapu_hil.study.scenarios import EnergyScenario, as_run, other_arrays
from eapu_hil.study.verdicts import FAILS, UNDER, Measured, in_words

REUSES = (1, 8, 32, 128, 1024, 8192)  # products per weight and step
FULLY_CONNECTED = (
    128  # the largest reuse of a layer without convolution: one product a sample, batches of 128
)
ENERGY_CLAIM, LIFE_CLAIM, POINTS_CLAIM, RATIO_CLAIM, GPU_CLAIM = 50.0, 1000.0, 60.0, 1e-3, 1e6
# Peak efficiency, J per float operation: power limit over peak rate.
GPUS = {"A100, fp32": 20.5e-12, "A100, bf16": 1.28e-12, "H100, fp32": 10.5e-12, "H100, bf16": 0.71e-12}


@dataclass(frozen=True)
class Claim:
    """One line of the page. measured: one text for each figure. verdict: one of the words above, and under what."""

    claim: str
    measured: list[str]
    assumptions: str
    verdict: str


def judge(results: Results) -> list[Claim]:
    """Every claim that the table has something to say about, and those that it has not as `not measured`."""
    return [
        _update_ratio(results),
        _accuracy(results),
        _energy(results),
        _life(results),
        _gpu(results),
    ]


def _update_ratio(results: Results) -> Claim:
    measured, found = [], dict[str, Measured]()
    for task in results.tasks:
        runs = [run for run in results.at(task, EAPU) if run.values.get("update_ratio") is not None]
        if runs:
            mean, last = (
                [known_values(run)[key] for run in runs] for key in ("update_ratio", "update_ratio_last")
            )
            steps = f"{known_values(runs[0])['steps']:.0f} steps"
            measured.append(
                f"{task}, {steps}: {_spread([1e3 * m for m in mean])} \u2030 in a step, in the last tenth "
                f"{_spread([1e3 * one for one in last])} \u2030"
            )
            found[task] = Measured(mean, _steps(runs), RATIO_CLAIM, at_most=True)
    text = "Mean share of the weights that eapu writes in a step, over all steps. Small steps are rarely written."
    return Claim("Under 0.1 % of the weights are written in a step", measured, text, in_words(found))


def _accuracy(results: Results) -> Claim:
    measured, found = [], dict[str, Measured]()
    for task, metric in results.tasks.items():
        style = metric_style(metric)
        over_bp = [one - other for one, other in results.paired(task, EAPU, BP, "metric")]
        below = [one - other for one, other in results.paired(task, DIGITAL, EAPU, "metric")]
        if over_bp:
            unit = "points" if style.unit == "%" else style.unit
            text = f"{task}: eapu {_spread([style.factor * x for x in over_bp])} {unit} above bp"
            if below:
                text += f", {_spread([style.factor * x for x in below])} {unit} below digital"
            diverged = len(results.at(task, BP)) - len(over_bp)
            measured.append(text + (f"; bp diverged with {diverged} seeds" if diverged else ""))
            if style.unit == "%":
                points = [style.factor * x for x in over_bp]
                found[task] = Measured(points, _steps(results.at(task, EAPU)), POINTS_CLAIM)
    text = (
        "All rules have the same seeds and steps, and the settings that their search chose. In digits_long only bp has "
        "these; the others have a low learning rate, so that they write rarely. The claim comes from deep networks "
        "(ResNet-152, 100 classes), where bp ends at chance level."
    )
    return Claim("Accuracy some 60 points above bp, close to digital", measured, text, in_words(found))


def _energy(results: Results) -> Claim:
    pairs = {task: its for task in results.tasks if (its := _run_pairs(results, task, BP, EAPU))}
    measured = [line for task, its in pairs.items() for line in _energy_of(task, its)]
    if pairs:
        longest = max(pairs, key=lambda task: known_values(pairs[task][0][0])["steps"])
        measured += _on_other_arrays(longest, pairs[longest])
    found = {
        task: Measured(
            [as_run(*pair, "typical").ratio(FULLY_CONNECTED) for pair in its],
            _steps([eapu for _, eapu in its]),
            ENERGY_CLAIM,
        )
        for task, its in pairs.items()
    }
    text = (
        "Energy of cells, lines, converters and amplifiers for writes, verify reads and products, by reuse "
        "(products per weight and step). The worst seed counts. The verdict uses typical parameters and reuse 128. "
        "Optimizer and gradients need the same energy on digital hardware under both rules; they are shown separately."
    )
    return Claim("50 times less training energy than bp on memristors", measured, text, in_words(found))


def _energy_of(task: str, pairs: list[tuple[Run, Run]]) -> list[str]:
    """Ratios by reuse and parameters, what a write costs, and the share of digital hardware."""
    lines = []
    for corner in CORNERS:
        here = [as_run(*pair, corner) for pair in pairs]
        lines.append(f"{task}, {corner} parameters: {_ratios(here, REUSES)}; {_up_to(here)}")
    typical, model = [as_run(*pair, "typical") for pair in pairs], EnergyModel()
    first = typical[0]
    lines.append(
        f"{task}, typical: one write needs {with_prefix(first.write_j, 'J')}, {first.write_j / first.product_j:.3g} "
        f"times the energy of one product forward and backward of its weight; a ratio of 50 at reuse "
        f"{FULLY_CONNECTED} needs more than {(ENERGY_CLAIM - 1) * FULLY_CONNECTED:.0f} times"
    )
    one, many = (
        min(its.ratio(reuse, digital_j(1, 1, reuse, model)) for its in typical)
        for reuse in (1, FULLY_CONNECTED)
    )
    lines.append(
        f"{task}, typical, with optimizer and gradients: ratio {one:.3g} at reuse 1, {many:.3g} at reuse "
        f"{FULLY_CONNECTED}"
    )
    whole, reuse = [_joules(bp) / _joules(eapu) for bp, eapu in pairs], known_values(pairs[0][0])
    lines.append(
        f"{task}, the whole run as measured, reuse {reuse['products_per_weight']:.0f}: ratio {_spread(whole)}"
    )
    return lines


def _on_other_arrays(task: str, pairs: list[tuple[Run, Run]]) -> list[str]:
    return [
        f"{task}, {its[0].name}: {_ratios(its, (1, FULLY_CONNECTED))}; {_up_to(its)}"
        for its in zip(*(other_arrays(*pair) for pair in pairs), strict=True)
    ]


def _ratios(scenarios: Sequence[EnergyScenario], reuses: Sequence[int]) -> str:
    ratios = [f"{min(one.ratio(reuse) for one in scenarios):.3g} at reuse {reuse}" for reuse in reuses]
    return f"ratio {', '.join(ratios)}"


def _up_to(scenarios: Sequence[EnergyScenario]) -> str:
    most = min(one.largest_reuse(ENERGY_CLAIM) for one in scenarios)
    return f"50 is reached up to reuse {most:.3g}" if most else "50 is not reached"


def _life(results: Results) -> Claim:
    measured, found = [], dict[str, Measured]()
    model = EnduranceModel()
    for task in results.tasks:
        pairs = _run_pairs(results, task, BP, EAPU)
        if not pairs:
            continue
        ratio = {
            key: [known_values(bp)[key] / max(known_values(eapu)[key], 1.0) for bp, eapu in pairs]
            for key in ("pulses_mean_cell", "pulses_p999_cell", "pulses_hottest_cell")
        }
        p999 = float(np.mean([known_values(eapu)["pulses_p999_cell"] for _, eapu in pairs]))
        runs = ", ".join(f"{corner} {runs_to_failure(p999, model, corner):.2g}" for corner in CORNERS)
        measured.append(
            f"{task}: mean cell {_spread(ratio['pulses_mean_cell'])} times longer, 99.9th percentile "
            f"{_spread(ratio['pulses_p999_cell'])}, hottest {_spread(ratio['pulses_hottest_cell'])}; runs until "
            f"the 99.9th percentile cell fails under eapu: {runs}"
        )
        found[task] = Measured(ratio["pulses_p999_cell"], _steps([eapu for _, eapu in pairs]), LIFE_CLAIM)
    text = (
        "Pulses of bp divided by pulses of eapu in runs of equal length, including the initial writing. Runs to "
        "failure follow the model in lifetime.py: low counts each pulse as a full cycle, typical as a change of "
        "2 \u00b5S, high as the weakest pulse known."
    )
    return Claim("1000 times the life (99.9th percentile cell)", measured, text, in_words(found))


def _gpu(results: Results) -> Claim:
    measured, found = [], dict[str, Measured]()
    for task in results.tasks:
        runs = [run for run in results.at(task, EAPU) if run.values.get("products_per_weight") is not None]
        best = [0.0] * len(runs)
        for name, joule_per_flop in GPUS.items():
            peaks_j = [_gpu_j(run, joule_per_flop) for run in runs]
            ratios = [peak_j / _joules(run) for peak_j, run in zip(peaks_j, runs, strict=True)]
            best = [max(pair) for pair in zip(best, ratios, strict=True)]
            if runs:
                measured.append(
                    f"{task}: {name} at peak {with_prefix(peaks_j[0], 'J')}, the array "
                    f"{with_prefix(_joules(runs[0]), 'J')}: {ratios[0]:.3g} times; a million times if the GPU is used "
                    f"to {share(ratios[0] / GPU_CLAIM)}"
                )
        if runs:
            found[task] = Measured(best, _steps(runs), GPU_CLAIM)
    text = (
        "6 operations per weight and product. Peak efficiency of a GPU is its power limit divided by its peak rate. "
        "The figure of the array uses typical parameters and leaves out optimizer and gradients, which that of the GPU "
        "includes. Nothing was run on a GPU."
    )
    verdict = in_words(found)
    if verdict == FAILS:
        verdict = f"{UNDER} the utilisations named, not at peak"
    return Claim("A million times less energy than a GPU", measured, text, verdict)


def _run_pairs(results: Results, task: str, first: str, second: str) -> list[tuple[Run, Run]]:
    """Runs with the same seed that both ended well."""
    others = {run.seed: run for run in results.at(task, second) if run.values.get("writes")}
    return [
        (run, others[run.seed])
        for run in results.at(task, first)
        if run.values.get("writes") and run.seed in others
    ]


def _steps(runs: Sequence[Run]) -> float:
    """Of the shortest one that ended."""
    return min((steps for run in runs if (steps := run.values.get("steps")) is not None), default=0.0)


def _gpu_j(run: Run, joule_per_flop: float) -> float:
    value = known_values(run)
    return gpu_j(int(value["weights"]), int(value["steps"]), value["products_per_weight"], joule_per_flop)


def _joules(run: Run) -> float:
    value = known_values(run)
    return value["write_j_typical"] + value["product_j_typical"]


def _spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    if not values:
        return MISSING
    mean = float(np.mean(values))
    return f"{mean:.3g}" if len(values) == 1 else f"{mean:.3g} \u00b1 {float(np.std(values, ddof=1)):.2g}"
