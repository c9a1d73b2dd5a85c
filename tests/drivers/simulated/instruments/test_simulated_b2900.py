"""The simulated Keysight B2900 as an instrument, and this project's driver against it over the VISA stack."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from eapu_drivers.simulated.instruments.server import Server
from eapu_drivers.simulated.instruments.sim_keysight_b2900 import SimulatedKeysightB2900
from eapu_drivers.visa.smu.contract import Setup
from eapu_drivers.visa.smu.keysight_b2900 import KeysightB2900
from eapu_drivers.visa.transport import VisaTransport
from stations import SmallStation, asked, errors, settled

from eapu_hil.hal import InstrumentError

SETUP = Setup(v_range_v=3.0, i_limit_a=1e-3, nplc=0.1)


@pytest.fixture
def device(station: SmallStation) -> SimulatedKeysightB2900:
    """Channel 1 at the cell, channel 2 at the gates."""
    return SimulatedKeysightB2900(station.probe, ["source", "gate"])


@pytest.fixture
def server(station: SmallStation, device: SimulatedKeysightB2900) -> Iterator[Server]:
    """Its second channel drives the gates, so nothing else does."""
    station.gate(0.0)
    with station.serving(device) as serving:
        yield serving


@pytest.fixture
def line(server: Server) -> Iterator[VisaTransport]:
    with VisaTransport(server.resource) as opened:
        yield opened


@pytest.fixture
def meter(line: VisaTransport) -> KeysightB2900:
    """Set up and on, the gate at 4 V by the other channel."""
    source, gate = KeysightB2900(line, "1"), KeysightB2900(line, "2")
    for one in (gate, source):
        one.set_up(SETUP if one is source else Setup(5.0, 1e-6, 1.0))
        one.output(True)
    gate.hold(4.0)
    return source


# As an instrument


@pytest.mark.parametrize(("buses", "model"), [(["source"], "B2901B"), (["source", "gate"], "B2902B")])
def test_one_or_two_channels(station: SmallStation, buses: list[str], model: str) -> None:
    device = SimulatedKeysightB2900(station.probe, buses, serial="MY1")
    assert asked(device, "*IDN?").split(",")[:3] == ["Keysight Technologies", model, "MY1"]
    assert asked(device, ":OUTP2?") == ("0" if len(buses) == 2 else "")
    assert errors(device) == ([] if len(buses) == 2 else [-113])


@pytest.mark.parametrize(
    "message",
    [
        ":SOURCE1:VOLTAGE:LEVEL:IMMEDIATE:AMPLITUDE 0.5",
        ":source:volt 0.5",
        "VOLT 0.5",
        ":SOUR1:FUNC:MODE VOLT;:Sour:Volt:Lev 0.5",
        ":SOUR1:VOLT:RANG 2;LEV 0.5",
    ],
)
def test_headers(device: SimulatedKeysightB2900, message: str) -> None:
    settled(device, message)
    assert float(asked(device, ":SOUR1:VOLT?")) == 0.5


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (":SOUR1:VOLT:LEVL 1", -113),
        (":SOUR3:VOLT 1", -113),
        (":SOUR1:VOLT", -109),
        (":SOUR1:VOLT 1,2", -108),
        (":SOUR1:VOLT 211", -222),
        (":SOUR1:VOLT one", -104),
        (":SENS1:CURR:PROT 1e-10", -222),
        (":SENS1:CURR:PROT 4", -222),
        (":SOUR1:PULS:WIDT 1e-5", -222),
        (":SOUR1:FUNC:SHAP SINE", -224),
        (":FORM REAL", -224),  # answers are text
        (":TRIG1:ALL:COUN?", -113),  # to be asked of the transient or of the acquisition
        (":MEAS? (@3)", -222),
        (":SOUR1:VOLT:RANG:AUTO OFF;:SOUR1:VOLT:RANG 2;:SOUR1:VOLT 3", -222),
        (":SOUR1:VOLT:RANG:AUTO OFF;:SOUR1:VOLT:MODE LIST;:SOUR1:LIST:VOLT 3;:INIT (@1)", -221),
    ],
)
def test_refusals(device: SimulatedKeysightB2900, message: str, code: int) -> None:
    assert device.handle(message) == b""
    assert errors(device) == [code]
    assert not any(unit.channel.on for unit in device.units)


def test_what_is_refused_leaves_the_rest_of_the_message_standing(device: SimulatedKeysightB2900) -> None:
    """What cannot be understood does not (IEEE 488.2)."""
    assert asked(device, ":SOUR1:VOLT 211;:SOUR1:VOLT:RANG?") == "+2.000000E+00"
    assert asked(device, ":SOUR1:VLT 1;:SOUR1:VOLT:RANG?") == ""
    assert errors(device) == [-222, -113]


def test_limits_are_kept_where_they_are_refused(device: SimulatedKeysightB2900) -> None:
    device.handle(":SENS1:CURR:PROT 2e-5")
    device.handle(":SENS1:CURR:PROT 5e-10")
    assert float(asked(device, ":SENS1:CURR:PROT?")) == 2e-5


def test_an_aperture_beyond_its_ends_is_the_end(device: SimulatedKeysightB2900) -> None:
    """Without an error, so whoever sets one has to ask."""
    settled(device, ":SENS1:CURR:APER 1e-6")
    assert float(asked(device, ":SENS1:CURR:APER?")) == 8e-6
    settled(device, ":SENS1:VOLT:NPLC 1000")
    assert float(asked(device, ":SENS1:CURR:NPLC?")) == 100.0, "one time for all that is measured"


def test_a_source_range_holds_once_it_is_not_automatic(device: SimulatedKeysightB2900) -> None:
    settled(device, ":SOUR1:VOLT:RANG 200")
    assert float(asked(device, ":SOUR1:VOLT:RANG?")) == 2.0
    settled(device, ":SOUR1:VOLT:RANG:AUTO OFF;:SOUR1:VOLT:RANG 20.5")
    assert float(asked(device, ":SOUR1:VOLT:RANG?")) == 20.0


def test_elements_in_their_order(device: SimulatedKeysightB2900) -> None:
    settled(device, ":OUTP1 ON;:FORM:ELEM:SENS STAT,VOLT,CURR")
    assert asked(device, ":FORM:ELEM:SENS?") == "VOLT,CURR,STAT"
    settled(device, ':SENS1:FUNC:OFF:ALL;:SENS1:FUNC:ON "CURR"')
    volts, amperes, status = map(float, asked(device, ":MEAS? (@1)").split(","))
    assert volts == 9.91e37, "not measured"
    assert abs(amperes) < 1e-9
    assert status == 0


def test_readings_of_two_channels_take_turns(device: SimulatedKeysightB2900) -> None:
    settled(device, ":TRIG1:COUN 2;:TRIG2:COUN 1;:SOUR1:VOLT 0.1;:SOUR2:VOLT 4")
    values = [float(value) for value in asked(device, ":READ:ARR:SOUR? (@1,2)").split(",")]
    assert values == [0.1, 4.0, 0.1, 9.91e37]
    assert asked(device, ":FETC:SOUR? (@1)") == "+1.000000E-01"


@pytest.mark.parametrize(("auto", "on"), [("ON", True), ("OFF", False)])
def test_a_run_may_switch_the_output_on(device: SimulatedKeysightB2900, auto: str, on: bool) -> None:
    settled(device, f":OUTP1:ON:AUTO {auto};:INIT (@1)")
    assert asked(device, ":OUTP1?") == str(int(on))


def test_protection_takes_the_output_away(station: SmallStation, device: SimulatedKeysightB2900) -> None:
    station.probe.faults.shorts[0, 0] = 100.0
    settled(device, ":SENS1:CURR:PROT 1e-3;:OUTP1:PROT ON;:OUTP1 ON;:SOUR1:VOLT 0.2")
    assert int(float(asked(device, ":FORM:ELEM:SENS STAT;:MEAS? (@1)"))) == 2
    assert asked(device, ":OUTP1?;:SOUR1:VOLT?;:STAT:QUES:COND?") == "0;+0.000000E+00;4"
    settled(device, ":OUTP1:PROT OFF;:OUTP1 ON;:SOUR1:VOLT 0.2")
    assert int(float(asked(device, ":MEAS? (@1)"))) == 2
    assert asked(device, ":OUTP1?;:STAT:QUES:COND?") == "1;0"


def test_reset_leaves_the_array_and_the_errors(station: SmallStation, device: SimulatedKeysightB2900) -> None:
    before_S = station.g_S()
    device.handle(":OUTP2 ON;:SOUR2:VOLT 4;:OUTP1 ON;:SOUR1:VOLT 1.5;:NOPE")
    station.probe.elapse(1e-2)
    device.handle("*RST")
    assert asked(device, ":OUTP1?;:SOUR1:VOLT?;:SENS1:CURR:PROT?") == "0;+0.000000E+00;+1.000000E-04"
    assert errors(device) == [-113]
    assert station.g_S() > 2 * before_S


def test_the_error_queue_overflows(device: SimulatedKeysightB2900) -> None:
    for _ in range(120):
        device.handle(":NOPE")
    assert asked(device, ":SYST:ERR:COUN?") == "+100"
    assert errors(device) == [-113] * 99 + [-350]
    assert asked(device, ":SYST:ERR:ALL?") == '+0,"No error"'


@pytest.mark.parametrize("reads_after_s", [0.0, 20e-6, 1e-3])
def test_a_pulse_is_as_long_as_it_should_be(
    station: SmallStation,
    device: SimulatedKeysightB2900,
    monkeypatch: pytest.MonkeyPatch,
    reads_after_s: float,
) -> None:
    """Also where the reading would end after it."""
    at_level_s = 0.0
    elapse = station.probe.elapse

    def recording(duration_s: float) -> None:
        nonlocal at_level_s
        at_level_s += duration_s * (station.probe.source("source").level_v == 1.5)
        elapse(duration_s)

    monkeypatch.setattr(station.probe, "elapse", recording)
    settled(
        device,
        f":FUNC PULS;:PULS:WIDT 50.4E-6;:VOLT:TRIG 1.5;:SENS:CURR:APER 1E-5;:TRIG:ACQ:DEL {reads_after_s}",
    )
    settled(device, ":TRIG:COUN 3;:OUTP ON;:INIT (@1)")
    assert at_level_s == pytest.approx(3 * 50e-6)
    assert float(asked(device, ":SOUR1:PULS:WIDT?")) == 50e-6, "in steps of 1 us"


def test_the_sequence_of_other_programs(device: SimulatedKeysightB2900) -> None:
    """A pulse and a list with what drivers that others use send around them."""
    for message in (
        "*RST",
        "SYST:BEEP:STAT OFF",
        ":SOUR1:FUNC:MODE VOLT",
        ":SOUR1:VOLT:MODE SWE",
        ':SENS1:FUNC "CURR"',
        ":SENS1:CURR:NPLC 0.01",
        ":SENS1:CURR:PROT 1E-4",
        ":SENS1:CURR:RANG:AUTO ON",
        "SENS:REM OFF",
        ":FUNC PULS",
        ":PULS:WIDT 0.001",
        ":PULS:DEL 0",
        ":SOUR1:VOLT:STAR 0.5",
        ":SOUR1:VOLT:STOP 0.5",
        ":SOUR1:SWE:POIN 3",
        ":SOUR1:FUNC:TRIG:CONT OFF",
        ":SOUR1:WAIT ON",
        ":SENS1:WAIT ON",
        ":TRIG1:TRAN:DEL MIN",
        ":TRIG1:ACQ:DEL 5.0000E-04",
        ":TRIG1:ALL:SOUR AINT",
        ":TRIG1:ALL:COUN 3",
        ":TRIG1:ALL:TIM MIN",
        ":FORM:ELEM:SENS VOLT,CURR,TIME,STAT,SOUR",
        ":OUTP1:LOW GRO",
        ":OUTP1 ON",
        ":INIT (@1)",
    ):
        settled(device, message)
    assert int(asked(device, ":STAT:OPER:COND?")) & 0b10010 == 0b10010, "idle"
    readings = asked(device, ":FETC:ARR? (@1)").split(",")
    assert [float(value) for value in readings[4::5]] == [0.5] * 3
    settled(device, ":SOUR1:FUNC:SHAP DC;:VOLT:MODE LIST;:LIST:VOLT 0.1,0.2;:LIST:VOLT:APP 0.3;:INIT (@1)")
    assert asked(device, ":LIST:VOLT:POIN?;*OPC?") == "+3;1"
    assert asked(device, ":FETC:ARR:SOUR? (@1)") == "+1.000000E-01,+2.000000E-01,+3.000000E-01"
    assert float(asked(device, ":SOUR1:VOLT?")) == 0.0


# This project's driver, over the VISA stack


def test_a_reading_follows_the_cell(station: SmallStation, meter: KeysightB2900) -> None:
    meter.pulse(1.5, 2e-3)
    seen = meter.sweep(np.array([0.2]))
    assert seen.current_a[0] / 0.2 == pytest.approx(station.g_S(), rel=0.01)
    assert not seen.limited[0]


def test_a_list_follows_the_levels_and_ends_at_0_v(
    station: SmallStation, device: SimulatedKeysightB2900, meter: KeysightB2900
) -> None:
    meter.pulse(1.5, 2e-3)
    levels_v = np.linspace(-0.2, 0.2, 150)
    seen = meter.sweep(levels_v)
    np.testing.assert_allclose(seen.current_a, levels_v * station.g_S(), atol=2e-7)
    assert device.units[0].channel.level_v == 0.0


def test_a_pulse_sets_the_cell_and_a_negative_one_resets_it(
    station: SmallStation, meter: KeysightB2900
) -> None:
    before_S = station.g_S()
    assert not meter.pulse(1.5, 2e-3)
    set_S = station.g_S()
    assert set_S > 5 * before_S
    meter.pulse(-1.5, 2e-3, 3)
    assert station.g_S() < 0.5 * set_S
    meter.sweep(np.array([0.2]))
    assert meter.pulse(1.5, 2e-3) is False


def test_a_short_pulse(station: SmallStation, meter: KeysightB2900) -> None:
    before_S = station.g_S()
    assert not meter.pulse(1.5, 50e-6)
    assert station.g_S() > before_S


def test_compliance_is_told_and_the_output_stays(
    station: SmallStation, device: SimulatedKeysightB2900, meter: KeysightB2900
) -> None:
    station.probe.faults.shorts[0, 0] = 100.0
    assert meter.pulse(1.5, 2e-3)
    seen = meter.sweep(np.array([0.05, 0.2]))
    assert seen.limited.tolist() == [False, True]
    assert seen.current_a[1] == pytest.approx(1e-3, rel=0.01)
    assert device.units[0].channel.on
    assert device.units[0].channel.level_v == 0.0


def test_a_limit_that_is_not_taken(
    device: SimulatedKeysightB2900, meter: KeysightB2900, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = device.units[0].channel
    drive = channel.drive
    monkeypatch.setattr(channel, "drive", lambda i_limit_a=None, **others: drive(**others))  # noqa: ARG005
    with pytest.raises(InstrumentError, match="compliance, A"):
        meter.set_up(Setup(3.0, 2e-5, 0.1))


def test_opening_a_channel_leaves_the_other_alone(
    device: SimulatedKeysightB2900, line: VisaTransport
) -> None:
    first = KeysightB2900(line, "1")
    first.set_up(SETUP)
    first.output(True)
    first.hold(0.1)
    KeysightB2900(line, "2")
    one = device.units[0].channel
    assert (one.on, one.level_v, one.i_limit_a, one.i_range_a) == (True, 0.1, 1e-3, 1e-3)
    assert first.held().current_a.shape == (1,)


def test_an_output_that_trips_is_an_error(device: SimulatedKeysightB2900, meter: KeysightB2900) -> None:
    device.units[0].set_output(False)  # as over-temperature would
    with pytest.raises(InstrumentError, match="the output is off"):
        meter.sweep(np.array([0.2]))
    meter.safe_off()


def test_safe_off_in_the_middle(device: SimulatedKeysightB2900, meter: KeysightB2900) -> None:
    meter.hold(0.15)
    meter.safe_off()
    assert not device.units[0].channel.on
    assert device.units[0].channel.level_v == 0.0
    assert device.units[1].channel.on, "the other channel has its own way out"
    meter.set_up(SETUP)
    meter.output(True)
    assert meter.sweep(np.array([0.1])).current_a[0] > 0.0


def test_messages_are_few(server: Server, meter: KeysightB2900) -> None:
    def spent(*arguments: float) -> int:
        before = server.messages
        meter.pulse(*arguments) if len(arguments) > 1 else meter.sweep(np.array(arguments))
        return server.messages - before

    assert spent(1.0, 2e-3) == 4
    assert spent(1.0, 2e-3) == 3, "read back, run, asked for errors"
    assert spent(0.2) == 2
    assert spent(1.1, 2e-3) == 4
