"""The check of the interlock for product requests; see `eapu_hil.bench.limits` for all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eapu_hil.hal import Direction, IntArray, LimitError, Limits, ProductRequest
from eapu_hil.hal.vectors import volts, whole_numbers

_LINES_KNOWN = 1000  # lists of lines that are remembered
_ALONE = np.zeros((1, 1), np.int64)  # the grid of one array
_ALONE.setflags(write=False)
_DOING = {"lines_in": "driving", "lines_out": "measuring"}


class ProductCheck:
    """The limits of arrays of `shape` (rows, columns), as products have to keep them.

    A network asks for products on the same lines again and again: those that were found right are known by content.
    """

    def __init__(self, shape: tuple[int, int], limits: Limits) -> None:
        self._shape = shape
        self._most_v = limits.v_read_max_v
        self._known_lines: dict[tuple[bytes, tuple[int, ...], Direction, str], IntArray] = {}

    def one(
        self,
        name: str,
        v_in_v: ArrayLike,
        direction: Direction,
        lines_in: IntArray | None,
        lines_out: IntArray | None,
    ) -> ProductRequest:
        """A request to the array with this name, as `Crossbar.vmm` takes it, as one to a grid with this array alone.

        Raises LimitError, as `several` does, where voltages (batch, lines in) are beyond the read limit, lines are not
        those of the array, or a line is driven twice.
        """
        what = _what(name, direction)
        lines = [
            self._lines(value, direction, end, (), [name])
            for value, end in ((lines_in, "lines_in"), (lines_out, "lines_out"))
        ]
        own_v = volts(v_in_v, "v_in_v")
        width = self._width(direction, lines[0])
        if own_v.ndim != 2 or own_v.shape[1] != width:
            raise LimitError(f"{what} of shape {own_v.shape} asked; allowed is (batch, {width})")
        self._check_volts(own_v[None], direction, lines[0], [name])
        return ProductRequest(_ALONE, own_v[None], direction, *lines)

    def several(self, names: Sequence[str], asked: ProductRequest) -> ProductRequest:
        """A request to arrays with these names, by number; see `one`."""
        what = _what("the bench", asked.direction)
        arrays = whole_numbers(asked.arrays, "array")
        if arrays.ndim != 2 or arrays.size == 0:
            raise LimitError(
                f"array: a grid of shape {arrays.shape} asked; allowed is (k, m), with some array"
            )
        wrong = (arrays < 0) | (arrays >= len(names))
        if wrong.any():
            raise LimitError(f"array {arrays[wrong][0]} asked; the bench has arrays 0 to {len(names) - 1}")
        asked_of = [names[number] for number in arrays.ravel().tolist()]
        lines = [
            self._lines(value, asked.direction, end, arrays.shape, asked_of)
            for value, end in ((asked.lines_in, "lines_in"), (asked.lines_out, "lines_out"))
        ]
        own_v = volts(asked.v_in_v, "v_in_v")
        rows, width = arrays.shape[0], self._width(asked.direction, lines[0])
        if own_v.ndim != 3 or (own_v.shape[0], own_v.shape[2]) != (rows, width):
            raise LimitError(f"{what} of shape {own_v.shape} asked; allowed is ({rows}, batch, {width})")
        self._check_volts(own_v, asked.direction, lines[0], asked_of[:: arrays.shape[1]])
        return ProductRequest(arrays, own_v, asked.direction, *lines)

    def _check_volts(
        self, v_v: NDArray[np.floating], direction: Direction, lines_in: IntArray | None, names: Sequence[str]
    ) -> None:
        """Inside the read limit. names: of one array for each row of the grid."""
        most_v = self._most_v
        # NaN fails both comparisons, which are made in the precision of the voltages.
        if v_v.max(initial=0.0) <= most_v and v_v.min(initial=0.0) >= -most_v:
            return
        k, vector, place = np.argwhere(~(np.abs(v_v) <= most_v))[0]
        line = place if lines_in is None else lines_in[k, 0, place]
        raise LimitError(
            f"{_what(names[k], direction)} with {v_v[k, vector, place]} V on line {line} (vector {vector}) asked; "
            f"allowed is at most {most_v} V (limits.v_read_max_v)"
        )

    def _lines(
        self,
        lines: IntArray | None,
        direction: Direction,
        end: str,
        grid: tuple[int, ...],
        names: Sequence[str],
    ) -> IntArray | None:
        """Lines of each array of a grid, (k, m, lines), those that are driven once each.

        end: "lines_in" or "lines_out". grid: its shape; () for one array, whose lines have no other axis.
        """
        if lines is None:
            return None
        if type(lines) is np.ndarray and lines.dtype == np.int64:
            known = self._known_lines.get((lines.tobytes(), lines.shape, direction, end))
            if known is not None and lines.shape[:-1] == grid:
                return known
        own = whole_numbers(lines, end)
        if own.ndim != len(grid) + 1 or own.shape[:-1] != grid:
            allowed = f"({', '.join(map(str, (*grid, 'lines')))})" if grid else "(lines,)"
            raise LimitError(
                f"{_what(names[0], direction)} with {end} of shape {own.shape} asked; allowed is {allowed}"
            )
        self._check_lines(own.reshape(len(names), -1), direction, end, names)
        if len(self._known_lines) >= _LINES_KNOWN:
            self._known_lines.clear()
        content = own.tobytes()
        # Of immutable bytes: nobody can change what later requests get.
        kept = np.frombuffer(content, np.int64).reshape(*(grid or (1, 1)), -1)
        self._known_lines[content, own.shape, direction, end] = kept
        return kept

    def _check_lines(self, lines: IntArray, direction: Direction, end: str, names: Sequence[str]) -> None:
        """Lines of each of the arrays with these names, (arrays, lines): theirs, and none driven twice."""
        count = self._line_count(direction, end)
        wrong = (lines < 0) | (lines >= count)
        if wrong.any():
            number, place = np.argwhere(wrong)[0]
            raise LimitError(
                f"{_what(names[number], direction)} {_DOING[end]} line {lines[number, place]} asked; "
                f"allowed are 0 to {count - 1}"
            )
        ordered = np.sort(lines)
        twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        if end == "lines_in" and twice.any():
            name = names[int(np.argmax(twice))]
            raise LimitError(f"{_what(name, direction)} driving a line twice asked; allowed is once")

    def _width(self, direction: Direction, lines_in: IntArray | None) -> int:
        return self._line_count(direction, "lines_in") if lines_in is None else lines_in.shape[-1]

    def _line_count(self, direction: Direction, end: str) -> int:
        forward_in = (direction is Direction.FORWARD) == (end == "lines_in")
        return self._shape[0] if forward_in else self._shape[1]


def _what(name: str, direction: Direction) -> str:
    """The request in messages. Raises LimitError for what is no direction."""
    if not isinstance(direction, Direction):
        allowed = ", ".join(map(str, Direction))
        raise LimitError(f"a product in direction {direction!r} asked; allowed are {allowed}")
    return f"{name}: a {direction.value} product"
