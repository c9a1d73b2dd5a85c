"""One figure a measurement, drawn from its entry in the passport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eapu_calibration.cell_faults import CellFault
from eapu_hil.base.colours import BLUE, GREY, INK, ORANGE, PURPLE, SERIES, VERMILLION
from eapu_hil.bench.entries import Measurement
from eapu_hil.report.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAULT_COLOURS = {
    CellFault.STUCK_HIGH: VERMILLION,
    CellFault.STUCK_LOW: BLUE,
    CellFault.OFF_TARGET: ORANGE,
    CellFault.OPEN_LINE: INK,
    CellFault.SHORTED_LINE: PURPLE,
}
_BARS: Any = {"capsize": 2, "linewidth": 1.2, "marker": "o", "markersize": 3}


def draw(entry: Measurement, path: Path) -> bool:
    """Draws `entry` to the PNG file `path`; False where its kind has no figure."""
    drawing = _DRAWINGS.get(entry.kind)
    if drawing is None:
        return False
    with new_figure(path, 3.0) as figure:
        drawing(entry, figure.subplots(1, 2))
    return True


def _forming(entry: Measurement, axes: Sequence[Axes]) -> None:
    v_form_v = entry.arrays["v_form_v"]
    voltages_v, counts = np.unique(v_form_v[np.isfinite(v_form_v)].round(6), return_counts=True)
    step_v = np.diff(voltages_v).min() if voltages_v.size > 1 else 0.1
    axes[0].bar(voltages_v, counts, 0.9 * step_v, color=BLUE)
    axes[0].set_title("Cells that formed")
    axes[0].set_xlabel("forming voltage (V)", color=GREY)
    fault = entry.arrays["fault"]
    for kind, colour in _FAULT_COLOURS.items():
        row, col = np.nonzero(fault == kind)
        if row.size:
            label = f"{kind.name.lower().replace('_', ' ')} ({row.size})"
            axes[1].scatter(col, row, s=6, marker="s", color=colour, label=label)
            axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=1.0)
    axes[1].set_xlim(-0.5, fault.shape[1] - 0.5)
    axes[1].set_ylim(fault.shape[0] - 0.5, -0.5)
    axes[1].set_title(f"The {np.count_nonzero(fault)} cells that cannot be written")
    axes[1].set_xlabel("column (vertical axis: row)", color=GREY)


def _drift(entry: Measurement, axes: Sequence[Axes]) -> None:
    target, out = _micro(entry.arrays["g_target_S"]), entry.arrays["out"]
    error, band = _micro(entry.arrays["g_S"]) - target, 1e6 * entry.values["band_S"]
    for chosen, colour, label in ((~out, BLUE, "in the band"), (out, VERMILLION, "outside")):
        axes[0].scatter(target[chosen], error[chosen], s=3, color=colour, label=f"{chosen.sum()} {label}")
    axes[0].legend(markerscale=3)
    axes[1].hist(error[np.isfinite(error)], 60, color=BLUE)
    for edge in (-band, band):
        axes[0].axhline(edge, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes[1].axvline(edge, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes[0].set_title("Reading minus target (µS)")
    axes[0].set_xlabel("target (µS)", color=GREY)
    axes[1].set_title("Cells")
    axes[1].set_xlabel("reading minus target (µS)", color=GREY)


def _gate_curve(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    gate_v = values["gate_v"]
    if "g_S" in values:
        _interval_bars(axes[0], gate_v, values["g_S"], BLUE, "mean of the cells")
        slope, threshold_v = values["slope_S_per_v"]["value"], values["threshold_v"]["value"]
        inside = np.linspace(threshold_v, max(gate_v), 2)
        axes[0].plot(inside, 1e6 * slope * (inside - threshold_v), color=GREY, linewidth=0.9, linestyle=(0, (4, 3)),
                     label=f"{1e6 * slope:.1f} µS/V from {threshold_v:.2f} V")  # fmt: skip
        _interval_bars(axes[1], gate_v, values["cell_sd_S"], BLUE, "cell to cell")
        _interval_bars(axes[1], gate_v, values["cycle_sd_S"], VERMILLION, "cycle to cycle")
    else:  # from a file: without intervals
        g_uS = _micro(entry.arrays["g_S"])
        axes[0].plot(gate_v, g_uS.mean(axis=(0, 2)), color=BLUE, marker="o", label="mean of the cells")
        axes[1].plot(gate_v, g_uS.mean(axis=0).std(axis=1), color=BLUE, marker="o", label="cell to cell")
        cycle_uS = np.sqrt(g_uS.var(axis=0, ddof=1).mean(axis=1))
        axes[1].plot(gate_v, cycle_uS, color=VERMILLION, marker="o", label="cycle to cycle")
    for axis in axes:
        axis.legend()
        axis.set_ylim(bottom=0)
    _titles(axes, "Conductance after a SET (µS)", "Standard deviation (µS)", "gate (V)")


def _iv(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    for colour, name in ((BLUE, "set"), (VERMILLION, "reset")):
        _interval_bars(axes[0], values[name]["amplitude_v"], values[name]["g_S"], colour, name.upper())
    rows = values["nonlinearity_per_v2"]
    middle, low, high = (100 * np.array([row[end] for row in rows]) for end in ("value", "low", "high"))
    axes[1].errorbar(_micro(values["levels_S"]), middle, [middle - low, high - middle], color=BLUE, **_BARS)
    axes[1].axhline(0.0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes[0].legend()
    axes[0].set_title("Conductance after a pulse (µS)")
    axes[0].set_xlabel("amplitude (V)", color=GREY)
    axes[1].set_title("Non-linearity of a reading (%/V²)")
    axes[1].set_xlabel("conductance (µS)", color=GREY)


def _pulse_response(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    edges = _micro(values["edges_S"])
    for colour, name in ((BLUE, "up"), (VERMILLION, "down")):
        one = values[name]
        _interval_bars(
            axes[0],
            np.arange(len(one["g_S"]["value"])),
            one["g_S"],
            colour,
            f"{one['amplitude_v']:.2f} V {name}",
        )
        known = [number for number, step in enumerate(one["step_S"]) if step is not None]
        ends = {end: [one["step_S"][number][end] for number in known] for end in ("value", "low", "high")}
        _interval_bars(axes[1], (edges[:-1] + edges[1:])[known] / 2, ends, colour, name)
    axes[1].axhline(0.0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes[0].legend()
    axes[0].set_title("Conductance, mean of the cells (µS)")
    axes[0].set_xlabel("pulses without verify", color=GREY)
    axes[1].set_title("Step of one pulse (µS)")
    axes[1].set_xlabel("conductance before it (µS)", color=GREY)


def _write_verify(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    levels = _micro(values["levels_S"])
    for colour, name, label in (
        (BLUE, "up", "from the lowest state"),
        (VERMILLION, "down", "from the highest"),
    ):
        rows = values[name]["pulses"]
        middle, low, high = (np.array([row[end] for row in rows]) for end in ("value", "low", "high"))
        axes[0].errorbar(levels, middle, [middle - low, high - middle], color=colour, label=label, **_BARS)
        ends = {end: [row[end] for row in values[name]["error_sd_S"]] for end in ("value", "low", "high")}
        _interval_bars(axes[1], levels, ends, colour, label)
    for axis in axes:
        axis.set_ylim(bottom=0)
    axes[0].legend()
    _titles(axes, "Pulses of a write", "Error of cells in the band, sd (µS)", "conductance written (µS)")


def _linearity(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    for colour, name, lines in ((BLUE, "forward", "columns"), (VERMILLION, "transposed", "rows")):
        bend = 100 * np.asarray(values[name]["bend"])
        axes[0].plot(
            bend, color=colour, marker="o", markersize=2.5, linestyle="none", label=f"{lines} measured"
        )
        sd = 1e9 * np.asarray(values[name]["noise_sd_a"]["value"])
        axes[1].plot(sd, color=colour, marker="o", markersize=2.5, linestyle="none", label=lines)
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.legend()
    _titles(axes, "Deviation from the straight line (% of the span)", "Noise at 0 V, sd (nA)", "line")


def _line_resistance(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    falloff = 100 * np.asarray(values["falloff"])
    axes[0].plot(falloff, color=BLUE, marker="o", markersize=2.5, linestyle="none")
    axes[0].set_title("Current of a row, relative to the last row (%)")
    axes[0].set_xlabel("row", color=GREY)
    ohm = values["ohm"]
    reach = [[ohm["value"] - ohm["low"]], [ohm["high"] - ohm["value"]]]
    axes[1].errorbar([0], [ohm["value"]], reach, color=BLUE, **_BARS)
    axes[1].set_title("Resistance of a segment of wire (ohm)")
    axes[1].set_xticks([])
    axes[1].set_ylim(bottom=0)


def _endurance(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    for colour, name, label in ((BLUE, "high_S", "after SET"), (VERMILLION, "low_S", "after RESET")):
        axes[0].plot(values["cycles"], _micro(entry.arrays[name]), color=colour, linewidth=0.7, alpha=0.5)
        axes[0].plot([], [], color=colour, label=label)
    failed = 100 * np.array([row["value"] for row in values["failed"]])
    axes[1].plot(values["cycles"], failed, color=BLUE, marker="o", markersize=3)
    axes[0].legend()
    for axis in axes:
        axis.set_xscale("log")
    _titles(axes, "Conductance of each cell (µS)", "Cells that have failed (%)", "cycles")


def _write_error(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    levels, cells = _micro(values["levels_S"]), np.asarray(values["cells"])
    after = f"change in {values['relax_time_s']:g} s"
    for colour, name, label in ((BLUE, "sigma_write_S", "at once"), (VERMILLION, "sigma_relax_S", after)):
        sd = _micro(values[name])
        axes[0].errorbar(levels, sd, 1.96 * sd / np.sqrt(2 * cells), color=colour, label=label, **_BARS)
    error = 1.96 * _micro(values["sigma_relax_S"]) / np.sqrt(cells)
    axes[1].errorbar(levels, _micro(values["mean_relax_S"]), error, color=VERMILLION, **_BARS)
    axes[0].set_ylim(bottom=0)
    axes[0].legend()
    _titles(axes, "Error of a write, sd (µS)", f"Mean {after} (µS)", "conductance written (µS)")


def _relaxation(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    levels = _micro(values["levels_S"])
    shown = np.unique(np.linspace(0, levels.size - 1, min(levels.size, len(SERIES))).round().astype(int))
    for axis, name in zip(axes, ("sd_S", "mean_S"), strict=True):
        for colour, level in zip(SERIES, shown, strict=False):
            label = f"{levels[level]:.3g} µS"
            _interval_bars(axis, values["age_s"], values[name][level], colour, label)
        axis.set_xscale("log")
    axes[1].legend(title="written to", loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=1.4)
    _titles(axes, "Change since the first reading, sd (µS)", "Its mean (µS)", "time since then (s)")


def _read_noise(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    shown = ((BLUE, "white_sd_S", "white"), (VERMILLION, "total_sd_S", "over all readings"))
    mean_S = np.asarray(values["g_mean_S"])
    for colour, name, label in shown:
        rows = values[name]
        ends = {end: [row[end] for row in rows] for end in ("value", "low", "high")}
        _interval_bars(axes[0], _micro(mean_S), ends, colour, label)
        relative = {
            end: 1e-4 * np.asarray(value) / mean_S for end, value in ends.items()
        }  # in %, after _micro
        _interval_bars(axes[1], _micro(mean_S), relative, colour, label)
    axes[0].legend()
    for axis in axes:
        axis.set_ylim(bottom=0)
    _titles(
        axes,
        "Noise of a reading, sd (µS)",
        "Noise of a reading, sd (% of the conductance)",
        "conductance (µS)",
    )


def _product_accuracy(entry: Measurement, axes: Sequence[Axes]) -> None:
    values = entry.values
    for axis, (name, lines) in zip(axes, (("forward", "column"), ("transposed", "row")), strict=True):
        gain = values[name]["gain"]
        middle, low, high = (np.asarray(gain[end]) for end in ("value", "low", "high"))
        axis.errorbar(np.arange(middle.size), middle, [middle - low, high - middle], color=BLUE, linestyle="none",
                      marker="o", markersize=2.5, elinewidth=0.8)  # fmt: skip
        axis.axhline(1.0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        residual = 100 * values[name]["residual_relative"]
        axis.set_title(f"Gain of each {lines}; residual {residual:.2g} % of full scale")
        axis.set_xlabel(lines, color=GREY)


_DRAWINGS = {
    "forming": _forming,
    "endurance": _endurance,
    "drift": _drift,
    "iv": _iv,
    "gate_curve": _gate_curve,
    "pulse_response": _pulse_response,
    "write_verify": _write_verify,
    "linearity": _linearity,
    "line_resistance": _line_resistance,
    "write_error": _write_error,
    "relaxation": _relaxation,
    "read_noise": _read_noise,
    "product_accuracy": _product_accuracy,
}


def _interval_bars(axes: Axes, x: Any, ends: Mapping[str, Any], colour: str, label: str) -> None:
    middle, low, high = (_micro(ends[end]) for end in ("value", "low", "high"))
    reach = np.maximum([middle - low, high - middle], 0.0)
    axes.errorbar(np.asarray(x), middle, reach, color=colour, label=label, **_BARS)


def _micro(value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return 1e6 * np.asarray(value, dtype=np.float64)


def _titles(axes: Sequence[Axes], left: str, right: str, below: str) -> None:
    for axis, title in zip(axes, (left, right), strict=True):
        axis.set_title(title)
        axis.set_xlabel(below, color=GREY)
