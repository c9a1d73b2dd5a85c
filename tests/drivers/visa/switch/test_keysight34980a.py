"""The Keysight 34980A: the exact messages of each operation, break before make, and what is read back."""

from __future__ import annotations

import pytest
from eapu_drivers.visa.switch.keysight34980a import Keysight34980A
from scripted import CLEAR, SILENCE, ScriptedTransport

from eapu_hil.hal import ConfigError, HilError, InstrumentError, ProtocolError, TransportError

Exchange = list[tuple[str, str | None]]

NO_ERROR = '+0,"No error"'
IDENTITY = ("*IDN?", "Agilent Technologies,34980A,MY44000001,2.51-2.43-2.07-0.05")
OPEN_ALL: Exchange = [(":ROUT:OPEN:ALL ALL", None), ("*OPC?", "1"), (":SYST:ERR?", NO_ERROR)]


def sent(message: str, errors: str = NO_ERROR) -> Exchange:
    return [(message, None), (":SYST:ERR?", errors)]


OPENING: Exchange = [IDENTITY, *sent("*CLS;:ROUT:OPER:OVER OFF"), *OPEN_ALL]


def opened(*script: tuple[str, str | None]) -> tuple[Keysight34980A, ScriptedTransport]:
    line = ScriptedTransport(OPENING)
    matrix = Keysight34980A(line)
    line.extend(*script)
    return matrix, line


def test_another_model() -> None:
    line = ScriptedTransport([("*IDN?", "Keysight Technologies,DAQ970A,MY58000001,A.02.01")])
    with pytest.raises(
        ConfigError, match="a Keysight Technologies DAQ970A answers there, not a Keysight 34980A"
    ):
        Keysight34980A(line)


def test_break_before_make_and_what_stays_does_not_move() -> None:
    """Three messages to open, three to close."""
    matrix, line = opened(
        *sent(":ROUT:CLOS (@1101,1202)"),
        ("*OPC?;:ROUT:CLOS? (@1101,1202)", "1;1,1"),
        *sent(":ROUT:OPEN (@1101)"),
        ("*OPC?;:ROUT:OPEN? (@1101)", "1;1"),
        *sent(":ROUT:CLOS (@1303)"),
        ("*OPC?;:ROUT:CLOS? (@1101,1202,1303)", "1;0,1,1"),
        ("*OPC?;:ROUT:CLOS? (@1101,1202,1303)", "1;0,1,1"),
    )
    matrix.connect({"1101", "1202"})
    matrix.connect({"1202", "1303"})
    assert matrix.closed() == {"1202", "1303"}
    line.done()


def test_a_long_list_is_several_messages() -> None:
    """And one question, in ranges."""
    names = [f"{slot}{row}{column:02d}" for slot in (1, 2) for row in range(1, 5) for column in range(1, 17)]
    ranges = ",".join(f"{slot}{row}01:{slot}{row}16" for slot in (1, 2) for row in range(1, 5))
    parts = [",".join(names[first : first + 50]) for first in (0, 50, 100)]
    matrix, line = opened(
        *(exchange for part in parts for exchange in sent(f":ROUT:CLOS (@{part})")),
        (f"*OPC?;:ROUT:CLOS? (@{ranges})", "1;" + ",".join(["1"] * len(names))),
    )
    matrix.connect(set(names))
    line.done()


def test_a_crosspoint_that_does_not_close_is_named() -> None:
    """What is closed is not known then: the next change opens everything first."""
    matrix, line = opened(
        *sent(":ROUT:CLOS (@1101,1202)"),
        ("*OPC?;:ROUT:CLOS? (@1101,1202)", "1;1,0"),
        *OPEN_ALL,
        ("*OPC?;:ROUT:OPEN? (@1101,1202)", "1;1,1"),
        *sent(":ROUT:CLOS (@1101)"),
        ("*OPC?;:ROUT:CLOS? (@1101,1202)", "1;1,0"),
    )
    with pytest.raises(InstrumentError, match=r"crosspoint 1202 does not report closed \(1 of 2 do not\)"):
        matrix.connect({"1101", "1202"})
    matrix.connect({"1101"})
    line.done()


def test_nothing_closes_before_what_has_to_open_is_open() -> None:
    matrix, line = opened(
        *sent(":ROUT:CLOS (@1101)"),
        ("*OPC?;:ROUT:CLOS? (@1101)", "1;1"),
        *sent(":ROUT:OPEN (@1101)"),
        ("*OPC?;:ROUT:OPEN? (@1101)", "1;0"),
    )
    matrix.connect({"1101"})
    with pytest.raises(InstrumentError, match="crosspoint 1101 does not report open"):
        matrix.connect({"1202"})
    line.done()


def test_a_channel_that_is_not_there() -> None:
    matrix, line = opened(
        (":ROUT:CLOS (@1999)", None), (":SYST:ERR?", '-222,"Data out of range"'), (":SYST:ERR?", NO_ERROR)
    )
    with pytest.raises(InstrumentError, match="Data out of range") as caught:
        matrix.connect({"1999"})
    assert ":ROUT:CLOS (@1999)" in str(caught.value)
    line.done()


def test_safe_off_reads_back() -> None:
    matrix, line = opened(
        *sent(":ROUT:CLOS (@1101)"),
        ("*OPC?;:ROUT:CLOS? (@1101)", "1;1"),
        (CLEAR, None),
        ("*CLS", None),
        *OPEN_ALL,
        ("*OPC?;:ROUT:OPEN? (@1101)", "1;1"),
        (CLEAR, None),
        ("*CLS", None),
        *OPEN_ALL,
        ("*OPC?;:ROUT:OPEN? (@1101)", "1;0"),
    )
    matrix.connect({"1101"})
    matrix.safe_off()
    with pytest.raises(HilError, match="crosspoint 1101 does not report open"):
        matrix.safe_off()
    line.done()


@pytest.mark.parametrize("answer", ["0;1,1", "1", "1;1", "1;1,2", "oops"])
def test_an_answer_that_makes_no_sense(answer: str) -> None:
    matrix, _ = opened(
        *sent(":ROUT:CLOS (@1101,1202)"),
        ("*OPC?;:ROUT:CLOS? (@1101,1202)", answer),
        (":SYST:ERR?", NO_ERROR),
    )
    with pytest.raises(ProtocolError, match=r"Keysight 34980A at .* was answered"):
        matrix.connect({"1101", "1202"})


def test_silence_names_instrument_and_message() -> None:
    matrix, _ = opened((":ROUT:CLOS (@1101)", None), (":SYST:ERR?", SILENCE))
    with pytest.raises(TransportError, match=r"Keysight 34980A at GPIB.*no answer to ':SYST:ERR\?'"):
        matrix.connect({"1101"})
