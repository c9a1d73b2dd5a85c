"""The simulated Keysight 34980A as an instrument, and this project's driver against it over the VISA stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eapu_drivers.simulated.instruments.circuit import GROUND
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.server import Server
from eapu_drivers.simulated.instruments.sim_keysight34980a import SimulatedKeysight34980A
from eapu_drivers.visa.switch.keysight34980a import Keysight34980A
from eapu_drivers.visa.transport import VisaTransport
from stations import SmallStation, asked

from eapu_hil.hal import InstrumentError

WIRES = {"1101": ("source", "column0"), "1202": (GROUND, "row0"), "1303": ("gate", "gate0")}
EVERY = {f"{slot}{row}{column:02d}" for slot in (1, 2) for row in range(1, 9) for column in range(1, 17)}


@pytest.fixture
def station(tmp_path: Path) -> SmallStation:
    """Wired to channels of the matrix."""
    small = SmallStation(tmp_path)
    small.probe = Probe(small.array, small.clock, WIRES)
    return small


@pytest.fixture
def device(station: SmallStation) -> SimulatedKeysight34980A:
    return SimulatedKeysight34980A(station.probe)


@pytest.fixture
def matrix(server: Server) -> Iterator[Keysight34980A]:
    with VisaTransport(server.resource) as line:
        yield Keysight34980A(line)


# As an instrument


@pytest.mark.parametrize(
    "message", [":ROUTE:CLOSE (@1101,1203)", "rout:clos (@1101, 1203)", ":Rout:Clos (@1101,1203)"]
)
def test_headers(device: SimulatedKeysight34980A, message: str) -> None:
    assert device.handle(message) == b""
    assert asked(device, "ROUT:CLOS? (@1101:1103,1203)") == "1,0,0,1"
    assert asked(device, "ROUT:OPEN? (@1101,1102)") == "0,1"


def test_a_range_leaves_out_what_is_not_there(device: SimulatedKeysight34980A) -> None:
    device.handle(":ROUT:CLOS (@1115:1202)")
    assert asked(device, ":ROUT:CLOS? (@1115,1116,1201,1202)") == "1,1,1,1"
    assert asked(device, ":ROUT:CLOS? (@1115:1202)").count("1") == 4
    assert device.moved == 4


@pytest.mark.parametrize(
    ("message", "code", "event"),
    [
        (":ROUT:CLOS (@1117)", -222, 16),
        (":ROUT:CLOS (@1901)", -222, 16),
        (":ROUT:CLOS (@9101)", -222, 16),
        (":ROUT:CLOS (@1101:1117)", -222, 16),
        (":ROUT:CLOS (@101)", -222, 16),
        (":ROUT:CLOS 1101", -104, 32),
        (":ROUT:CLOS (@1101:1102:1103)", -104, 32),
        (":ROUT:OPEN:ALL 9", -222, 16),
        (":ROUT:SHUT (@1101)", -113, 32),
    ],
)
def test_refusals(device: SimulatedKeysight34980A, message: str, code: int, event: int) -> None:
    device.handle(":ROUT:CLOS (@1404)")
    assert device.handle(message) == b""
    assert asked(device, ":SYST:ERR?").startswith(f"{code},")
    assert asked(device, ":SYST:ERR?") == '+0,"No error"'
    assert (asked(device, "*ESR?"), asked(device, "*ESR?")) == (f"+{event}", "+0")
    assert asked(device, ":ROUT:CLOS? (@1404)") == "1", "nothing moved"


def test_one_module_alone(device: SimulatedKeysight34980A) -> None:
    device.handle(":ROUT:CLOS (@1101,1202,2101)")
    device.handle(":ROUT:CLOS:EXCL (@1303)")
    assert asked(device, ":ROUT:CLOS? (@1101,1202,1303,2101)") == "0,0,1,1"
    device.handle(":ROUT:OPEN:ALL SLOT2")
    assert asked(device, ":ROUT:CLOS? (@1303,2101)") == "1,0"
    device.handle("ROUT:OPEN:ALL")
    assert asked(device, ":ROUT:CLOS? (@1303)") == "0"


def test_what_is_in_the_slots(device: SimulatedKeysight34980A) -> None:
    modules = [asked(device, f"SYST:CTYP? {slot}").split(",")[1] for slot in range(1, 9)]
    assert modules == ["34932A"] * 8
    assert asked(device, "ROUT:MOD:WAIT? ALL;:ROUT:MOD:BUSY? 1;:ROUT:OPER:OVER?") == "1;0;0"


def test_reset_leaves_the_array(station: SmallStation, device: SimulatedKeysight34980A) -> None:
    before_S = station.g_S()
    device.handle(":ROUT:CLOS (@1101)")
    device.handle("*RST")
    assert asked(device, ":ROUT:CLOS? (@1101)") == "0"
    assert station.g_S() == before_S


# This project's driver, over the VISA stack


def test_a_cell_is_connected(station: SmallStation, matrix: Keysight34980A) -> None:
    source, gate = station.probe.source("source"), station.probe.source("gate")
    station.probe.drive(source, level_v=0.2, on=True)
    station.probe.drive(gate, level_v=4.0, on=True)
    assert abs(station.probe.measure(source, 1e-3)) < 1e-9
    matrix.connect(set(WIRES))
    assert station.probe.measure(source, 1e-3) == pytest.approx(0.2 * station.g_S(), rel=1e-3)
    matrix.safe_off()
    assert abs(station.probe.measure(source, 1e-3)) < 1e-9


def test_break_before_make(
    station: SmallStation,
    device: SimulatedKeysight34980A,
    matrix: Keysight34980A,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The states that the matrix goes through."""
    matrix.connect({"1101", "1202"})
    seen = []
    monkeypatch.setattr(station.probe, "close_crosspoints", lambda closed: seen.append(set(closed)))
    moved = device.moved
    matrix.connect({"1202", "1303"})
    assert seen == [{"1202"}, {"1202", "1303"}]
    assert device.moved - moved == 2
    assert matrix.closed() == {"1202", "1303"}


def test_many(device: SimulatedKeysight34980A, matrix: Keysight34980A, server: Server) -> None:
    matrix.connect(EVERY)
    assert matrix.closed() == EVERY
    before = server.messages
    matrix.connect(EVERY)
    assert server.messages - before == 1, "nothing but the reading back"
    matrix.connect(set())
    assert matrix.closed() == frozenset()
    assert device.moved == 2 * len(EVERY)


def test_a_channel_that_is_not_there(device: SimulatedKeysight34980A, matrix: Keysight34980A) -> None:
    matrix.connect({"1101"})
    with pytest.raises(InstrumentError, match=r"-222, .* after ':ROUT:CLOS \(@1117\)'"):
        matrix.connect({"1117"})
    matrix.connect({"1202"})
    assert asked(device, ":ROUT:CLOS? (@1101,1202)") == "0,1"


def test_a_worn_relay_is_named(
    device: SimulatedKeysight34980A, matrix: Keysight34980A, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = device._move
    monkeypatch.setattr(device, "_move", lambda closed: move(closed - {"1202"}))
    with pytest.raises(InstrumentError, match="crosspoint 1202 does not report closed"):
        matrix.connect({"1101", "1202"})


def test_a_relay_that_sticks_is_reported(
    device: SimulatedKeysight34980A, matrix: Keysight34980A, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix.connect({"1101", "1202"})
    move = device._move
    monkeypatch.setattr(device, "_move", lambda closed: move(closed | {"1101"}))
    with pytest.raises(InstrumentError, match="crosspoint 1101 does not report open"):
        matrix.connect({"1202"})
    assert matrix.closed() == {"1101", "1202"}


def test_messages_are_few(server: Server, matrix: Keysight34980A) -> None:
    matrix.connect({"1101", "1202"})
    before = server.messages
    matrix.connect({"1202", "1303"})
    assert server.messages - before == 6
