"""Which instruments answer at which VISA resource, through the real PyVISA stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from eapu_drivers.simulated.instruments.server import Mishap
from eapu_drivers.simulated.instruments.sim_keithley707b import SimulatedKeithley707B
from eapu_drivers.simulated.instruments.sim_keithley2400 import SimulatedKeithley2400
from eapu_drivers.visa.discover import find_instruments, visible
from stations import SmallStation

from eapu_hil.hal import ConfigError


class Recorder:
    """A device of no family that remembers what it was sent."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def handle(self, message: str) -> bytes:
        self.messages.append(message)
        return b"TEKTRONIX,TDS 210,0,v2\n"


def test_each_is_asked_who_it_is_and_nothing_else(tmp_path: Path) -> None:
    station, other = SmallStation(tmp_path), Recorder()
    with (
        station.serving(SimulatedKeithley2400(station.probe, ["source"])) as meter,
        station.serving(SimulatedKeithley707B(station.probe)) as switch,
        station.serving(other) as scope,
    ):
        found = find_instruments([meter.resource, switch.resource, scope.resource])
    assert [(one.problem, one.driver) for one in found] == [("", "2400"), ("", "707b"), ("", None)]
    assert (found[0].maker, found[0].model, found[0].serial) == (
        "KEITHLEY INSTRUMENTS INC.",
        "2400",
        "1234567",
    )
    assert other.messages == ["*IDN?"]


def test_what_does_not_answer_is_said_to(tmp_path: Path) -> None:
    station = SmallStation(tmp_path)
    with station.serving(SimulatedKeithley2400(station.probe, ["source"])) as meter:
        meter.mishaps.append(Mishap("drop"))
        [silent] = find_instruments([meter.resource])
        meter.mishaps.append(Mishap("garble"))
        [strange] = find_instruments([meter.resource])
    [gone] = find_instruments([meter.resource])
    assert silent.problem == "no answer to '*IDN?' within 1 s"
    assert "expected maker, model, serial number, firmware" in strange.problem
    assert "refused" in gone.problem


def test_serial_ports_are_left_to_the_controllers(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "ASRL1::INSTR",
        "PRLGX-ASRL::1::INTFC",
        "GPIB0::INTFC",
        "GPIB0::24::INSTR",
        "TCPIP0::h::5025::SOCKET",
    )
    monkeypatch.setattr("pyvisa.ResourceManager.list_resources", lambda *_: names)
    assert visible("@py") == ["GPIB0::24::INSTR", "TCPIP0::h::5025::SOCKET"]


def test_no_such_library() -> None:
    with pytest.raises(ConfigError, match=r"--visa /no/such\.so: no such VISA library"):
        find_instruments(visa="/no/such.so")


def test_nothing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyvisa.ResourceManager.list_resources", lambda *_: ())
    assert find_instruments() == []


def test_a_broken_family_is_said_and_the_others_work(
    tmp_path: Path, install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install("own-lab", {"own_lab.py": "1 / 0"}, {"eapu_hil.switches": {"own": "own_lab:Matrix"}})
    station = SmallStation(tmp_path)
    with station.serving(SimulatedKeithley707B(station.probe)) as switch:
        [found] = find_instruments([switch.resource])
    assert found.driver == "707b"
    assert "'own' of own-lab cannot be loaded: ZeroDivisionError" in caplog.text
