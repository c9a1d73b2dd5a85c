"""The cell that is connected, and how the sources around it stand: by what was sent, and by what they say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eapu_drivers.visa.lines import SwitchedLines
from eapu_drivers.visa.smu.contract import AsksState, Setup
from eapu_drivers.visa.sources import Setups, Sources, switch_on
from eapu_hil.hal import HilError


class Selection:
    """Connects one cell after another. What it remembers is asked before it is relied on."""

    def __init__(self, sources: Sources, lines: SwitchedLines, setups: Setups) -> None:
        self._sources = sources
        self._lines = lines
        self._setups = setups
        self._setup: Setup | None = None  # of the cell's source; None: all have to be set up
        self._gate_v = 0.0
        self._gate_checked = False  # since crosspoints moved
        self._grounds = 1
        self._grounds_before: int | None = None  # the request that runs; None: none does
        self.is_at_rest = False  # every output is off, as the instruments said at the last ground

    @contextmanager
    def request(self) -> Iterator[None]:
        """Around a request: it ends with an error before its next cell once another thread has grounded the array."""
        outer, self._grounds_before = self._grounds_before, self._grounds_before or self._grounds
        try:
            yield
        finally:
            self._grounds_before = outer

    def _require_undisturbed(self) -> None:
        if self._grounds_before not in (None, self._grounds):
            raise HilError("the lines were put to 0 V in the middle of a request; it ends there")

    def rest(self) -> None:
        """Every source to 0 V before crosspoints move: relays that switch a current wear, and cells would see it.

        The cell's source and the biases are there between any two requests; the gate stays up for the next one.
        """
        if self._gate_v != 0.0:
            self._gate_v = 0.0
            self._sources.gate.hold(0.0)
        self._require_sources_as_left()

    def _require_sources_as_left(self) -> None:
        """Asks each source. Raises InstrumentError where somebody else, or a fault, has changed one."""
        for source in self._sources.all():
            if isinstance(source, AsksState):
                source.require_as_left()

    def select(self, row: int, column: int, reverse: bool = False) -> None:
        """Connects the cell. Other programs and front panels move crosspoints and change sources, so all are asked,
        the sources before anything moves.
        """
        self._require_undisturbed()
        crosspoints = self._lines.wiring.cell(row, column, reverse)
        if crosspoints != self._lines.connected:
            self.rest()
            self._gate_checked = False
        else:
            self._require_sources_as_left()
        self._lines.connect(crosspoints)

    def ready(self, setup: Setup, gate_v: float) -> None:
        """The cell's source as `setup` says, at 0 V, the gate at `gate_v`; sets up what was off."""
        self._require_undisturbed()
        self.is_at_rest = False
        sources = self._sources
        if self._setup is None:
            for source, its_own in (
                (sources.gate, self._setups.gate),
                *((bias, self._setups.bias) for bias in sources.bias),
                (sources.cell, setup),
            ):
                switch_on(source, its_own)
            self._setup, self._gate_v = setup, 0.0
        elif self._setup != setup:
            sources.cell.set_up(setup)
            self._setup = setup
        if self._gate_v != gate_v:
            sources.gate.hold(gate_v)
            self._gate_v = gate_v
        if gate_v > 0.0 and not self._gate_checked:
            self._check_gate(gate_v)

    def _check_gate(self, gate_v: float) -> None:
        """Once a cell: a gate that leaks, or whose source has tripped, would make every reading of the cell wrong."""
        seen = self._sources.gate.held()
        if seen.limited[0] or seen.overflow[0]:
            raise HilError(
                f"the gate that is connected leaks: it draws its compliance of {self._setups.gate.i_limit_a} A at "
                f"{gate_v} V; see `eapu-hil check`"
            )
        self._gate_checked = True

    def left_at(self, setup: Setup | None) -> None:
        """The cell's source is so now; None: nobody knows."""
        self._setup = setup

    def ground(self) -> None:
        """Every source to 0 V and off, then every line to the ground bus. Tries all, whatever fails."""
        self._grounds += 1
        self._setup, self._gate_v, self._gate_checked = None, 0.0, False
        failures: list[HilError] = []
        acts: list[Callable[[], None]] = [source.safe_off for source in self._sources.all()]
        for act in [*acts, self._lines.ground]:
            try:
                act()
            except HilError as error:
                failures.append(error)
        if failures:
            raise HilError("; ".join(str(error) for error in failures)) from failures[0]
        self.is_at_rest = True
