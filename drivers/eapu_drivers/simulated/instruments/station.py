"""The simulated instruments of a bench: a probe station around the bench's array, each instrument on a TCP port."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from eapu_drivers.simulated.instruments.circuit import GROUND
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.server import Device, Server
from eapu_drivers.visa.config import SmuConfig
from eapu_drivers.visa.families import (
    SIMULATED_GROUP,
    SOURCE_METER_GROUP,
    SWITCH_GROUP,
    require_simulated,
    source_meter_channels,
)
from eapu_drivers.visa.sources import Place
from eapu_hil.base.plugins import load
from eapu_hil.bench.config import TwinBenchConfig
from eapu_hil.bench.wiring import ChannelMap, Line, at_bus
from eapu_hil.hal import ConfigError
from eapu_hil.twin.array import TwinArray
from eapu_hil.twin.driver import simulated_arrays
from eapu_hil.twin.state import BenchClock

_MESSAGE_s = 1e-3  # bench time of one message on the bus
_GATE_SUPPLY_V = 4.0


class SimulatedSourceMeter(Protocol):
    """The signature of an entry point of `eapu_hil.simulated_instruments` for source-measure units."""

    def __call__(self, probe: Probe, buses: Sequence[str], *, serial: str) -> Device:
        """An instrument with one channel at each of `buses`, at most as many as its driver's family has."""
        ...


class SimulatedSwitch(Protocol):
    """The signature of an entry point of `eapu_hil.simulated_instruments` for switch matrices."""

    def __call__(self, probe: Probe, *, serial: str) -> Device:
        """The matrix whose crosspoints are those of `probe`."""
        ...


class Station:
    """The station of one bench. probe, servers: for tests, which let things go wrong.

    servers: by role, `source`, `gate`, `bias0`, `bias1`, `switch`; two channels of one instrument share a server.
    """

    def __init__(self, array: TwinArray, clock: BenchClock, probe: Probe) -> None:
        self.probe = probe
        self.servers: dict[str, Server] = {}
        self._array = array
        self._clock = clock
        self._lock = threading.RLock()

    def serve(self, device: Device, host: str = "127.0.0.1", port: int = 0) -> Server:
        """Puts a device on a port. Raises ConfigError where that cannot be had."""
        return Server(device, self._lock, self._tick, host, port)

    def _tick(self) -> None:
        self.probe.begin_message()
        self.probe.catch_up()
        self.probe.elapse(_MESSAGE_s)

    def now_s(self) -> float:
        """Bench time, simulated."""
        with self._lock:
            return self._clock.now_s()

    def wait(self, duration_s: float) -> None:
        """Advances the clock; the cells relax."""
        with self._lock:
            self.probe.elapse(duration_s)
            self._array.waited(duration_s)


@contextmanager
def open_station(config: SmuConfig, chip_dir: Path) -> Iterator[tuple[Station, Mapping[str, Place]]]:
    """The instruments that the bench's `sim:` names ask for, and where each role of them answers.

    The state of the cells lives in `chip_dir`/twin. Raises ConfigError for a name that is no simulation.
    """
    instruments = config.instruments
    clock, [array] = simulated_arrays(config, chip_dir)
    roles = ["source", "gate", *(f"bias{number}" for number in range(len(instruments.bias)))]
    station = Station(array, clock, Probe(array, clock, wires(instruments.map)))
    try:
        kind = require_simulated(config.resource, SOURCE_METER_GROUP)
        switch = require_simulated(instruments.switch, SWITCH_GROUP)
    except ConfigError as error:
        raise ConfigError(f"{config.where}: {error}") from error
    places: dict[str, Place] = {}
    with ExitStack() as stack:

        def served(device: Device) -> Server:
            server = station.serve(device)
            stack.callback(server.close)
            return server

        channels = source_meter_channels(kind)
        for first in range(0, len(roles), len(channels)):
            group = roles[first : first + len(channels)]
            server = served(source_meter(kind, station.probe, group, serial=f"sim-{group[0]}"))
            for role, channel in zip(group, channels, strict=False):
                station.servers[role] = server
                places[role] = Place(server.resource, channel)
        station.servers["switch"] = served(switch_matrix(switch, station.probe, serial="sim-switch"))
        places["switch"] = Place(station.servers["switch"].resource, None)
        yield station, places


@contextmanager
def open_source_meter(
    kind: str, config: TwinBenchConfig, chip_dir: Path, host: str, port: int
) -> Iterator[Server]:
    """One instrument for any client, wired by hand to the cell (0, 0): no switch, in real time.

    Its first channel is at the cell's column, the row at ground; the second, where there is one, at the gate, which is
    otherwise held open by a supply of its own.
    """
    clock, [array, *_] = simulated_arrays(config, chip_dir)
    by_hand = {"column": ("source", "column0"), "row": (GROUND, "row0"), "gate": ("gate", "gate0")}
    station = Station(array, clock, Probe(array, clock, by_hand, real_time=True))
    station.probe.close_crosspoints(by_hand.keys())
    buses = ["source", "gate"][: len(source_meter_channels(kind))]
    if len(buses) == 1:
        station.probe.drive(station.probe.source("gate"), level_v=_GATE_SUPPLY_V, on=True)
    server = station.serve(source_meter(kind, station.probe, buses, serial="sim"), host, port)
    try:
        yield server
    finally:
        server.close()


def wires(channels: ChannelMap) -> dict[str, tuple[str, str]]:
    """Every crosspoint of a map -> its bus, by role, and its line."""
    buses = channels.buses
    roles = {buses.source: "source", buses.ground: GROUND, buses.gate: "gate"}
    roles |= {bus: f"bias{number}" for number, bus in enumerate(buses.bias)}
    kinds: tuple[Line, ...] = ("row", "column", "gate")
    return {
        at_bus(name, bus): (role, f"{kind}{number}")
        for kind in kinds
        for number, name in enumerate(channels.lines(kind))
        for bus, role in roles.items()
    }


def source_meter(kind: str, probe: Probe, buses: Sequence[str], serial: str) -> Device:
    """A simulated instrument of a family with a channel at each of `buses`. Raises ConfigError."""
    made: SimulatedSourceMeter = load(SIMULATED_GROUP, kind, "simulated instrument")
    return made(probe, buses, serial=serial)


def switch_matrix(kind: str, probe: Probe, serial: str) -> Device:
    """A simulated matrix of a family. Raises ConfigError."""
    made: SimulatedSwitch = load(SIMULATED_GROUP, kind, "simulated instrument")
    return made(probe, serial=serial)
