"""The driver of the 707B: the exact messages, break before make, and what it does at the simulated matrix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eapu_drivers.simulated.instruments.sim_keithley707b import SimulatedKeithley707B
from eapu_drivers.visa.switch.keithley707b import Keithley707B
from eapu_drivers.visa.transport import VisaTransport
from scripted import CLEAR, ScriptedTransport
from stations import SmallStation

from eapu_hil.hal import ConfigError, HilError, InstrumentError

IDN = "Keithley Instruments Inc., Model 707B, 1300001, 1.20.a"
NO_ERROR = "0.00000e+00\tQueue Is Empty\t0.00000e+00\t1.00000e+00"
OPEN_ALL = ('channel.open("allslots") waitcomplete() print(errorqueue.count)', "0.00000e+00")
CLOSED = 'print(channel.getclose("allslots"), errorqueue.count)'


def moving(act: str, names: str) -> tuple[str, str]:
    return f'channel.{act}("{names}") waitcomplete() print(errorqueue.count)', "0.00000e+00"


@pytest.fixture
def line() -> ScriptedTransport:
    return ScriptedTransport(
        [("*IDN?", IDN), ("errorqueue.clear()", None), ("print(errorqueue.next())", NO_ERROR), OPEN_ALL]
    )


@pytest.fixture
def matrix(line: ScriptedTransport) -> Keithley707B:
    opened = Keithley707B(line)
    line.done()
    return opened


def test_what_opens_comes_first_and_what_stays_does_not_move(
    matrix: Keithley707B, line: ScriptedTransport
) -> None:
    line.extend(moving("close", "1A01,1B02"), (CLOSED, "1A01;1B02\t0"))
    matrix.connect({"1B02", "1A01"})
    line.extend(moving("open", "1A01"), moving("close", "1A03"), (CLOSED, "1A03;1B02\t0"))
    matrix.connect({"1A03", "1B02"})
    line.extend(moving("open", "1A03,1B02"), (CLOSED, "nil\t0"))
    matrix.connect(set())
    line.done()


def test_long_lists_are_split(matrix: Keithley707B, line: ScriptedTransport) -> None:
    names = sorted(f"{slot}A{column:02d}" for slot in range(1, 7) for column in range(1, 13))
    line.extend(moving("close", ",".join(names[:60])), moving("close", ",".join(names[60:])))
    line.extend((CLOSED, ";".join(names) + "\t0"))
    matrix.connect(set(names))
    line.done()


@pytest.mark.parametrize(
    ("reported", "said"),
    [
        ("1A01", "crosspoint 1B02 is reported as not closed"),
        ("1A01;1B02;1C03", "1C03 is reported as still closed"),
    ],
)
def test_what_it_reports_is_compared(
    matrix: Keithley707B, line: ScriptedTransport, reported: str, said: str
) -> None:
    line.extend(moving("close", "1A01,1B02"), (CLOSED, f"{reported}\t0"))
    with pytest.raises(InstrumentError, match=said):
        matrix.connect({"1A01", "1B02"})
    line.extend(OPEN_ALL, moving("close", "1A01"), (CLOSED, "1A01\t0"))
    matrix.connect({"1A01"})  # nothing was known any more, so it began with an open matrix
    line.done()


def test_an_error_is_raised(matrix: Keithley707B, line: ScriptedTransport) -> None:
    line.extend(
        ('channel.close("9Z99") waitcomplete() print(errorqueue.count)', "1.00000e+00"),
        ("print(errorqueue.next())", "1.11400e+03\tSettings conflict\t2.0e+01\t1.0e+00"),
        ("print(errorqueue.next())", NO_ERROR),
    )
    with pytest.raises(InstrumentError, match=r"Keithley 707B at GPIB0::24::INSTR: error 1114"):
        matrix.connect({"9Z99"})


def test_safe_off(matrix: Keithley707B, line: ScriptedTransport) -> None:
    line.extend((CLEAR, None), ("errorqueue.clear()", None), OPEN_ALL)
    matrix.safe_off()
    line.done()


def test_safe_off_says_what_failed(matrix: Keithley707B, line: ScriptedTransport) -> None:
    line.extend((CLEAR, None), ("errorqueue.clear()", None), (OPEN_ALL[0], "nonsense"))
    with pytest.raises(HilError, match="was answered 'nonsense'"):
        matrix.safe_off()


def test_another_model() -> None:
    with pytest.raises(ConfigError, match="not a Keithley 707B"):
        Keithley707B(ScriptedTransport([("*IDN?", "Keithley Instruments Inc., Model 2636B, 1, 2")]))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[tuple[Keithley707B, SimulatedKeithley707B]]:
    station = SmallStation(tmp_path)
    device = SimulatedKeithley707B(station.probe)
    with station.serving(device) as server, VisaTransport(server.resource) as line:
        yield Keithley707B(line), device


def test_at_the_instrument(bench: tuple[Keithley707B, SimulatedKeithley707B]) -> None:
    matrix, device = bench
    matrix.connect({"1A01", "1B02", "6H12"})
    assert matrix.closed() == {"1A01", "1B02", "6H12"}
    moved = device.moved
    matrix.connect({"1A01", "1B03", "6H12"})
    assert device.moved - moved == 2
    with pytest.raises(InstrumentError, match="channel 7A01 does not exist"):
        matrix.connect({"7A01"})
    matrix.safe_off()
    assert matrix.closed() == frozenset()
