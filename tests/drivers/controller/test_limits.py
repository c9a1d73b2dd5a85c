"""The firmware's own limits: requests that no interlock has seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchwork import (
    CELLS,
    LIMITS,
    RECIPE,
    SHAPE,
    Bed,
    bed_on,
    config_of,
    plugged_once,
)
from boards import MISSING
from eapu_drivers.controller import messages
from eapu_drivers.controller.driver import open_arrays
from eapu_drivers.controller.link import Link, LinkTiming, RefusedError
from eapu_drivers.controller.messages import CELLS_MAX, LineDirection, Reason, Refused
from eapu_drivers.controller.recipes import recipe_message

from eapu_hil.hal import (
    ConfigError,
    Direction,
    LimitError,
    Polarity,
    Pulses,
    Targets,
)

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


# A machine that stops this process for a second is the dead man's business, and not that of the limits.
PATIENT = LinkTiming(silence_s=60.0, dead_man_s=60.0)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Bed]:
    with bed_on(tmp_path, plugged_once, config_of(), PATIENT) as opened:
        yield opened


class TestLimitsOfTheFirmware:
    """Requests that no interlock has seen."""

    def test_ten_thousand_requests_beyond_the_limits_reach_no_line(self, patient: Bed) -> None:
        bed = patient
        rng = np.random.default_rng(5)
        slot = bed.board.slot(RECIPE)
        makers = [_pulse, _write, _read, _recipe, _limits]
        before, clock_s = bed.lines(), bed.array.clock_s()
        futures = [
            bed.link.submit(makers[number % len(makers)](bed.link, rng, slot)) for number in range(9_500)
        ]
        answers = [future.result(30.0) for future in futures]
        assert all(isinstance(answer, Refused) for answer in answers)
        reasons = {Reason(answer.reason) for answer in answers if isinstance(answer, Refused)}
        for _ in range(500):
            with pytest.raises(RefusedError) as caught:
                bed.link.stream(*_product(bed.link, rng)).result(30.0)
            reasons.add(Reason(caught.value.refused.reason))
        assert reasons == {
            *(Reason.V_MAX, Reason.V_GATE_MAX, Reason.I_MAX, Reason.WIDTH_MAX, Reason.PULSES_MAX),
            *(Reason.V_READ_MAX, Reason.BAD_CELL, Reason.BAD_VALUE, Reason.BOARD_LIMIT),
        }
        after = bed.lines()
        assert after.grounded
        assert (after.reads, after.pulse_requests, after.pulses, after.products) == (
            before.reads,
            before.pulse_requests,
            before.pulses,
            before.products,
        )
        assert after.last_drive_s == before.last_drive_s
        assert bed.array.clock_s() == clock_s

    def test_the_driver_tells_them_apart(self, bed: Bed) -> None:
        array, some = bed.array, CELLS[:3]
        for act, what in (
            (lambda: array.pulse(Pulses.same(some, Polarity.SET, 3.6, 1.0, 1e-7)), r"3\.6 V .*v_max_v"),
            (lambda: array.pulse(Pulses.same(some, Polarity.SET, 1.0, 4.6, 1e-7)), r"4\.6 V .*v_gate_max_v"),
            (lambda: array.pulse(Pulses.same(some, Polarity.SET, 1.0, 1.0, 2e-3)), r"0\.002 s .*width_max_s"),
            (
                lambda: array.pulse(Pulses.same(some, Polarity.SET, 1.0, 1.0, 1e-7, 60001)),
                r"60001 pulses .*pulses_per_cell_max",
            ),
            (lambda: array.read(some, 0.21), r"0\.21 V .*v_read_max_v"),
            (lambda: array.vmm(np.full((1, 16), -0.21), Direction.FORWARD), r"v_read_max_v"),
            (lambda: array.program(Targets(some, np.array([1e-5, 1e-5, 1e-3]))), r"cell \(0, 2\).*i_max_a"),
            (lambda: array.program(Targets(some, np.array([1e-5, np.nan, 1e-3]))), r"cell \(0, 1\)"),
        ):
            with pytest.raises(LimitError, match=what) as caught:
                act()
            assert "\n" not in str(caught.value)
        array.read(some, -0.2)
        assert bed.lines().pulses == 0

    def test_limits_beyond_the_board_are_an_error_of_the_bench_file(self, tmp_path: Path) -> None:
        with (
            pytest.raises(ConfigError, match=r"^bench: .*limits\.v_max_v: 9 asked; allowed is at most 5 "),
            open_arrays(config_of(limits={**LIMITS, "v_max_v": 9.0}), tmp_path),
        ):
            pass


def _frame(rng: np.random.Generator, dtype: np.dtype[Any]) -> tuple[np.ndarray, int]:
    """Cells of one request, once each, and which of them is to be at fault."""
    count = int(rng.integers(1, CELLS_MAX + 1))
    records = np.zeros(count, dtype)
    records["row"], records["col"] = np.divmod(rng.choice(128, count, replace=False), 8)
    return records, int(rng.integers(count))


def _pulse(link: Link, rng: np.random.Generator, _slot: int) -> messages.Pulse:
    records, bad = _frame(rng, messages.Pulse.TAIL)
    records["polarity"] = rng.choice([-1, 1, 2], records.size)
    records["amplitude_uv"] = rng.integers(1_000, 3_500_001, records.size)
    records["gate_uv"] = rng.integers(0, 4_500_001, records.size)
    records["width_ns"] = rng.integers(1, 1_000_001, records.size)
    records["count"] = 1
    field, low, high = [
        ("amplitude_uv", 3_500_001, 2**31 - 1),
        ("amplitude_uv", -(2**31), 0),
        ("gate_uv", 4_500_001, 2**31 - 1),
        ("gate_uv", -(2**31), -1),
        ("width_ns", 1_000_001, 2**32 - 1),
        ("count", 60_001, 2**16 - 1),
        ("row", 16, 2**16 - 1),
        ("col", 8, 2**16 - 1),
        ("polarity", 3, 127),
    ][rng.integers(9)]
    records[field][bad] = rng.integers(low, high, endpoint=True)
    return messages.Pulse(link.take_ids(records.size), 0, records)


def _write(link: Link, rng: np.random.Generator, slot: int) -> messages.Write:
    records, bad = _frame(rng, messages.Write.TAIL)
    records["g_target_S"] = rng.uniform(2e-6, 38e-6, records.size)
    kind = rng.integers(4)
    if kind == 0:
        records["g_target_S"][bad] = rng.choice([np.nan, np.inf, -np.inf])
    elif kind == 1:
        records["g_target_S"][bad] = rng.uniform(2e-4, 1.0) * rng.choice([-1, 1])
    elif kind == 2:
        records["row"][bad] = rng.integers(16, 2**16)
    else:
        records["col"][bad] = rng.integers(8, 2**16)
    return messages.Write(link.take_ids(records.size), 0, slot, records)


def _read(link: Link, rng: np.random.Generator, _slot: int) -> messages.Read:
    if rng.integers(2):
        volts_uv = int(rng.integers(200_001, 2**31)) * int(rng.choice([-1, 1]))
        return messages.Read(link.take_ids(), 0, volts_uv, 0, 0, 4, 4)
    row, col = (int(value) for value in rng.integers(0, [16, 8]))
    return messages.Read(link.take_ids(), 0, 100_000, row, col, 17 - row, 1)


def _recipe(link: Link, rng: np.random.Generator, slot: int) -> messages.Recipe:
    fine = vars(recipe_message(RECIPE, link.take_ids(), slot))
    name, low, high = [
        ("set_stop_v", 3.500001, 1e3),
        ("reset_stop_v", 3.500001, 1e300),
        ("set_gate_stop_v", 4.500001, 1e3),
        ("reset_gate_v", 4.500001, 1e3),
        ("set_width_s", 1.00001e-3, 1.0),
        ("reset_width_s", 1.00001e-3, 1.0),
        ("v_read_v", 0.200001, 1.0),
        ("pulses_max", 60_001, 65_535),
        ("set_step_v", -1.0, 0.0),
        ("time_max_s", np.nan, np.nan),
    ][rng.integers(10)]
    value = np.nan if np.isnan(low) else rng.uniform(low, high)
    return messages.Recipe(**{**fine, name: int(value) if name == "pulses_max" else float(value)})


def _limits(link: Link, rng: np.random.Generator, _slot: int) -> messages.Limits:
    values = dict(
        zip(
            ("v_max_uv", "v_gate_max_uv", "v_read_max_uv", "i_max_na", "width_max_ns", "pulses_per_cell_max"),
            (3_500_000, 4_500_000, 200_000, 300_000, 1_000_000, 60_000),
            strict=True,
        )
    )
    name, low, high = [
        ("v_max_uv", 5_000_001, 2**31 - 1),
        ("v_gate_max_uv", 6_000_001, 2**31 - 1),
        ("i_max_na", 5_000_001, 2**32 - 1),
        ("width_max_ns", 10_000_001, 2**32 - 1),
        ("v_max_uv", -(2**31), 0),
    ][rng.integers(5)]
    values[name] = int(rng.integers(low, high, endpoint=True))
    return messages.Limits(link.take_ids(), **values)


def _product(link: Link, rng: np.random.Generator) -> tuple[messages.Product, np.ndarray]:
    """One frame of codes; the limit of 0.2 V is code 6553 of 32767 at 1 V."""
    direction = LineDirection(int(rng.integers(2)))
    lines = SHAPE[direction]
    codes = rng.integers(-6553, 6554, (int(rng.integers(1, 117 // lines + 1)), lines)).astype(np.int16)
    bad = int(rng.choice([-1, 1])) * int(rng.integers(6554, 32768))
    codes.reshape(-1)[rng.integers(codes.size)] = bad
    bits = np.full((SHAPE[0] + SHAPE[1]) // 8, 0xFF, np.uint8)
    return messages.Product(link.take_ids(), 0, direction, 0, codes.shape[0], bits), codes
