"""What all drivers share: identities, numbers, errors that are not overlooked, ways out."""

from __future__ import annotations

import math
import re

import pytest
from eapu_drivers.visa.instrument import (
    InstrumentIdentity,
    ScpiInstrument,
    TspInstrument,
    number,
    require_range,
)
from hypothesis import given
from hypothesis import strategies as st
from scripted import SILENCE, ScriptedTransport

from eapu_hil.hal import (
    ConfigError,
    HilError,
    InstrumentError,
    LimitError,
    ProtocolError,
    TransportError,
    UnsupportedError,
)


class Scpi(ScpiInstrument):
    family = "Thing 1"
    models = re.compile("T1")


class Tsp(TspInstrument):
    family = "Thing 2"
    models = re.compile("T2")


def scpi(*script: tuple[str, str | None]) -> Scpi:
    return Scpi(ScriptedTransport([("*IDN?", "we,T1,12,3.4"), *script]))


class TestNumber:
    @given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
    def test_it_arrives_as_it_was(self, value: float) -> None:
        sent = float(number(value))
        assert math.isclose(sent, value, rel_tol=1e-8)
        assert (sent == 0.0) == (value == 0.0)

    @pytest.mark.parametrize(
        ("value", "sent"),
        [(5e-7, "5e-07"), (1.23456789, "1.23456789"), (0.0, "0"), (2e-3, "0.002"), (-3.5, "-3.5")],
    )
    def test_as_text(self, value: float, sent: str) -> None:
        assert number(value) == sent

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number(self, value: float) -> None:
        with pytest.raises(ValueError, match="cannot be sent"):
            number(value)


class TestIdentity:
    def test_parts(self) -> None:
        found = InstrumentIdentity.parse("Keithley Instruments Inc., Model 2636B, 1398687, 3.2.1", "x")
        assert found == InstrumentIdentity("Keithley Instruments Inc.", "2636B", "1398687", "3.2.1")

    @pytest.mark.parametrize("answer", ["", "a,b", "a,b,c", "a,b,c,d,e", ",,c,d"])
    def test_an_answer_that_makes_no_sense(self, answer: str) -> None:
        with pytest.raises(ProtocolError, match=r"GPIB0::1: '\*IDN\?' was answered"):
            InstrumentIdentity.parse(answer, "GPIB0::1")

    def test_another_model(self) -> None:
        with pytest.raises(ConfigError, match="a we T2 answers there, not a Thing 1"):
            Scpi(ScriptedTransport([("*IDN?", "we,T2,12,3.4")]))


class TestErrors:
    def test_none(self) -> None:
        scpi((":A 1", None), (":SYST:ERR?", '0,"No error"')).send(":A 1")
        scpi((":A 1", None), (":SYST:ERR?", '+0,"No error;0,0,0"')).send(":A 1")

    def test_the_oldest_is_raised_and_the_others_are_told(self) -> None:
        it = scpi(
            (":A 1", None),
            (":SYST:ERR?", '-113,"Undefined header"'),
            (":SYST:ERR?", '-222,"Out of range;x"'),
            (":SYST:ERR?", '0,"No error"'),
        )
        with pytest.raises(InstrumentError) as caught:
            it.send(":A 1")
        error = caught.value
        assert (error.code, error.text, error.command) == (-113, "Undefined header", ":A 1")
        assert str(error) == "Thing 1 at GPIB0::24::INSTR: error -113, 'Undefined header', after ':A 1'"
        assert error.__notes__ == ["Thing 1 at GPIB0::24::INSTR: also error -222, 'Out of range'"]

    def test_a_long_queue_is_cleared(self) -> None:
        """Or what is left of it would be blamed on messages to come."""
        it = scpi((":A", None), *[(":SYST:ERR?", '-1,"again"')] * 33, ("*CLS", None))
        with pytest.raises(InstrumentError) as caught:
            it.send(":A")
        assert len(caught.value.__notes__) == 33
        assert caught.value.__notes__[-1].endswith("more errors were in its queue, which is cleared now")

    def test_an_error_queue_that_makes_no_sense(self) -> None:
        with pytest.raises(ProtocolError, match="'garbage'; expected a number and a text"):
            scpi((":A", None), (":SYST:ERR?", "garbage")).send(":A")

    def test_of_tsp(self) -> None:
        queue = "print(errorqueue.next())"
        script = [
            ("*IDN?", "we,T2,1,2"),
            ("a = 1", None),
            (queue, "1.10200e+03\tToo small\t2.0e+01\t1.0e+00"),
        ]
        it = Tsp(ScriptedTransport([*script, (queue, "0.00000e+00\tQueue Is Empty\t0\t1")]))
        with pytest.raises(InstrumentError, match="error 1102, 'Too small', after 'a = 1'"):
            it.send("a = 1")

    def test_the_instrument_is_named_when_the_line_fails(self) -> None:
        with pytest.raises(TransportError, match=r"Thing 1 at GPIB0::24::INSTR: no answer to ':A\?'"):
            scpi((":A?", SILENCE)).ask(":A?")


class TestAnswers:
    @pytest.mark.parametrize(("answer", "values"), [("1,2e-3", [1, 2e-3]), ("1\t-2", [1, -2])])
    def test_numbers(self, answer: str, values: list[float]) -> None:
        assert scpi((":A?", answer)).ask_numbers(":A?", 2) == values

    @pytest.mark.parametrize("answer", ["1", "1,2,3", "1,x", ""])
    def test_too_few_or_none(self, answer: str) -> None:
        with pytest.raises(ProtocolError, match="expected 2 numbers"):
            scpi((":A?", answer)).ask_numbers(":A?", 2)
        with pytest.raises(ProtocolError, match="expected 2 numbers"):
            scpi((":A?", answer.replace(",", ";"))).ask_each(":A?", 2)

    def test_what_was_taken(self) -> None:
        it = scpi()
        it.require_taken("limit, A", 1e-4, 1.0005e-4)
        with pytest.raises(
            InstrumentError, match=r"limit, A: 0\.0001 asked, but the instrument reports 2e-05"
        ):
            it.require_taken("limit, A", 1e-4, 2e-5)
        with pytest.raises(InstrumentError):
            it.require_taken("limit, A", 1e-4, math.nan)


def test_ranges_are_refused_with_what_is_allowed() -> None:
    require_range("Thing", "a width", 1e-3, 1e-3, 1.0, "s")
    with pytest.raises(UnsupportedError, match=r"Thing: a width of 0\.0005 s asked; it can do 0\.001 to 1 s"):
        require_range("Thing", "a width", 5e-4, 1e-3, 1.0, "s")
    with pytest.raises(LimitError):
        require_range("Thing", "a width", math.nextafter(1.0, 2.0), 1e-3, 1.0, "s")


def test_every_step_of_a_way_out_is_tried() -> None:
    done: list[str] = []

    def fail() -> None:
        done.append("failed")
        raise TransportError("the line is cut")

    with pytest.raises(HilError, match=r"the line is cut \(and 1 more steps of the way out failed\)"):
        scpi().try_each(fail, lambda: done.append("second"), fail, lambda: done.append("last"))
    assert done == ["failed", "second", "failed", "last"]
