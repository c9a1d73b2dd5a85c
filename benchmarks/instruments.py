"""Bus traffic of benches of instruments, against the simulated ones: messages a cell, and time.

    python benchmarks/instruments.py

A message is one line sent to an instrument (source, gate or switch), whether or not it is answered. Times are of this
machine with simulated instruments that answer at once, not of a bench.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from eapu_drivers.visa.array import SmuArray
from eapu_drivers.visa.transport import BUS

from eapu_hil.bench import Bench, open_bench
from eapu_hil.hal import Cells, CellStatus, Direction, Polarity, Pulses, Targets

BENCHES = ("sim_2400", "sim_2450", "sim_2600b", "sim_b2900")
SHAPE = (16, 8)


class Counter(logging.Handler):
    """Counts messages; a query and its answer are one."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.messages += "<-" in str(record.msg)


@contextmanager
def counting() -> Iterator[Counter]:
    """Counts while the context lasts."""
    counter = Counter()
    BUS.addHandler(counter)
    BUS.setLevel(logging.DEBUG)
    BUS.propagate = False
    try:
        yield counter
    finally:
        BUS.removeHandler(counter)
        BUS.setLevel(logging.NOTSET)


@contextmanager
def formed(name: str) -> Iterator[Bench]:
    """The bench with a chip that is formed."""
    from eapu_hil.bench.forming import form

    with (
        tempfile.TemporaryDirectory() as directory,
        open_bench(name, chip_dir=Path(directory) / "chip", commission=False) as bench,
    ):
        form(bench.arrays[0], Cells.all(SHAPE), bench.recipe)
        yield bench


def written(bench: Bench, seed: int) -> tuple[float, float, float, float]:
    """Messages, pulses and seconds a cell, share in band, for random targets of all cells."""
    targets_S = np.random.default_rng(seed).uniform(2e-6, 38e-6, SHAPE[0] * SHAPE[1])
    start_s = time.perf_counter()
    with counting() as counter:
        outcome = bench.arrays[0].program(Targets(Cells.all(SHAPE), targets_S))
    wall_s = time.perf_counter() - start_s
    n = targets_S.size
    return (
        counter.messages / n,
        outcome.pulses.mean(),
        wall_s / n,
        float((outcome.status == CellStatus.OK).mean()),
    )


def requests(bench: Bench) -> Iterator[tuple[str, float, float]]:
    """Messages and milliseconds a cell of readings and pulses: of them, some ask whether all is as it was left."""
    array, cell = bench.arrays[0], Cells.block(1, 2, 1, 2)
    pulses = Pulses.same(cell, Polarity.SET, 1.2, 1.5, 2e-3)
    acts: dict[str, tuple[int, Callable[[], object]]] = {
        "reading, the same cell": (1, lambda: array.read(cell, 0.2)),
        "reading, cell by cell": (SHAPE[0] * SHAPE[1], lambda: array.read(Cells.all(SHAPE), 0.2)),
        "pulse, the same cell": (1, lambda: array.pulse(pulses)),
    }
    for name, (cells, act) in acts.items():
        act()
        start_s = time.perf_counter()
        with counting() as counter:
            act()
        yield name, counter.messages / cells, 1e3 * (time.perf_counter() - start_s) / cells


def from_the_host(bench: Bench) -> None:
    """Takes the instrument's own write-verify away from the array."""
    inner = bench.arrays[0]._device
    assert isinstance(inner, SmuArray)
    inner._sources = replace(inner._sources, verifier=None)


def report(label: str, figures: tuple[float, float, float, float]) -> None:
    messages, pulses, seconds, share = figures
    print(f"{label:34s}{messages:9.1f}{pulses:9.1f}{1e3 * seconds:9.1f}{share:9.3f}")


def main() -> None:
    print(f"{'write-verify, a cell':34s}{'messages':>9s}{'pulses':>9s}{'ms':>9s}{'in band':>9s}")
    for name in BENCHES:
        with formed(name) as bench:
            figures = written(bench, 1)
            report(name, figures)
            if name == "sim_2600b":
                from_the_host(bench)
                host = written(bench, 2)  # other targets, so that the cells have as far to go
                report("sim_2600b, loop on the host", host)
                print(f"  the host's loop takes {host[0] / figures[0]:.1f} times the messages")
    print(f"\n{'requests, a cell':34s}{'messages':>9s}{'ms':>9s}")
    for name in BENCHES:
        with formed(name) as bench:
            for request, messages, milliseconds in requests(bench):
                print(f"{name + ', ' + request:34s}{messages:9.1f}{milliseconds:9.1f}")
    print(f"\n{'products, 20 vectors of 16 x 8':34s}{'messages':>9s}{'s':>9s}{'bench s':>9s}")
    for name in BENCHES:
        with formed(name) as bench, counting() as counter:
            array = bench.arrays[0]
            start_s, bench_s = time.perf_counter(), array.clock_s()
            array.vmm(np.random.default_rng(0).uniform(-0.2, 0.2, (20, 16)), Direction.FORWARD)
            wall_s = time.perf_counter() - start_s
            print(f"{name:34s}{counter.messages:9d}{wall_s:9.2f}{array.clock_s() - bench_s:9.2f}")


if __name__ == "__main__":
    main()
