"""What can go wrong with an instrument, and how each ends: an error that names it, and every output off.

The table `FAULTS` lists them all. Each is tried against the whole bench, with every family at the cells and every
matrix: open, then a reading or a pulse in which it happens.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benches import CELL, FAMILIES, SWITCHES, Opened, benches
from eapu_drivers.simulated.instruments.server import Mishap

from eapu_hil.bench import Bench
from eapu_hil.hal import (
    Cells,
    CellStatus,
    HilError,
    InstrumentError,
    Polarity,
    ProtocolError,
    Pulses,
    TransportError,
)

TIMEOUT_s = 2.2  # of a reading or a pulse, as the drivers compute them
SLACK_s = 1.0


@dataclass(frozen=True)
class Fault:
    """kind: of the mishap. error: what it ends in. cause: what the message must say of it."""

    kind: Any
    error: type[HilError]
    cause: str


FAULTS = {
    "lost reply": Fault("drop", TransportError, "no answer to"),
    "late reply": Fault("delay", TransportError, "no answer to"),
    "half a reply": Fault("truncate", TransportError, "no answer to"),
    "wrong reply": Fault("garble", ProtocolError, "was answered '#\\? not what was asked'"),
    "disconnect in mid-pulse": Fault("disconnect", TransportError, "no answer to|lost while"),
    "output trips": Fault("trip", InstrumentError, "the output is off|OUTPUT off"),
    "error in the queue": Fault("error", InstrumentError, "error -222, 'Parameter data out of range'"),
}
ANSWERED = r"\?|print"  # in a message that is answered: SCPI, TSP


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Opened]]:
    """Opens a small bench of a family; its station is kept, to let things go wrong in it."""
    with benches(tmp_path, monkeypatch) as open_it:
        yield open_it


def read(bench: Bench) -> None:
    bench.arrays[0].read(CELL, 0.2)


def read_another(bench: Bench) -> None:
    bench.arrays[0].read(Cells.block(0, 1, 0, 1), 0.2)


def pulse(bench: Bench) -> None:
    bench.arrays[0].pulse(Pulses.same(CELL, Polarity.SET, 1.2, 1.5, 2e-3))


def arrange(fault: Fault, opened: Opened, role: str) -> None:
    """It happens at the next answer of the instrument of this role."""
    server = opened.station.servers[role]
    if fault.kind == "error":
        server.device.add_error((-222, "Parameter data out of range"))  # type: ignore[attr-defined]
    else:
        server.mishaps.append(Mishap(fault.kind, ANSWERED, delay_s=TIMEOUT_s + 0.5))


def require_ends_well(fault: Fault, opened: Opened, act: Callable[[Bench], None], family: str) -> None:
    start_s = time.monotonic()
    with pytest.raises(fault.error) as caught:
        act(opened.bench)
    assert time.monotonic() - start_s < TIMEOUT_s + SLACK_s
    said = str(caught.value)
    assert family in said, "which instrument"
    assert re.search(fault.cause, said), "why"
    assert re.search(r"'[^']+'|after", said), "which message"
    assert opened.sources_off()
    assert not hasattr(caught.value, "__notes__") or not any(
        "could not be grounded" in note for note in caught.value.__notes__
    )


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("act", [read, pulse])
@pytest.mark.parametrize("resource", FAMILIES)
def test_a_source_meter(
    opened: Callable[[str], Opened], resource: str, act: Callable[[Bench], None], fault: Fault
) -> None:
    it = opened(resource)
    arrange(fault, it, "source")
    require_ends_well(fault, it, act, FAMILIES[resource][0])


OF_SWITCHES = {name: fault for name, fault in FAULTS.items() if fault.kind != "trip"}


@pytest.mark.parametrize("fault", OF_SWITCHES.values(), ids=OF_SWITCHES)
@pytest.mark.parametrize("resource", ["sim:2400", "sim:b2900"])
def test_a_switch(opened: Callable[[str], Opened], resource: str, fault: Fault) -> None:
    it = opened(resource)
    arrange(fault, it, "switch")
    require_ends_well(fault, it, read_another, SWITCHES[FAMILIES[resource][1]])


@pytest.mark.parametrize("resource", FAMILIES)
def test_after_a_fault_the_bench_goes_on(opened: Callable[[str], Opened], resource: str) -> None:
    """A late answer is never taken for a later question's."""
    it = opened(resource)
    arrange(FAULTS["late reply"], it, "source")
    with pytest.raises(TransportError):
        read(it.bench)
    time.sleep(0.7)  # it arrives meanwhile
    g_S = it.bench.arrays[0].read(CELL, 0.2).g_S
    assert 0.5e-6 < g_S[0] < 2e-6  # an ideal cell that was never written


@pytest.mark.parametrize("role", ["source", "gate", "switch"])
@pytest.mark.parametrize("resource", FAMILIES)
def test_answers_that_come_one_question_late(
    opened: Callable[[str], Opened], resource: str, role: str
) -> None:
    """A valid number in the wrong place is no reading; what is too much is dropped on the way out."""
    it = opened(resource)
    it.station.servers[role].mishaps.append(
        Mishap("repeat", r"READ|MEAS|measure\.i|OUTP|output|CLOS|getclose")
    )

    def read_several() -> None:
        for row in (1, 2, 1, 0):
            it.station._array._cells.g_S[:] = 5e-6 * (row + 1)
            g_S = it.bench.arrays[0].read(Cells.block(row, row + 1, 1, 2), 0.2).g_S
            assert g_S[0] == pytest.approx(5e-6 * (row + 1), rel=0.02)

    with pytest.raises((ProtocolError, InstrumentError)):
        read_several()
    assert it.grounded()
    it.station._array._cells.g_S[:] = 20e-6
    assert it.bench.arrays[0].read(CELL, 0.2).g_S[0] == pytest.approx(20e-6, rel=0.02)


@pytest.mark.parametrize("resource", FAMILIES)
def test_compliance_is_a_status_and_the_way_out_is_the_same(
    opened: Callable[[str], Opened], resource: str
) -> None:
    it = opened(resource)
    it.station.probe.faults.shorts[1, 1] = 100.0
    status = it.bench.arrays[0].pulse(Pulses.same(CELL, Polarity.SET, 1.2, 1.5, 2e-3)).status
    assert status[0] == CellStatus.COMPLIANCE
    it.bench.arrays[0].ground()
    assert it.sources_off()


@pytest.mark.parametrize("resource", FAMILIES)
def test_an_instrument_that_is_gone_is_said_to_be(opened: Callable[[str], Opened], resource: str) -> None:
    """Nothing can switch its output off any more: the error says that too. The other instruments are off."""
    it = opened(resource)
    it.station.servers["source"].close()
    start_s = time.monotonic()
    with pytest.raises(TransportError) as caught:
        read(it.bench)
    assert time.monotonic() - start_s < TIMEOUT_s + SLACK_s
    assert FAMILIES[resource][0] in str(caught.value)
    assert any("could not be grounded" in note for note in caught.value.__notes__)
    if resource in ("sim:2400", "sim:2450"):
        assert not it.station.probe.source("gate").on
