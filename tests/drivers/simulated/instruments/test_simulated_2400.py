"""The simulated Keithley 2400 as an instrument, and this project's driver against it over the VISA stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from eapu_drivers.simulated.instruments.server import Server
from eapu_drivers.simulated.instruments.sim_keithley2400 import SimulatedKeithley2400
from eapu_drivers.visa.smu.contract import Setup
from eapu_drivers.visa.smu.keithley2400 import Keithley2400
from eapu_drivers.visa.transport import VisaTransport
from stations import SmallStation, asked, errors, settled

from eapu_hil.hal import InstrumentError

SETUP = Setup(v_range_v=3.0, i_limit_a=1e-3, nplc=0.1)


@pytest.fixture
def device(station: SmallStation) -> SimulatedKeithley2400:
    return SimulatedKeithley2400(station.probe, ["source"])


@pytest.fixture
def meter(server: Server) -> Iterator[Keithley2400]:
    """Set up and on."""
    with VisaTransport(server.resource) as line:
        driver = Keithley2400(line)
        driver.set_up(SETUP)
        driver.output(True)
        yield driver


def read(device: SimulatedKeithley2400) -> tuple[float, float, int]:
    """Voltage, current, status of a reading."""
    volts, amperes, _, _, status = map(float, asked(device, ":READ?").split(","))
    return volts, amperes, int(status)


# As an instrument


@pytest.mark.parametrize(
    "message",
    [
        ":SOURCE1:VOLTAGE:LEVEL:IMMEDIATE:AMPLITUDE 0.5",
        ":source:volt 0.5",
        "VOLT:LEV 0.5",
        ":SOUR:FUNC VOLT;:Sour:Volt:Lev 5E-1",
        ":SOUR:VOLT:RANG 2;LEV 0.5",
    ],
)
def test_headers(device: SimulatedKeithley2400, message: str) -> None:
    settled(device, message)
    assert float(asked(device, "SOUR:VOLT?")) == 0.5


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (":SOUR:VOLT:LEVL 1", -113),
        (":SOUR:VOLT", -109),
        (":SOUR:VOLT 1,2", -108),
        (":SOUR:VOLT 211", -222),
        (":SOUR:VOLT one", -104),
        (":SOUR:VOLT:RANG 2;:SOUR:VOLT 3", -222),  # a range that was chosen is kept to
        (":SOUR:VOLT 3;:SOUR:VOLT:RANG 2", -221),
        (":READ?", 803),
        (":INIT", 803),
        (":FETC?", -230),
        (":SENS:CURR:PROT 5e-10", 822),  # below 0.1 % of the lowest range
        (":SENS:CURR:PROT 1e-3;:SENS:CURR:RANG 1e-3;:SENS:CURR:PROT 9e-7", 822),  # of the range that is set
        (":SENS:VOLT:RANG 2", 823),  # of what is sourced
        (":SENS:CURR:RANG 1e-3", 824),  # above the range of the compliance, 105 uA after a reset
        (":SOUR:VOLT:RANG 200;:SENS:CURR:PROT 0.2", 826),
        (":SENS:CURR:PROT 0.2;:SOUR:VOLT:RANG 200", 826),
        (":SENS:CURR:NPLC 0.001", -222),
        (f":SOUR:LIST:VOLT {','.join(['0'] * 101)}", -108),
        (":TRIG:COUN 2501", -222),
        (":TRIG:COUN 100;:ARM:COUN 26", -222),
        (":SENS:FUNC 'CAP'", -224),
        (":SENS:FUNC CURR", -104),  # a string parameter
    ],
)
def test_refusals(device: SimulatedKeithley2400, message: str, code: int) -> None:
    assert device.handle(message) == b""
    assert errors(device) == [code]
    assert not device.channel.on


def test_what_cannot_be_carried_out_leaves_the_rest_of_the_message_standing(
    device: SimulatedKeithley2400,
) -> None:
    """What cannot be understood does not (IEEE 488.2)."""
    assert asked(device, ":SOUR:VOLT 211;:SOUR:VOLT:RANG?") == "+2.100000E+01"
    assert asked(device, ":SOUR:VLT 1;:SOUR:VOLT:RANG?") == ""
    assert errors(device) == [-222, -113]


def test_the_error_queue(device: SimulatedKeithley2400) -> None:
    for _ in range(12):
        device.handle(":NOPE")
    assert asked(device, ":SYST:ERR:COUN?") == "10"
    assert asked(device, ":SYST:ERR?") == '-113,"Undefined header"'
    assert asked(device, ":SYST:ERR:ALL?").endswith('-113,"Undefined header",-350,"Queue overflow"')
    assert asked(device, ":SYST:ERR:ALL?") == '0,"No error"'
    device.handle(":NOPE")
    settled(device, "*CLS")


def test_ranges_and_compliance_after_a_reset(device: SimulatedKeithley2400) -> None:
    assert asked(device, ":SENS:CURR:PROT?;:SENS:CURR:RANG?") == "+1.050000E-04;+1.050000E-04"
    assert (
        asked(device, ":SENS:CURR:RANG:AUTO?;:SOUR:VOLT:RANG?;:SOUR:VOLT:RANG:AUTO?") == "1;+2.100000E+01;1"
    )


@pytest.mark.parametrize(
    ("asked_a", "taken_a"), [(5e-7, 1.05e-6), (1.05e-6, 1.05e-6), (1.06e-6, 1.05e-5), (1e-4, 1.05e-4)]
)
def test_the_lowest_range_that_holds_it(
    device: SimulatedKeithley2400, asked_a: float, taken_a: float
) -> None:
    settled(device, f":SENS:CURR:RANG {asked_a}")
    assert float(asked(device, ":SENS:CURR:RANG?")) == pytest.approx(taken_a)
    assert asked(device, ":SENS:CURR:RANG:AUTO?") == "0"


def test_readings_are_of_the_cell(station: SmallStation, device: SimulatedKeithley2400) -> None:
    settled(device, ":SENS:CURR:RANG 1e-6;:SOUR:VOLT 0.2;:OUTP ON")
    volts, amperes, status = read(device)
    assert (volts, amperes) == (0.2, pytest.approx(0.2 * station.g_S(), rel=1e-3))
    assert status == 1 << 2 | 1 << 11 | 1 << 12 | 1 << 14, "front, measures V and I, sources V"
    settled(device, ":FORM:ELEM STAT,CURR;:SENS:FUNC:CONC OFF;:SENS:FUNC 'CURR'")
    assert float(asked(device, ":READ?").split(",")[1]) == 1 << 2 | 1 << 12 | 1 << 14
    settled(device, ":FORM:ELEM CURR,RES;:SENS:FUNC 'VOLT'")
    assert asked(device, ":READ?") == "+9.910000E+37,+9.910000E+37", "not measured"


def test_compliance(station: SmallStation, device: SimulatedKeithley2400) -> None:
    station.probe.faults.shorts[0, 0] = 1e3
    settled(device, ":SENS:CURR:PROT 5e-5;:SOUR:VOLT 0.2;:OUTP ON")
    volts, amperes, status = read(device)
    assert amperes == pytest.approx(5e-5, rel=1e-3)
    assert volts == pytest.approx(0.05, rel=0.05), "what the limit leaves"
    assert status & (1 << 3)
    assert asked(device, ":SENS:CURR:PROT:TRIP?;:STAT:MEAS:COND?") == "1;16384"
    settled(device, ":SOUR:VOLT 0.02")
    assert asked(device, ":SENS:CURR:PROT:TRIP?;:STAT:MEAS:COND?") == "0;0"


def test_compliance_of_the_range(station: SmallStation, device: SimulatedKeithley2400) -> None:
    """A fixed range below the compliance limits too, and has its own bit."""
    station.probe.faults.shorts[0, 0] = 1e3
    settled(device, ":SENS:CURR:PROT 1e-4;:SENS:CURR:RANG 1e-5;:SOUR:VOLT 0.2;:OUTP ON")
    _, amperes, status = read(device)
    assert amperes == pytest.approx(1.05e-5, rel=1e-3) or amperes == 9.9e37
    assert status & (1 << 16)
    assert not status & (1 << 3)


def test_measure_puts_the_compliance_back(device: SimulatedKeithley2400) -> None:
    """As seen on an instrument (basil, issue 121)."""
    settled(device, ":SENS:CURR:PROT 1e-6;:OUTP ON")
    assert asked(device, ":MEAS:CURR?").count(",") == 4
    assert asked(device, ":SENS:CURR:PROT?") == "+1.050000E-04"


def test_auto_clear(device: SimulatedKeithley2400) -> None:
    settled(device, ":SOUR:CLE:AUTO ON")
    assert read(device)[0] == 0.0
    assert asked(device, ":OUTP?") == "0"


def test_a_list_runs_again_where_triggers_are_more(device: SimulatedKeithley2400) -> None:
    settled(
        device, ":SOUR:LIST:VOLT 0.1,-0.1;:SOUR:LIST:VOLT:APP 0.2;:SOUR:VOLT:MODE LIST;:TRIG:COUN 5;:OUTP ON"
    )
    settled(device, ":FORM:ELEM VOLT")
    assert asked(device, ":SOUR:LIST:VOLT:POIN?") == "3"
    values = [float(value) for value in asked(device, ":READ?").split(",")]
    assert values == [0.1, -0.1, 0.2, 0.1, -0.1]
    assert device.channel.level_v == -0.1
    settled(device, ":SOUR:VOLT:MODE FIX")
    assert device.channel.level_v == 0.0


def test_a_staircase_stays_in_a_fixed_range(device: SimulatedKeithley2400) -> None:
    settled(
        device,
        ":SOUR:VOLT:RANG 0.2;:SOUR:SWE:RANG FIX;:SOUR:VOLT:STAR 0;:SOUR:VOLT:STOP 0.4;:SOUR:SWE:POIN 3",
    )
    settled(device, ":SOUR:VOLT:MODE SWE;:TRIG:COUN 3;:OUTP ON;:FORM:ELEM VOLT")
    assert asked(device, ":READ?") == "+0.000000E+00,+2.000000E-01,+2.100000E-01"


def test_a_sweep_that_is_to_end_at_compliance(station: SmallStation, device: SimulatedKeithley2400) -> None:
    station.probe.faults.shorts[0, 0] = 1e3
    settled(device, ":SENS:CURR:PROT 1e-4;:SOUR:LIST:VOLT 0.05,0.2,0.05;:SOUR:VOLT:MODE LIST;:TRIG:COUN 3")
    settled(device, ":SOUR:SWE:CAB EARL;:OUTP ON;:FORM:ELEM STAT")
    assert len(asked(device, ":READ?").split(",")) == 2
    assert device.channel.level_v == 0.0


def test_the_buffer_and_its_statistics(device: SimulatedKeithley2400) -> None:
    settled(
        device, "*CLS;*SRE 1;:STAT:MEAS:ENAB 512;:TRAC:CLE;:TRAC:POIN 4;:TRAC:FEED SENS;:TRAC:FEED:CONT NEXT"
    )
    settled(device, ":TRIG:COUN 3;:OUTP ON;:SOUR:VOLT 0.2;:INIT")
    assert asked(device, "*STB?;:TRAC:POIN:ACT?") == "0;3"
    settled(device, ":INIT")
    assert asked(device, "*STB?;:TRAC:POIN:ACT?") == "65;4"
    assert int(asked(device, ":STAT:MEAS?")) & (1 << 9)
    assert asked(device, "*STB?") == "0"
    assert asked(device, ":TRAC:DATA?").count(",") == 4 * 5 - 1
    assert float(asked(device, ":CALC3:FORM MEAN;:CALC3:DATA?").split(",")[0]) == 0.2
    assert float(asked(device, ":CALC3:FORM PKPK;:CALC3:DATA?").split(",")[0]) == 0.0


def test_other_terminals_switch_the_output_off(device: SimulatedKeithley2400) -> None:
    settled(device, ":OUTP ON;:ROUT:TERM REAR")
    assert asked(device, ":OUTP?;:ROUT:TERM?") == "0;REAR"
    settled(device, "*RST")
    assert asked(device, ":ROUT:TERM?") == "FRON"


def test_reset_leaves_the_array_and_the_errors(station: SmallStation, device: SimulatedKeithley2400) -> None:
    before_S = station.g_S()
    device.handle(":OUTP ON;:SOUR:VOLT 1.5;:NOPE")
    station.probe.elapse(1e-2)
    device.handle("*RST")
    assert asked(device, ":OUTP?;:SOUR:VOLT?;:OUTP:SMOD?") == "0;+0.000000E+00;NORM"
    assert errors(device) == [-113]
    assert station.g_S() > 2 * before_S


# This project's driver, over the VISA stack


def test_opening_keeps_the_terminals(server: Server, device: SimulatedKeithley2400) -> None:
    device.handle(":ROUT:TERM REAR")
    with VisaTransport(server.resource) as line:
        Keithley2400(line)
    assert asked(device, ":ROUT:TERM?") == "REAR"


@pytest.mark.parametrize("i_limit_a", [1e-9, 5e-7, 1.05e-4, 2e-3, 1.05])
@pytest.mark.parametrize("before_a", [1e-9, 1.05])
def test_every_limit_after_every_other(meter: Keithley2400, before_a: float, i_limit_a: float) -> None:
    """Compliance and range bound each other, so the order matters."""
    for limit_a in (before_a, i_limit_a):
        meter.set_up(Setup(3.0, limit_a, 0.1))
    assert meter.held().current_a.shape == (1,)


def test_a_reading_follows_the_cell(station: SmallStation, meter: Keithley2400) -> None:
    meter.pulse(1.5, 4e-3)
    seen = meter.sweep(np.array([0.2]))
    assert seen.current_a[0] / 0.2 == pytest.approx(station.g_S(), rel=0.01)
    assert not seen.limited[0]


def test_a_list_follows_the_levels_and_ends_at_0_v(
    station: SmallStation, device: SimulatedKeithley2400, meter: Keithley2400
) -> None:
    meter.pulse(1.5, 4e-3)
    levels_v = np.linspace(-0.2, 0.2, 150)
    seen = meter.sweep(levels_v)
    np.testing.assert_allclose(seen.current_a, levels_v * station.g_S(), atol=2e-7)
    assert device.channel.level_v == 0.0


@pytest.mark.parametrize("width_s", [2e-3, 10e-3])
def test_a_pulse_is_about_as_long_as_it_should_be(
    station: SmallStation, meter: Keithley2400, monkeypatch: pytest.MonkeyPatch, width_s: float
) -> None:
    at_level_s = 0.0
    elapse = station.probe.elapse

    def recording(duration_s: float) -> None:
        nonlocal at_level_s
        at_level_s += duration_s * (station.probe.source("source").level_v == 1.5)
        elapse(duration_s)

    monkeypatch.setattr(station.probe, "elapse", recording)
    meter.pulse(1.5, width_s, 3)
    assert at_level_s == pytest.approx(3 * width_s, rel=0.05)


def test_a_pulse_sets_the_cell_and_a_negative_one_resets_it(
    station: SmallStation, meter: Keithley2400
) -> None:
    before_S = station.g_S()
    assert not meter.pulse(1.5, 4e-3)
    set_S = station.g_S()
    assert set_S > 5 * before_S
    assert not meter.pulse(-1.5, 4e-3, 3)
    assert station.g_S() < 0.5 * set_S


def test_what_a_cell_relaxes_is_read(tmp_path: Path) -> None:
    station = SmallStation(tmp_path, "rram_180nm")
    with (
        station.serving(SimulatedKeithley2400(station.probe, ["source"])) as server,
        VisaTransport(server.resource) as line,
    ):
        meter = Keithley2400(line)
        meter.set_up(Setup(3.5, 2e-3, 1.0))
        meter.output(True)
        station.gate(1.4)
        meter.pulse(3.4, 4e-3)
        station.gate(4.0)
        first_a = meter.sweep(np.array([0.2])).current_a[0]
        assert first_a > 1e-6
        station.probe.elapse(3600.0)
        station.array.waited(3600.0)
        assert meter.sweep(np.array([0.2])).current_a[0] != pytest.approx(first_a, rel=1e-3)


def test_compliance_is_told_and_the_output_stays(
    station: SmallStation, device: SimulatedKeithley2400, meter: Keithley2400
) -> None:
    station.probe.faults.shorts[0, 0] = 100.0
    assert meter.pulse(1.5, 4e-3)
    seen = meter.sweep(np.array([0.05, 0.2]))
    assert seen.limited.tolist() == [False, True]
    assert seen.current_a[1] == pytest.approx(1e-3, rel=0.01)
    assert device.channel.on
    assert device.channel.level_v == 0.0


def test_a_limit_that_is_not_taken(
    device: SimulatedKeithley2400, meter: Keithley2400, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = device.channel.drive
    monkeypatch.setattr(device.channel, "drive", lambda i_limit_a=None, **others: drive(**others))  # noqa: ARG005
    with pytest.raises(InstrumentError, match="compliance, A"):
        meter.set_up(Setup(3.0, 2e-5, 0.1))


def test_an_output_that_trips_is_an_error(device: SimulatedKeithley2400, meter: Keithley2400) -> None:
    device.handle(":OUTP OFF")  # as over-temperature would
    with pytest.raises(InstrumentError, match="803"):
        meter.sweep(np.array([0.2]))


def test_safe_off_in_the_middle(device: SimulatedKeithley2400, meter: Keithley2400) -> None:
    meter.hold(0.15)
    meter.safe_off()
    assert not device.channel.on
    assert device.channel.level_v == 0.0
    meter.set_up(SETUP)
    meter.output(True)
    assert meter.sweep(np.array([0.1])).current_a[0] > 0.0


def test_messages_are_few(server: Server, meter: Keithley2400) -> None:
    def spent(*arguments: float) -> int:
        before = server.messages
        meter.pulse(*arguments) if len(arguments) > 1 else meter.sweep(np.array(arguments))
        return server.messages - before

    assert spent(1.0, 4e-3) == 2
    assert spent(0.2) == 1
