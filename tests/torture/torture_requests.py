"""Hostile requests at the interlock: what reaches the array is what was asked, and inside the limits.

A bench of the twin is opened as usual; in place of the physics stands a front end that trusts nobody and looks at each
request that arrives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torture_counts import SILENT, TRACEBACK, Counts
from torture_files import LIMITS

from eapu_hil.bench import open_bench
from eapu_hil.bench.opening import Bench
from eapu_hil.hal import (
    Cells,
    Direction,
    HilError,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.twin.crossbar import TwinCrossbar

ROWS, COLUMNS = 8, 4
BENCH = {"backend": "twin", "preset": "ideal", "arrays": 1, "shape": [ROWS, COLUMNS], "limits": LIMITS}
_OF_A_CHIP = (
    1000  # requests: the passport keeps what each of its thousands of `program` did, and reads its list
)
V_MAX_V, GATE_MAX_V, READ_MAX_V = LIMITS["v_max_v"], LIMITS["v_gate_max_v"], LIMITS["v_read_max_v"]


class BeyondError(Exception):
    """A request reached the lines that must not."""


def try_requests(trials: int, random: np.random.Generator) -> Counts:
    """Sends `trials` requests, most of them with something wrong in them."""
    counts = Counts("hostile requests", trials)
    with _watched():
        while counts.tried < trials:
            _try_some(min(trials, counts.tried + _OF_A_CHIP), counts, random)
    return counts


def _try_some(until: int, counts: Counts, random: np.random.Generator) -> None:
    with open_bench(BENCH, commission=False) as bench:
        kinds = (_read, _product, _pulse, _program)
        while counts.tried < until:
            make = kinds[int(random.integers(len(kinds)))]
            with _changed_meanwhile(random) as share:
                hostile, request = make(bench, random, share)
                try:
                    request()
                except BeyondError as error:
                    counts.add(SILENT, f"{make.__name__}: {hostile}: {error}")
                except (HilError, ValueError, TypeError, OverflowError):
                    counts.add("refused")
                except Exception as error:  # noqa: BLE001 - whatever is no sentence is what is looked for
                    counts.add(TRACEBACK, f"{make.__name__}: {hostile!r}: {error!r}")
                else:
                    wrong = hostile is not None and hostile is not _SHARED
                    counts.add(
                        SILENT if wrong else "carried out", f"{make.__name__}: {hostile!r} was carried out"
                    )


_SHARED = "an array that another thread changes"
_SHARED_PART = 0.05  # of the requests where one can stand; two threads that wait for each other take long
_INTEGERS: tuple[Any, ...] = (
    -1, -0.9, 0.5, 2.9999, 10**6, 2**63 - 1, float("nan"), float("inf"), "1", None, 1j, np.datetime64(1, "s"),
    np.uint64(2**64 - 1),
)  # fmt: skip
_NUMBERS: tuple[Any, ...] = (
    float("nan"), float("inf"), -float("inf"), 1e308, 99.0, -99.0, "0.1", None, 0.1 + 0j, 0.1 + 50j,
    np.datetime64(1, "s"), 10**400,
)  # fmt: skip


def _one(values: tuple[Any, ...], random: np.random.Generator) -> Any:
    return values[int(random.integers(len(values)))]


def _spoilt(good: Any, value: Any, random: np.random.Generator) -> Any:
    """`good` with one element replaced, as a list of anything, an array of objects, or a masked array."""
    how = int(random.integers(4))
    elements = list(np.asarray(good).tolist())
    if random.random() < 0.1:
        return np.array([False] * len(elements))  # a mask in place of numbers
    elements[int(random.integers(len(elements)))] = value
    if how == 0:
        return elements
    if how == 1:
        return np.array(elements, dtype=object)
    if how == 2:
        return np.ma.masked_array(np.array([99.0] * len(elements)), mask=[True] * len(elements))
    return [elements]


def _cells(random: np.random.Generator, count: int) -> tuple[Any, Any]:
    at = random.choice(ROWS * COLUMNS, count, replace=False)
    return at // COLUMNS, at % COLUMNS


def _read(
    bench: Bench, random: np.random.Generator, _share: Callable[..., Any]
) -> tuple[Any, Callable[[], object]]:
    row, col = _cells(random, 3)
    v_read_v: Any = 0.2
    hostile: Any = None
    if random.random() < 0.8:
        hostile = _one(_INTEGERS, random)
        if random.random() < 0.3:
            hostile = v_read_v = _one((*_NUMBERS, READ_MAX_V * 1.001, 0.0, True), random)
        else:
            row = _spoilt(row, hostile, random)
    return hostile, lambda: bench.arrays[0].read(Cells(row, col), v_read_v)


def _product(
    bench: Bench, random: np.random.Generator, share: Callable[..., Any]
) -> tuple[Any, Callable[[], object]]:
    v_in_v: Any = random.uniform(-READ_MAX_V, READ_MAX_V, (2, 3))
    lines: Any = random.choice(ROWS, 3, replace=False)
    hostile: Any = None
    what = int(random.integers(5))
    if what == 0:
        hostile = _one((*_NUMBERS, READ_MAX_V * 1.001), random)
        v_in_v = (
            [_spoilt(v_in_v[0], hostile, random)] * 2 if random.random() < 0.5 else np.full((2, 3), hostile)
        )
    elif what == 1:
        hostile = _one(_INTEGERS, random)
        lines = _spoilt(lines, hostile, random)
    elif what == 2:
        hostile = "masked"
        v_in_v = np.ma.masked_array(np.full((2, 3), 50.0), mask=True)
    elif what == 3 and random.random() < _SHARED_PART:
        hostile, v_in_v = _SHARED, share((2, 3), 0.1)
    return hostile, lambda: bench.arrays[0].vmm(v_in_v, Direction.FORWARD, lines)


def _pulse(
    bench: Bench, random: np.random.Generator, share: Callable[..., Any]
) -> tuple[Any, Callable[[], object]]:
    row, col = _cells(random, 3)
    fields: dict[str, Any] = {
        "polarity": np.array([1, -1, 2]),
        "amplitude_v": random.uniform(0.1, V_MAX_V, 3),
        "gate_v": random.uniform(0.0, GATE_MAX_V, 3),
        "width_s": random.uniform(1e-8, 1e-3, 3),
        "count": random.integers(1, 5, 3),
    }
    hostile: Any = None
    what = int(random.integers(4))
    if what == 0:
        name = _one(("amplitude_v", "gate_v", "width_s"), random)
        hostile = _one(
            (*_NUMBERS, 1.001 * {"amplitude_v": V_MAX_V, "gate_v": GATE_MAX_V, "width_s": 1e-3}[name]), random
        )
        fields[name] = _spoilt(fields[name], hostile, random)
    elif what == 1:
        name = _one(("polarity", "count"), random)
        hostile = _one(_INTEGERS[1:], random)  # not -1, the polarity of RESET
        fields[name] = _spoilt(fields[name], hostile, random)
    elif what == 2 and random.random() < _SHARED_PART:
        name = _one(("amplitude_v", "gate_v"), random)
        hostile, fields[name] = _SHARED, share(3, 0.1)
    return hostile, lambda: bench.arrays[0].pulse(Pulses(Cells(row, col), **fields))


def _program(
    bench: Bench, random: np.random.Generator, share: Callable[..., Any]
) -> tuple[Any, Callable[[], object]]:
    row, col = _cells(random, 3)
    target_S: Any = random.uniform(5e-6, 30e-6, 3)
    recipe: Recipe | None = None
    hostile: Any = None
    what = int(random.integers(4))
    if what == 0:
        hostile = _one((*_NUMBERS, 20.0, 500e-6, -1e-6), random)
        target_S = _spoilt(target_S, hostile, random)
    elif what == 1:
        hostile, recipe = _beyond(bench.recipe, random)
    elif what == 2 and random.random() < _SHARED_PART:
        hostile, target_S = _SHARED, share(3, 1e-5)
    return hostile, lambda: bench.arrays[0].program(Targets(Cells(row, col), target_S), recipe)


def _beyond(good: Recipe, random: np.random.Generator) -> tuple[str, Recipe]:
    """A recipe with one number beyond what is allowed, made without its own validation."""
    part = _one(("set", "reset"), random)
    key = _one(("start_v", "stop_v", "step_v"), random)
    largest = () if key == "step_v" else (30.0,)  # a step beyond the end leads to the end
    value = _one((*largest, -30.0, float("nan"), float("inf"), True, 1j), random)
    half = getattr(good, part)
    amplitude = half.amplitude.model_copy(update={key: value})
    bad = good.model_copy(update={part: half.model_copy(update={"amplitude": amplitude})})
    return f"recipe.{part}.amplitude.{key} {value}", bad


@contextmanager
def _changed_meanwhile(random: np.random.Generator) -> Iterator[Callable[..., Any]]:
    """Gives arrays that a second thread sets to 99 V and back until the block ends."""
    shared: list[Any] = []
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for values, good in shared:
                values[...] = 99.0
                values[...] = good

    thread: list[threading.Thread] = []

    def share(shape: Any, good: float) -> Any:
        values = np.full(shape, good) * random.uniform(0.5, 1.0)
        shared.append((values, values.copy()))
        thread.append(threading.Thread(target=change, daemon=True))
        thread[-1].start()
        return values

    try:
        yield share
    finally:
        stop.set()
        for one in thread:
            one.join()


@contextmanager
def _watched() -> Iterator[None]:
    """In place of the twin's physics, a front end that refuses with `BeyondError`."""
    watched = {
        "read": _arrived_read,
        "vmm": _arrived_product,
        "pulse": _arrived_pulses,
        "program": _arrived_targets,
    }
    kept = {name: getattr(TwinCrossbar, name) for name in watched}
    for name, instead in watched.items():
        setattr(TwinCrossbar, name, instead)
    try:
        yield
    finally:
        for name, own in kept.items():
            setattr(TwinCrossbar, name, own)


def _within(values: Any, low: float, high: float, what: str, kind: str = "f") -> None:
    """The values as they are at the moment when the lines would be driven; looked at again and again."""
    if type(values) is not np.ndarray or values.dtype.kind not in kind:
        raise BeyondError(f"{what}: {type(values).__name__} of {getattr(values, 'dtype', '?')}")
    for _ in range(8):
        if not ((values >= low) & (values <= high)).all():
            raise BeyondError(f"{what}: {values}")


def _arrived_cells(cells: Cells) -> int:
    _within(cells.row, 0, ROWS - 1, "row", "iu")
    _within(cells.col, 0, COLUMNS - 1, "col", "iu")
    return len(cells.row)


def _arrived_read(_array: object, cells: Cells, v_read_v: float) -> Reading:
    n = _arrived_cells(cells)
    if isinstance(v_read_v, bool) or not 0 < abs(v_read_v) <= READ_MAX_V:
        raise BeyondError(f"v_read_v {v_read_v!r}")
    return Reading(np.full(n, 1e-5), np.zeros(n, np.uint8))


def _arrived_product(
    _array: object, v_in_v: Any, direction: Direction, lines_in: Any = None, lines_out: Any = None
) -> Any:
    _within(v_in_v, -READ_MAX_V, READ_MAX_V, "v_in_v")
    if lines_in is not None:
        _within(lines_in, 0, ROWS - 1, "lines_in", "iu")
    measured = COLUMNS if lines_out is None else len(lines_out)
    return np.zeros((len(v_in_v), measured if direction is Direction.FORWARD else ROWS))


def _arrived_pulses(_array: object, pulses: Pulses) -> PulseOutcome:
    n = _arrived_cells(pulses.cells)
    _within(pulses.amplitude_v, 1e-300, V_MAX_V, "amplitude_v")
    _within(pulses.gate_v, 0.0, GATE_MAX_V, "gate_v")
    _within(pulses.width_s, 1e-300, 1e-3, "width_s")
    _within(pulses.polarity, -1, 2, "polarity", "iu")
    _within(pulses.count, 1, LIMITS["pulses_per_cell_max"], "count", "iu")
    return PulseOutcome(np.zeros(n, np.uint8))


def _arrived_targets(array: TwinCrossbar, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
    n = _arrived_cells(targets.cells)
    used = recipe or array._recipe
    _within(targets.g_target_S, used.g_min_S, used.g_max_S, "g_target_S")
    for half in (used.set, used.reset):
        for key in ("start_v", "stop_v", "step_v"):
            value = getattr(half.amplitude, key)
            most = np.finfo(float).max if key == "step_v" else V_MAX_V
            if isinstance(value, (bool, complex)) or not 0 < value <= most:
                raise BeyondError(f"recipe: {key} {value}")
    zeros, ones = np.zeros(n), np.ones(n, int)
    return WriteOutcome(zeros, targets.g_target_S.copy(), ones, ones, zeros, np.zeros(n, np.uint8))
