"""What sources themselves hold of the limits of a bench. Every output is off, so nothing reaches a cell."""

from __future__ import annotations

from collections.abc import Iterator

from eapu_drivers.visa.instrument import number
from eapu_drivers.visa.smu.contract import AsksState, Setup, SourceMeter
from eapu_drivers.visa.sources import Setups, Sources
from eapu_hil.hal import DeviceProof


def prove(sources: Sources, setups: Setups) -> list[DeviceProof]:
    """Sets each source up for its limits, output off, and reads compliance, range and output back.

    Requests beyond the limits are not sent: an instrument would carry them out. Raises InstrumentError where one was
    not taken, or an output is on.
    """
    proofs = [
        *_proven(sources.cell, setups.pulse, "source", "v_max_v", "i_max_a"),
        *_proven(sources.cell, setups.read, "source, readings", "v_read_max_v", "instruments.i_read_max_a"),
        *_proven(sources.gate, setups.gate, "gate", "v_gate_max_v", "instruments.i_gate_max_a"),
    ]
    for place, bias in enumerate(sources.bias):
        proofs += _proven(bias, setups.bias, f"bias {place}", "v_max_v", "i_max_a")
    return proofs


def _proven(
    source: SourceMeter, setup: Setup, role: str, voltage: str, current: str
) -> Iterator[DeviceProof]:
    name = f"{source.identity.model} ({role})"
    source.set_up(setup)
    asked = {
        voltage: f"{name}: a fixed source range that holds {number(setup.v_range_v)} V",
        current: f"{name}: a compliance of {number(setup.i_limit_a)} A",
    }
    if not isinstance(source, AsksState):
        for limit, question in asked.items():
            yield DeviceProof(limit, question, "its driver cannot ask it: only the host holds this limit")
        return
    source.require_as_left()
    taken = source.taken
    assert taken is not None  # it was set up just now
    answers = {
        voltage: f"range of {number(taken.v_range_v)} V, output off: it refuses levels beyond its range only",
        current: f"compliance of {number(taken.i_limit_a)} A, output off",
    }
    for limit, question in asked.items():
        yield DeviceProof(limit, question, answers[limit])
