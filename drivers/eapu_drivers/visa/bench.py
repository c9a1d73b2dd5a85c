"""Opens the array of a bench of instruments: real ones over VISA, or simulated ones behind the same VISA stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from eapu_drivers.simulators import find_simulator
from eapu_drivers.visa.array import SmuArray
from eapu_drivers.visa.config import KNOWN_VISA, SmuConfig
from eapu_drivers.visa.families import open_source_meter, open_switch
from eapu_drivers.visa.guard import Guard, OFF_WITHIN_s
from eapu_drivers.visa.lines import SwitchedLines, Wiring
from eapu_drivers.visa.names import device_of
from eapu_drivers.visa.smu.contract import SelfVerifying, Setup, SourceMeter, Verifier
from eapu_drivers.visa.sources import Clock, Place, Setups, Sources, unsuitable_width
from eapu_drivers.visa.switch.contract import SwitchMatrix
from eapu_drivers.visa.transport import Transport, VisaTransport
from eapu_hil.base.libraries import require_library
from eapu_hil.base.provenance import git_commit
from eapu_hil.bench.driver import Driver
from eapu_hil.bench.wiring import Instruments
from eapu_hil.hal import ConfigError, Crossbar, Identity, Unattended

_GATE_NPLC = 1.0
_GUARD_WITHIN_s = 3.0  # for the guard of a program before this one, which may still be switching off

# Opens simulated instruments for a bench file, the state of whose cells lives in a directory: their clock, and where
# each role answers (`source`, `gate`, `bias0`, `bias1`, `switch`).
Simulator = Callable[[SmuConfig, Path], AbstractContextManager[tuple[Clock, Mapping[str, Place]]]]


@contextmanager
def open_arrays(config: SmuConfig, chip_dir: Path) -> Iterator[list[Crossbar]]:
    """The one array of the bench.

    Raises ConfigError where an instrument is another than the bench file says or cannot do what it asks;
    TransportError, ProtocolError or InstrumentError where one does not answer as it should.
    """
    instruments = config.instruments
    clock: Clock
    guard: Guard | None = None
    with ExitStack() as stack:
        if config.simulated:
            clock, places = stack.enter_context(_simulator(config)(config, chip_dir))
        else:
            clock, places = WallClock(), _places(config, instruments)
            guard = stack.enter_context(Guard())  # before the lines: it takes over what they have left
        lines_to = _Opened(require_library(instruments.visa, KNOWN_VISA), stack)
        roles = [role for role in places if role != "switch"]
        meters = [open_source_meter(lines_to[places[role].resource], places[role].channel) for role in roles]
        switch = open_switch(lines_to[places["switch"].resource])
        array = assembled(config, instruments, meters, switch, clock)
        if guard is None:
            yield [array]
            return
        guard.watch(places, dict(zip(roles, meters, strict=True)), instruments.visa)
        array.unattended = Unattended("the guard process of the instruments", OFF_WITHIN_s)
        try:
            yield [array]
        finally:
            guard.needed = not array.is_at_rest


def _simulator(config: SmuConfig) -> Simulator:
    """The function that starts simulated instruments. Raises ConfigError."""
    try:
        simulator: Simulator = find_simulator("instruments")
    except ConfigError as error:
        raise ConfigError(f"{config.where}: resource: {config.resource!r}: {error}") from error
    return simulator


class WallClock:
    """Bench time of real instruments: seconds since 1970 at the start, counted on by the monotonic clock."""

    def __init__(self) -> None:
        self._start_s = time.time() - time.monotonic()

    def now_s(self) -> float:
        return self._start_s + time.monotonic()

    def wait(self, duration_s: float) -> None:
        time.sleep(duration_s)


def assembled(
    config: SmuConfig,
    instruments: Instruments,
    meters: list[SourceMeter],
    switch: SwitchMatrix,
    clock: Clock,
) -> SmuArray:
    """The array from opened instruments: at the columns, at the gates, biases; and the matrix. Grounds every line.

    Any objects with the methods of `SourceMeter` and `SwitchMatrix` serve. Raises ConfigError for a recipe with
    pulses that the source cannot make.
    """
    source, gate, *bias = meters
    wrong = unsuitable_width(config.recipe, source)
    if wrong is not None:
        raise ConfigError(f"{config.where}: {wrong}")
    limits = config.limits
    setups = Setups(
        read=Setup(limits.v_read_max_v, instruments.i_read_max_a, instruments.nplc),
        pulse=Setup(limits.v_max_v, limits.i_max_a, instruments.nplc),
        gate=Setup(limits.v_gate_max_v, instruments.i_gate_max_a, _GATE_NPLC),
        bias=Setup(limits.v_max_v, limits.i_max_a, instruments.nplc),
        gate_read_v=instruments.gate_read_v or config.recipe.reset.gate_v,
    )
    if setups.gate_read_v > limits.v_gate_max_v:
        raise ConfigError(
            f"{config.where}: instruments.gate_read_v: {setups.gate_read_v} V asked; "
            f"allowed is at most {limits.v_gate_max_v} V (limits.v_gate_max_v)"
        )
    names = [*(meter.identity for meter in meters), switch.identity]
    identity = Identity(
        " + ".join(dict.fromkeys(name.model for name in names)),
        "/".join(dict.fromkeys(name.serial for name in names)),
        "/".join(dict.fromkeys(name.firmware for name in names)),
        str(git_commit().get("commit") or ""),
    )
    sources = Sources(source, gate, bias, _verifier(instruments, source, gate))
    array = SmuArray(
        sources, SwitchedLines(switch, Wiring(instruments)), setups, config.recipe, identity, clock
    )
    array.ground()
    return array


def _verifier(instruments: Instruments, source: SourceMeter, gate: SourceMeter) -> Verifier | None:
    """Write-verify in the instrument needs a cell that stays connected, and lines that nobody else drives."""
    if isinstance(source, SelfVerifying) and instruments.reset == "negative" and not instruments.bias:
        return source.verifier(gate)
    return None


def _places(config: SmuConfig, instruments: Instruments) -> Mapping[str, Place]:
    first = Place(config.resource, instruments.channel)
    places = {"source": first}
    for role, terminal in [
        ("gate", instruments.gate),
        *((f"bias{k}", b) for k, b in enumerate(instruments.bias)),
    ]:
        places[role] = Place(terminal.resource or first.resource, terminal.channel)
    return {**places, "switch": Place(instruments.switch, None)}


class _Opened:
    """Lines to resources, each opened once: two channels of one instrument share it."""

    def __init__(self, visa: str, stack: ExitStack) -> None:
        self._visa = visa
        self._stack = stack
        self._lines: dict[str, Transport] = {}

    def __getitem__(self, resource: str) -> Transport:
        device = device_of(resource, self._visa)
        if device not in self._lines:
            line = VisaTransport(resource, self._visa, _GUARD_WITHIN_s)
            self._lines[device] = self._stack.enter_context(line)
        return self._lines[device]


DRIVER = Driver(SmuConfig, open_arrays)
