"""Which driver fits which *IDN? answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from eapu_drivers.simulated.instruments.sim_keithley707b import SimulatedKeithley707B
from eapu_drivers.simulated.instruments.sim_keithley2600b import SimulatedKeithley2600B
from eapu_drivers.visa.families import (
    SOURCE_METER_GROUP,
    SWITCH_GROUP,
    fitting,
    installed,
    open_source_meter,
    open_switch,
    require_simulated,
    simulated,
    simulated_models,
)
from eapu_drivers.visa.instrument import InstrumentIdentity
from eapu_drivers.visa.transport import VisaTransport
from scripted import ScriptedTransport
from stations import SmallStation

from eapu_hil.hal import ConfigError


@pytest.mark.parametrize(
    ("answer", "family"),
    [
        ("KEITHLEY INSTRUMENTS INC.,MODEL 2400,1234567,C34 Sep 21 2016 15:30:00/A02  /S/K", "2400"),
        ("KEITHLEY INSTRUMENTS INC.,MODEL 2410,1234567,C34", "2400"),
        ("KEITHLEY INSTRUMENTS,MODEL 2450,04000001,1.7.12b", "2450"),
        ("Keithley Instruments Inc., Model 2602B, 1398687, 3.2.1", "2600b"),
        ("Keithley Instruments Inc., Model 2636B, 1398687, 3.2.1", "2600b"),
        ("Keysight Technologies,B2902B,MY61390001,5.1.2029", "b2900"),
        ("Agilent Technologies,B2911A,MY51140001,1.2", "b2900"),
        ("Keithley Instruments Inc., Model 707B, 1300001, 1.20.a", "707b"),
        ("Agilent Technologies,34980A,MY44000001,2.51-2.43-2.07-0.05", "34980a"),
        ("Keithley Instruments Inc., Model 2182A, 1, 2", None),
        ("Keithley Instruments Inc., Model 2602A, 1398687, 2.1", None),
        ("TEKTRONIX,TDS 210,0,CF:91.1CT", None),
    ],
)
def test_family(answer: str, family: str | None) -> None:
    families = {**installed(SOURCE_METER_GROUP)[0], **installed(SWITCH_GROUP)[0]}
    assert fitting(InstrumentIdentity.parse(answer, "x"), families) == ([family] if family else [])


def test_what_answers_decides_the_driver(tmp_path: Path) -> None:
    station = SmallStation(tmp_path)
    with (
        station.serving(SimulatedKeithley2600B(station.probe, ["source", "gate"])) as meter,
        station.serving(SimulatedKeithley707B(station.probe)) as switch,
        VisaTransport(meter.resource) as to_meter,
        VisaTransport(switch.resource) as to_switch,
    ):
        assert open_source_meter(to_meter, None).identity.model == "2636B"
        assert "channel b" in getattr(open_source_meter(to_meter, "b"), "name", "")
        assert open_switch(to_switch).closed() == frozenset()
        with pytest.raises(ConfigError, match="channel 'c' asked; it has a, b"):
            open_source_meter(to_meter, "c")


def test_the_wrong_kind_of_instrument() -> None:
    line = ScriptedTransport([("*IDN?", "Keithley Instruments Inc., Model 707B, 1300001, 1.20.a")])
    with pytest.raises(
        ConfigError, match="707B answers there; as a source-measure unit there are drivers for 2400, "
    ):
        open_source_meter(line, None)


def test_an_unknown_instrument() -> None:
    line = ScriptedTransport([("*IDN?", "TEKTRONIX,TDS 210,0,CF:91.1CT")])
    with pytest.raises(
        ConfigError, match="a TEKTRONIX TDS 210 answers there; as a switch matrix there are drivers"
    ):
        open_switch(line)


def test_what_is_simulated() -> None:
    assert simulated(SOURCE_METER_GROUP) == ["2400", "2450", "2600b", "b2900"]
    assert simulated_models(SWITCH_GROUP) == {"34980a": "Keysight 34980A", "707b": "Keithley 707B"}
    assert require_simulated("sim:2450", SOURCE_METER_GROUP) == "2450"
    with pytest.raises(
        ConfigError, match=r"'sim:2450': no such simulation; allowed are sim:34980a, sim:707b"
    ):
        require_simulated("sim:2450", SWITCH_GROUP)


OWN = """
class Meter:
    family = "Own M1"
    channels = ("",)

    @staticmethod
    def fits(identity):
        return identity.model == "M1"

    def __init__(self, transport, channel):
        self.opened = transport.name, channel


class Greedy(Meter):
    @staticmethod
    def fits(identity):
        return identity.model in ("M1", "2400")
"""
M1 = "Own lab,M1,7,1.0"


def test_a_family_of_another_package(install: Callable[..., None]) -> None:
    install("own-lab", {"own_lab.py": OWN}, {SOURCE_METER_GROUP: {"m1": "own_lab:Meter"}})
    opened = open_source_meter(ScriptedTransport([("*IDN?", M1)]), None)
    assert getattr(opened, "opened", None) == (ScriptedTransport([]).name, "")


@pytest.mark.parametrize(
    ("module", "target", "said"),
    [
        ("import no_such_module", "broken:Meter", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("1 / 0", "broken:Meter", "cannot be loaded: ZeroDivisionError"),
        ("", "broken:Meter", "cannot be loaded: AttributeError"),
        ("class Meter: ...", "broken:Meter", "is no SourceMeterFamily"),
    ],
)
def test_a_broken_package_is_said_and_harms_nothing_else(
    install: Callable[..., None], module: str, target: str, said: str
) -> None:
    install("own-lab", {"broken.py": module}, {SOURCE_METER_GROUP: {"m1": target}})
    families, [fault] = installed(SOURCE_METER_GROUP)
    assert list(families) == ["2400", "2450", "2600b", "b2900"]
    assert "'m1' of own-lab" in fault
    assert said in fault
    with pytest.raises(ConfigError, match=f"drivers for 2400, 2450, 2600b, b2900; .*{said}"):
        open_source_meter(ScriptedTransport([("*IDN?", M1)]), None)


def test_one_name_of_two_packages(install: Callable[..., None]) -> None:
    for package in ("first-lab", "second-lab"):
        install(package, {"own_lab.py": OWN}, {SOURCE_METER_GROUP: {"m1": "own_lab:Meter"}})
    families, [fault] = installed(SOURCE_METER_GROUP)
    assert "m1" not in families
    assert "first-lab and second-lab" in fault


def test_an_instrument_that_two_families_claim(install: Callable[..., None]) -> None:
    offered = {"m1": "own_lab:Meter", "all": "own_lab:Greedy"}
    install("own-lab", {"own_lab.py": OWN}, {SOURCE_METER_GROUP: offered})
    with pytest.raises(ConfigError, match=r"M1 answers there; the .* families all and m1 both claim it"):
        open_source_meter(ScriptedTransport([("*IDN?", M1)]), None)
