"""Makes a twin preset from a passport: fitted parameters where the measurements allow, the others from the base preset.

Each fitted value comes with its 95 % interval and the entry that it came from; each that is kept says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from scipy import stats
from scipy.special import expit

from eapu_calibration.fit_noise import FLICKER, WHITE, fit_read_noise
from eapu_calibration.fit_relaxation import FLOOR_MARGIN, fit_relaxation
from eapu_calibration.fit_switching import fit_forming, fit_gate_curve
from eapu_calibration.importing import require_same_chip
from eapu_calibration.statistics import CONFIDENCE, NORMAL_SDS, Estimate, Fits, share
from eapu_hil.base.storage import plain
from eapu_hil.bench.entries import Measurement
from eapu_hil.bench.passport import Chip
from eapu_hil.hal import CellStatus, ConfigError, FloatArray, HilError
from eapu_hil.twin.preset import TwinPreset

LINES_MIN = 16


def _variance_S2(log_uS2: FloatArray) -> FloatArray:
    return np.asarray(1e-12 * np.exp(log_uS2))


def _mean_S(mean_uS: FloatArray) -> FloatArray:
    return 1e-6 * mean_uS


# Parameters of the relaxation fit, in its order, as the preset has them.
_COLUMNS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "variance_1s_S2": _variance_S2,
    "variance_per_decade_S2": _variance_S2,
    "mean_1s_S": _mean_S,
    "mean_per_decade_S": _mean_S,
    "up_share": expit,
    "jump_ratio": np.exp,
}
_SHAPES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "jump_decades": np.exp,
    "passing_share": expit,
}


@dataclass(frozen=True, eq=False)
class Fitted:
    """One parameter, by its dotted key. estimate: SI, or lists over the nodes of a table. entry: of the passport."""

    key: str
    estimate: Estimate
    entry: int


@dataclass(frozen=True)
class Kept:
    """Parameters that stay as they are in the base preset, and why."""

    keys: str
    reason: str


@dataclass(eq=False)
class TwinFit:
    """The result of a fit. relaxation_ks: Kolmogorov-Smirnov distance of the changes to the fitted law, by age in s."""

    base: TwinPreset
    fitted: list[Fitted] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    relaxation_ks: dict[float, float] = field(default_factory=dict)

    def value(self, key: str) -> float:
        """A parameter as fitted, or else as the base preset has it."""
        for one in self.fitted:
            if one.key == key:
                return float(one.estimate.value)
        section, name = key.split(".")
        return float(getattr(getattr(self.base, section), name))

    def preset(self, name: str, description: str) -> TwinPreset:
        """The base preset with the fitted values in it."""
        content = self.base.model_dump(mode="json")
        content |= {"name": name, "description": description}
        for one in self.fitted:
            section, key = one.key.split(".")
            content[section][key] = plain(np.asarray(one.estimate.value))
        return TwinPreset.model_validate(content)

    def text(self, name: str, description: str) -> str:
        """The preset as YAML, with what was fitted and what was not as comments in front of it."""
        lines = [f"# {description}", "# Fitted, with 95 % intervals and the entry of the passport:"]
        lines += [f"#   {one.key}: {_words(one.estimate)}, entry {one.entry}" for one in self.fitted]
        lines += [f"#   {_ks_words(self.relaxation_ks)}"] if self.relaxation_ks else []
        lines += [f"# As in {self.base.name}:"]
        lines += [f"#   {one.keys}: {one.reason}" for one in self.kept]
        content = self.preset(name, description).model_dump(mode="json")
        return "\n".join(lines) + "\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def fit_twin(chip: Chip, array: int, base: TwinPreset, rng: np.random.Generator) -> TwinFit:
    """Fits the twin to the last measurements of one array. Raises HilError when nothing can be fitted.

    Raises ConfigError where the chip has no array of that number.
    """
    if not 0 <= array < chip.passport.arrays:
        last = chip.passport.arrays - 1
        raise ConfigError(f"{chip.directory}: array {array} asked; the chip has 0 to {last}")
    found = TwinFit(base)

    def attempt(kind: str, keys: str, fit: Callable[[Measurement], Fits]) -> None:
        entry = _latest(chip, array, kind)
        if entry is None:
            found.kept.append(Kept(keys, f"{kind} was not measured"))
            return
        try:
            fits = fit(entry)
        except HilError as error:
            found.kept.append(Kept(keys, str(error)))
            return
        found.fitted += [Fitted(key, estimate, entry.number) for key, estimate in fits.items()]

    attempt("forming", "forming.v_form_v, v_form_sd_v", fit_forming)
    attempt("forming", "faults.stuck_fraction", _stuck)
    attempt("forming", "adc.offset_error_sd", lambda entry: _offset_error(entry, base))
    attempt("product_accuracy", "adc.gain_error_sd", _gain_error)
    attempt("line_resistance", "circuit.line_resistance_ohm", _line_resistance)
    attempt("read_noise", "read_noise.white_*, flicker_*", lambda entry: fit_read_noise(entry, base, rng))
    gain, slow = found.value("adc.gain_error_sd"), _slow_relative(found)
    attempt(
        "gate_curve",
        "gate.*, variation.gate_*, write_noise.set_*",
        lambda entry: fit_gate_curve(entry, found.value(WHITE), slow, gain),
    )
    attempt("relaxation", "relaxation.*", lambda entry: _relaxation(entry, found))
    if not found.fitted:
        why = "; ".join(dict.fromkeys(kept.reason for kept in found.kept))
        raise HilError(f"{chip.directory}: array {array}: no measurement allows a fit of the twin: {why}")
    found.kept += [
        Kept("window, endurance, timing, dac, adc.bits and ranges", "not estimated from a passport"),
        Kept("set, reset, variation.v_*, write_noise.reset_*", "the responses to single pulses are not fitted"),
        Kept("forming.g_*, faults.g_*", "a fresh cell lies below the converter's offset, a stuck one above its range"),
        Kept("rtn", "only cells with jumps far above the noise, at the rate of the readings, are seen"),
    ]  # fmt: skip
    return found


def _latest(chip: Chip, array: int, kind: str) -> Measurement | None:
    entries = [entry for entry in chip.of_kinds(kind) if entry.values.get("array") == array]
    if not entries:
        return None
    if "chip" in entries[-1].values:  # it was imported
        require_same_chip(chip, entries[-1].values["chip"], str(chip.path_of(entries[-1])))
    return entries[-1]


def _slow_relative(found: TwinFit) -> float:
    """sd of the slow fluctuation of a cell over all its decades, of the conductance."""
    law = found.base.read_noise
    return found.value(FLICKER) * float(np.sqrt(law.taus_s().size)) * law.enabled


def _stuck(entry: Measurement) -> Fits:
    status = np.asarray(entry.arrays["status"])
    return {"faults.stuck_fraction": share(int((status == CellStatus.STUCK).sum()), status.size)}


def _line_resistance(entry: Measurement) -> Fits:
    found = entry.values["ohm"]
    ends = (max(float(found[end]), 0.0) for end in ("value", "low", "high"))
    return {"circuit.line_resistance_ohm": Estimate(*map(np.asarray, ends))}


def _gain_error(entry: Measurement) -> Fits:
    """Read and product converters have gains of their own: the ratio of two scatters by sqrt(2) of one."""
    scatter = _scatter(entry.values["forward"]["gain"], "gains")
    return {"adc.gain_error_sd": Estimate(*np.sqrt(scatter / 2))}


def _offset_error(entry: Measurement, base: TwinPreset) -> Fits:
    if "read_offset_a" not in entry.values:
        raise HilError("the offset of the reads was not measured")
    scatter = _scatter(entry.values["read_offset_a"], "offsets")
    return {"adc.offset_error_sd": Estimate(*(np.sqrt(scatter) / base.adc.read_full_scale_a))}


def _scatter(measured: Mapping[str, Any], what: str) -> FloatArray:
    """Variance over lines of an estimate as the passport holds it, less that of its own errors, and its interval."""
    value, low, high = (np.asarray(measured[name]) for name in ("value", "low", "high"))
    if value.size < LINES_MIN:
        raise HilError(f"{value.size} columns; {LINES_MIN} are needed for a spread over lines")
    freedom = value.size - 1
    known = float(np.mean(np.square((high - low) / (2 * NORMAL_SDS))))
    scatter = float(value.var(ddof=1))
    if scatter < 2 * known:
        raise HilError(f"the {what} of the lines differ by no more than their measurement error")
    ends = freedom * scatter / stats.chi2.ppf([0.5, 0.5 + CONFIDENCE / 2, 0.5 - CONFIDENCE / 2], freedom)
    ends[0] = scatter
    return np.asarray(np.maximum(ends - known, 0.0))


def _relaxation(entry: Measurement, found: TwinFit) -> Fits:
    base = found.base
    fit = fit_relaxation(entry, found.value(FLICKER), base.read_noise.taus_s(), base.relaxation)
    found.relaxation_ks = fit.ks
    order = np.argsort(fit.g_S)
    # The floor cuts the changes of the lowest state off: its values reproduce them, but are not those of the law.
    cut_off = fit.g_S[order] <= FLOOR_MARGIN * float(entry.values["recipe"]["g_min_S"])
    g_S = fit.g_S[order]
    ends = [
        np.array([fit.levels[level].interval(number) for level in order]).T for number in range(len(_COLUMNS))
    ]
    for end in ends:
        end[1:, cut_off] = np.nan
    table = {name: Estimate(*scaled(end)) for (name, scaled), end in zip(_COLUMNS.items(), ends, strict=True)}
    common = {
        name: Estimate(*map(np.asarray, scaled(np.array(fit.common.interval(number)))))
        for number, (name, scaled) in enumerate(_SHAPES.items())
        if np.isfinite(fit.common.sd[number])
    }
    for name in _SHAPES.keys() - common.keys():
        found.kept.append(Kept(f"relaxation.{name}", "the measured changes do not determine it"))
    found_all = {"g_S": Estimate(g_S, g_S, g_S), **table, **common}
    return {f"relaxation.{name}": estimate for name, estimate in found_all.items()}


def estimate_words(fitted: Fitted) -> str:
    """Value and interval of a parameter; of a table, the range of its values."""
    if np.ndim(fitted.estimate.value) == 0:
        return _words(fitted.estimate)
    values = np.asarray(fitted.estimate.value)
    return f"{values.size} values, {values.min():.4g} to {values.max():.4g}"


def _words(estimate: Estimate) -> str:
    def one(value: float, low: float, high: float) -> str:
        if np.isnan(low):
            return f"{value:.4g} (no interval: cut off by the floor)"
        return f"{value:.4g}" if low == high else f"{value:.4g} ({low:.4g} to {high:.4g})"

    parts = np.broadcast(estimate.value, estimate.low, estimate.high)
    return "; ".join(one(*map(float, part)) for part in parts)


def _ks_words(distances: dict[float, float]) -> str:
    told = ", ".join(f"{distance:.3f} at {age_s:.3g} s" for age_s, distance in distances.items())
    return f"relaxation: distance of the changes to the law (Kolmogorov-Smirnov) {told}"
