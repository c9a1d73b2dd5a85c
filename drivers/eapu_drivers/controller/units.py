"""Volts and amperes to the codes of the converters and back, with the gain and offset of each line.

    volts = code * step * gain + offset              step = full scale / top code
    amperes = full scale of the range * (code / top code * gain + offset)

The calibration is an entry `converters` of the chip's passport (`eapu_hil.bench.passport.Chip.record`). Its
arrays are named `row_dac_gain`, `row_dac_offset`, `col_dac_...`, `gate_dac_...`, `row_adc_...`, `col_adc_...`, each of
shape (arrays, lines): rows for row_dac, gate_dac and row_adc, columns for col_dac and col_adc. Gains are relative (1
is nominal); offsets are volts for drivers and parts of the full scale for ADCs (0 is nominal). What is not named is
nominal. Gains from 0.5 to 2 and offsets from -0.1 to 0.1 are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eapu_drivers.controller.messages import LineKind
from eapu_hil.bench.passport import Chip
from eapu_hil.hal import ConfigError, FloatArray, UnsupportedError

Codes = NDArray[np.int16]

_ENTRY = "converters"
_COLUMN_KINDS = (LineKind.COL_DAC, LineKind.COL_ADC)
_GAINS, _OFFSETS = (0.5, 2.0), (-0.1, 0.1)  # the board refuses what lies beyond
_INT32, _UINT32, _UINT16 = (np.iinfo(kind).max for kind in (np.int32, np.uint32, np.uint16))


@dataclass(frozen=True, eq=False)
class LineCalibration:
    """Gain and offset of each line of one kind, float32 values as the board holds them; shape (lines,)."""

    gain: FloatArray
    offset: FloatArray

    @classmethod
    def nominal(cls, count: int) -> LineCalibration:
        """`count` lines as the data sheet has them."""
        return cls(np.ones(count), np.zeros(count))

    def take(self, index: NDArray[np.integer]) -> LineCalibration:
        """The chosen lines."""
        return LineCalibration(self.gain[index], self.offset[index])


@dataclass(frozen=True, eq=False)
class Calibration:
    """The lines of one array, by kind. measured: which kinds are not nominal."""

    lines: Mapping[LineKind, LineCalibration]
    measured: frozenset[LineKind] = frozenset()

    @classmethod
    def nominal(cls, shape: tuple[int, int]) -> Calibration:
        """An array of `shape` (rows, columns) that was never calibrated."""
        return cls({kind: LineCalibration.nominal(_count(kind, shape)) for kind in LineKind})


def load_calibrations(chip_dir: Path, arrays: int, shape: tuple[int, int]) -> list[Calibration]:
    """The last `converters` entry of the chip in `chip_dir`; nominal where there is none.

    Raises ConfigError for an entry that does not fit the chip or cannot be.
    """
    entry = None
    if (chip_dir / "passport.yaml").exists():
        entry = Chip.open(chip_dir).latest(_ENTRY)
    if entry is None:
        return [Calibration.nominal(shape)] * arrays
    known = {f"{kind.name.lower()}_{part}": kind for kind in LineKind for part in ("gain", "offset")}
    where = f"{chip_dir}: measurement {entry.number:04d}_{_ENTRY}"
    for name, values in entry.arrays.items():
        if name not in known:
            raise ConfigError(f"{where}: {name}: unknown; allowed are {', '.join(known)}")
        expected = (arrays, _count(known[name], shape))
        if values.shape != expected:
            raise ConfigError(f"{where}: {name}: shape {values.shape}; allowed is {expected}")
        low, high = _GAINS if name.endswith("gain") else _OFFSETS
        if not ((values >= low) & (values <= high)).all():
            raise ConfigError(f"{where}: {name}: allowed are {low} to {high}")
    return [_calibration(entry.arrays, number, shape) for number in range(arrays)]


def _calibration(
    values: Mapping[str, NDArray[np.generic]], number: int, shape: tuple[int, int]
) -> Calibration:
    lines, measured = {}, set()
    for kind in LineKind:
        nominal = LineCalibration.nominal(_count(kind, shape))
        parts = []
        for part, default in (("gain", nominal.gain), ("offset", nominal.offset)):
            name = f"{kind.name.lower()}_{part}"
            if name in values:
                measured.add(kind)
                default = values[name][number].astype(np.float32).astype(np.float64)
            parts.append(default)
        lines[kind] = LineCalibration(*parts)
    return Calibration(lines, frozenset(measured))


def _count(kind: LineKind, shape: tuple[int, int]) -> int:
    return shape[1] if kind in _COLUMN_KINDS else shape[0]


def to_codes(volts_v: NDArray[np.floating], full_scale_v: float, top: int, lines: LineCalibration) -> Codes:
    """The code next to each voltage; `volts_v` has shape (..., lines). Ties go up, as in the firmware.

    Raises UnsupportedError for a voltage beyond the ends of the converter, or that is not a number.
    """
    codes = np.floor((volts_v - lines.offset) / (full_scale_v / top * lines.gain) + 0.5)
    wrong = ~(np.abs(codes) <= top)
    if wrong.any():
        asked_v = float(np.asarray(volts_v)[wrong][0])
        raise UnsupportedError(
            f"{asked_v:.6g} V asked of a line driver; allowed is at most {full_scale_v:.6g} V, its full scale"
        )
    return codes.astype(np.int16)


def to_volts(codes: NDArray[np.integer], full_scale_v: float, top: int, lines: LineCalibration) -> FloatArray:
    """The voltages at the lines, V; `codes` has shape (..., lines)."""
    volts_v: FloatArray = codes * (full_scale_v / top * lines.gain) + lines.offset
    return volts_v


def to_amperes(
    codes: NDArray[np.integer], full_scale_a: float, top: int, lines: LineCalibration
) -> FloatArray:
    """Measured currents, A; `codes` has shape (..., lines)."""
    currents_a = codes * (lines.gain / top)
    currents_a += lines.offset
    currents_a *= full_scale_a
    return currents_a


def microvolts(volts_v: ArrayLike, what: str) -> NDArray[np.int32]:
    """Whole microvolts. Raises UnsupportedError for what a message cannot carry; `what` names it."""
    return _whole(volts_v, 1e6, -_INT32, _INT32, what, "V").astype(np.int32)


def nanoamperes(currents_a: ArrayLike, what: str) -> NDArray[np.uint32]:
    """Whole nanoamperes, 0 or more; likewise."""
    return _whole(currents_a, 1e9, 0, _UINT32, what, "A").astype(np.uint32)


def nanoseconds(times_s: ArrayLike, what: str) -> NDArray[np.uint32]:
    """Whole nanoseconds, 0 or more; likewise."""
    return _whole(times_s, 1e9, 0, _UINT32, what, "s").astype(np.uint32)


def counts(values: ArrayLike, what: str) -> NDArray[np.uint16]:
    """Counts of up to 65535; likewise."""
    return _whole(values, 1.0, 0, _UINT16, what, "pulses").astype(np.uint16)


def _whole(values: ArrayLike, scale: float, low: int, high: int, what: str, unit: str) -> FloatArray:
    asked = np.asarray(values, dtype=np.float64)
    whole: FloatArray = np.rint(asked * scale)
    wrong = ~((whole >= low) & (whole <= high))
    if wrong.any():
        raise UnsupportedError(
            f"{what} of {asked[wrong][0]:.6g} {unit} asked; "
            f"allowed is {low / scale:.6g} to {high / scale:.6g} {unit}"
        )
    return whole
