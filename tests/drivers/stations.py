"""A small probe station for tests: cells of the twin, wired once and for all, and instruments on TCP ports."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eapu_drivers.simulated.instruments.circuit import GROUND
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.server import Device, Server

from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig
from eapu_hil.twin.driver import simulated_arrays

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 20e-3,
    "pulses_per_cell_max": 100,
}
MESSAGE_s = 1e-4


class SmallStation:
    """Cells of `preset`; `connect` closes the crosspoints of one cell: column at the bus `source`, row at ground."""

    def __init__(self, directory: Path, preset: str = "ideal", **overrides: Any) -> None:
        content = {
            "backend": "twin",
            "preset": preset,
            "shape": [4, 3],
            "limits": LIMITS,
            "overrides": overrides,
        }
        config = load_model(BenchConfig, content, (), "benches")
        self.clock, [self.array] = simulated_arrays(config, directory)
        wires = {f"C{j}": ("source", f"column{j}") for j in range(3)}
        wires |= {f"R{i}": (GROUND, f"row{i}") for i in range(4)}
        wires |= {f"G{i}": ("gate", f"gate{i}") for i in range(4)}
        self.probe = Probe(self.array, self.clock, wires)
        self.lock = threading.RLock()
        self.connect(0, 0)
        gate = self.probe.source("gate")
        self.probe.drive(gate, level_v=4.0, on=True, i_limit_a=1e-6)
        self._gate = gate

    def connect(self, row: int, column: int) -> None:
        self.probe.close_crosspoints({f"C{column}", f"R{row}", f"G{row}"})

    def gate(self, level_v: float) -> None:
        """Drives the gates without an instrument."""
        self.probe.drive(self._gate, level_v=level_v)

    def g_S(self, row: int = 0, column: int = 0) -> float:
        """The conductance that is really there."""
        return float(self.array._cells.g_S[row * 3 + column])

    @contextmanager
    def serving(self, device: Device) -> Iterator[Server]:
        server = Server(device, self.lock, lambda: self.probe.elapse(MESSAGE_s))
        try:
            yield server
        finally:
            server.close()


def asked(device: Device, message: str) -> str:
    """The answer of a simulated instrument, without a line between."""
    return device.handle(message).decode().strip()


def errors(device: Device) -> list[int]:
    """The codes in the error queue of one that speaks SCPI, oldest first; the queue is empty afterwards."""
    codes = []
    while (code := int(asked(device, ":SYST:ERR?").split(",")[0])) != 0:
        codes.append(code)
    return codes


def settled(device: Device, message: str) -> None:
    """Sent; nothing against it, and no answer."""
    assert device.handle(message) == b""
    assert errors(device) == []
