"""Corrections of readings, products and targets for the errors of converters and wires that calibration found.

Two things are corrected, both on the way between the device and whoever asks:

  reads     the converter of each column adds a current of its own to every read: taken off readings, added to targets
  products  each line has a gain where it is measured, and one where it is driven: currents are divided by the one,
            voltages by the other; and what the offset of the reads of a column would add is added, so that a product
            is that with the cells as they read
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.entries import Measurement
from eapu_hil.bench.passport import Chip
from eapu_hil.hal import Direction, FloatArray, HilError, IntArray

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class LineGains:
    """Gains of the products of one array against those computed from read conductances.

    columns, rows: of each line where it is measured, in forward and in transposed products; shapes (columns,), (rows,).
    rows_driven, columns_driven: of each line where it is driven. read_offset_S: of the reads of each column, S.
    """

    columns: FloatArray
    rows: FloatArray
    rows_driven: FloatArray
    columns_driven: FloatArray
    read_offset_S: FloatArray

    def volts(
        self, v_in_v: NDArray[np.floating], direction: Direction, lines_in: IntArray | None
    ) -> NDArray[np.floating]:
        """Voltages to apply for `v_in_v`. The line that needs most gets its full voltage, the others less."""
        share = self._shares[direction].astype(v_in_v.dtype)
        applied_v: NDArray[np.floating] = v_in_v * (share if lines_in is None else share[lines_in])
        return applied_v

    def currents(
        self,
        measured_a: NDArray[np.floating],
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None,
        lines_out: IntArray | None,
    ) -> None:
        """Makes the currents (batch, lines out) that `v_in_v` asks for of those that `volts` brought."""
        gain = self.columns if direction is Direction.FORWARD else self.rows
        gain = gain if lines_out is None else gain[lines_out]
        kind = measured_a.dtype  # single precision stays that
        measured_a /= (gain * self._weakest[direction]).astype(kind)
        offset_S = self.read_offset_S.astype(kind)
        if direction is Direction.FORWARD:
            offset_S = offset_S if lines_out is None else offset_S[lines_out]
            total_v = v_in_v @ np.ones(v_in_v.shape[1], kind)  # numpy adds up short rows slowly
            measured_a += np.outer(total_v, offset_S)
        else:
            offset_S = offset_S if lines_in is None else offset_S[lines_in]
            measured_a += (v_in_v @ offset_S)[:, None]

    @cached_property
    def _weakest(self) -> dict[Direction, float]:
        """The least gain of the lines that are driven."""
        driven = {Direction.FORWARD: self.rows_driven, Direction.TRANSPOSED: self.columns_driven}
        return {direction: float(gain.min()) for direction, gain in driven.items()}

    @cached_property
    def _shares(self) -> dict[Direction, FloatArray]:
        """What each driven line gets of its full voltage."""
        return {
            Direction.FORWARD: self._weakest[Direction.FORWARD] / self.rows_driven,
            Direction.TRANSPOSED: self._weakest[Direction.TRANSPOSED] / self.columns_driven,
        }


@dataclass(eq=False)
class Corrections:
    """Of one array. A calibration that measures what is corrected sets it anew, or to nothing for as long as it needs.

    read_offset_a: what the converter of each column adds to a current, A, shape (columns,).
    gains: of the lines in products; None where they are not known, and products are as measured.
    """

    read_offset_a: FloatArray
    gains: LineGains | None = None

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Corrections:
        """For an array of `shape` of which nothing is known."""
        return cls(np.zeros(shape[1]))

    @classmethod
    def of_all(cls, chip: Chip) -> list[Corrections]:
        """Those of each array in the passport, of which each entry is read once. Raises HilError for a damaged one."""
        numbers, columns = range(chip.passport.arrays), chip.passport.shape[1]
        offsets_a = _newest(chip, "forming", numbers, _offset_a)
        gains = _newest(chip, "product_accuracy", numbers, _gains)
        return [cls(offsets_a.get(number, np.zeros(columns)), gains.get(number)) for number in numbers]

    def offset_S(self, col: IntArray, v_read_v: float) -> FloatArray:
        """What the device's readings of cells in columns `col` at `v_read_v` are above their conductances, S.

        It is taken off readings, and added to targets.
        """
        offset_S: FloatArray = self.read_offset_a[col] / v_read_v
        return offset_S


def read_offset_a(chip: Chip, number: int) -> FloatArray:
    """Offset of the reads of each column, A, shape (columns,), from the last `forming` entry of one array.

    0 where it was not measured. Raises HilError when the entry is damaged.
    """
    found = _newest(chip, "forming", [number], _offset_a)
    return found.get(number, np.zeros(chip.passport.shape[1]))


def line_gains(chip: Chip, number: int) -> LineGains | None:
    """From the last `product_accuracy` entry of one array; None without. Raises HilError when it is damaged."""
    return _newest(chip, "product_accuracy", [number], _gains).get(number)


def _newest(
    chip: Chip, kind: str, numbers: Sequence[int], read: Callable[[Chip, Measurement], Found | None]
) -> dict[int, Found]:
    """What `read` makes of the last entry of a kind for each of these arrays; it may pass one over."""
    found: dict[int, Found] = {}
    for entry in chip.newest_first(kind):
        number = entry.values.get("array", -1)
        if number in numbers and number not in found:
            value = read(chip, entry)
            if value is not None:
                found[number] = value
        if len(found) == len(numbers):
            break
    return found


def _offset_a(chip: Chip, entry: Measurement) -> FloatArray | None:
    if "read_offset_a" not in entry.values:
        return None
    offset_a = _vector(chip, entry, entry.values, "read_offset_a")
    if offset_a.shape != (chip.passport.shape[1],) or not np.isfinite(offset_a).all():
        raise HilError(f"{chip.path_of(entry)}: damaged: a finite read_offset_a is needed for each column")
    return offset_a


def _gains(chip: Chip, entry: Measurement) -> LineGains:
    rows, columns = chip.passport.shape
    wanted = (("forward", "gain", columns), ("transposed", "gain", rows),
              ("forward", "driven_gain", rows), ("transposed", "driven_gain", columns))  # fmt: skip
    gains = [_vector(chip, entry, entry.values.get(direction), key) for direction, key, _ in wanted]
    offset_S = _vector(chip, entry, entry.values, "read_offset_S")
    sizes = [values.shape for values in (*gains, offset_S)]
    fit = sizes == [*((lines,) for _, _, lines in wanted), (columns,)]
    if not fit or not all((gain > 0).all() for gain in gains) or not np.isfinite(offset_S).all():
        raise HilError(
            f"{chip.path_of(entry)}: damaged: a gain above 0 for each line and a read_offset_S for each column "
            "are needed"
        )
    return LineGains(gains[0], gains[1], gains[2], gains[3], offset_S)


def _vector(chip: Chip, entry: Measurement, values: Mapping[str, Any] | None, key: str) -> FloatArray:
    """One estimate of an entry. Raises HilError."""
    try:
        return np.asarray(values[key]["value"], dtype=np.float64)  # type: ignore[index]  # TypeError for None
    except (KeyError, TypeError, ValueError) as error:
        raise HilError(f"{chip.path_of(entry)}: damaged: {error!r}") from error
