"""Messages of strangers to simulated instruments: each ends in an answer or an error, and others are served on."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from eapu_drivers.simulated.instruments import probe
from eapu_drivers.simulated.instruments.scpi import ScpiDevice, ScpiError, channel_list
from eapu_drivers.simulated.instruments.server import Server
from eapu_drivers.simulated.instruments.sim_keithley707b import SimulatedKeithley707B
from eapu_drivers.simulated.instruments.sim_keithley2400 import SimulatedKeithley2400
from eapu_drivers.simulated.instruments.sim_keithley2450 import SimulatedKeithley2450
from eapu_drivers.simulated.instruments.sim_keithley2600b import SimulatedKeithley2600B
from eapu_drivers.simulated.instruments.sim_keysight34980a import SimulatedKeysight34980A
from eapu_drivers.simulated.instruments.sim_keysight_b2900 import SimulatedKeysightB2900
from stations import SmallStation

INSTRUMENTS: dict[str, Callable[[SmallStation], object]] = {
    "2400": lambda station: SimulatedKeithley2400(station.probe, ["source"]),
    "2450": lambda station: SimulatedKeithley2450(station.probe, ["source"]),
    "2600b": lambda station: SimulatedKeithley2600B(station.probe, ["source", "gate"]),
    "b2900": lambda station: SimulatedKeysightB2900(station.probe, ["source", "gate"]),
    "34980a": lambda station: SimulatedKeysight34980A(station.probe),
    "707b": lambda station: SimulatedKeithley707B(station.probe),
}
# Parts of messages that its manuals know, and what no manual knows.
PIECES = [
    ":SOUR:VOLT",
    ":SOUR:FUNC",
    "VOLT",
    ":SENS:FUNC",
    "'CURR'",
    ":OUTP",
    "ON",
    "OFF",
    ":READ?",
    ":FETC?",
    ":TRAC:DATA?",
    ":TRAC:MAKE",
    '"b"',
    '"defbuffer1"',
    ":INIT",
    "*IDN?",
    "*RST",
    "*CLS",
    "*OPC?",
    ":SYST:ERR?",
    ":TRIG:BLOC:BRAN:COUN",
    ":TRIG:LOAD",
    '"SimpleLoop"',
    '"Empty"',
    ":SOUR:CONF:LIST:CRE",
    ":SOUR:LIST:VOLT",
    ":ROUT:CLOS",
    "(@1101)",
    "(@1101:1108)",
    "(@",
    ":ROUT:OPEN:ALL",
    'channel.close("1A01")',
    "smua.source.levelv=",
    "print(",
    ")",
    "loadscript",
    "endscript",
    "1",
    "-1",
    "0",
    "1e9",
    "1e400",
    "nan",
    "-inf",
    "9.91E37",
    "0x10",
    "1_0",
    "999999999999999999999",
    "MIN",
    "MAX",
    "DEF",
    "INF",
    ",",
    ";",
    ":",
    "?",
    '"',
    "'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "%",
    "$",
    "@",
    ".",
    "..",
    "....",
    "::::",
    ";;;;",
    ",,,,",
    "#0",
    "#15hello",
    "smua",
    "smub.measure.i()",
    "{1,2}",
    "--[[",
    "]]",
    "=",
    "==",
    '"a"',
    "'b'",
]
PIECES += ["\0", "\x1b", "\xff", "\xa0", "\\", "\r"]


@pytest.mark.parametrize("kind", INSTRUMENTS)
def test_no_message_raises(kind: str, station: SmallStation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_MESSAGE_MAX_s", 0.05)
    device = INSTRUMENTS[kind](station)
    assert hasattr(device, "handle")
    chance = random.Random(7)
    for _ in range(1500):
        pieces = [chance.choice(PIECES) for _ in range(chance.randint(1, 6))]
        station.probe.begin_message()
        answer = device.handle(chance.choice(["", " ", ","]).join(pieces))
        assert isinstance(answer, bytes)
    station.probe.begin_message()
    device.handle("endscript")
    assert b"," in device.handle("*IDN?")


@pytest.mark.parametrize(
    "message",
    [
        ":TRAC:TRIG",
        ":READ?;" * 50_000,
        ':TRIG:BLOC:MEAS 1, "defbuffer1", 1000000;:INIT',
        ":SOUR:SWE:VOLT:LIN 0, 1, 2500, 0, 268435455;:INIT",
        ":SENS:COUN 300000;:READ?",
    ],
)
def test_a_message_has_its_time(message: str, station: SmallStation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_MESSAGE_MAX_s", 0.2)
    device = SimulatedKeithley2450(station.probe, ["source"])
    device.handle(":SENS:COUN 300000")
    device.handle(":OUTP ON")
    station.probe.begin_message()
    device.handle(message)
    station.probe.begin_message()
    assert device.handle(":SYST:ERR?").startswith(b"-200")
    assert b"2450" in device.handle("*IDN?")


def test_lists_have_an_end(station: SmallStation) -> None:
    with pytest.raises(ScpiError):
        channel_list("(@1:999999999)")
    with pytest.raises(ScpiError):
        channel_list("(@1:" + "9" * 5000 + ")")
    meter = SimulatedKeithley2450(station.probe, ["source"])
    for message in (
        *(f':TRAC:MAKE "b{k}", 1000' for k in range(99)),
        *(f':SOUR:CONF:LIST:CRE "l{k}"' for k in range(101)),
        ":READ?;:TRAC:DATA? 1, 1, 'defbuffer1', " + ", ".join(["READ"] * 1000),
    ):
        meter.handle(message)
    found = [meter.handle(":SYST:ERR?")[:4] for _ in range(4)]
    assert found == [b"-225", b"-225", b"-108", b'0,"N']
    matrix = SimulatedKeysight34980A(station.probe)
    matrix.handle(f":ROUT:CLOS (@{','.join(['1101:8816'] * 10_000)})")
    assert matrix.handle(":SYST:ERR?").startswith(b"-222")


class Echo:
    def handle(self, message: str) -> bytes:
        return message.encode("latin-1") + b"\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server(Echo(), threading.RLock(), lambda: None)) as one:
        yield one


def connected(server: Server) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), 5.0)
    client.settimeout(5.0)
    return client


def answers(client: socket.socket) -> bool:
    try:
        client.sendall(b"here\n")
        return client.recv(100) == b"here\n"
    except OSError:
        return False


def test_a_message_without_end_hangs_up_on_its_client_only(server: Server) -> None:
    with closing(connected(server)) as other, closing(connected(server)) as endless:
        with pytest.raises(OSError):  # noqa: PT012, PT011 - which of the sends notices is up to the system
            for _ in range(100):
                endless.sendall(b"x" * 65536)
            assert endless.recv(1) == b""
            raise ConnectionResetError
        assert answers(other)


def test_a_client_that_does_not_read_keeps_nobody_waiting(server: Server) -> None:
    with closing(connected(server)) as deaf, closing(connected(server)) as other:
        deaf.settimeout(0.5)
        with pytest.raises(OSError):  # noqa: PT011, PT012 - its own line is full, at some time
            for _ in range(1000):
                deaf.sendall(b"x" * 60_000 + b"\n")
        assert answers(other)


def test_more_clients_than_it_serves(server: Server) -> None:
    clients = [connected(server) for _ in range(40)]
    try:
        assert [answers(client) for client in clients] == [True] * 32 + [False] * 8
    finally:
        for client in clients:
            client.close()


def test_a_number_that_is_none_is_an_error() -> None:
    device = ScpiDevice({":VALue": lambda text: str(int(text))})
    assert device.handle(":VAL x") == b""
    assert device.take_error() == (-104, "Data type error")
