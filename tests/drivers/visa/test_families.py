"""Which driver fits which *IDN? answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from eapu_drivers.simulated.instruments.sim_keithley707b import SimulatedKeithley707B
from eapu_drivers.simulated.instruments.sim_keithley2600b import SimulatedKeithley2600B
from eapu_drivers.visa.families import family_of, open_source_meter, open_switch
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
    assert family_of(InstrumentIdentity.parse(answer, "x")) == family


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
