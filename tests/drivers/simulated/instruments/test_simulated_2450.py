"""The simulated Keithley 2450 as an instrument, and this project's driver against it over the VISA stack."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from eapu_drivers.simulated.instruments.server import Server
from eapu_drivers.simulated.instruments.sim_keithley2450 import SimulatedKeithley2450
from eapu_drivers.visa.smu.contract import Setup
from eapu_drivers.visa.smu.keithley2450 import Keithley2450
from eapu_drivers.visa.transport import VisaTransport
from stations import SmallStation, asked, errors, settled

from eapu_hil.hal import ConfigError, InstrumentError

SETUP = Setup(v_range_v=3.0, i_limit_a=1e-3, nplc=0.1)
LIMITED, OUTPUT = 1 << 5, 1 << 7


@pytest.fixture
def device(station: SmallStation) -> SimulatedKeithley2450:
    return SimulatedKeithley2450(station.probe, ["source"])


@pytest.fixture
def meter(server: Server) -> Iterator[Keithley2450]:
    """Set up and on."""
    with VisaTransport(server.resource) as line:
        driver = Keithley2450(line)
        driver.set_up(SETUP)
        driver.output(True)
        yield driver


def numbers(device: SimulatedKeithley2450, message: str) -> list[float]:
    return [float(value) for value in asked(device, message).split(",")]


# As an instrument


@pytest.mark.parametrize(
    "message",
    [
        ":SOURCE1:VOLTAGE:DC:LEVEL:IMMEDIATE:AMPLITUDE 0.5",
        ":source:volt 0.5",
        "SOUR:voltage 0.5",
        ":SOUR:FUNC VOLT;:Sour:Volt:Lev 5E-1",
        ":SOUR:VOLT:RANG 2;LEV 0.5",
    ],
)
def test_headers(device: SimulatedKeithley2450, message: str) -> None:
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
        (":SOUR:VOLT:RANG 2;:SOUR:VOLT 2.2", -222),
        (":SOUR:VOLT 3;:SOUR:VOLT:RANG 2", -222),
        (":SOUR:VOLT:ILIM 5e-10", -222),
        (":INIT", -213),
        (":FETC?", -230),
        (':READ? "mine"', -224),
        (':TRAC:DATA? 1, 2, "defbuffer1"', -222),
        (":TRAC:DEL 'defbuffer1'", -224),
        (":SOUR:SWE:VOLT:LIST 1, 0.1", -224),  # no list yet
        (':TRIG:BLOC:CONF:REC 1, "none"', -224),
        (':TRIG:BLOC:MEAS 1, "none"', -224),
        (":TRIG:BLOC:NOP 64", -222),
        (':TRIG:LOAD "Nothing"', -224),
        (f":SOUR:LIST:VOLT {','.join(['0'] * 101)}", -108),
        (':SENS:FUNC "CAP"', -224),
    ],
)
def test_refusals(device: SimulatedKeithley2450, message: str, code: int) -> None:
    assert device.handle(message) == b""
    assert errors(device) == [code]
    assert not device.channel.on


def test_the_error_queue_and_the_event_log(device: SimulatedKeithley2450) -> None:
    """Warnings are only in the log."""
    assert asked(device, ":SYST:ERR?") == '0,"No error;0,0,0"'
    device.handle(":NOPE")
    device.handle(":SENS:CURR:RANG 1e-2")  # moves the limit
    assert asked(device, ":SYST:ERR:COUN?") == "1"
    assert asked(device, ":SYST:ERR?").startswith('-113,"Undefined header;1;')
    assert errors(device) == []
    assert asked(device, ":SYST:EVEN:NEXT?").startswith("-113,")
    assert "Source limit changed" in asked(device, ":SYST:EVEN:NEXT?")
    assert asked(device, ":SYST:EVEN:NEXT?") == '0,"No error;0,0,0"'
    device.handle(":NOPE")
    settled(device, ":SYST:CLE")


@pytest.mark.parametrize(
    ("message", "limit_a"),
    [
        (":SENS:CURR:RANG 1e-2", 1.06e-3),  # 10.6 % of it is the least
        (":SENS:CURR:RANG 1e-6", 1.05e-6),
        (":SENS:CURR:RANG 1e-3;:SOUR:VOLT:ILIM 1e-5", 1.06e-4),
        (":SENS:CURR:RANG 1e-3;:SOUR:VOLT:ILIM 1e-2", 1.05e-3),
        (":SOUR:VOLT:ILIM 1;:SOUR:VOLT:RANG 200", 0.105),
        (":SOUR:VOLT:RANG 200;:SOUR:VOLT:ILIM 1", 0.105),
        (":SOUR:VOLT:ILIM 1;:SOUR:VOLT 30", 0.105),  # the range follows the level
        (":SENS:CURR:RANG 1e-3;:SOUR:VOLT:ILIM 2e-4", 2e-4),
    ],
)
def test_ranges_move_limits_without_an_error(
    device: SimulatedKeithley2450, message: str, limit_a: float
) -> None:
    settled(device, message)
    assert float(asked(device, ":SOUR:VOLT:ILIM?")) == pytest.approx(limit_a)
    assert device.channel.i_limit_a == pytest.approx(limit_a)


def test_readings_are_of_the_cell(station: SmallStation, device: SimulatedKeithley2450) -> None:
    settled(device, ":SENS:CURR:RANG 1e-6;:SOUR:VOLT:ILIM 1e-6;:SOUR:VOLT 0.2;:OUTP ON")
    volts, amperes, status = numbers(device, ':READ? "defbuffer1", SOUR, READ, SOURSTAT')
    assert (volts, amperes) == (0.2, pytest.approx(0.2 * station.g_S(), rel=1e-2))
    assert int(status) == OUTPUT | 1 << 3, "on, source read back"
    settled(device, ':SENS:FUNC "VOLT"')
    assert float(asked(device, ":MEAS?")) == 0.2
    assert asked(device, ":FETC? 'defbuffer1', UNIT, sour, reading") == "V,+2.000000E-01,+2.000000E-01"
    settled(device, ":OUTP OFF;:SENS:FUNC 'CURR'")
    amperes, status = numbers(device, ':READ? "defbuffer1", READ, SOURSTAT')
    assert abs(amperes) < 1e-9
    assert not int(status) & OUTPUT


def test_the_limit(station: SmallStation, device: SimulatedKeithley2450) -> None:
    station.probe.faults.shorts[0, 0] = 1e3
    settled(device, ":SOUR:VOLT:ILIM 5e-5;:SOUR:VOLT 0.2;:OUTP ON")
    volts, amperes, status = numbers(device, ':READ? "defbuffer1", SOUR, READ, SOURSTAT')
    assert amperes == pytest.approx(5e-5, rel=1e-3)
    assert volts == pytest.approx(0.05, rel=0.05), "read back: what the limit leaves"
    assert int(status) & LIMITED
    assert asked(device, ":SOUR:VOLT:ILIM:TRIP?") == "1"
    settled(device, ":SOUR:VOLT 0.02")
    assert asked(device, ":SOUR:VOLT:ILIM:LEV:TRIPPED?") == "0"


def test_buffers(device: SimulatedKeithley2450) -> None:
    settled(device, ":TRAC:MAKE 'mine', 100;:SENS:COUN 3;:OUTP ON")
    assert asked(device, ":READ? 'mine'").count(",") == 0, "the last of the three"
    assert asked(device, ":TRAC:ACT? 'mine';:TRAC:ACT?;:TRAC:POIN? 'mine'") == "3;0;100"
    values = asked(device, ":TRAC:DATA? 1, 3, 'mine', REL, TST, FORM").split(",")
    assert len(values) == 9
    assert float(values[0]) == 0.0 < float(values[3])
    settled(device, ":TRAC:CLE 'mine';:TRAC:DEL 'mine'")
    device.handle(":TRAC:ACT? 'mine'")
    assert errors(device) == [-224]


def test_the_manuals_list_sweep(device: SimulatedKeithley2450) -> None:
    for message in (
        "*RST",
        'SENS:FUNC "CURR"',
        "SENS:CURR:RANG:AUTO ON",
        "SENS:CURR:RSEN OFF",
        "SOUR:FUNC VOLT",
        "SOUR:VOLT:RANG 20",
        "SOUR:VOLT:ILIM 1",
        "SOUR:LIST:VOLT 0.1, 0.5, 0.1, 0.5, 0.1, 0.5",
        "SOUR:SWE:VOLT:LIST 1, 0.2",
        "INIT",
        "*WAI",
    ):
        settled(device, message)
    assert numbers(device, 'TRAC:DATA? 1, 6, "defbuffer1", SOUR, READ')[::2] == [0.1, 0.5] * 3
    assert asked(device, "OUTP?") == "0", "which ends a sweep"


def test_a_linear_sweep_there_and_back(device: SimulatedKeithley2450) -> None:
    settled(device, ":SOUR:SWE:VOLT:LIN 0, 0.2, 3, 0.001, 2, AUTO, OFF, ON, 'defbuffer2';:INIT;*WAI")
    assert numbers(device, ":TRAC:DATA? 1, 6, 'defbuffer2', SOUR") == [0.0, 0.1, 0.2, 0.2, 0.1, 0.0]
    assert asked(device, ":TRAC:ACT? 'defbuffer2';:TRAC:ACT?") == "12;0", "two runs"


def test_a_sweep_ends_at_the_limit(station: SmallStation, device: SimulatedKeithley2450) -> None:
    """Unless it is told not to."""
    station.probe.faults.shorts[0, 0] = 1e3
    settled(device, ":SOUR:VOLT:ILIM 1e-4;:SOUR:LIST:VOLT 0.05,0.2,0.05;:SOUR:SWE:VOLT:LIST 1, 0;:INIT")
    assert asked(device, ":TRAC:ACT?;:OUTP?") == "2;0"
    settled(device, ":SOUR:SWE:VOLT:LIST 1, 0, 1, OFF;:INIT")
    assert asked(device, ":TRAC:ACT?") == "3"


def test_the_manuals_trigger_model_of_pulses(station: SmallStation, device: SimulatedKeithley2450) -> None:
    """The example of its constant delay, with voltages for these cells."""
    for message in (
        'SOUR:CONF:LIST:CRE "ampLevel"',
        'SOUR:CONF:LIST:CRE "biasLevel"',
        "SOUR:FUNC VOLT",
        'SENS:FUNC "CURR"',
        "SOUR:VOLT:LEV 0.5",
        'SOUR:CONF:LIST:STORE "ampLevel"',
        "SOUR:VOLT:LEV 0",
        'SOUR:CONF:LIST:STORE "biasLevel"',
        "TRIG:BLOC:SOUR:STATE 1, ON",
        'TRIG:BLOCK:CONF:RECALL 2, "ampLevel", 1',
        "TRIG:BLOC:DEL:CONS 3, 0.1",
        "TRIG:BLOCK:MEAS 4",
        'TRIG:BLOCK:CONF:RECALL 5, "biasLevel", 1',
        "TRIG:BLOCK:DEL:CONS 6, 0.2",
        "TRIG:BLOCK:BRAN:COUN 7,19,2",
    ):
        settled(device, message)
    before_s = station.clock.now_s()
    settled(device, "INIT")
    assert station.clock.now_s() - before_s == pytest.approx(19 * 0.3, rel=0.3)
    assert numbers(device, "TRAC:DATA? 1, 19, 'defbuffer1', SOUR") == [0.5] * 19
    assert device.channel.level_v == 0.0


def test_counters_in_each_other(device: SimulatedKeithley2450) -> None:
    """The manual's example: 15 readings."""
    for message in (
        'TRIG:LOAD "EMPTY"',
        "TRIG:BLOC:BUFF:CLEAR 1",
        "TRIG:BLOC:MEAS 2",
        "TRIG:BLOC:BRAN:COUN 3, 5, 2",
        "TRIG:BLOC:DEL:CONS 4, 1",
        "TRIG:BLOC:BRAN:COUN 5, 3, 2",
        "INIT",
    ):
        settled(device, message)
    assert asked(device, "TRAC:ACT?") == "15"
    settled(device, "INIT")
    assert asked(device, "TRAC:ACT?") == "15"


def test_other_blocks(device: SimulatedKeithley2450) -> None:
    settled(device, ':SOUR:LIST:VOLT 0.1,0.2,0.3;:TRIG:BLOC:CONF:REC 1, "VoltCustomSweepList", 1')
    settled(
        device, ':TRIG:BLOC:CONF:PREV 2, "VoltCustomSweepList";:TRIG:BLOC:NOT 3, 1;:TRIG:BLOC:BRAN:ONCE 4, 2'
    )
    settled(device, ":TRIG:BLOC:BRAN:EVEN 5, SLIM, 1;:TRIG:BLOC:BRAN:ALW 6, 0;:TRIG:BLOC:NOP 7;:INIT")
    assert device.channel.level_v == 0.2, "one back from the first is the last"
    assert asked(device, ":SOUR:CONF:LIST:SIZE? 'VoltCustomSweepList'") == "3"
    settled(device, ":SOUR:CONF:LIST:REC 'VoltCustomSweepList', 1;:SOUR:CONF:LIST:DEL 'VoltCustomSweepList'")
    assert device.channel.level_v == 0.1


def test_a_simple_loop(device: SimulatedKeithley2450) -> None:
    settled(device, ":TRIG:LOAD \"SimpleLoop\", 4, 0.01, 'defbuffer2';:INIT")
    assert asked(device, ":TRAC:ACT? 'defbuffer2';:OUTP?") == "4;0"


@pytest.mark.parametrize("blocks", [":TRIG:BLOC:BRAN:ALW 1, 1", ":TRIG:BLOC:NOP 2"])
def test_a_model_that_cannot_work(
    device: SimulatedKeithley2450, blocks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eapu_drivers.simulated.instruments.sim_keithley2450_trigger._STEPS_MAX", 1000)
    device.handle(f"{blocks};:INIT")
    assert errors(device) == [2730]


def test_a_list_keeps_the_limit_it_was_made_with(device: SimulatedKeithley2450) -> None:
    settled(device, ":SOUR:VOLT:ILIM 1e-4;:SOUR:LIST:VOLT 0.1;:SOUR:VOLT:ILIM 1e-3")
    settled(device, ':TRIG:BLOC:CONF:REC 1, "VoltCustomSweepList", 1;:INIT')
    assert float(asked(device, ":SOUR:VOLT:ILIM?")) == 1e-4


def test_making_a_list_sources_nothing(device: SimulatedKeithley2450) -> None:
    settled(device, ":OUTP ON;:SOUR:LIST:VOLT 1.5,0;:SOUR:LIST:VOLT:APP 2")
    assert device.channel.level_v == 0.0
    assert asked(device, ":SOUR:LIST:VOLT?").count(",") == 2


def test_reset_leaves_the_array_and_the_errors(station: SmallStation, device: SimulatedKeithley2450) -> None:
    before_S = station.g_S()
    device.handle(":OUTP ON;:SOUR:VOLT 1.5;:OUTP:VOLT:SMOD HIMP;:NOPE")
    station.probe.elapse(1e-2)
    device.handle("*RST")
    assert asked(device, ":OUTP?;:SOUR:VOLT?;:SOUR:VOLT:ILIM?") == "0;+0.000000E+00;+1.050000E-04"
    assert asked(device, ":OUTP:VOLT:SMOD?") == "NORM"
    assert errors(device) == [-113]
    assert station.g_S() > 2 * before_S


# This project's driver, over the VISA stack


def test_another_command_set(server: Server, device: SimulatedKeithley2450) -> None:
    device.handle("*LANG TSP")
    with VisaTransport(server.resource) as line, pytest.raises(ConfigError, match="its command set is TSP"):
        Keithley2450(line)


def test_opening_keeps_the_terminals(server: Server, device: SimulatedKeithley2450) -> None:
    device.handle(":ROUT:TERM REAR")
    with VisaTransport(server.resource) as line:
        Keithley2450(line)
    assert asked(device, ":ROUT:TERM?") == "REAR"


@pytest.mark.parametrize("i_limit_a", [1.06e-9, 5e-7, 1.05e-4, 1.06e-4, 2e-3, 1.05])
@pytest.mark.parametrize("before_a", [1.06e-9, 1.05])
def test_every_limit_after_every_other(meter: Keithley2450, before_a: float, i_limit_a: float) -> None:
    """A range moves the limit, so the order matters."""
    for limit_a in (before_a, i_limit_a):
        meter.set_up(Setup(3.0, limit_a, 0.1))
    assert meter.held().current_a.shape == (1,)


def test_a_reading_follows_the_cell(station: SmallStation, meter: Keithley2450) -> None:
    meter.pulse(1.5, 4e-3)
    seen = meter.sweep(np.array([0.2]))
    assert seen.current_a[0] / 0.2 == pytest.approx(station.g_S(), rel=0.01)
    assert not seen.limited[0]


def test_a_list_follows_the_levels_and_ends_at_0_v(
    station: SmallStation, device: SimulatedKeithley2450, meter: Keithley2450
) -> None:
    meter.pulse(1.5, 4e-3)
    levels_v = np.linspace(-0.2, 0.2, 150)
    seen = meter.sweep(levels_v)
    np.testing.assert_allclose(seen.current_a, levels_v * station.g_S(), atol=2e-7)
    assert device.channel.level_v == 0.0
    assert device.channel.on, "it does not switch"


@pytest.mark.parametrize("width_s", [1e-3, 10e-3])
def test_a_pulse_is_about_as_long_as_it_should_be(
    station: SmallStation, meter: Keithley2450, monkeypatch: pytest.MonkeyPatch, width_s: float
) -> None:
    at_level_s = 0.0
    elapse = station.probe.elapse

    def recording(duration_s: float) -> None:
        nonlocal at_level_s
        at_level_s += duration_s * (station.probe.source("source").level_v == 1.5)
        elapse(duration_s)

    monkeypatch.setattr(station.probe, "elapse", recording)
    meter.pulse(1.5, width_s, 3)
    assert at_level_s == pytest.approx(3 * width_s, abs=3 * 0.21e-3)


def test_a_pulse_sets_the_cell_and_a_negative_one_resets_it(
    station: SmallStation, meter: Keithley2450
) -> None:
    before_S = station.g_S()
    assert not meter.pulse(1.5, 4e-3)
    set_S = station.g_S()
    assert set_S > 5 * before_S
    assert not meter.pulse(-1.5, 4e-3, 3)
    assert station.g_S() < 0.5 * set_S


def test_compliance_is_told_and_the_output_stays(
    station: SmallStation, device: SimulatedKeithley2450, meter: Keithley2450
) -> None:
    station.probe.faults.shorts[0, 0] = 100.0
    assert meter.pulse(1.5, 4e-3)
    seen = meter.sweep(np.array([0.05, 0.2]))
    assert seen.limited.tolist() == [False, True]
    assert seen.current_a[1] == pytest.approx(1e-3, rel=0.01)
    assert device.channel.on
    assert device.channel.level_v == 0.0


def test_a_limit_that_a_range_moved(
    device: SimulatedKeithley2450, meter: Keithley2450, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an error: only reading it back tells."""
    set_limit = device._unit.set_limit
    monkeypatch.setattr(device._unit, "set_limit", lambda _: set_limit(3e-5))
    with pytest.raises(InstrumentError, match="compliance, A: 2e-05 asked, but the instrument reports 3e-05"):
        meter.set_up(Setup(3.0, 2e-5, 0.1))


def test_an_output_that_trips_is_an_error(device: SimulatedKeithley2450, meter: Keithley2450) -> None:
    device.handle(":OUTP OFF")  # as over-temperature would
    with pytest.raises(InstrumentError, match="the output is off"):
        meter.sweep(np.array([0.2]))
    with pytest.raises(InstrumentError, match="the output is off"):
        meter.pulse(1.0, 4e-3)


def test_safe_off_in_the_middle(device: SimulatedKeithley2450, meter: Keithley2450) -> None:
    meter.hold(0.15)
    meter.safe_off()
    assert not device.channel.on
    assert device.channel.level_v == 0.0
    meter.set_up(SETUP)
    meter.output(True)
    assert meter.sweep(np.array([0.1])).current_a[0] > 0.0


def test_messages_are_few(server: Server, meter: Keithley2450) -> None:
    def spent(*arguments: float) -> int:
        before = server.messages
        meter.pulse(*arguments) if len(arguments) > 1 else meter.sweep(np.array(arguments))
        return server.messages - before

    assert spent(1.0, 4e-3) == 2
    assert spent(1.0, 4e-3) == 2, "list and model are sent anew"
    assert spent(0.2) == 1
    assert spent(1.1, 4e-3) == 2
