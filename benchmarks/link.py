"""What the link to a controller carries, with its real firmware as a program of this machine.

    python benchmarks/link.py [--writes 50000]

- writes: single-pulse cell writes a second, twelve a frame, with a front end that answers at once.
- 1 Mbit/s: the same through a proxy that passes bytes at that rate: share of it, in the direction that is full, that
  frames with results take.
- bad line: through a proxy that corrupts, drops, duplicates, delays and reorders 1 % of the frames, against the same
  proxy that leaves them alone. A frame that is delayed holds up the line for 10 ms: without a line rate, where a frame
  takes 0.1 ms, those stops are most of the loss. Then with a front end that counts every pulse.
- products: bytes on the wire, both ways, for each byte of raw codes, both ways.
- sim:posix: write-verify on the twin behind the firmware, on a good and on a bad line.

Ends with 1 when a figure misses what the project asks of it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.crossbar import ControllerCrossbar
from eapu_drivers.controller.link import Link
from eapu_drivers.controller.messages import LineDirection, Product, Write, Written
from eapu_drivers.controller.ports import SocketPort
from eapu_drivers.controller.units import load_calibrations
from eapu_drivers.simulated.board import rig

from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import Cells, Targets

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "drivers" / "controller"))
import boards
from proxy import Proxy

SHARE, BAUD, REPEATS, SLOW_WRITES, VECTORS = 0.01, 1e6, 9, 12_000, 2000


class Table:
    """Prints figures as they come; `missed` counts those that are not what they should be."""

    def __init__(self) -> None:
        self.missed = 0

    def row(self, name: str, value: str, wanted: str = "", met: bool = True) -> None:
        """One line; `wanted` is what the project asks for."""
        self.missed += not met
        print(f"{name:52s} {value:>14s}   {wanted}{'' if met else '  MISSED'}", flush=True)


def write_all(link: Link, count: int) -> tuple[float, Counter[tuple[int, int]]]:
    """Writes `count` cells; the seconds that took, and how often each cell was asked for.

    Raises RuntimeError unless every write has exactly one result, of one pulse.
    """
    requests: list[Write] = list(boards.writes(link, count))
    start_s = time.perf_counter()
    futures = [link.submit(request) for request in requests]
    answers = [future.result(120) for future in futures]
    seconds = time.perf_counter() - start_s
    asked: Counter[tuple[int, int]] = Counter()
    for request, answer in zip(requests, answers, strict=True):
        if not isinstance(answer, Written) or len(answer.tail) != len(request.tail):
            raise RuntimeError(f"{request} was answered by {answer}")
        if (answer.tail["pulses"] != 1).any() or answer.tail["status"].any():
            raise RuntimeError(f"{request}: {answer.tail}")
        asked.update(request.tail[["row", "col"]].tolist())
    return seconds, asked


@contextmanager
def linked(port: SocketPort) -> Iterator[Link]:
    with Link(lambda: port) as link:
        boards.configure(link)
        yield link


def free_writes(table: Table, count: int) -> None:
    with boards.free_board() as board, linked(SocketPort(board.host, "free")) as link:
        before = link.counters
        seconds, _ = write_all(link, count)
        after = link.counters
    rate = count / seconds
    sent, received = after.bytes_sent - before.bytes_sent, after.bytes_received - before.bytes_received
    table.row("writes: cells/s", f"{rate:,.0f}", ">= 10,000", rate >= 10_000)
    table.row(
        "writes: bytes a cell, to and from the controller", f"{sent / count:.1f}, {received / count:.1f}"
    )


def proxied(count: int, share: float, seed: int, baud: float) -> tuple[float, float]:
    """Wall time of the writes, and for how much of it delayed frames stopped the line; both in s."""
    with boards.free_board() as board:
        proxy = Proxy(board.host, seed=seed, share=share, baud=baud)
        with linked(SocketPort(proxy.near, "proxy")) as link:
            before_s = proxy.stops.seconds
            took_s, _ = write_all(link, count)
            return took_s, proxy.stops.seconds - before_s


def loss_beyond_stops(turns: list[tuple[float, float, float]]) -> float:
    """Medians of the times on the good line, on the bad one, and of the stops in that."""
    good_s, bad_s, stops_s = (statistics.median(column) for column in zip(*turns, strict=True))
    return 1 - good_s / (bad_s - stops_s)


def loss_row(table: Table, line: str, pairs: list[tuple[float, float]], judged: bool) -> None:
    """What 1 % of bad frames costs: medians of (good, bad) rates."""
    good, bad = (statistics.median(column) for column in zip(*pairs, strict=True))
    loss = 1.0 - bad / good
    table.row(f"{line}: cells/s, and with 1 % of the frames hit", f"{good:,.0f}, {bad:,.0f}")
    table.row(f"{line}: loss", f"{100 * loss:.0f} %", "< 40 %" if judged else "", loss < 0.4 or not judged)


def bad_line(table: Table, count: int) -> None:
    good_s, bad_s = (proxied(count, share, 1, BAUD)[0] for share in (0.0, SHARE))
    loss_row(table, "1 Mbit/s", [(count / good_s, count / bad_s)], True)
    turns = [(proxied(count, 0.0, seed, 0)[0], *proxied(count, SHARE, seed, 0)) for seed in range(REPEATS)]
    loss_row(table, "no line rate", [(count / good_s, count / bad_s) for good_s, bad_s, _ in turns], False)
    beyond = loss_beyond_stops(turns)
    table.row(
        "no line rate: loss beyond the proxy's own stops", f"{100 * beyond:.0f} %", "<= 15 %", beyond <= 0.15
    )
    with boards.counting_board() as (board, front_end):
        proxy = Proxy(board.host, seed=1, share=SHARE)
        with linked(SocketPort(proxy.near, "proxy")) as link:
            seconds, asked = write_all(link, count)
            counters = link.counters
        hits = proxy.up.hit + proxy.down.hit
    wrong = sum(front_end.pulses[cell] != asked[cell] for cell in asked | front_end.pulses)
    harms = ", ".join(f"{harm} {hits[harm]}" for harm in sorted(hits))
    table.row(
        f"counted: writes with one result, in {seconds:.1f} s", f"{sum(asked.values()):,}", f"{count:,}"
    )
    table.row("cells with more or fewer pulses than operations", str(wrong), "0", wrong == 0)
    table.row("frames hit; messages sent again by the host", f"{hits.total()}; {counters.resent}", harms)


def slow_line(table: Table) -> None:
    with boards.free_board() as board:
        proxy = Proxy(board.host, baud=BAUD)
        with linked(SocketPort(proxy.near, "1 Mbit/s")) as link:
            before = proxy.down.by_type[Written.NUMBER]
            seconds, _ = write_all(link, SLOW_WRITES)
            share = 10 * (proxy.down.by_type[Written.NUMBER] - before) / seconds / BAUD
    table.row("1 Mbit/s: cells/s", f"{SLOW_WRITES / seconds:,.0f}")
    table.row("1 Mbit/s: share of frames with results", f"{100 * share:.1f} %", ">= 85 %", share >= 0.85)


def products(table: Table) -> None:
    lines = sum(boards.SHAPE)
    codes = np.random.default_rng(1).integers(-3000, 3000, (VECTORS, boards.SHAPE[0])).astype(np.int16)
    bits = np.concatenate([np.packbits(np.ones(n, np.uint8), bitorder="little") for n in boards.SHAPE])
    with boards.free_board() as board, linked(SocketPort(board.host, "free")) as link:
        before, start_s = link.counters, time.perf_counter()
        begin = Product(link.take_ids(), 0, LineDirection.FORWARD, 0, VECTORS, bits)
        link.stream(begin, codes).result(60)
        seconds, after = time.perf_counter() - start_s, link.counters
    wire = after.bytes_sent + after.bytes_received - before.bytes_sent - before.bytes_received
    ratio = wire / (2 * VECTORS * lines)
    table.row(f"products of {boards.SHAPE[0]} x {boards.SHAPE[1]}: vectors/s", f"{VECTORS / seconds:,.0f}")
    table.row("bytes on the wire a byte of codes", f"{ratio:.3f}", "<= 1.15", ratio <= 1.15)


def bench_rate(count: int, share: float) -> tuple[float, float, float]:
    """Write-verify on the twin behind sim:posix: cells/s, bytes a cell, pulses a cell.

    As `open_bench` does it, but with the proxy in between and the link in view.
    """
    config = load_model(BenchConfig, "sim_controller", ["arrays=1", "shape=[64, 32]"], "benches")
    random = np.random.default_rng(1)
    cells = Cells.all(config.shape)
    rounds = max(count // len(cells), 1)
    with tempfile.TemporaryDirectory() as name, rig.start("posix", config, Path(name)) as simulated:
        proxy = Proxy(simulated.host, share=share)
        with Link(lambda: SocketPort(proxy.near, "sim:posix")) as link:
            (calibration,) = load_calibrations(Path(name), 1, config.shape)
            board = Board(link, "sim:posix", config.limits.as_limits(), [calibration], 1.0)
            array = ControllerCrossbar(board, 0, calibration, config.recipe)
            array.program(Targets(cells, np.full(len(cells), 5e-6)))  # a fresh chip moves most
            before, start_s, pulses = link.counters, time.perf_counter(), 0
            for _ in range(rounds):
                outcome = array.program(Targets(cells, random.uniform(5e-6, 35e-6, len(cells))))
                pulses += int(outcome.pulses.sum())
            seconds, after = time.perf_counter() - start_s, link.counters
            array.ground()
    wire = after.bytes_sent + after.bytes_received - before.bytes_sent - before.bytes_received
    written = rounds * len(cells)
    return written / seconds, wire / written, pulses / written


def simulated_bench(table: Table, count: int) -> None:
    good, wire, pulses = bench_rate(count, 0.0)
    bad, _, _ = bench_rate(count, SHARE)
    table.row("sim:posix: bytes a cell, both ways", f"{wire:.1f}", f"{pulses:.1f} pulses a cell")
    loss_row(table, "sim:posix", [(good, bad)], True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writes", type=int, default=50_000)
    count = parser.parse_args().writes
    table = Table()
    free_writes(table, count)
    slow_line(table)
    bad_line(table, count)
    products(table)
    simulated_bench(table, count)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
