"""The driver of the 2450: the exact messages, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from eapu_drivers.visa.smu.contract import Setup
from eapu_drivers.visa.smu.keithley2450 import Keithley2450
from scripted import CLEAR, SILENCE, ScriptedTransport

from eapu_hil.hal import (
    ConfigError,
    HilError,
    InstrumentError,
    ProtocolError,
    TransportError,
    UnsupportedError,
)

IDN = "KEITHLEY INSTRUMENTS,MODEL 2450,04000001,1.7.12b"
FINE = '0,"No error;0,0,0"'
SETUP = Setup(v_range_v=3.5, i_limit_a=5e-7, nplc=0.1)
SET_UP = (
    ":SOUR:VOLT 0;:SOUR:VOLT:RANG 20;:SENS:CURR:RANG 1e-06;:SOUR:VOLT:ILIM 5e-07;:SENS:CURR:NPLC 0.1;"
    ":SENS:AZER:ONCE;:SOUR:VOLT:RANG?;:SOUR:VOLT:ILIM?;:SENS:CURR:RANG?;:SENS:CURR:NPLC?;:SYST:ERR?"
)
OPEN = [
    ("*IDN?", IDN),
    ("*LANG?", "SCPI"),
    (":ROUT:TERM?", "FRON"),
    ("*RST;*CLS", None),
    (":SYST:ERR?", FINE),
    (
        ':ROUT:TERM FRON;:SOUR:FUNC VOLT;:SENS:FUNC "CURR";:SENS:CURR:RSEN OFF;:SENS:CURR:AZER OFF;'
        ":SOUR:VOLT:READ:BACK OFF;:SOUR:VOLT:DEL 0;:SYST:ERR?",
        FINE,
    ),
]
READ = ':READ? "defbuffer1", SOUR, READ, SOURSTAT'
PULSE = (
    ':SOUR:LIST:VOLT 1.5,0;:TRIG:LOAD "Empty";:TRIG:BLOC:BUFF:CLE 1, "defbuffer1";'
    ':TRIG:BLOC:CONF:REC 2, "VoltCustomSweepList", 1;:TRIG:BLOC:DEL:CONS 3, 0.0098;'
    ':TRIG:BLOC:MEAS 4, "defbuffer1";:TRIG:BLOC:CONF:REC 5, "VoltCustomSweepList", 2'
)
ON, LIMITED = 1 << 7, 1 << 5


class Opened:
    """A driver that was opened and, by default, set up."""

    def __init__(self, set_up: bool = True) -> None:
        self.line = ScriptedTransport(OPEN)
        self.meter = Keithley2450(self.line)
        if set_up:
            self.set_up()
        self.line.done()

    def set_up(self, after_the_way_out: bool = False) -> None:
        if after_the_way_out:
            self.line.extend(OPEN[-1])
        self.line.extend((SET_UP, f"20;5.000000E-07;1.000000E-06;0.1;{FINE}"))
        self.meter.set_up(SETUP)

    def pulses(self, *status: int) -> None:
        """A run of the trigger model comes next."""
        data = ",".join(f"1.5,4E-07,{one}" for one in status)
        self.line.extend(
            (
                f':SENS:CURR:NPLC 0.01;:INIT;*WAI;:TRAC:DATA? 1, {len(status)}, "defbuffer1", SOUR, READ, SOURSTAT;'
                ":SENS:CURR:NPLC 0.1;:SYST:ERR?",
                f"{data};{FINE}",
            )
        )


@pytest.fixture
def opened() -> Opened:
    return Opened()


class TestMessages:
    def test_set_up(self, opened: Opened) -> None:
        assert opened.meter.ready == SETUP
        assert opened.meter.identity.model == "2450"

    @pytest.mark.parametrize(
        ("limit_a", "range_a"),
        [(1e-4, "0.0001"), (1.05e-4, "0.0001"), (1.06e-4, "0.001"), (2e-3, "0.01"), (1.05, "1")],
    )
    def test_the_range_of_a_limit(self, limit_a: float, range_a: str) -> None:
        """Ranges limit up to 5 % beyond their name; from there on the next one has just the 10.6 % that it needs."""
        opened = Opened(set_up=False)
        message = SET_UP.replace("RANG 1e-06", f"RANG {range_a}").replace("ILIM 5e-07", f"ILIM {limit_a:.9g}")
        opened.line.extend((message, f"20;{limit_a};{range_a};0.1;{FINE}"))
        opened.meter.set_up(Setup(3.5, limit_a, 0.1))
        opened.line.done()

    def test_output(self, opened: Opened) -> None:
        opened.line.extend(
            (":SOUR:VOLT 0;:OUTP ON;:SYST:ERR?", FINE), (":SOUR:VOLT 0;:OUTP OFF;:SYST:ERR?", FINE)
        )
        opened.meter.output(True)
        opened.meter.output(False)
        opened.line.done()

    def test_a_level_and_a_reading_of_it(self, opened: Opened) -> None:
        opened.line.extend(
            (":SOUR:VOLT 1.23456789;:SYST:ERR?", FINE),
            (f"{READ};:SYST:ERR?", f"1.234568,1.5E-07,{ON};{FINE}"),
        )
        opened.meter.hold(1.23456789)
        seen = opened.meter.held()
        assert seen.current_a.tolist() == [1.5e-7]
        assert not seen.limited[0]
        assert not seen.overflow[0]
        opened.line.done()

    def test_one_level_is_one_message(self, opened: Opened) -> None:
        opened.line.extend(
            (f":SOUR:VOLT 5e-07;{READ};:SOUR:VOLT 0;:SYST:ERR?", f"5E-07,-2E-09,{ON | LIMITED};{FINE}")
        )
        seen = opened.meter.sweep(np.array([5e-7]))
        assert seen.current_a.tolist() == [-2e-9]
        assert seen.limited[0]
        opened.line.done()

    def test_a_long_sweep(self, opened: Opened) -> None:
        """The output stays on, which a sweep of the instrument's own would end with off."""
        data = ",".join([f"0.25,1E-07,{ON}"] * 150 + [f"0,0,{ON}"])
        opened.line.extend(
            (f":SOUR:LIST:VOLT {','.join(['0.25'] * 100)};:SYST:ERR?", FINE),
            (f":SOUR:LIST:VOLT:APP {','.join(['0.25'] * 50)},0;:SYST:ERR?", FINE),
            (
                ':TRIG:LOAD "Empty";:TRIG:BLOC:BUFF:CLE 1, "defbuffer1";'
                ':TRIG:BLOC:CONF:REC 2, "VoltCustomSweepList", 1;:TRIG:BLOC:BRAN:ALW 3, 5;'
                ':TRIG:BLOC:CONF:NEXT 4, "VoltCustomSweepList";:TRIG:BLOC:MEAS 5, "defbuffer1";'
                ":TRIG:BLOC:BRAN:COUN 6, 151, 4;:SYST:ERR?",
                FINE,
            ),
            (
                ':INIT;*WAI;:TRAC:DATA? 1, 151, "defbuffer1", SOUR, READ, SOURSTAT;:SYST:ERR?',
                f"{data};{FINE}",
            ),
        )
        assert opened.meter.sweep(np.full(150, 0.25)).current_a.tolist() == [1e-7] * 150
        opened.line.done()

    def test_a_pulse_and_another_like_it(self, opened: Opened) -> None:
        """List and model are sent each time: another program may have left its own in the instrument."""
        opened.line.extend((f"{PULSE};:SYST:ERR?", FINE))
        opened.pulses(ON)
        assert not opened.meter.pulse(1.5, 10e-3)
        opened.line.extend((f"{PULSE};:SYST:ERR?", FINE))
        opened.pulses(ON | LIMITED)
        assert opened.meter.pulse(1.5, 10e-3)
        opened.line.done()

    def test_pulses(self, opened: Opened) -> None:
        more = ";:TRIG:BLOC:DEL:CONS 6, 0.01;:TRIG:BLOC:BRAN:COUN 7, 3, 2"
        opened.line.extend((f"{PULSE}{more};:SYST:ERR?", FINE))
        opened.pulses(ON, ON, ON | LIMITED)
        assert opened.meter.pulse(1.5, 10e-3, 3)
        opened.line.done()

    @pytest.mark.parametrize("what", ["set_up", "sweep", "safe_off"])
    def test_what_makes_a_pulse_anew(self, opened: Opened, what: str) -> None:
        """A list keeps the limit that was set when it was made, too."""
        opened.line.extend((f"{PULSE};:SYST:ERR?", FINE))
        opened.pulses(ON)
        opened.meter.pulse(1.5, 10e-3)
        if what == "sweep":
            opened.line.extend(
                (":SOUR:LIST:VOLT 0.1,0.2,0;:SYST:ERR?", '-222,"Out of range;1;t"'), (":SYST:ERR?", FINE)
            )
            with pytest.raises(InstrumentError):
                opened.meter.sweep(np.array([0.1, 0.2]))
        elif what == "safe_off":
            opened.line.extend(
                (CLEAR, None),
                (":ABOR", None),
                (":SOUR:VOLT 0", None),
                (":OUTP OFF", None),
                ("*CLS", None),
                (":OUTP?", "0"),
            )
            opened.meter.safe_off()
            opened.set_up(after_the_way_out=True)
        else:
            opened.set_up()
        opened.line.extend((f"{PULSE};:SYST:ERR?", FINE))
        opened.pulses(ON)
        opened.meter.pulse(1.5, 10e-3)
        opened.line.done()

    @pytest.mark.parametrize(
        ("answer", "cause"), [("1", "the output is still on"), (SILENCE, "no answer to")]
    )
    def test_safe_off_that_does_not_end_well(self, opened: Opened, answer: str, cause: str) -> None:
        opened.line.extend(
            (CLEAR, None),
            (":ABOR", None),
            (":SOUR:VOLT 0", None),
            (":OUTP OFF", None),
            ("*CLS", None),
            (":OUTP?", answer),
        )
        with pytest.raises(HilError, match=cause):
            opened.meter.safe_off()
        opened.line.done()
        with pytest.raises(UnsupportedError, match="before set_up"):
            opened.meter.hold(0.1)


class TestAnswers:
    @pytest.mark.parametrize(("sent", "end_a"), [("9.9E37", 5e-7), ("-9.9E37", -5e-7)])
    def test_overflow_is_the_end_of_the_range(self, opened: Opened, sent: str, end_a: float) -> None:
        opened.line.extend((f"{READ};:SYST:ERR?", f"0,{sent},{ON | LIMITED};{FINE}"))
        seen = opened.meter.held()
        assert seen.overflow[0]
        assert seen.limited[0]
        assert seen.current_a[0] == end_a

    def test_what_is_measured_with_the_output_off(self, opened: Opened) -> None:
        """It would read as no current: a cell that is all open."""
        opened.line.extend((f"{READ};:SYST:ERR?", f"0,1E-12,0;{FINE}"))
        with pytest.raises(InstrumentError, match="the output is off"):
            opened.meter.held()

    @pytest.mark.parametrize("answer", ["", "1", "1,2", "a,b,c", "1,1,1E99999", "0,nan,128", "nan,0,128"])
    def test_nonsense(self, opened: Opened, answer: str) -> None:
        opened.line.extend((f"{READ};:SYST:ERR?", f"{answer};{FINE}"))
        with pytest.raises(ProtocolError, match="was answered"):
            opened.meter.held()

    def test_errors_are_raised_and_the_queue_emptied(self, opened: Opened) -> None:
        opened.line.extend(
            (f"{PULSE};:SYST:ERR?", '-222,"Parameter data out of range;1;2026/11/26 18:00:00.000"'),
            (":SYST:ERR?", '-113,"Undefined header;1;2026/11/26 18:00:00.001"'),
            (":SYST:ERR?", FINE),
        )
        with pytest.raises(
            InstrumentError, match="error -222, 'Parameter data out of range', after"
        ) as caught:
            opened.meter.pulse(1.5, 10e-3)
        assert "-113" in caught.value.__notes__[0]
        opened.line.done()  # and nothing was triggered

    @pytest.mark.parametrize(
        ("taken", "what"),
        [
            ("20;1.06E-07;1E-06;0.1", "compliance, A"),
            ("2;5E-07;1E-06;0.1", "source range, V"),
            ("20;5E-07;1E-07;0.1", "current range, A"),
            ("20;5E-07;1E-06;1", "integration time"),
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
        opened.line.extend((f"{READ};:SYST:ERR?", SILENCE))
        with pytest.raises(TransportError, match="Keithley 2450 at GPIB0::24::INSTR: no answer to ':READ"):
            opened.meter.held()


class TestRefusals:
    """Each before anything is sent: the script has nothing more."""

    @pytest.mark.parametrize(
        ("ask", "says"),
        [
            (lambda it: it.pulse(1.0, 5e-4), "a pulse width of 0.0005 s asked; it can do 0.001 to 9999 s"),
            (lambda it: it.pulse(4.0, 1e-2), "a level of 4 V asked; it can do -3.5 to 3.5 V"),
            (lambda it: it.hold(-3.6), "a level of -3.6 V asked"),
            (lambda it: it.sweep(np.array([0.1, 3.6])), "a level of 3.6 V asked"),
            (lambda it: it.sweep(np.zeros(2500)), "2500 levels asked; it can do 2499"),
            (
                lambda it: it.set_up(Setup(3.5, 1e-9, 0.1)),
                "a compliance of 1e-09 A asked; it can do 1.06e-09 to 1.05 A",
            ),
            (
                lambda it: it.set_up(Setup(100.0, 0.2, 0.1)),
                "beyond 21 V, of 0.2 A asked; it can do 1.06e-09 to 0.105 A",
            ),
            (
                lambda it: it.set_up(Setup(211.0, 1e-3, 0.1)),
                "a source range of 211 V asked; it can do 0 to 210 V",
            ),
            (lambda it: it.set_up(Setup(3.5, 1e-3, 20.0)), "an integration time of 20 power line periods"),
        ],
    )
    def test_beyond_its_abilities(
        self, opened: Opened, ask: Callable[[Keithley2450], object], says: str
    ) -> None:
        with pytest.raises(UnsupportedError, match="Keithley 2450 at GPIB0::24::INSTR") as caught:
            ask(opened.meter)
        assert says in str(caught.value)
        opened.line.done()

    @pytest.mark.parametrize("language", ["TSP", "SCPI2400"])
    def test_another_command_set(self, language: str) -> None:
        line = ScriptedTransport([("*IDN?", IDN), ("*LANG?", language)])
        with pytest.raises(ConfigError, match=rf"is {language}; send \*LANG SCPI, .* and restart it"):
            Keithley2450(line)

    def test_another_model(self) -> None:
        line = ScriptedTransport([("*IDN?", "KEITHLEY INSTRUMENTS,MODEL 2461,04000001,1.7.12b")])
        with pytest.raises(ConfigError, match="2461 answers there, not a Keithley 2450"):
            Keithley2450(line)

    def test_a_channel_that_it_does_not_have(self) -> None:
        with pytest.raises(ConfigError, match="channel 'a' asked"):
            Keithley2450(ScriptedTransport([("*IDN?", IDN)]), "a")
