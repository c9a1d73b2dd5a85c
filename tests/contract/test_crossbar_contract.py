"""Every backend of the project against the contract, through the interlock, and what only ours promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from eapu_drivers.simulated.board.linerecord import LineRecord

from eapu_hil.bench import Bench
from eapu_hil.bench.array import BenchArray
from eapu_hil.hal import Cells, Direction, LimitError, Polarity, Pulses, Targets
from eapu_hil.hal.testing import CrossbarContract


class TestContract(CrossbarContract):
    """The suite that a lab runs on its own array."""


def test_the_limits_are_those_of_the_bench_file(bench: Bench) -> None:
    [array] = bench.arrays
    assert array.shape == tuple(bench.config.shape)
    assert array.limits == bench.config.limits.as_limits()


def test_what_the_host_counts_is_what_the_lines_saw(bench: Bench) -> None:
    if bench.config.backend != "controller":
        pytest.skip("only a controller has a front end that counts by itself")
    [array] = bench.arrays
    directory, cells = bench.chip.directory, Cells.all(array.shape)
    before = LineRecord.read(directory).pulses
    targets_S = np.random.default_rng(4).uniform(2e-6, 38e-6, 128)
    asked = int(array.program(Targets(cells, targets_S)).pulses.sum())
    assert LineRecord.read(directory).pulses - before == asked > 128
    array.pulse(Pulses.same(cells, Polarity.SET, 1.2, 1.0, bench.recipe.set.width_s, count=3))
    assert LineRecord.read(directory).pulses - before == asked + 3 * 128


def test_after_closing_ground_is_all_that_is_allowed(own_bench: Bench) -> None:
    array: BenchArray
    [array] = own_bench.arrays
    cells = Cells.all(array.shape)
    array.close()
    array.ground()
    acts: list[Callable[[], object]] = [
        lambda: array.read(cells, 0.2),
        lambda: array.vmm(np.zeros((1, array.shape[0])), Direction.FORWARD),
        lambda: array.pulse(Pulses.same(cells, Polarity.SET, 1.0, 1.0, own_bench.recipe.set.width_s)),
        lambda: array.program(Targets(cells, np.full(len(cells), 1e-5))),
        lambda: array.wait(0.1),
        array.clock_s,
    ]
    for act in acts:
        with pytest.raises(LimitError, match="closed"):
            act()
    array.ground()


def test_each_request_takes_time(bench: Bench) -> None:
    [array] = bench.arrays
    cells = Cells.all(array.shape)
    times_s = [array.clock_s()]
    acts: list[Callable[[], object]] = [
        lambda: array.read(cells, 0.2),
        lambda: array.vmm(np.full((5, array.shape[0]), 0.1), Direction.FORWARD),
        lambda: array.pulse(Pulses.same(cells, Polarity.SET, 1.0, 1.0, bench.recipe.set.width_s)),
        lambda: array.program(Targets(cells, np.full(len(cells), 1e-5))),
    ]
    for act in acts:
        act()
        times_s.append(array.clock_s())
    assert (np.diff(times_s) > 0).all()
