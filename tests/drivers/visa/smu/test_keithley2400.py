"""The driver of the 2400: the exact messages, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from eapu_drivers.visa.smu.contract import Setup
from eapu_drivers.visa.smu.keithley2400 import Keithley2400
from scripted import CLEAR, SILENCE, ScriptedTransport

from eapu_hil.hal import (
    ConfigError,
    HilError,
    InstrumentError,
    ProtocolError,
    TransportError,
    UnsupportedError,
)

IDN = "KEITHLEY INSTRUMENTS INC.,MODEL 2400,1234567,C34 Sep 21 2016 15:30:00/A02  /S/K"
FINE = '0,"No error"'
SETUP = Setup(v_range_v=3.5, i_limit_a=5e-7, nplc=0.1)
STEADY = ":SOUR:VOLT:MODE FIX;:SOUR:VOLT:LEV 0;:TRIG:COUN 1;:SOUR:DEL 0;:SYST:AZER:STAT ON"
SET_UP = (
    f"{STEADY};:SENS:CURR:RANG 1e-06;:SOUR:VOLT:RANG 3.5;:SENS:CURR:PROT 5e-07;:SENS:CURR:RANG 5e-07;"
    ":SENS:CURR:NPLC 0.1;:SOUR:VOLT:RANG?;:SENS:CURR:PROT?;:SENS:CURR:RANG?;:SENS:CURR:NPLC?;:SYST:ERR?"
)
OPEN = [
    ("*IDN?", IDN),
    (":ROUT:TERM?", "REAR"),
    ("*RST;*CLS", None),
    (":SYST:ERR?", FINE),
    (
        ":ROUT:TERM REAR;:SYST:BEEP:STAT OFF;:SYST:RSEN OFF;:SOUR:CLE:AUTO OFF;:SOUR:FUNC VOLT;"
        ":SENS:FUNC:CONC OFF;:SENS:FUNC 'CURR:DC';:FORM:ELEM VOLT,CURR,STAT;:SOUR:SWE:RANG FIX;:SOUR:SWE:CAB NEV;"
        ":SYST:ERR?",
        FINE,
    ),
]
V_SOURCE = 0x5004  # of the status of a real 2400: sources volts, measures amperes, at the front


class Opened:
    """A driver that was opened and, by default, set up."""

    def __init__(self, set_up: bool = True) -> None:
        self.line = ScriptedTransport(OPEN)
        self.meter = Keithley2400(self.line)
        if set_up:
            self.line.extend((SET_UP, f"+2.1E+01;+5.0E-07;+1.05E-06;+1.0E-01;{FINE}"))
            self.meter.set_up(SETUP)
        self.line.done()


@pytest.fixture
def opened() -> Opened:
    return Opened()


def reading(current_a: float, status: int = V_SOURCE, level_v: float = 0.0) -> str:
    return f"{level_v:+.6E},{current_a:+.6E},{status:+.6E}"


class TestMessages:
    def test_set_up(self, opened: Opened) -> None:
        assert opened.meter.ready == SETUP
        assert opened.meter.identity.model == "2400"

    def test_output(self, opened: Opened) -> None:
        opened.line.extend(
            (":SOUR:VOLT:LEV 0;:OUTP ON;:SYST:ERR?", FINE), (":SOUR:VOLT:LEV 0;:OUTP OFF;:SYST:ERR?", FINE)
        )
        opened.meter.output(True)
        opened.meter.output(False)
        opened.line.done()

    def test_a_level_and_a_reading_of_it(self, opened: Opened) -> None:
        opened.line.extend(
            (":SOUR:VOLT:LEV 1.23456789;:SYST:ERR?", FINE),
            (":READ?;:SYST:ERR?", f"{reading(1.5e-7, level_v=1.234568)};{FINE}"),
        )
        opened.meter.hold(1.23456789)
        seen = opened.meter.held()
        assert seen.current_a.tolist() == [1.5e-7]
        assert not seen.limited[0]
        assert not seen.overflow[0]
        opened.line.done()

    def test_one_level_is_one_message(self, opened: Opened) -> None:
        opened.line.extend(
            (
                ":SOUR:VOLT:LEV 5e-07;:READ?;:SOUR:VOLT:LEV 0;:SYST:ERR?",
                f"{reading(-2e-9, level_v=5e-7)};{FINE}",
            )
        )
        assert opened.meter.sweep(np.array([5e-7])).current_a.tolist() == [-2e-9]
        opened.line.done()

    def test_a_sweep(self, opened: Opened) -> None:
        answers = ",".join(
            reading(1e-7 * k, level_v=level_v) for k, level_v in enumerate([0.1, -0.2, 0.3, 0.0])
        )
        opened.line.extend(
            (":SOUR:LIST:VOLT 0.1,-0.2,0.3,0;:SYST:ERR?", FINE),
            (":SOUR:VOLT:MODE LIST;:TRIG:COUN 4;:SYST:ERR?", FINE),
            (f":READ?;{STEADY};:SYST:ERR?", f"{answers};{FINE}"),
        )
        seen = opened.meter.sweep(np.array([0.1, -0.2, 0.3]))
        assert seen.current_a.tolist() == [0.0, 1e-7, 2e-7]
        opened.line.done()

    def test_a_long_sweep_is_appended(self, opened: Opened) -> None:
        levels_v = np.full(150, 0.25)
        opened.line.extend(
            (f":SOUR:LIST:VOLT {','.join(['0.25'] * 100)};:SYST:ERR?", FINE),
            (f":SOUR:LIST:VOLT:APP {','.join(['0.25'] * 50)},0;:SYST:ERR?", FINE),
            (":SOUR:VOLT:MODE LIST;:TRIG:COUN 151;:SYST:ERR?", FINE),
            (
                f":READ?;{STEADY};:SYST:ERR?",
                f"{','.join([reading(1e-7, level_v=0.25)] * 150 + [reading(0.0)])};{FINE}",
            ),
        )
        assert opened.meter.sweep(levels_v).current_a.shape == (150,)
        opened.line.done()

    @pytest.mark.parametrize(("count", "limits"), [(1, False), (1, True), (3, True)])
    def test_pulses(self, opened: Opened, count: int, limits: bool) -> None:
        answers = [reading(4e-7, level_v=1.5), reading(0.0)] * count
        if limits:
            answers[-2] = reading(5e-7, V_SOURCE | 1 << 3, 1.5)
        opened.line.extend(
            (
                f":SOUR:LIST:VOLT 1.5,0;:SOUR:VOLT:MODE LIST;:TRIG:COUN {2 * count};:SOUR:DEL 0.009;"
                ":SYST:AZER:STAT OFF;:SENS:CURR:NPLC 0.01;:SYST:ERR?",
                FINE,
            ),
            (f":READ?;{STEADY};:SENS:CURR:NPLC 0.1;:SYST:ERR?", f"{','.join(answers)};{FINE}"),
        )
        assert opened.meter.pulse(1.5, 10e-3, count) is limits
        opened.line.done()

    def test_safe_off(self, opened: Opened) -> None:
        opened.line.extend(
            (CLEAR, None),
            (":ABOR", None),
            (":SOUR:VOLT:MODE FIX;:SOUR:VOLT:LEV 0", None),
            (":OUTP OFF", None),
            ("*CLS", None),
            (":OUTP?", "0"),
        )
        opened.meter.safe_off()
        opened.line.done()
        with pytest.raises(UnsupportedError, match="before set_up"):
            opened.meter.hold(0.1)

    @pytest.mark.parametrize(
        ("answer", "cause"), [("1", "the output is still on"), (SILENCE, "no answer to")]
    )
    def test_safe_off_that_does_not_end_well(self, opened: Opened, answer: str, cause: str) -> None:
        opened.line.extend(
            (CLEAR, None),
            (":ABOR", None),
            (":SOUR:VOLT:MODE FIX;:SOUR:VOLT:LEV 0", None),
            (":OUTP OFF", None),
            ("*CLS", None),
            (":OUTP?", answer),
        )
        with pytest.raises(HilError, match=cause):
            opened.meter.safe_off()


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "limited", "overflow"),
        [
            (V_SOURCE, False, False),  # bit 14 says what is sourced: it is no compliance
            (V_SOURCE | 1 << 3, True, False),
            (V_SOURCE | 1 << 16, True, False),
            (V_SOURCE | 1 << 0, False, True),
        ],
    )
    def test_status(self, opened: Opened, status: int, limited: bool, overflow: bool) -> None:
        opened.line.extend((":READ?;:SYST:ERR?", f"{reading(1e-7, status)};{FINE}"))
        seen = opened.meter.held()
        assert (bool(seen.limited[0]), bool(seen.overflow[0])) == (limited, overflow)

    @pytest.mark.parametrize(("sent", "end_a"), [(9.9e37, 5e-7), (-9.9e37, -5e-7), (9.91e37, 5e-7)])
    def test_overflow_is_the_end_of_the_range(self, opened: Opened, sent: float, end_a: float) -> None:
        opened.line.extend((":READ?;:SYST:ERR?", f"{reading(sent)};{FINE}"))
        seen = opened.meter.held()
        assert seen.overflow[0]
        assert seen.current_a[0] == end_a

    @pytest.mark.parametrize("answer", ["", "1", "1,2", "a,b,c", "1,2,9.91E+99999", "0,nan,0", "nan,0,0"])
    def test_nonsense(self, opened: Opened, answer: str) -> None:
        opened.line.extend((":READ?;:SYST:ERR?", f"{answer};{FINE}"))
        with pytest.raises(ProtocolError, match="':READ\\?' was answered"):
            opened.meter.held()

    def test_errors_are_raised_and_the_queue_emptied(self, opened: Opened) -> None:
        opened.line.extend(
            (":READ?;:SYST:ERR?", '803,"Not permitted with OUTPUT off"'),
            (":SYST:ERR?", '-230,"Data corrupt or stale"'),
            (":SYST:ERR?", FINE),
        )
        with pytest.raises(InstrumentError, match="error 803, 'Not permitted with OUTPUT off'") as caught:
            opened.meter.held()
        assert "-230" in caught.value.__notes__[0]

    def test_nothing_is_triggered_after_an_error(self, opened: Opened) -> None:
        """An old list would run."""
        opened.line.extend(
            (":SOUR:LIST:VOLT 0.1,0.2,0;:SYST:ERR?", '-222,"Parameter data out of range"'),
            (":SYST:ERR?", FINE),
        )
        with pytest.raises(InstrumentError, match="-222"):
            opened.meter.sweep(np.array([0.1, 0.2]))
        opened.line.done()

    @pytest.mark.parametrize(
        ("taken", "what"),
        [
            ("+2.1E+01;+1.05E-04;+1.05E-06;+1.0E-01", "compliance, A"),
            ("+2.1E+00;+5.0E-07;+1.05E-06;+1.0E-01", "source range, V"),
            ("+2.1E+01;+5.0E-07;+1.05E-07;+1.0E-01", "current range, A"),
            ("+2.1E+01;+5.0E-07;+1.05E-06;+1.0E+00", "integration time"),
        ],
    )
    def test_a_limit_that_is_not_taken(self, taken: str, what: str) -> None:
        opened = Opened(set_up=False)
        opened.line.extend((SET_UP, f"{taken};{FINE}"))
        with pytest.raises(InstrumentError, match=what):
            opened.meter.set_up(SETUP)
        with pytest.raises(UnsupportedError, match="before set_up"):
            opened.meter.held()

    def test_silence(self, opened: Opened) -> None:
        opened.line.extend((":READ?;:SYST:ERR?", SILENCE))
        with pytest.raises(TransportError, match="Keithley 2400 at GPIB0::24::INSTR: no answer to ':READ\\?"):
            opened.meter.held()


class TestRefusals:
    """Each before anything is sent: the script has nothing more."""

    @pytest.mark.parametrize(
        ("ask", "says"),
        [
            (lambda it: it.pulse(1.0, 1e-3), "a pulse width of 0.001 s asked; it can do 0.002 to 9999 s"),
            (lambda it: it.pulse(4.0, 1e-2), "a level of 4 V asked; it can do -3.5 to 3.5 V"),
            (lambda it: it.pulse(1.0, 1e-2, 1251), "2502 levels asked; it can do 2499"),
            (lambda it: it.hold(-3.6), "a level of -3.6 V asked"),
            (lambda it: it.sweep(np.array([0.1, 3.6])), "a level of 3.6 V asked"),
            (lambda it: it.sweep(np.zeros(2500)), "2500 levels asked; it can do 2499"),
            (
                lambda it: it.set_up(Setup(3.5, 5e-10, 0.1)),
                "a compliance of 5e-10 A asked; it can do 1e-09 to 1.05 A",
            ),
            (lambda it: it.set_up(Setup(3.5, 2.0, 0.1)), "a compliance of 2 A asked"),
            (
                lambda it: it.set_up(Setup(100.0, 0.2, 0.1)),
                "beyond 21 V, of 0.2 A asked; it can do 1e-09 to 0.105 A",
            ),
            (
                lambda it: it.set_up(Setup(211.0, 1e-3, 0.1)),
                "a source range of 211 V asked; it can do 0 to 210 V",
            ),
            (
                lambda it: it.set_up(Setup(3.5, 1e-3, 0.001)),
                "an integration time of 0.001 power line periods",
            ),
        ],
    )
    def test_beyond_its_abilities(
        self, opened: Opened, ask: Callable[[Keithley2400], object], says: str
    ) -> None:
        with pytest.raises(UnsupportedError, match="Keithley 2400 at GPIB0::24::INSTR") as caught:
            ask(opened.meter)
        assert says in str(caught.value)
        opened.line.done()

    @pytest.mark.parametrize(
        "ask", [lambda it: it.held(), lambda it: it.pulse(0.1, 1e-2), lambda it: it.hold(0.0)]
    )
    def test_before_set_up(self, ask: Callable[[Keithley2400], object]) -> None:
        opened = Opened(set_up=False)
        with pytest.raises(UnsupportedError, match="nothing can be sourced before set_up"):
            ask(opened.meter)

    def test_another_model(self) -> None:
        line = ScriptedTransport([("*IDN?", "KEITHLEY INSTRUMENTS,MODEL 2450,04000001,1.7.12b")])
        with pytest.raises(ConfigError, match="2450 answers there, not a Keithley 2400"):
            Keithley2400(line)

    def test_a_channel_that_it_does_not_have(self) -> None:
        with pytest.raises(ConfigError, match="channel 'a' asked"):
            Keithley2400(ScriptedTransport([("*IDN?", IDN)]), "a")

    def test_terminals_that_make_no_sense(self) -> None:
        with pytest.raises(ProtocolError, match="expected FRON or REAR"):
            Keithley2400(ScriptedTransport([("*IDN?", IDN), (":ROUT:TERM?", "BOTH")]))
