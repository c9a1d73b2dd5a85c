"""Whole benches of simulated instruments, whose station is kept: what stands in it may be changed behind their back."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eapu_drivers.simulated.instruments import station as stations
from eapu_drivers.simulated.instruments.station import Station
from stations import LIMITS

from eapu_hil.bench import Bench, open_bench
from eapu_hil.hal import Cells, HilError

FAMILIES = {
    "sim:2400": ("Keithley 2400", "sim:707b"),
    "sim:2450": ("Keithley 2450", "sim:707b"),
    "sim:2600b": ("Keithley 2600B", "sim:707b"),
    "sim:b2900": ("Keysight B2900", "sim:34980a"),
}
SWITCHES = {"sim:707b": "Keithley 707B", "sim:34980a": "Keysight 34980A"}
CELL = Cells.block(1, 2, 1, 2)


@dataclass
class Opened:
    """A bench that was opened and has read one cell: everything is set up and on."""

    bench: Bench
    station: Station

    def sources_off(self) -> bool:
        return not any(source.on for source in self.station.probe.sources)

    def grounded(self) -> bool:
        """Outputs off, every line at ground and nowhere else."""
        lines = {self.station.probe._lines[name] for name in self.station.probe._closed}
        return self.sources_off() and len(lines) == 4 + 3 + 4 and {bus for bus, _ in lines} == {"ground"}

    def another_program(self, role: str, *messages: str) -> list[str]:
        """Sends messages to an instrument from a client of its own; returns what the queries among them answered."""
        server = self.station.servers[role]
        with socket.create_connection(("127.0.0.1", server.port)) as line, line.makefile("rw") as lines:
            for message in (*messages, "*IDN?"):
                lines.write(message + "\n")
            lines.flush()
            answers = [
                lines.readline().strip() for message in messages if "?" in message or "print" in message
            ]
            assert lines.readline()  # the answer to *IDN?: all before it was carried out
        return answers


@contextmanager
def benches(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Opened]]:
    """A function that opens a small bench of a family; more keys of it are its keyword arguments."""
    kept: list[Station] = []
    open_station = stations.open_station

    @contextmanager
    def keeping(*arguments: Any) -> Iterator[Any]:
        with open_station(*arguments) as (station, places):
            kept.append(station)
            yield station, places

    monkeypatch.setattr(stations, "open_station", keeping)
    with ExitStack() as stack:

        def open_it(resource: str, **instruments: Any) -> Opened:
            content = {
                "backend": "smu",
                "resource": resource,
                "preset": "ideal",
                "shape": [4, 3],
                "limits": LIMITS,
                "instruments": {"switch": FAMILIES[resource][1], **instruments},
            }
            bench = stack.enter_context(open_bench(content, chip_dir=directory / "chip", commission=False))
            bench.arrays[0].read(CELL, 0.2)
            return Opened(bench, kept[-1])

        yield open_it
        try:
            stack.close()
        except HilError as error:
            # Only where an instrument is gone: the bench says so once more when it is closed.
            gone = any(server.closed for station in kept for server in station.servers.values())
            if not gone or "could not be grounded" not in str(error):
                raise
