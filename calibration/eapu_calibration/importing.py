"""Imports measurements from files as entries of a passport; a YAML file says which column holds what.

chip: {model: RRAM technology C, serial: published}
source: github akashlevy/RRAM-Relaxation-Master-Model, MIT
file: relaxdata.tsv.gz              # relative to this file; gzip, UTF-16 and a header are recognised
delimiter: tab                      # tab, comma, semicolon or space; left out: found
conductance_unit_S: 1.0             # what 1 in the conductance columns is in siemens
window: {g_min_S: 1.0e-6, g_max_S: 40.0e-6}
relaxation:                         # or gate_curve:
  columns: {cell: 0, age_s: 1, conductance: 3}       # counted from 0, or by the names in the header
  times_s: [0.01, 0.1, 1.0, 1.0e+5]
  edges_S: [1.0e-6, 5.0e-6, 10.0e-6, 20.0e-6, 30.0e-6, 40.0e-6]
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, model_validator

from eapu_calibration.imported import Column, Readings, read_readings, refuse_repeated, without_broken_cells
from eapu_calibration.measurement import Result, Settings
from eapu_calibration.relaxation import CELLS_A_LEVEL_MIN, evaluate
from eapu_hil.base.loading import FileModel, Source, load_model
from eapu_hil.bench.chip_id import PASSPORT
from eapu_hil.bench.entries import NO_CLOCK, Measurement
from eapu_hil.bench.identity import known_serial
from eapu_hil.bench.passport import Chip, own_chip
from eapu_hil.hal import ConfigError, FloatArray

_LOG = logging.getLogger(__name__)
_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}
_NEAR = 2.0  # a reading belongs to a time that it is not further from than by this factor


def _rising(values: list[float]) -> list[float]:
    if any(after <= before for before, after in itertools.pairwise(values)):
        raise ValueError("must rise from value to value")
    return values


class ImportedChip(Settings):
    """The description of the chip in the passport."""

    model: str
    serial: str


class UsedWindow(Settings):
    """Lowest and highest conductance that the cells were written to, S."""

    g_min_S: PositiveFloat
    g_max_S: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> UsedWindow:
        if self.g_max_S <= self.g_min_S:
            raise ValueError(f"g_max_S ({self.g_max_S:g}) must be above g_min_S ({self.g_min_S:g})")
        return self


class Columns(Settings):
    """Numbers or names of the columns, one for each quantity."""

    @model_validator(mode="after")
    def _different(self) -> Self:
        owners = dict[Any, str]()
        for name, column in self.model_dump().items():
            if column in owners:
                raise ValueError(f"{owners[column]} and {name} name one column, {column!r}; each has its own")
            owners[column] = name
        return self


class RelaxationColumns(Columns):
    """Those of a relaxation."""

    cell: Column
    age_s: Column
    conductance: Column


class RelaxationImport(Settings):
    """A line a reading, a cell's first at age 0. edges_S: ranges of the first that the cells are sorted into.

    Of several readings near one of times_s the nearest counts, and each reading for the nearest of them.
    """

    columns: RelaxationColumns
    times_s: Annotated[list[PositiveFloat], Field(min_length=2), AfterValidator(_rising)]
    edges_S: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2), AfterValidator(_rising)]


class GateColumns(Columns):
    """Those of a gate curve; before: the conductance that the SET began at."""

    cell: Column
    gate_v: Column
    before: Column
    conductance: Column


class GateImport(Settings):
    """A line a SET; each cell has equally many at each gate voltage."""

    columns: GateColumns


class Import(FileModel):
    """An import file."""

    path_keys: ClassVar[tuple[str, ...]] = ("file",)

    chip: ImportedChip
    source: str
    file: Path
    delimiter: Literal["tab", "comma", "semicolon", "space"] | None = None
    skip_lines: NonNegativeInt = 0
    conductance_unit_S: PositiveFloat
    window: UsedWindow
    relaxation: RelaxationImport | None = None
    gate_curve: GateImport | None = None

    @model_validator(mode="after")
    def _one(self) -> Import:
        if (self.relaxation is None) == (self.gate_curve is None):
            raise ValueError("one of relaxation, gate_curve must be there")
        return self


def load_import(source: Source) -> Import:
    """An import file. Raises ConfigError."""
    return load_model(Import, source, [], "imports")


def import_file(wanted: Import, directory: Path, rng: np.random.Generator) -> Measurement:
    """Makes an entry of the passport in `directory` of a file; a passport that is not there is made.

    Raises ConfigError where the file cannot be read, has not the columns, holds too little, or is of another chip.
    """
    chosen = wanted.relaxation or wanted.gate_curve
    assert chosen is not None
    readings = read_readings(
        wanted.file,
        chosen.columns.model_dump(),
        measured=("before", "conductance"),
        separator=None if wanted.delimiter is None else _DELIMITERS[wanted.delimiter],
        skip=wanted.skip_lines,
        unit_S=wanted.conductance_unit_S,
        window_S=(wanted.window.g_min_S, wanted.window.g_max_S),
    )
    if wanted.relaxation is not None:
        kind, found = "relaxation", _relaxation(wanted, wanted.relaxation, readings, rng)
    else:
        assert wanted.gate_curve is not None
        kind, found = "gate_curve", _gate_curve(wanted, wanted.gate_curve, readings)
    with own_chip(directory):
        if (directory / PASSPORT).exists():
            chip = Chip.open(directory)
            require_same_chip(chip, wanted.chip.model_dump(), str(wanted.file))
        else:
            cells = int(found.arrays["row"].max()) + 1
            chip = Chip.create(directory, wanted.chip.model, wanted.chip.serial, (cells, 1), 1)
        return chip.record(kind, _values(wanted, found, readings), found.arrays, 0.0, clock=NO_CLOCK)


def require_same_chip(chip: Chip, measured: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError where `measured`, the `chip` of an import file, is not the chip of a passport.

    A passport knows the chip by the `serial` of a bench file; without one by the model and serial of its device.
    """
    serial, passport = known_serial(chip), chip.passport
    mine = {"serial": serial} if serial else {"model": passport.model, "serial": passport.serial}
    for key, known in mine.items():
        if measured[key] != known:
            raise ConfigError(
                f"{where}: chip.{key}: measured on {measured[key]!r}; {chip.directory} is the passport of {known!r}. "
                "Name the passport of that chip, or a new directory, with --chip"
            )


def _values(wanted: Import, found: Result, readings: Readings) -> dict[str, Any]:
    return {
        **found.values,
        "array": 0,
        "chip": wanted.chip.model_dump(),
        "recipe": wanted.window.model_dump(),
        "left_out": readings.left_out,
        "source": wanted.source,
        "file": wanted.file.name,
        "file_sha256": hashlib.sha256(wanted.file.read_bytes()).hexdigest(),
    }


def _relaxation(
    wanted: Import, settings: RelaxationImport, readings: Readings, rng: np.random.Generator
) -> Result:
    data = readings.data
    refuse_repeated(wanted.file, readings)
    numbers, cell = np.unique(data[:, 0], return_inverse=True)
    times_s = np.asarray(settings.times_s)
    first_S = np.full((1, numbers.size), np.nan)
    age_s, g_S = np.full((2, times_s.size, numbers.size), np.nan)
    first, early = data[:, 1] == 0, data[:, 1] < 0
    first_S[0, cell[first]] = data[first, 2]
    if early.any():
        readings.left_out["before age 0"] = int(early.sum())
        _LOG.warning("%s: %d readings left out: their age is below 0 s", wanted.file, early.sum())
    window = wanted.window
    apart = np.abs(np.log(np.maximum(data[:, 1], 1e-30)[:, None] / times_s))
    belongs = np.argmin(apart, axis=1)
    for number in range(times_s.size):
        away = np.where(first | (belongs != number), np.inf, apart[:, number])
        chosen = _nearest(cell, away, np.log(_NEAR))
        age_s[number, cell[chosen]], g_S[number, cell[chosen]] = data[chosen, 1], data[chosen, 2]
    outside = ((first_S < window.g_min_S) | (first_S > window.g_max_S))[0]
    if outside.any():
        readings.left_out["cells that begin outside the window"] = int(outside.sum())
        _LOG.warning("%s: %d cells left out: they begin outside the window", wanted.file, outside.sum())
    usable = np.isfinite(np.vstack([first_S, g_S])).all(axis=0)
    edges_S = np.asarray(settings.edges_S)
    level = np.searchsorted(edges_S, np.nan_to_num(first_S[0], nan=-1.0), side="right") - 1
    usable &= (level >= 0) & (level < edges_S.size - 1) & ~outside
    members = [np.flatnonzero(usable & (level == number)) for number in range(edges_S.size - 1)]
    gone = "".join(f"; left out: {count}, {what}" for what, count in readings.left_out.items())
    for low_S, high_S, chosen in zip(edges_S, edges_S[1:], members, strict=False):
        if chosen.size < CELLS_A_LEVEL_MIN:
            raise ConfigError(
                f"{wanted.file}: {chosen.size} cells begin between {1e6 * low_S:.3g} and {1e6 * high_S:.3g} uS and "
                f"have a reading near each of times_s; {CELLS_A_LEVEL_MIN} are needed. Take wider edges_S or "
                f"fewer times_s{gone}"
            )
    median_s = np.nanmedian(np.where(usable, age_s, np.nan), axis=1)
    values = {
        "levels_S": (edges_S[1:] + edges_S[:-1]) / 2,
        "times_s": times_s,
        **evaluate(first_S, g_S, median_s, members, rng),
    }
    return Result(values, {**_places(numbers.size), "level": level, "usable": usable, "first_S": first_S,
                          "age_s": age_s, "g_S": g_S})  # fmt: skip


def _nearest(cell: NDArray[np.int64], away: FloatArray, most: float) -> NDArray[np.int64]:
    """Of each cell the reading that is least `away`, below `most`; of two alike the first."""
    order = np.lexsort((away, cell))
    order = order[away[order] < most]
    _, at = np.unique(cell[order], return_index=True)
    return np.asarray(order[at])


def _gate_curve(wanted: Import, settings: GateImport, readings: Readings) -> Result:
    readings = without_broken_cells(wanted.file, readings)
    data = readings.data
    numbers, cell = np.unique(data[:, 0], return_inverse=True)
    gate_v, step = np.unique(data[:, 1], return_inverse=True)
    counts = np.zeros((gate_v.size, numbers.size), np.int64)
    np.add.at(counts, (step, cell), 1)
    repeats = int(counts.max())
    if (counts != repeats).any() or repeats < 2:
        raise ConfigError(
            f"{wanted.file}: between {counts.min()} and {repeats} SETs of a cell at one gate voltage; equally many, "
            f"and 2 at least, are needed (columns {settings.columns.cell} and {settings.columns.gate_v})"
        )
    order = np.lexsort((np.arange(len(data)), cell, step))
    lowest_S, g_S = (
        data[order, column].reshape(gate_v.size, numbers.size, repeats).transpose(2, 0, 1)
        for column in (2, 3)
    )
    values = {"gate_v": gate_v, "cells": numbers.size, "repeats": repeats}
    usable = np.ones(numbers.size, np.bool_)
    return Result(values, {**_places(numbers.size), "usable": usable, "g_S": g_S, "lowest_S": lowest_S})


def _places(cells: int) -> dict[str, NDArray[Any]]:
    """A file says nothing of lines: each cell is a row of its own, all read through one converter."""
    return {"row": np.arange(cells), "col": np.zeros(cells, np.int64)}
