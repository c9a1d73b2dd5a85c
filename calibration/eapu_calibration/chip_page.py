"""The page of a chip: its history, maps, bad cells, wear, and how what was written has drifted.

It reads the passport and the ledger and changes neither, so that a run may go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_calibration import chip_figures
from eapu_calibration.drift import DRIFT
from eapu_calibration.summary import in_words
from eapu_hil.base.quantities import MISSING, count, duration, share
from eapu_hil.base.storage import require_own_files, storage_errors
from eapu_hil.bench.cellcsv import status_text
from eapu_hil.bench.entries import Measurement
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.bench.identity import label_of
from eapu_hil.bench.passport import Chip
from eapu_hil.bench.wear_maps import wear_maps
from eapu_hil.hal import CellStatus
from eapu_hil.report import alt_texts, figures
from eapu_hil.report.page import PageSection, PageTable, Tile, render

Maps = dict[int, NDArray[Any]]


def write_chip_page(directory: Path, *, standalone: bool = False) -> Path:
    """Writes the page of the chip in `directory` there, with its figures; returns its path.

    Raises ConfigError, HilError where `directory` is no chip, something in it is damaged, or a package is missing.
    """
    chip = Chip.open(directory)
    history, bad, wear = chip.history(), chip.bad_cells_of_all(), wear_maps(chip)
    require_own_files(directory, "chip")
    with storage_errors(directory):
        (directory / "figures").mkdir(exist_ok=True)
        pulses = {number: maps["pulses"] for number, maps in enumerate(wear) if "pulses" in maps}
        sections = [
            _history(directory, history),
            *_conductance(directory, wear, bad),
            *_bad_cells(directory, bad),
            *_drift(directory, [entry for entry in history if entry.kind == DRIFT]),
            *_wear(directory, pulses),
        ]
        passport = chip.passport
        rows, columns = passport.shape
        of = {True: "simulated, ", False: "real, ", None: ""}[passport.simulated]
        subtitle = (
            f"{of}{passport.arrays} array{'s' if passport.arrays != 1 else ''} of {rows} x {columns} cells · "
            f"{passport.model}, {passport.serial} · first seen {passport.created.replace('T', ' ')[:16]} UTC"
        )
        tiles = _tiles(chip, history, bad, pulses)
        return render(
            directory, f"Chip {label_of(chip)}", subtitle, [], tiles, sections, standalone=standalone
        )


def _tiles(chip: Chip, history: list[Measurement], bad: list[NDArray[Any]], pulses: Maps) -> list[Tile]:
    cells = chip.passport.arrays * chip.passport.shape[0] * chip.passport.shape[1]
    wrong = sum(int(np.count_nonzero(status)) for status in bad)
    formed = [FormingRecord(chip, number).maps()["v_form_v"] for number in range(chip.passport.arrays)]
    voltages_v = np.concatenate([values[np.isfinite(values)] for values in formed])
    tiles = [
        Tile("Bad cells", count(wrong), f"of {count(cells)}, {share(wrong / cells)}"),
        Tile("Measurements", count(len(history)), "in the passport"),
    ]
    if voltages_v.size:
        volts = f"{np.median(voltages_v):.2f} V"
        tiles.append(Tile("Forming voltage", volts, f"median of {count(voltages_v.size)} cells"))
    if pulses:
        taken = np.concatenate([values.ravel() for values in pulses.values()])
        tiles.append(
            Tile("Pulses", count(int(taken.sum())), f"at most {count(int(taken.max()))} on one cell")
        )
    return tiles


def _history(directory: Path, history: list[Measurement]) -> PageSection:
    """The numbers lead to the figures of the entries."""
    rows, links = [], {}
    for entry in history:
        number, array = str(entry.number), entry.values.get("array")
        figure = f"figures/{entry.number:04d}_{entry.kind}.png"
        if (directory / figure).is_file():
            links[number] = figure
        when = entry.time.replace("T", " ")[:16]
        where = MISSING if array is None else str(array)
        rows.append(
            [number, entry.kind.replace("_", " "), where, when, duration(entry.clock_s), in_words(entry)]
        )
    head = ["entry", "measurement", "array", "time (UTC)", "bench clock", "found"]
    text = "All that was ever measured or written on request, the oldest first."
    if not rows:
        return PageSection("History", "Nothing was measured or written yet.")
    return PageSection("History", text, tables=[PageTable(rows, head, text_columns=len(head), links=links)])


def _conductance(
    directory: Path, wear: list[dict[str, NDArray[Any]]], bad: list[NDArray[Any]]
) -> list[PageSection]:
    last_S = {
        number: np.where(bad[number] == CellStatus.OK, maps["g_last_S"], np.nan)
        for number, maps in enumerate(wear)
        if "g_last_S" in maps
    }
    last_S = {number: g_S for number, g_S in last_S.items() if np.isfinite(g_S).any()}
    if not last_S:
        return []
    figures.draw_conductance(directory / "figures" / "chip_conductance", {}, last_S)
    text = "The last reading of each cell, whenever that was. Bad cells, and cells that were never read, are grey."
    return [PageSection("Conductance", text, "chip_conductance", alt=alt_texts.of_maps({}, last_S))]


def _bad_cells(directory: Path, bad: list[NDArray[Any]]) -> list[PageSection]:
    if not any(status.any() for status in bad):
        return [PageSection("Bad cells", "No cell is known to be bad.")]
    rows = []
    for number, status in enumerate(bad):
        values, counts = np.unique(status[status != CellStatus.OK], return_counts=True)
        for value, cells in zip(values, counts, strict=True):
            kind = status_text(int(value)).lower().replace("_", " ")
            rows.append([str(number), kind, count(int(cells)), share(int(cells) / status.size)])
    chip_figures.draw_bad_cells(directory / "figures" / "chip_bad_cells", dict(enumerate(bad)))
    text = "Cells that forming, endurance or a calibration found unfit. Training puts no weights there."
    table = PageTable(rows, ["array", "status", "cells", "share"], text_columns=2)
    alt = "Maps of the bad cells. " + "; ".join(f"array {row[0]}: {row[2]} {row[1]}" for row in rows) + "."
    return [PageSection("Bad cells", text, "chip_bad_cells", [table], alt=alt)]


def _drift(directory: Path, looks: list[Measurement]) -> list[PageSection]:
    if not looks:
        return []
    chip_figures.draw_drift(directory / "figures" / "chip_drift", looks)
    rows = []
    for entry in looks:
        values = entry.values
        cells, out = values["cells"], values["out"]
        rows.append(
            [
                str(entry.number),
                str(values["array"]),
                duration(entry.clock_s),
                count(cells),
                f"{count(out)} ({share(out / cells if cells else None)})",
                f"±{1e6 * values['band_S']:.3g} µS",
                _error(values["error_sd_S"], ""),
                _error(values["error_mean_S"], "+"),
            ]
        )
    head = ["look", "array", "bench clock", "cells", "out of band", "band", "error sd", "error mean"]
    text = (
        "Each look reads again what was written and not pulsed since. Times of different clocks are drawn by the "
        "number of the look."
    )
    alt = "Share of cells out of their band, and error, of each look. " + "; ".join(
        f"look {row[0]} on array {row[1]}: {row[4]} out" for row in rows
    )
    return [PageSection("Drift", text, "chip_drift", [PageTable(rows, head, text_columns=2)], alt=alt)]


def _error(estimate: Mapping[str, float] | None, sign: str) -> str:
    return MISSING if estimate is None else f"{1e6 * estimate['value'] + 0.0:{sign}.3g} µS"  # no -0


def _wear(directory: Path, pulses: Maps) -> list[PageSection]:
    if not any(values.any() for values in pulses.values()):
        return []
    figures.draw_wear(directory / "figures" / "chip_wear", pulses)
    rows = []
    for number, values in pulses.items():
        p50, p999 = np.percentile(values, [50, 99.9])
        most = [count(float(one)) for one in (values.sum(), p50, p999, values.max())]
        rows.append([str(number), *most])
    head = ["array", "pulses", "median of a cell", "99.9th percentile", "maximum"]
    text = "Pulses on each cell over the life of the chip, as its ledger counts them."
    return [PageSection("Wear", text, "chip_wear", [PageTable(rows, head)], alt=alt_texts.of_wear(pulses))]
