"""The lines of an array behind a switch matrix: which crosspoints connect one cell, and where all others are."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import cached_property

from eapu_drivers.visa.switch.contract import SwitchMatrix
from eapu_hil.bench.wiring import Instruments, Line, at_bus


@dataclass(frozen=True)
class Wiring:
    """Sets of crosspoints, from the wiring of a bench file."""

    instruments: Instruments

    @cached_property
    def _names(self) -> dict[Line, list[str]]:
        # written out once: the map writes its ranges out on every question
        kinds: tuple[Line, ...] = ("row", "column", "gate")
        return {kind: self.instruments.map.lines(kind) for kind in kinds}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return len(self._names["row"]), len(self._names["column"])

    def grounded(self) -> frozenset[str]:
        """Every line at the ground bus."""
        ground = self.instruments.map.buses.ground
        return frozenset(at_bus(name, ground) for names in self._names.values() for name in names)

    def cell(self, row: int, column: int, reverse: bool = False) -> frozenset[str]:
        """One cell: its column at the source, its row at ground (the other way round in `reverse`), its gate driven.

        The other gates are grounded, the other rows and columns where the bench file has them; those that a bad
        position would connect to the addressed lines stay open.
        """
        buses = self.instruments.map.buses
        driven: Line = "row" if reverse else "column"
        addressed = {"row": row, "column": column}
        at = {("gate", row): buses.gate}
        for kind, number in addressed.items():
            at[kind, number] = buses.source if kind == driven else buses.ground
        others = {"gate": buses.ground} | {kind: self._bus_of_others(kind == driven) for kind in addressed}
        bad = self.instruments.map.bad
        kept_open = {("row", r) for r, c in bad if c == column} | {("column", c) for r, c in bad if r == row}
        return self._connected(at, others, kept_open)

    def together(self, rows: Iterable[int], columns: Iterable[int], gates: Iterable[int]) -> frozenset[str]:
        """These columns at the source, rows at ground, gates driven; other gates grounded, other lines left open."""
        buses = self.instruments.map.buses
        at = {("column", number): buses.source for number in columns}
        at |= {("row", number): buses.ground for number in rows}
        at |= {("gate", number): buses.gate for number in gates}
        return self._connected(at, {"gate": buses.ground, "row": None, "column": None})

    def _bus_of_others(self, like_the_driven: bool) -> str | None:
        buses = self.instruments.map.buses
        match self.instruments.unselected:
            case "grounded":
                return buses.ground
            case "floating":
                return None
            case "half":
                return buses.bias[0]
            case "third":
                return buses.bias[0 if like_the_driven else 1]

    def _connected(
        self,
        at: dict[tuple[str, int], str],
        others: dict[str, str | None],
        kept_open: Set[tuple[str, int]] = frozenset(),
    ) -> frozenset[str]:
        closed = set()
        for kind, names in self._names.items():
            for number, name in enumerate(names):
                bus = at.get((kind, number), others[kind])
                if bus is not None and (kind, number) not in kept_open:
                    closed.add(at_bus(name, bus))
        return frozenset(closed)


class SwitchedLines:
    """The matrix as the array uses it. It switches cold: whoever asks puts every source to 0 V first."""

    def __init__(self, switch: SwitchMatrix, wiring: Wiring) -> None:
        self._switch = switch
        self.wiring = wiring
        self.connected: frozenset[str] | None = None  # not known

    def connect(self, crosspoints: frozenset[str]) -> None:
        """Exactly these crosspoints; nothing is sent where that is so already."""
        if crosspoints != self.connected:
            self.connected = None
            self._switch.connect(crosspoints)
            self.connected = crosspoints

    def ground(self) -> None:
        """Every line to the ground bus, whatever was known before; after a failure from a matrix that is all open."""
        if self.connected is None:
            self._switch.safe_off()
        self.connected = None
        self.connect(self.wiring.grounded())
