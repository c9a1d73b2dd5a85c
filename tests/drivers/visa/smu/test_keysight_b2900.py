"""The Keysight B2900: the exact messages of each operation, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from eapu_drivers.visa.smu.contract import Setup
from eapu_drivers.visa.smu.keysight_b2900 import KeysightB2900
from scripted import CLEAR, SILENCE, ScriptedTransport

from eapu_hil.hal import (
    ConfigError,
    HilError,
    InstrumentError,
    ProtocolError,
    TransportError,
    UnsupportedError,
)

Exchange = list[tuple[str, str | None]]

NO_ERROR = '+0,"No error"'
SETUP = Setup(v_range_v=3.5, i_limit_a=5e-7, nplc=0.1)
STEADY = ":SOUR1:FUNC:SHAP DC;:SOUR1:VOLT:MODE FIX;:SOUR1:VOLT 0"
LIMITS = ":SOUR1:VOLT:RANG?;:SENS1:CURR:PROT?;:SENS1:CURR:RANG?;:SENS1:CURR:NPLC?"
TAKEN = "+2.000000E+01;+5.000000E-07;+1.000000E-06;+1.000000E-01"
PULSE = (
    ":SOUR1:VOLT 0;:SOUR1:FUNC:SHAP PULS;:SOUR1:VOLT:MODE SWE;:SOUR1:PULS:DEL 0;"
    ":SOUR1:PULS:WIDT 5e-05;:SOUR1:VOLT:STAR -1.25;:SOUR1:VOLT:STOP -1.25;:SOUR1:SWE:POIN 2;:SENS1:CURR:APER 1e-05;"
    ":TRIG1:ALL:COUN 2;:TRIG1:ACQ:DEL 3.5e-05"
)
PULSE_TAKEN = (
    ":SOUR1:PULS:WIDT?;:SOUR1:VOLT:STAR?;:SOUR1:VOLT:STOP?;:SOUR1:SWE:POIN?;:SENS1:CURR:APER?;"
    ":TRIG1:TRAN:COUN?"
)
PULSED = ":READ:ARR? (@1);:OUTP1?"
BACK = f"{STEADY};:SENS1:CURR:NPLC 0.1;"  # what goes before a level after pulses or a list


def sent(message: str, errors: str = NO_ERROR) -> Exchange:
    return [(message, None), (":SYST:ERR?", errors)]


def identity(model: str = "B2902B") -> tuple[str, str]:
    return ("*IDN?", f"Keysight Technologies,{model},MY61390001,5.1.2029.2142")


def opening(c: str = "1", model: str = "B2902B") -> Exchange:
    return [
        identity(model),
        *sent(
            f"*CLS;:ABOR (@{c});:OUTP{c} OFF;:SOUR{c}:FUNC:MODE VOLT;:SOUR{c}:FUNC:SHAP DC;:SOUR{c}:VOLT:MODE FIX;"
            f":SOUR{c}:VOLT 0"
        ),
        *sent(
            f":SOUR{c}:FUNC:TRIG:CONT OFF;:SOUR{c}:SWE:RANG FIX;:SOUR{c}:SWE:SPAC LIN;:SOUR{c}:SWE:STA SING;"
            f":SOUR{c}:WAIT ON;:ARM{c}:ALL:SOUR AINT;:ARM{c}:ALL:COUN 1;:ARM{c}:ALL:DEL 0;:TRIG{c}:ALL:SOUR AINT;"
            f":TRIG{c}:ALL:TIM MIN;:TRIG{c}:TRAN:DEL 0"
        ),
        *sent(f':SENS{c}:FUNC:OFF:ALL;:SENS{c}:FUNC:ON "CURR";:SENS{c}:REM OFF;:SENS{c}:WAIT ON'),
        *sent(f":OUTP{c}:ON:AUTO OFF;:OUTP{c}:OFF:AUTO OFF;:OUTP{c}:PROT OFF"),
        *sent(":FORM ASC;:FORM:ELEM:SENS CURR,STAT,SOUR"),
    ]


def setting_up(taken: str = TAKEN) -> Exchange:
    return [
        *sent(
            f"{STEADY};:SOUR1:VOLT:RANG:AUTO OFF;:SOUR1:VOLT:RANG 20;:SENS1:CURR:PROT 5e-07;"
            ":SENS1:CURR:RANG:AUTO OFF;:SENS1:CURR:RANG 5e-07;:SENS1:CURR:APER:AUTO OFF;:SENS1:CURR:NPLC 0.1"
        ),
        (LIMITS, taken),
    ]


def ready(*script: tuple[str, str | None]) -> tuple[KeysightB2900, ScriptedTransport]:
    """A channel that is set up; `script` follows."""
    line = ScriptedTransport([*opening(), *setting_up()])
    meter = KeysightB2900(line)
    meter.set_up(SETUP)
    line.extend(*script)
    return meter, line


def pulsing(
    answer: str, taken: str = "+5.000000E-05;-1.250000E+00;-1.250000E+00;+2;+1.000000E-05;+2"
) -> Exchange:
    return [(PULSE, None), (PULSE_TAKEN, taken), (PULSED, answer), (":SYST:ERR?", NO_ERROR)]


def test_opening_touches_its_own_channel_only() -> None:
    line = ScriptedTransport([*opening("1"), *opening("2")])
    assert KeysightB2900(line).identity.model == "B2902B"
    second = KeysightB2900(line, "2")
    assert second.name == "Keysight B2900 at GPIB0::24::INSTR, channel 2"
    line.done()


@pytest.mark.parametrize(
    ("model", "channel", "said"),
    [
        ("B2901A", "2", "channel '2' asked; a B2901A has one"),
        ("B2910BL", "2", "channel '2' asked; a B2910BL has one"),
        ("B2902B", "3", "channel '3' asked; it has 1, 2"),
        ("B2962A", "1", "a Keysight Technologies B2962A answers there, not a Keysight B2900"),
    ],
)
def test_what_is_not_there(model: str, channel: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        KeysightB2900(ScriptedTransport([identity(model)]), channel)


def test_output_and_level() -> None:
    meter, line = ready(
        *sent(":SOUR1:VOLT 0;:OUTP1 ON"),
        *sent(":SOUR1:VOLT 1e-07"),
        (":MEAS? (@1);:OUTP1?", "+2.000000E-08,+0.000000E+00,+1.0E-07;1"),
        (":SYST:ERR?", NO_ERROR),
        *sent(":SOUR1:VOLT 0;:OUTP1 OFF"),
    )
    meter.output(True)
    meter.hold(1e-7)
    seen = meter.held()
    meter.output(False)
    assert seen.current_a[0] == 2e-8
    assert not seen.limited[0]
    line.done()


@pytest.mark.parametrize(
    ("status", "current", "limited", "overflow"),
    [
        ("0", "+1E-7", False, False),
        ("2", "+5E-7", True, False),
        ("4", "+5E-7", True, False),
        ("16", "+5E-7", True, False),
        ("8192", "+9.910000E+37", False, True),
        ("9.91E37", "9.91E37", False, True),
    ],
)
def test_one_reading(status: str, current: str, limited: bool, overflow: bool) -> None:
    """Two messages. A reading beyond the range is its end."""
    meter, line = ready(
        (":SOUR1:VOLT 0.2;:MEAS? (@1);:OUTP1?;:SOUR1:VOLT 0", f"{current},{status},0.2;1"),
        (":SYST:ERR?", NO_ERROR),
    )
    seen = meter.sweep(np.array([0.2]))
    assert (seen.limited[0], seen.overflow[0]) == (limited, overflow)
    assert seen.current_a[0] == (5e-7 if overflow else float(current))
    line.done()


def test_an_overflow_keeps_its_sign() -> None:
    meter, _ = ready((":MEAS? (@1);:OUTP1?", "-9.9E+37,8192,0;1"), (":SYST:ERR?", NO_ERROR))
    seen = meter.held()
    assert seen.overflow[0]
    assert seen.current_a[0] == -5e-7


def test_a_list_ends_at_0_v() -> None:
    """Four messages. What restores single levels travels with the next one."""
    meter, line = ready(
        (":SOUR1:VOLT:MODE LIST;:TRIG1:ALL:COUN 3;:TRIG1:ACQ:DEL 0;:SOUR1:LIST:VOLT 0.1,-0.2,0", None),
        (":SOUR1:LIST:VOLT:POIN?;:TRIG1:TRAN:COUN?;:TRIG1:ACQ:COUN?", "+3;+3;+3"),
        (":READ:ARR? (@1);:OUTP1?", "+1E-8,0,0.1,-5E-7,2,-0.2,+0,0,0;1"),
        (":SYST:ERR?", NO_ERROR),
        *sent(f"{BACK}:SOUR1:VOLT 0.3"),
        *sent(":SOUR1:VOLT 0.1"),
    )
    seen = meter.sweep(np.array([0.1, -0.2]))
    meter.hold(0.3)
    meter.hold(0.1)
    assert seen.current_a.tolist() == [1e-8, -5e-7]
    assert seen.limited.tolist() == [False, True]
    line.done()


def test_a_long_list_is_sent_in_parts() -> None:
    levels_v = np.linspace(0.001, 0.2, 200)
    parts = [",".join(f"{level_v:.9g}" for level_v in levels_v[k : k + 100]) for k in (0, 100)]
    meter, line = ready(
        (f":SOUR1:VOLT:MODE LIST;:TRIG1:ALL:COUN 201;:TRIG1:ACQ:DEL 0;:SOUR1:LIST:VOLT {parts[0]}", None),
        (f":SOUR1:LIST:VOLT:APP {parts[1]}", None),
        (":SOUR1:LIST:VOLT:APP 0", None),
        (":SOUR1:LIST:VOLT:POIN?;:TRIG1:TRAN:COUN?;:TRIG1:ACQ:COUN?", "+201;+201;+201"),
        (":READ:ARR? (@1);:OUTP1?", ",".join(f"1E-7,0,{level_v:.6E}" for level_v in [*levels_v, 0.0]) + ";1"),
        (":SYST:ERR?", NO_ERROR),
    )
    assert meter.sweep(levels_v).current_a.shape == (200,)
    line.done()


def test_pulses() -> None:
    """Four messages, and three for the same pulses again. Everything is read back before anything is triggered."""
    meter, line = ready(
        *pulsing("-1E-7,0,-1.25,-1E-7,0,-1.25;1"),
        (PULSE_TAKEN, "+5.000000E-05;-1.250000E+00;-1.250000E+00;+2;+1.000000E-05;+2"),
        (PULSED, "-1E-7,0,-1.25,-5E-7,2,-1.25;1"),
        (":SYST:ERR?", NO_ERROR),
        (f"{BACK}:SOUR1:VOLT 0.2;:MEAS? (@1);:OUTP1?;:SOUR1:VOLT 0", "+1E-7,0,0.2;1"),
        (":SYST:ERR?", NO_ERROR),
        *pulsing("-1E-7,0,-1.25,-1E-7,0,-1.25;1"),
    )
    assert not meter.pulse(-1.25, 50e-6, 2)
    assert meter.pulse(-1.25, 50e-6, 2), "one in compliance"
    meter.sweep(np.array([0.2]))
    assert not meter.pulse(-1.25, 50e-6, 2)
    line.done()


def test_setup_between_pulses_is_said_once() -> None:
    meter, line = ready(*pulsing("0,0,-1.25,0,0,-1.25;1"), *setting_up(), *pulsing("0,0,-1.25,0,0,-1.25;1"))
    meter.pulse(-1.25, 50e-6, 2)
    meter.set_up(SETUP)
    meter.pulse(-1.25, 50e-6, 2)
    line.done()


def test_safe_off() -> None:
    script: Exchange = [
        (CLEAR, None),
        (":ABOR (@1)", None),
        (STEADY, None),
        (":OUTP1 OFF", None),
        ("*CLS", None),
        (":OUTP1?;:SOUR1:VOLT?", "0;+0.000000E+00"),
    ]
    meter, line = ready(*script)
    meter.safe_off()
    line.done()
    with pytest.raises(UnsupportedError, match="before set_up"):
        meter.hold(0.1)


@pytest.mark.parametrize("answer", ["1;+0.000000E+00", "0;+2.000000E-01", "?"])
def test_safe_off_that_is_none_is_an_error(answer: str) -> None:
    script: Exchange = [
        (CLEAR, None),
        (":ABOR (@1)", None),
        (STEADY, None),
        (":OUTP1 OFF", None),
        ("*CLS", None),
    ]
    meter, line = ready(*script, (":OUTP1?;:SOUR1:VOLT?", answer))
    with pytest.raises(HilError, match="still on, or not at 0 V"):
        meter.safe_off()
    line.done()


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("+2.0E+00;+5.0E-07;+1.0E-06;+1.0E-01", "20 asked, but it reports 2.0', after 'source range, V'"),
        (
            "+2.0E+01;+1.0E-04;+1.0E-04;+1.0E-01",
            "compliance, A: 5e-07 asked, but the instrument reports 0.0001",
        ),
        (
            "+2.0E+01;+5.0E-07;+1.0E-07;+1.0E-01",
            "5e-07 asked, but it reports 1e-07', after 'current range, A'",
        ),
        ("+2.0E+01;+5.0E-07;+1.0E-06;+1.0E+00", "integration time.*0.1 asked, but the instrument reports 1"),
    ],
)
def test_limits_that_are_not_taken(taken: str, said: str) -> None:
    line = ScriptedTransport([*opening(), *setting_up(taken)])
    meter = KeysightB2900(line)
    with pytest.raises(InstrumentError, match=said):
        meter.set_up(SETUP)
    with pytest.raises(UnsupportedError):
        meter.hold(0.1)
    line.done()


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("1e-4;-1.25;-1.25;2;1e-5;2", "pulse width, s: 5e-05 asked"),
        ("5e-5;-1.25;1.25;2;1e-5;2", "last pulse, V: -1.25 asked"),
        ("5e-5;-1.25;-1.25;2;1e-5;1", "triggers: 2 asked, but the instrument reports 1"),
    ],
)
def test_a_pulse_that_is_not_taken_is_not_made(taken: str, said: str) -> None:
    meter, line = ready((PULSE, None), (PULSE_TAKEN, taken), (":SYST:ERR?", NO_ERROR))
    with pytest.raises(InstrumentError, match=said):
        meter.pulse(-1.25, 50e-6, 2)
    line.done()


def test_the_instruments_own_word_comes_first() -> None:
    refusal = '-222,"Data out of range"'
    script: Exchange = [(PULSE, None), (PULSE_TAKEN, "1e-4;-1.25;-1.25;2;1e-5;2")]
    meter, _ = ready(*script, (":SYST:ERR?", refusal), (":SYST:ERR?", NO_ERROR))
    with pytest.raises(InstrumentError, match="Data out of range") as caught:
        meter.pulse(-1.25, 50e-6, 2)
    assert caught.value.code == -222


def test_nothing_is_measured_with_the_output_off() -> None:
    """It may trip by itself: over-temperature, an open interlock."""
    meter, _ = ready(*pulsing("+0,0,-1.25,+0,0,-1.25;0"))
    with pytest.raises(InstrumentError, match="the output is off"):
        meter.pulse(-1.25, 50e-6, 2)


@pytest.mark.parametrize(
    "answer",
    ["1E-7,0,0", "1E-7,0;1", "1E-7,0,0,1E-7,0,0;1", "nan,0,0;1", "1E-7,0,nan;1", "1E-7,0,0;2", "oops"],
)
def test_an_answer_that_makes_no_sense(answer: str) -> None:
    meter, _ = ready((":MEAS? (@1);:OUTP1?", answer))
    with pytest.raises(ProtocolError, match=r"Keysight B2900 at .* was answered"):
        meter.held()


def test_silence_names_instrument_and_message() -> None:
    meter, _ = ready((":MEAS? (@1);:OUTP1?", SILENCE))
    with pytest.raises(TransportError, match=r"Keysight B2900 at GPIB.*no answer to ':MEAS\? \(@1\)"):
        meter.held()


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        (Setup(3.5, 5e-10, 0.1), "compliance of 5e-10 A asked; it can do 1e-09 to 3.03 A"),
        (Setup(12.0, 2.0, 0.1), "with levels up to 12 V, of 2 A asked; it can do 1e-09 to 1.515 A"),
        (Setup(60.0, 0.2, 0.1), "with levels up to 60 V, of 0.2 A asked; it can do 1e-09 to 0.105 A"),
        (Setup(250.0, 1e-3, 0.1), "source range of 250 V asked; it can do 0 to 210 V"),
        (
            Setup(3.5, 1e-3, 1e-4),
            "integration time of 0.0001 power line periods asked; it can do 0.0004 to 100",
        ),
    ],
)
def test_setups_that_it_cannot_take_send_nothing(setup: Setup, said: str) -> None:
    line = ScriptedTransport(opening())
    meter = KeysightB2900(line)
    with pytest.raises(UnsupportedError, match=said):
        meter.set_up(setup)
    line.done()


def test_what_it_cannot_do_sends_nothing() -> None:
    meter, line = ready()
    with pytest.raises(UnsupportedError, match="pulse width of 1e-05 s asked; it can do 5e-05 to 100000 s"):
        meter.pulse(1.0, 10e-6)
    with pytest.raises(UnsupportedError, match=r"level of 3.6 V asked; it can do -3.5 to 3.5 V"):
        meter.pulse(3.6, 1e-3)
    with pytest.raises(UnsupportedError, match=r"level of -3\.6 V"):
        meter.sweep(np.array([0.1, -3.6]))
    with pytest.raises(UnsupportedError, match="2500 levels asked; it can do 2499 in one list"):
        meter.sweep(np.zeros(2500))
    line.done()


def test_pulses_end_at_200_v() -> None:
    script = [
        *sent(
            f"{STEADY};:SOUR1:VOLT:RANG:AUTO OFF;:SOUR1:VOLT:RANG 200;:SENS1:CURR:PROT 0.001;"
            ":SENS1:CURR:RANG:AUTO OFF;:SENS1:CURR:RANG 0.001;:SENS1:CURR:APER:AUTO OFF;:SENS1:CURR:NPLC 1"
        ),
        (LIMITS, "200;1e-3;1e-3;1"),
    ]
    line = ScriptedTransport([*opening(), *script])
    meter = KeysightB2900(line)
    meter.set_up(Setup(210.0, 1e-3, 1.0))
    with pytest.raises(UnsupportedError, match="pulse of 205 V asked; it can do -200 to 200 V"):
        meter.pulse(205.0, 1e-3)
    line.done()
