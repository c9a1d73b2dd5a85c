"""The contract of a source-measure unit, and of a family of them.

Any object with these methods serves, whoever wrote it. A lab's own family is a class with the methods of `SourceMeter`
and the attributes of `SourceMeterFamily`, in a package with the entry point

    [project.entry-points."eapu_hil.source_meters"]
    own = "my_package.my_module:MySourceMeter"

Discovery and benches then find it. `base.SourceMeterBase` with `ScpiInstrument` or `TspInstrument` (`instrument.py`)
does what our drivers share: errors, limits that are read back, the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.visa.instrument import InstrumentIdentity
from eapu_drivers.visa.transport import Transport
from eapu_hil.hal import FloatArray
from eapu_hil.hal.recipe import Recipe


@dataclass(frozen=True)
class Abilities:
    """The range of one channel.

    v_max_v: largest source voltage. i_limit_min_a, i_limit_max_a: current compliance.
    pulse_min_s, pulse_max_s: width of a single pulse. points_max: most levels of one sweep.
    """

    v_max_v: float
    i_limit_min_a: float
    i_limit_max_a: float
    pulse_min_s: float
    pulse_max_s: float
    points_max: int


@dataclass(frozen=True)
class Setup:
    """How a channel sources and measures until the next setup.

    v_range_v: fixed source range that holds this voltage. i_limit_a: compliance, also the current range.
    nplc: integration time of one reading in periods of the power line.
    """

    v_range_v: float
    i_limit_a: float
    nplc: float


@dataclass(frozen=True)
class Taken:
    """What an instrument reported when it was set up: source range in V, compliance and current range in A."""

    v_range_v: float
    i_limit_a: float
    i_range_a: float


@dataclass(frozen=True, eq=False)
class Sweep:
    """One reading a level; arrays of shape (levels,).

    current_a: out of the HI terminal, A. limited: the source was in compliance, so the level was not reached.
    overflow: the reading lies beyond the measuring range; `current_a` is then the end of the range.
    """

    current_a: FloatArray
    limited: NDArray[np.bool_]
    overflow: NDArray[np.bool_]


class SourceMeter(Protocol):
    """One channel that sources a voltage and measures the current.

    Requests raise UnsupportedError before anything is sent where the instrument cannot do them, TransportError,
    ProtocolError or InstrumentError where they fail. Nothing is tried twice.
    """

    @property
    def identity(self) -> InstrumentIdentity: ...

    @property
    def abilities(self) -> Abilities: ...

    def set_up(self, setup: Setup) -> None:
        """Takes over `setup`, source at 0 V, and reads every limit back.

        Raises InstrumentError when one was not taken.
        """
        ...

    def output(self, on: bool) -> None:
        """Connects the source, at 0 V, or disconnects it."""
        ...

    def hold(self, level_v: float) -> None:
        """Sources `level_v` until something else is asked."""
        ...

    def held(self) -> Sweep:
        """One reading at the level that is held."""
        ...

    def sweep(self, levels_v: FloatArray) -> Sweep:
        """Sources each level in turn, measures it, and ends at 0 V."""
        ...

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        """`count` pulses from 0 V to `level_v` and back. Returns whether one ran into the compliance."""
        ...

    def safe_off(self) -> None:
        """Device clear, abort, source to 0 V, output off: the way out, also after a fault.

        Tries each step whatever the others did; raises HilError that names those that failed.
        """
        ...

    def close(self) -> None:
        """Closes the line to the instrument."""
        ...


@runtime_checkable
class AsksState(Protocol):
    """A `SourceMeter` that can ask the instrument whether it still is as it was left.

    An array asks before each reading and pulse: other programs and front panels change instruments.
    """

    @property
    def taken(self) -> Taken | None:
        """What it took of the last setup; None before one."""
        ...

    def require_as_left(self) -> None:
        """Output, source function, level, ranges and compliance, in one message where the language allows it.

        Raises InstrumentError that says what was found.
        """
        ...


@runtime_checkable
class SwitchesOffUnasked(Protocol):
    """A `SourceMeter` that says what switches it off: for the guard, which may find it in the middle of something."""

    def off_messages(self) -> Sequence[str]:
        """Abort, source to 0 V, output off: messages that need no answer and no knowledge of its state."""
        ...


@runtime_checkable
class SourceMeterFamily(Protocol):
    """The instruments that one driver fits. Most simply it is the driver's class itself.

    family: what messages and lists call it, maker and series (`Keithley 2400`).
    channels: names of an instrument's channels; ("",) where it has one without a name. Where a bench file names none,
        the first is taken.
    """

    family: str
    channels: tuple[str, ...]

    def fits(self, identity: InstrumentIdentity) -> bool:
        """Whether the driver is for the instrument that answers this to *IDN?. It asks the instrument nothing."""
        ...

    def __call__(self, transport: Transport, channel: str) -> SourceMeter:
        """Opens a channel: output off, 0 V. Several channels of one instrument get the same `transport`.

        Raises ConfigError for a channel that is not there.
        """
        ...


@dataclass(frozen=True)
class CellWrite:
    """The result of write-verify for one cell; the fields of `WriteOutcome`."""

    g_before_S: float
    g_after_S: float
    pulses: int
    reads: int
    energy_j: float
    status: int


class Verifier(Protocol):
    """An instrument that runs write-verify by itself, on the cell that is connected."""

    def write(
        self, g_target_S: float, recipe: Recipe, read: Setup, pulse: Setup, gate_read_v: float
    ) -> CellWrite:
        """One epoch of `recipe`; source and gate are at 0 V afterwards."""
        ...


@runtime_checkable
class SelfVerifying(Protocol):
    """A `SourceMeter` that can run write-verify by itself, with another channel at the gate."""

    def verifier(self, gate: SourceMeter) -> Verifier | None:
        """None where it cannot with this gate."""
        ...
