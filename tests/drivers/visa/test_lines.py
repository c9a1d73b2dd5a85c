"""Which crosspoints connect one cell, for each way to treat the others."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import pytest
from eapu_drivers.visa.instrument import InstrumentIdentity
from eapu_drivers.visa.lines import SwitchedLines, Wiring

from eapu_hil.base.loading import load_model
from eapu_hil.bench.wiring import Instruments

MAP = {
    "buses": {"source": "A", "ground": "B", "gate": "C", "bias": ["D", "E"]},
    "rows": ["1x01..1x03"],
    "columns": ["1x04", "1x05"],
    "gates": ["1x06..1x08"],
}


def wiring(**changes: Any) -> Wiring:
    content = {
        "gate": {"channel": "b"},
        "switch": "GPIB0::16::INSTR",
        "map": MAP,
        "unselected": "grounded",
        "reset": "negative",
        **changes,
    }
    return Wiring(load_model(Instruments, content, (), "instruments"))


GATES = {"1B06", "1C07", "1B08"}  # the addressed one is driven, the others are closed


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        ({}, {"1B01", "1B03", "1B04"}),
        ({"unselected": "floating"}, set()),
        ({"unselected": "half", "bias": [{"channel": "c"}]}, {"1D01", "1D03", "1D04"}),
        # the driven kind of line, columns, has V/3, the other two thirds
        ({"unselected": "third", "bias": [{"channel": "c"}, {"channel": "d"}]}, {"1E01", "1E03", "1D04"}),
    ],
)
def test_one_cell(changes: dict[str, Any], others: set[str]) -> None:
    """Row 1 at ground, column 1 at the source."""
    assert wiring(**changes).cell(1, 1) == GATES | {"1B02", "1A05"} | others


def test_in_reverse_the_row_is_driven() -> None:
    reverse = wiring(unselected="floating", reset="reversed").cell(1, 1, reverse=True)
    assert reverse == GATES | {"1A02", "1B05"}


def test_lines_of_a_bad_position_stay_open() -> None:
    """Row 0 is shorted to column 1: with column 1 driven, row 0 must not be grounded."""
    bad = wiring(map={**MAP, "bad": [[0, 1]]})
    assert bad.cell(1, 1) == GATES | {"1B02", "1A05", "1B03", "1B04"}
    assert bad.cell(1, 0) == GATES | {"1B02", "1A04", "1B01", "1B03", "1B05"}


def test_grounded_is_every_line() -> None:
    assert wiring().grounded() == {f"1B0{number}" for number in range(1, 9)}


def test_together() -> None:
    assert wiring().together([0, 2], [1], [2]) == {"1B01", "1B03", "1A05", "1B06", "1B07", "1C08"}


class Recording:
    """A switch matrix that remembers what it was asked."""

    identity = InstrumentIdentity("we", "matrix", "1", "0")

    def __init__(self) -> None:
        self.asked: list[Set[str]] = []
        self.fails = False

    def connect(self, crosspoints: Set[str]) -> None:
        self.asked.append(crosspoints)
        if self.fails:
            raise RuntimeError("a relay sticks")

    def closed(self) -> frozenset[str]:
        return frozenset(self.asked[-1])

    def safe_off(self) -> None:
        self.asked.append(frozenset())

    def close(self) -> None: ...


def test_what_is_connected_already_is_not_asked_again() -> None:
    switch = Recording()
    lines = SwitchedLines(switch, wiring())
    lines.connect(lines.wiring.cell(0, 0))
    lines.connect(lines.wiring.cell(0, 0))
    assert len(switch.asked) == 1
    lines.connect(lines.wiring.cell(0, 1))
    assert len(switch.asked) == 2


def test_after_a_failure_nothing_is_known() -> None:
    switch = Recording()
    lines = SwitchedLines(switch, wiring())
    lines.connect(lines.wiring.cell(0, 0))
    switch.fails = True
    with pytest.raises(RuntimeError):
        lines.connect(lines.wiring.cell(0, 1))
    switch.fails = False
    lines.connect(lines.wiring.cell(0, 0))
    assert switch.asked[-1] == lines.wiring.cell(0, 0)


def test_grounding_is_always_sent() -> None:
    switch = Recording()
    lines = SwitchedLines(switch, wiring())
    lines.ground()
    lines.ground()
    # the first time nothing is known of the matrix, so it is opened first
    assert switch.asked == [frozenset(), *[lines.wiring.grounded()] * 2]
