"""The wiring of a bench of instruments: the buses of its sources and the crosspoints of its lines.

Part of a bench file (`instruments`), and, as it can be long, a file of its own for the channel map (`map`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, model_validator

from eapu_hil.base.loading import FileModel
from eapu_hil.base.sizes import LINES_MAX

Line = Literal["row", "column", "gate"]

_BUS = "x"  # stands for the bus in the name of a line's crosspoints
_RANGE = re.compile(r"(.*?)(\d+)\.\.(.*?)(\d+)")
_NAME_MAX = 40  # characters
_BIAS_SOURCES = {"grounded": 0, "floating": 0, "half": 1, "third": 2}


class Buses(FileModel):
    """Names of the buses in crosspoints: source and ground of the bit and source lines, gate, biases."""

    source: str
    ground: str
    gate: str
    bias: list[str] = Field(default_factory=list)


class ChannelMap(FileModel):
    """Which crosspoints connect a line of the array to the buses.

    rows, columns, gates: for each line its crosspoints, with `x` for the bus: `1x07` is 1A07 at bus A. `1x01..1x12`
        stands for twelve of them. A row has one gate line.
    bad: positions [row, column], such as known shorts, whose row and column must never be apart in voltage.
    """

    buses: Buses
    rows: list[str]
    columns: list[str]
    gates: list[str]
    bad: list[tuple[NonNegativeInt, NonNegativeInt]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_crosspoint_each(self) -> ChannelMap:
        lines = [name for kind in ("row", "column", "gate") for name in self.lines(kind)]
        for name in lines:
            if name.count(_BUS) != 1:
                raise ValueError(f"line {name!r}: must have one {_BUS!r}, which stands for the bus")
        if len(lines) > 3 * LINES_MAX:
            raise ValueError(f"{len(lines)} lines; allowed are {LINES_MAX} of a kind")
        twice = sorted(name for name, times in Counter(lines).items() if times > 1)
        if twice:
            raise ValueError(f"line {twice[0]!r} stands there twice")
        buses = [self.buses.source, self.buses.ground, self.buses.gate, *self.buses.bias]
        if len(set(buses)) != len(buses):
            raise ValueError(f"buses {', '.join(buses)}: each must have a name of its own")
        rows, gates = len(self.lines("row")), len(self.lines("gate"))
        if rows != gates:
            raise ValueError(f"{rows} rows and {gates} gates; each row must have one gate")
        columns = len(self.lines("column"))
        for place, (row, column) in enumerate(self.bad):
            if row >= rows or column >= columns:
                raise ValueError(
                    f"bad.{place}: position [{row}, {column}] is outside; allowed are rows 0 to {rows - 1} and "
                    f"columns 0 to {columns - 1}"
                )
        return self

    def lines(self, kind: Line) -> list[str]:
        """The lines of a kind, ranges written out."""
        given = {"row": self.rows, "column": self.columns, "gate": self.gates}[kind]
        return [name for entry in given for name in _expanded(entry)]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return len(self.lines("row")), len(self.lines("column"))


class SourceChannel(FileModel):
    """A further source: one channel of an instrument.

    resource: its VISA name; None means the instrument of the bench's `resource`.
    channel: for an instrument that has several.
    """

    resource: str | None = None
    channel: str | None = None


class Instruments(FileModel):
    """The instruments of the bench besides the source of `resource`.

    visa: which VISA, in PyVISA's words: "@py" (no vendor's library needed), "@ivi", or the path of a library, which
        the caller has to allow (--allow-library).
    channel: of `resource`. gate: the source of the word lines. bias: sources of the unselected lines.
    switch: VISA name of the switch matrix.
    unselected: rows and columns that are not addressed are grounded, floating, at half the voltage (one bias), or
        after the V/3 scheme (two: at a third for lines of the driven kind, two thirds for the others).
    reset: how a RESET reaches the cell. negative: the column goes below 0 V; the bulk of the chip's transistors must
        allow that. reversed: the row is driven in the column's place, so nothing goes below 0 V; the other columns
        must then float.
    nplc: integration time of a reading in power line periods. i_read_max_a, i_gate_max_a: compliance of readings and
        of the gate. gate_read_v: gate of readings; None takes the recipe's gate for RESET.
    """

    references: ClassVar[Mapping[str, tuple[type[BaseModel], str]]] = {"map": (ChannelMap, "maps")}

    visa: str = "@py"
    channel: str | None = None
    gate: SourceChannel
    bias: list[SourceChannel] = Field(default_factory=list)
    switch: str
    map: ChannelMap
    unselected: Literal["grounded", "floating", "half", "third"]
    reset: Literal["negative", "reversed"]
    nplc: PositiveFloat = 0.1
    i_read_max_a: PositiveFloat = 1e-4
    i_gate_max_a: PositiveFloat = 1e-6
    gate_read_v: PositiveFloat | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Instruments:
        needed = _BIAS_SOURCES[self.unselected]
        if len(self.bias) != needed or len(self.map.buses.bias) < needed:
            raise ValueError(
                f"unselected: {self.unselected!r} needs {needed} sources in bias and buses in map.buses.bias; "
                f"there are {len(self.bias)} and {len(self.map.buses.bias)}"
            )
        if self.reset == "reversed" and self.unselected != "floating":
            raise ValueError(
                f"reset: 'reversed' drives a whole row, so unselected must be 'floating'; it is {self.unselected!r}"
            )
        return self


def at_bus(line: str, bus: str) -> str:
    """The crosspoint of a line of the map and a bus."""
    return line.replace(_BUS, bus)


def _expanded(entry: str) -> list[str]:
    """`1x01..1x12` -> the twelve; anything else stands for itself."""
    if len(entry) > _NAME_MAX:
        raise ValueError(f"a line's name of {len(entry)} characters; allowed are {_NAME_MAX}")
    found = _RANGE.fullmatch(entry)
    if found is None:
        return [entry]
    first, start, last, stop = found.groups()
    if first != last or len(start) != len(stop) or int(stop) < int(start):
        raise ValueError(f"line {entry!r}: a range must differ in its last number only, and rise")
    if int(stop) - int(start) >= LINES_MAX:
        raise ValueError(
            f"line {entry!r}: a range of {int(stop) - int(start) + 1}; allowed are {LINES_MAX} lines"
        )
    return [f"{first}{number:0{len(start)}d}" for number in range(int(start), int(stop) + 1)]
