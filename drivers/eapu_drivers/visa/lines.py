"""The lines of an array behind a switch matrix: which crosspoints connect one cell, and where all others are."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import cached_property

from eapu_drivers.visa.switch.contract import NamesCrosspoints, SwitchMatrix
from eapu_hil.bench.wiring import Instruments, Line, at_bus
from eapu_hil.hal import HilError, InstrumentError

_LOG = logging.getLogger(__name__)
_NAMES_SHOWN = 4


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

    def all(self) -> frozenset[str]:
        """Every line at every bus that the bench uses."""
        buses = self.instruments.map.buses
        used = [buses.source, buses.ground, buses.gate, *buses.bias[: len(self.instruments.bias)]]
        return frozenset(
            at_bus(name, bus) for names in self._names.values() for name in names for bus in used
        )

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
        self.connected: frozenset[str] | None = None  # as this program left it; None: not known
        if isinstance(switch, NamesCrosspoints):
            switch.will_use(wiring.all())

    def connect(self, crosspoints: frozenset[str]) -> None:
        """Exactly these crosspoints. Where that is so by what is remembered, the matrix is asked whether it is.

        Raises InstrumentError where crosspoints were moved by somebody else, or lost.
        """
        if crosspoints == self.connected:
            self.require_as_left()
            return
        self.connected = None
        self._switch.connect(crosspoints)
        self.connected = crosspoints

    def require_as_left(self) -> None:
        """Asks the matrix. Raises InstrumentError that says what was found; nothing is known then."""
        if self.connected is None:
            return
        left, self.connected = self.connected, None
        found = self._switch.closed()
        if found != left:
            closed, opened = sorted(found - left), sorted(left - found)
            parts = [
                f"{', '.join(names[:_NAMES_SHOWN])}{', ...' if len(names) > _NAMES_SHOWN else ''} {word}"
                for names, word in ((opened, "open, left closed"), (closed, "closed, left open"))
                if names
            ]
            text = f"crosspoints moved by another program, at its front panel, or lost: {'; '.join(parts)}"
            who = self._switch.identity
            name = getattr(self._switch, "name", f"{who.maker} {who.model} ({who.serial})")
            raise InstrumentError(0, text, "asked for its crosspoints", name)
        self.connected = left

    def ground(self) -> None:
        """Every line to the ground bus, whatever was known before; after a failure, or where somebody else moved
        crosspoints, from a matrix that is all open.
        """
        failed = None
        try:
            self.require_as_left()
        except HilError as error:
            failed = error  # the way out does not end here: it goes on from a matrix that is opened
        if self.connected is None:
            self._switch.safe_off()
        self.connected = None
        self._switch.connect(self.wiring.grounded())
        self.connected = self.wiring.grounded()
        if failed is not None:
            _LOG.warning("%s", failed)
