"""Another program, or somebody at a front panel, changes instruments in the middle of a session.

What a request finds so is an error that says what was found, with every output off and every line at ground; never a
reading, and never a pulse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from benches import CELL, FAMILIES, SWITCHES, Opened, benches

from eapu_hil.bench import Bench
from eapu_hil.hal import Cells, Direction, InstrumentError, Polarity, Pulses, Targets

OTHER = Cells.block(2, 3, 2, 3)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Opened]]:
    with benches(tmp_path, monkeypatch) as open_it:
        yield open_it


def read(bench: Bench) -> None:
    bench.arrays[0].read(CELL, 0.2)


def read_another(bench: Bench) -> None:
    bench.arrays[0].read(OTHER, 0.2)


def pulse(bench: Bench) -> None:
    bench.arrays[0].pulse(Pulses.same(CELL, Polarity.SET, 1.2, 1.5, 2e-3))


def multiply(bench: Bench) -> None:
    bench.arrays[0].vmm(np.full((3, 4), 0.1), Direction.FORWARD)


def program(bench: Bench) -> None:
    bench.arrays[0].program(Targets(CELL, np.array([20e-6])))


ACTS = [read, read_another, pulse, multiply, program]

# What another program sends: how it reads another cell; what the front panel's "open all" does; one relay more.
MOVES = {
    "707b": {
        "another cell": ['channel.exclusiveclose("1B03,1A07,1C11,1B08,1B09,1B10")'],
        "all open": ['channel.open("allslots")'],
        "reset": ["reset()"],
        "one more": ['channel.close("1A04")'],
    },
    "34980a": {
        "another cell": [":ROUT:OPEN:ALL ALL", ":ROUT:CLOS (@1203,1107,1311)"],
        "all open": [":ROUT:OPEN:ALL ALL"],
        "reset": ["*RST"],
        "one more": [":ROUT:CLOS (@1104)"],
    },
}
MOVED = [
    (resource, name)
    for resource in ("sim:2400", "sim:2600b", "sim:b2900", "sim:2450")
    for name in MOVES["707b"]
]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(("resource", "name"), MOVED)
def test_crosspoints(
    opened: Callable[[str], Opened], resource: str, name: str, act: Callable[[Bench], None]
) -> None:
    it = opened(resource)
    switch = FAMILIES[resource][1]
    before_S = it.station._array._cells.g_S.copy()
    it.another_program("switch", *MOVES[switch.removeprefix("sim:")][name])
    with pytest.raises(InstrumentError, match=f"{SWITCHES[switch]}.*(crosspoint|left closed|left open)"):
        act(it.bench)
    assert it.grounded()
    np.testing.assert_array_equal(it.station._array._cells.g_S, before_S)
    read(it.bench)  # and goes on, from what it set up anew


# What another program or a front panel changes at the source, and what the error says of it.
CHANGES = {
    "sim:2400": {
        "output": (":OUTP OFF", "the output is off, left on"),
        "function": (":SOUR:FUNC CURR;:OUTP ON", "the source function is CURR, left VOLT"),
        "level": (":SOUR:VOLT 1.5", "the level in V is 1.5, left 0"),
        "source range": (":SOUR:VOLT:RANG 100", "the source range in V is 210, left"),
        "compliance": (":SENS:CURR:PROT 0.05", "the compliance in A is 0.05, left 0.0001"),
        "current range": (":SENS:CURR:RANG 1e-6", "the current range in A is 1.05e-06, left"),
        "measured function": (":SENS:FUNC 'VOLT'", 'the measured function is "VOLT:DC", left CURR:DC'),
        "four wires": (":SYST:RSEN ON", "four-wire sensing is on, left off"),
        "reset": ("*RST", "the output is off, left on"),
    },
    "sim:2450": {
        "output": (":OUTP OFF", "the output is off, left on"),
        "function": (":SOUR:FUNC CURR;:OUTP ON", "the source function is CURR, left VOLT"),
        "level": (":SOUR:VOLT 1.5", "the level in V is 1.5, left 0"),
        "source range": (":SOUR:VOLT:RANG 100", "the source range in V is 200, left"),
        "compliance": (":SOUR:VOLT:ILIM 5e-5", "the compliance in A is 5e-05, left 0.0001"),
        "current range": (":SENS:CURR:RANG 1e-6", "the current range in A is 1e-06, left"),
        "measured function": (':SENS:FUNC "VOLT"', 'the measured function is "VOLT:DC", left CURR:DC'),
        "four wires": (":SENS:CURR:RSEN ON", "four-wire sensing is on, left off"),
        "reset": ("*RST", "the output is off, left on"),
    },
    "sim:2600b": {
        "output": ("smua.source.output = 0", "the output is off, left on"),
        "function": ("smua.source.func = 0", "the source function is 0, left 1"),
        "level": ("smua.source.levelv = 1.5", "the level in V is 1.5, left 0"),
        "source range": ("smua.source.rangev = 100", "the source range in V is 200, left"),
        "compliance": ("smua.source.limiti = 0.05", "the compliance in A is 0.05, left 0.0001"),
        "current range": ("smua.measure.rangei = 1e-6", "the current range in A is 1e-06, left"),
        "four wires": ("smua.sense = 1", "four-wire sensing is on, left off"),
        "reset": ("reset()", "the output is off, left on"),
    },
    "sim:b2900": {
        "output": (":OUTP1 OFF", "the output is off, left on"),
        "function": (":SOUR1:FUNC:MODE CURR", "the source function is CURR, left VOLT"),
        "level": (":SOUR1:VOLT 1.5", "the level in V is 1.5, left 0"),
        "source range": (":SOUR1:VOLT:RANG 100", "the source range in V is 200, left"),
        "compliance": (":SENS1:CURR:PROT 0.05", "the compliance in A is 0.05, left 0.0001"),
        "current range": (":SENS1:CURR:RANG 1e-6", "the current range in A is 1e-06, left"),
        "four wires": (":SENS1:REM ON", "four-wire sensing is on, left off"),
        "reset": ("*RST", "the output is off, left on"),
    },
}


@pytest.mark.parametrize("act", [read, read_another, pulse])
@pytest.mark.parametrize(("resource", "name"), [(one, name) for one in CHANGES for name in CHANGES[one]])
def test_the_source(
    opened: Callable[[str], Opened], resource: str, name: str, act: Callable[[Bench], None]
) -> None:
    it = opened(resource)
    message, said = CHANGES[resource][name]
    it.another_program("source", message)
    before_S = it.station._array._cells.g_S.copy()
    with pytest.raises(InstrumentError, match=FAMILIES[resource][0]) as caught:
        act(it.bench)
    assert said in str(caught.value)
    assert it.grounded()
    if name not in ("level", "function"):
        np.testing.assert_array_equal(it.station._array._cells.g_S, before_S)
    read(it.bench)


GATES = {
    "sim:2400": (":OUTP OFF", ":SOUR:VOLT 1"),
    "sim:2450": (":OUTP OFF", ":SOUR:VOLT 1"),
    "sim:2600b": ("smub.source.output = 0", "smub.source.levelv = 1"),
    "sim:b2900": (":OUTP2 OFF", ":SOUR2:VOLT 1"),
}


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("resource", GATES)
def test_the_gate(
    opened: Callable[[str], Opened], resource: str, act: Callable[[Bench], None], which: int
) -> None:
    """A cell whose gate is closed reads as one of 0 S."""
    it = opened(resource)
    it.another_program("gate", GATES[resource][which])
    said = "the output is off, left on" if which == 0 else "the level in V is 1, left"
    if act in (read_another, multiply, program) and which == 1:
        return  # the gate goes to 0 V first there, and is set anew
    with pytest.raises(InstrumentError, match=said):
        act(it.bench)
    assert it.grounded()


@pytest.mark.parametrize("resource", FAMILIES)
def test_an_output_that_is_switched_on_behind_our_back(
    opened: Callable[[str], Opened], resource: str
) -> None:
    """After the way out all is off. What drives a line then is not ours, and no crosspoint moves under it."""
    it = opened(resource)
    it.bench.arrays[0].ground()
    on = {
        "sim:2600b": "smua.source.levelv = 1 smua.source.output = 1",
        "sim:b2900": ":SOUR1:VOLT 1;:OUTP1 ON",
    }
    it.another_program("source", on.get(resource, ":SOUR:VOLT 1;:OUTP ON"))
    with pytest.raises(InstrumentError, match="the output is on, left off"):
        read(it.bench)
    assert it.grounded()


@pytest.mark.parametrize("resource", FAMILIES)
def test_errors_that_another_program_left(opened: Callable[[str], Opened], resource: str) -> None:
    """However many: they are told of once, and none is left for messages to come."""
    it = opened(resource)
    device = it.station.servers["source"].device
    for _ in range(90):
        device.add_error((-222, "Parameter data out of range"))  # type: ignore[attr-defined]
    with pytest.raises(InstrumentError) as caught:
        read(it.bench)
    assert len(caught.value.__notes__) <= 34
    read(it.bench)
    pulse(it.bench)
