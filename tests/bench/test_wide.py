"""Requests over several arrays of a bench: as good as asking each array, whether the devices take them or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.corrections import Corrections, LineGains
from eapu_hil.bench.interlock import Interlock, close_all
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.bench.wide import BenchArrays
from eapu_hil.hal import (
    BenchWide,
    Cells,
    Direction,
    HilError,
    IntArray,
    LimitError,
    Limits,
    ProductRequest,
    Reading,
    Targets,
    TransportError,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.several import by_array, joined, no_reading, no_writes

ARRAYS, SHAPE = 3, (6, 4)
# Cells of the arrays 2 and 0, mixed; array 1 has none.
ON, CELLS = np.array([2, 0, 2, 2]), Cells(np.array([5, 1, 0, 3]), np.array([3, 2, 0, 1]))
TARGETS = Targets(CELLS, np.array([10e-6, 20e-6, 30e-6, 25e-6]))


class Together:
    """Devices that take requests over all of them."""

    def __init__(self, devices: Sequence[Any]) -> None:
        self._devices = devices
        self.sent: list[Any] = []

    def read_cells(self, array: IntArray, cells: Cells, v_read_v: float) -> Reading:
        self.sent.append((array, cells))
        parts = by_array(array)
        answers = [self._devices[number].read(cells[here], v_read_v) for number, here in parts]
        return joined(answers, [here for _, here in parts], no_reading())

    def program_cells(self, array: IntArray, targets: Targets, recipe: Recipe) -> WriteOutcome:
        self.sent.append((array, targets))
        answers = []
        parts = by_array(array)
        for number, here in parts:
            its = Targets(targets.cells[here], targets.g_target_S[here])
            answers.append(self._devices[number].program(its, recipe))
        return joined(answers, [here for _, here in parts], no_writes())

    def products(self, requests: Sequence[ProductRequest]) -> list[NDArray[np.floating]]:
        self.sent.append(requests)
        return [
            np.array(
                [
                    self._devices[number].vmm(
                        one.v_in_v[k], one.direction, one.driven(k, m), one.measured(k, m)
                    )
                    for k, m, number in one.grid()
                ]
            ).reshape(*one.arrays.shape, one.v_in_v.shape[1], -1)
            for one in requests
        ]


class Bench:
    """Fake devices and the arrays before them. meanwhile: called with each request of a device, and its number."""

    def __init__(
        self, make_crossbar: Any, limits: Limits, recipe: Recipe, folder: Path, together: bool
    ) -> None:
        self.meanwhile: Callable[[int, str], None] = lambda _, __: None
        self.recorded: list[tuple[int, Targets]] = []
        self.devices = [
            make_crossbar(on_request=lambda name, number=number: self.meanwhile(number, name))
            for number in range(ARRAYS)
        ]
        self.ledgers = [ArrayLedger(folder / f"array{number}", SHAPE) for number in range(ARRAYS)]
        self.together = Together(self.devices)
        self.interlocks = [
            Interlock(device, limits, f"array {number}") for number, device in enumerate(self.devices)
        ]
        arrays = [
            BenchArray(
                device,
                self.interlocks[number],
                recipe,
                ledger,
                Corrections(np.linspace(-1e-7, 1e-7, SHAPE[1]) * number),
                lambda targets, *_, number=number: self.recorded.append((number, targets)),  # type: ignore[arg-type, misc]
            )
            for number, (device, ledger) in enumerate(zip(self.devices, self.ledgers, strict=True))
        ]
        self.arrays = BenchArrays(arrays, self.together if together else None)

    def close(self) -> None:
        """Interlocks ground at the end of the process, and would keep all this until then."""
        self.meanwhile = lambda _, __: None
        close_all(self.interlocks)
        for ledger in self.ledgers:
            ledger.close()

    @property
    def sent(self) -> list[tuple[int, str]]:
        """Number and name of each request that a device got."""
        return [(number, name) for number, device in enumerate(self.devices) for name, _ in device.sent]


Make = Callable[[], Bench]


@pytest.fixture(params=[True, False], ids=["together", "in turn"])
def make(
    request: pytest.FixtureRequest, make_crossbar: Any, limits: Limits, recipe: Recipe, tmp_path: Path
) -> Iterator[Make]:
    made: list[Bench] = []

    def one_more() -> Bench:
        made.append(Bench(make_crossbar, limits, recipe, tmp_path / str(len(made)), request.param))
        return made[-1]

    yield one_more
    for bench in made:
        bench.close()


def test_devices_that_take_them_are_known_by_their_methods(make: Make) -> None:
    assert isinstance(make().together, BenchWide)
    assert not isinstance([], BenchWide)


def test_answers_and_counts_are_those_of_each_array(make: Make, recipe: Recipe) -> None:
    wide, single = make(), make()
    for number, device in enumerate([*wide.devices, *single.devices]):
        device.g_S += 1e-6 * np.arange(24).reshape(SHAPE) * (1 + number % ARRAYS)
    reading = wide.arrays.read_cells(ON, CELLS, 0.2)
    outcome = wide.arrays.program_cells(ON, TARGETS, recipe)
    for number in (0, 2):
        (here,) = np.nonzero(np.equal(ON, number))
        alone = single.arrays[number].read(CELLS[here], 0.2)
        np.testing.assert_array_equal(reading.g_S[here], alone.g_S)
        np.testing.assert_array_equal(reading.status[here], alone.status)
        written = single.arrays[number].program(Targets(CELLS[here], TARGETS.g_target_S[here]), recipe)
        for name, values in vars(written).items():
            np.testing.assert_array_equal(getattr(outcome, name)[here], values)
    np.testing.assert_allclose(outcome.g_after_S, TARGETS.g_target_S, rtol=1e-12)
    for mine, theirs in zip(wide.ledgers, single.ledgers, strict=True):
        after = theirs.snapshot()
        for name, counts in mine.snapshot().items():
            np.testing.assert_array_equal(counts, after[name])
    assert [number for number, _ in wide.recorded] == [0, 2]
    assert not any(number == 1 for number, _ in wide.sent)


@pytest.mark.parametrize("gains", [False, True])
def test_products_are_those_of_each_array(make: Make, gains: bool) -> None:
    wide, single = make(), make()
    rng = np.random.default_rng(0)
    if gains:
        one = LineGains(*(1 + 0.1 * rng.random(lines) for lines in (4, 6, 6, 4)), 1e-7 * rng.random(4))
        wide.arrays[2].corrections.gains = single.arrays[2].corrections.gains = one
    v_v = rng.uniform(-0.4, 0.4, (2, 5, 6)).astype(np.float32)
    lines = np.array([[[3, 0], [1, 3]], [[0, 1], [2, 3]]])
    requests = [
        ProductRequest(np.array([[2]]), v_v[:1], Direction.FORWARD),
        ProductRequest(np.array([[0, 2], [1, 0]]), v_v, Direction.FORWARD, None, lines),
        ProductRequest(np.array([[2, 1]]), v_v[:1, :, :2], Direction.TRANSPOSED, lines[:1]),
        ProductRequest(np.array([[0], [2]]), v_v[:, :, :4], Direction.TRANSPOSED, None, 1 + lines[:, :1]),
    ]
    found = wide.arrays.products(requests)
    for grid_a, ask in zip(found, requests, strict=True):
        assert grid_a.shape[:2] == ask.arrays.shape
        for k, m, number in ask.grid():
            alone_a = single.arrays[number].vmm(
                ask.v_in_v[k], ask.direction, ask.driven(k, m), ask.measured(k, m)
            )
            np.testing.assert_allclose(grid_a[k, m], alone_a, rtol=1e-6)
    for mine, theirs in zip(wide.ledgers, single.ledgers, strict=True):
        after = theirs.snapshot()
        for name, counts in mine.snapshot().items():
            np.testing.assert_array_equal(counts, after[name])
    assert wide.arrays.products([]) == []


def test_one_bad_cell_refuses_the_whole_request_before_any_of_it_is_sent(make: Make, recipe: Recipe) -> None:
    bench = make()
    outside = Cells(np.array([1, 1, 6]), np.array([0, 0, 0]))
    array = np.array([0, 1, 2])
    with pytest.raises(LimitError, match=r"array 2, cell \(6, 0\): outside the array"):
        bench.arrays.read_cells(array, outside, 0.2)
    with pytest.raises(LimitError, match=r"array 1, cell \(2, 0\): a target of -0.5 S asked"):
        bench.arrays.program_cells(array, Targets(Cells([1, 2, 3], [0, 0, 0]), [1e-5, -0.5, 1e-5]), recipe)  # type: ignore[arg-type]
    v_v = np.full((3, 1, 6), 0.25) + 0.25 * array[:, None, None]
    with pytest.raises(LimitError, match=r"array 2: a forward product with 0.75 V on line 0"):
        bench.arrays.products([ProductRequest(array[:, None], v_v, Direction.FORWARD)])
    assert bench.sent == []
    for ledger in bench.ledgers:
        assert ledger.snapshot()["pulses"].sum() == 0


def test_a_cell_twice_is_refused_and_one_place_on_two_arrays_is_not(make: Make, recipe: Recipe) -> None:
    bench, twice = make(), Targets(Cells([1, 1], [2, 2]), [1e-5, 2e-5])  # type: ignore[arg-type]
    with pytest.raises(LimitError, match=r"array 1, cell \(1, 2\): asked twice"):
        bench.arrays.program_cells(np.array([1, 1]), twice, recipe)
    outcome = bench.arrays.program_cells(np.array([1, 2]), twice, recipe)
    np.testing.assert_allclose(outcome.g_after_S, twice.g_target_S)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ([0, 3], "array 3 asked; the bench has arrays 0 to 2"),
        ([0, -1], "array -1 asked"),
        ([0, 0.5], "array: 0.5 asked; allowed are whole numbers"),
        ([True, False], "truth values"),
        ([0], r"shape \(1,\) asked; allowed is one for each of 2 cells"),
    ],
)
def test_refuses_numbers_that_are_no_arrays(make: Make, array: Any, said: str) -> None:
    bench = make()
    with pytest.raises(LimitError, match=said):
        bench.arrays.read_cells(array, Cells([1, 2], [1, 2]), 0.2)  # type: ignore[arg-type]
    assert bench.sent == []


@pytest.mark.parametrize("request_of", ["read", "program", "vmm"])
def test_an_exception_grounds_all_arrays_that_are_concerned(
    make: Make, recipe: Recipe, request_of: str
) -> None:
    bench = make()

    def fail(number: int, name: str) -> None:
        if (number, name) == (2, request_of):
            raise TransportError("the link is lost")

    bench.meanwhile = fail
    v_v = np.full((2, 1, 6), 0.1)
    act = {
        "read": lambda: bench.arrays.read_cells(ON, CELLS, 0.2),
        "program": lambda: bench.arrays.program_cells(ON, TARGETS, recipe),
        "vmm": lambda: bench.arrays.products([ProductRequest(np.array([[0], [2]]), v_v, Direction.FORWARD)]),
    }[request_of]
    with pytest.raises(TransportError, match="the link is lost"):
        act()
    assert bench.devices[0].grounds >= 1
    assert bench.devices[2].grounds >= 1
    assert bench.devices[1].grounds == 0
    assert bench.arrays[0].interlock.is_grounded
    assert bench.arrays[2].interlock.is_grounded


def test_pulses_of_devices_without_an_account_are_counted_before_and_corrected_after(
    make: Make, recipe: Recipe
) -> None:
    bench, most = make(), recipe.pulses_max * recipe.epochs
    seen = []

    def look(number: int, name: str) -> None:
        if name == "program":
            seen.append(int(bench.ledgers[number].snapshot()["pulses"].sum()))

    bench.meanwhile = look
    bench.arrays.program_cells(ON, TARGETS, recipe)
    assert sorted(seen) == [most, 3 * most]
    assert [int(ledger.snapshot()["pulses"].sum()) for ledger in bench.ledgers] == [0, 0, 6]  # FakeCrossbar

    def fail(number: int, name: str) -> None:
        if (number, name) == (2, "program"):
            raise TransportError("the link is lost")

    bench.meanwhile = fail
    with pytest.raises(TransportError):
        bench.arrays.program_cells(ON, TARGETS, recipe)
    assert bench.ledgers[2].snapshot()["pulses"].sum() == 6 + 3 * most
    assert np.isnan(bench.ledgers[2].g_last_S(CELLS[np.equal(ON, 2)])).all()


def test_a_ground_from_another_thread_ends_a_request_over_several_arrays(make: Make, recipe: Recipe) -> None:
    bench = make()

    def ground_array_0(number: int, name: str) -> None:
        if (number, name) == (2, "program"):
            thread = threading.Thread(target=bench.arrays[0].ground)
            thread.start()
            thread.join()

    bench.meanwhile = ground_array_0
    with pytest.raises(HilError, match="array 0: put to 0 V in the middle of a request"):
        bench.arrays.program_cells(ON, TARGETS, recipe)
    assert all(bench.arrays[number].interlock.is_grounded for number in (0, 2))
    assert np.isnan(bench.ledgers[0].g_last_S(CELLS[np.equal(ON, 0)])).all() or bench.arrays.at_once(ON)[1:]


def test_what_is_sent_is_what_was_checked_whatever_happens_to_the_callers_arrays(
    make: Make, recipe: Recipe
) -> None:
    bench = make()
    array, row = ON.copy(), CELLS.row.copy()
    target_S, v_v, lines = TARGETS.g_target_S.copy(), np.full((1, 2, 6), 0.1), np.ones((1, 3, 1), np.int64)

    def spoil(number: int, name: str) -> None:  # noqa: ARG001
        array[:] = row[:] = lines[:] = 77
        target_S[:] = v_v[:] = 99.0

    bench.meanwhile = spoil
    bench.arrays.program_cells(array, Targets(Cells(row, CELLS.col), target_S), recipe)
    array[:] = ON
    bench.arrays.products([ProductRequest(np.array([[0]]), np.full((1, 2, 6), 0.1), Direction.FORWARD)])
    v_v[:], lines[:] = 0.1, 1
    numbers = np.array([[0, 1, 2]])
    bench.arrays.products([ProductRequest(numbers, v_v, Direction.FORWARD, None, lines)])
    for device in bench.devices:
        for name, content in device.sent:
            if name == "vmm":
                np.testing.assert_array_equal(content, np.full((2, 6), 0.1))
                with pytest.raises(ValueError, match="read-only"):
                    content[...] = 1
            elif name == "program":
                assert (content[0].g_target_S < 1e-4).all()
    assert sorted(number for number, name in bench.sent if name == "program") == [0, 2]


def test_after_close_of_one_array_requests_with_it_are_refused(make: Make, recipe: Recipe) -> None:
    bench = make()
    bench.arrays[2].close()
    for act in (
        lambda: bench.arrays.read_cells(ON, CELLS, 0.2),
        lambda: bench.arrays.program_cells(ON, TARGETS, recipe),
        lambda: bench.arrays.products(
            [ProductRequest(np.array([[2]]), np.zeros((1, 1, 6)), Direction.FORWARD)]
        ),
    ):
        with pytest.raises(LimitError, match="array 2: closed"):
            act()
    assert bench.sent == []
    bench.arrays.read_cells(np.array([0]), Cells([1], [1]), 0.2)  # type: ignore[arg-type]


def test_without_record_nothing_is_noted(make: Make, recipe: Recipe) -> None:
    bench = make()
    bench.arrays.without_record().program_cells(ON, TARGETS, recipe)
    assert bench.recorded == []
    assert len(bench.arrays.without_record()) == ARRAYS


def test_no_cells_are_no_request(make: Make, recipe: Recipe) -> None:
    bench, none = make(), Cells(np.zeros(0, int), np.zeros(0, int))
    assert bench.arrays.read_cells(np.zeros(0, int), none, 0.2).g_S.shape == (0,)
    assert bench.arrays.program_cells(np.zeros(0, int), Targets(none, np.zeros(0)), recipe).pulses.size == 0
    assert bench.arrays.at_once(np.zeros(0, int)) == []
    assert bench.sent == []


def test_devices_that_take_one_array_at_a_time_are_written_so(make: Make) -> None:
    bench = make()
    parts = [part.tolist() for part in bench.arrays.at_once(ON)]
    assert parts in ([[0, 1, 2, 3]], [[1], [0, 2, 3]])
    assert (len(parts) == 1) == (bench.arrays._devices is not None)
