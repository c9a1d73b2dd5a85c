from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eapu_hil.base.storage import read_json
from eapu_hil.bench.booking import Booking
from eapu_hil.bench.counts import LedgerCounts
from eapu_hil.bench.driven import Driven
from eapu_hil.bench.ledger import ArrayLedger, Ledger
from eapu_hil.hal import Cells, ConfigError, Direction, Polarity, Pulses, Reading, WriteOutcome

SHAPE = (3, 4)
CELLS = Cells(np.array([0, 2]), np.array([1, 3]))


def reading(*g_S: float) -> Reading:
    return Reading(np.array(g_S), np.zeros(len(g_S), np.uint8))


def outcome() -> WriteOutcome:
    return WriteOutcome(
        g_before_S=np.array([10e-6, 20e-6]),
        g_after_S=np.array([30e-6, 20e-6]),
        pulses=np.array([3, 0]),
        reads=np.array([5, 2]),
        energy_j=np.array([2e-12, 0.0]),
        status=np.zeros(2, np.uint8),
    )


def test_pulses_count_with_the_energy_of_the_last_reading(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 1, SHAPE)
    array = ledger.arrays[0]
    Booking([array], CELLS[:1]).record_reading(reading(50e-6), 0.2)
    array.record_pulses(
        Pulses(
            CELLS,
            np.array(Polarity.SET),
            np.array(2.0),
            np.array([1.0, 3.0]),
            np.array(1e-6),
            np.array([1, 4]),
        )
    )
    counts = ledger.snapshot()
    assert counts.pulses[0, 0, 1] == 1
    assert counts.pulses[0, 2, 3] == 4
    assert counts.pulses.sum() == 5
    assert counts.writes.sum() == 2
    assert counts.pulse_energy_j[0, 0, 1] == pytest.approx(2.0**2 * 50e-6 * 1e-6)
    assert counts.pulse_energy_j[0, 2, 3] == 0.0  # never read
    assert counts.pulse_line_v2 == pytest.approx((4 + 1) + 4 * (4 + 9))


def test_reads_count_every_time_a_cell_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 1, SHAPE)
    cells = Cells(np.array([1, 1, 0]), np.array([2, 2, 0]))
    Booking([ledger.arrays[0]], cells).record_reading(reading(10e-6, 12e-6, np.nan), 0.5)
    counts = ledger.snapshot()
    assert counts.verify_reads[0, 1, 2] == 2
    assert counts.verify_reads[0, 0, 0] == 1
    assert counts.verify_power_w == pytest.approx(0.25 * 22e-6)
    assert ledger.arrays[0].g_last_S(cells) == pytest.approx([12e-6, 12e-6, np.nan], nan_ok=True)


def test_a_write_is_a_request_that_took_a_pulse(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 1, SHAPE)
    Booking([ledger.arrays[0]], CELLS).record_writes(outcome(), 0.2, 10.0)
    counts = ledger.snapshot()
    assert counts.writes[0, 0, 1] == 1
    assert counts.writes.sum() == 1
    assert counts.pulses.sum() == 3
    assert counts.verify_reads.sum() == 7
    assert counts.pulse_energy_j.sum() == pytest.approx(2e-12)
    assert counts.verify_power_w == pytest.approx(0.04 * (5 * 20e-6 + 2 * 20e-6))
    assert counts.pulse_line_v2 == pytest.approx(30.0)
    assert ledger.arrays[0].g_last_S(CELLS) == pytest.approx([30e-6, 20e-6])
    Booking([ledger.arrays[0]], CELLS[:1]).forget()
    assert ledger.arrays[0].g_last_S(CELLS) == pytest.approx([np.nan, 20e-6], nan_ok=True)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_count_their_conversions_and_the_power_of_the_known_cells(
    tmp_path: Path, direction: Direction, dtype: type
) -> None:
    rng = np.random.default_rng(1)
    ledger = Ledger(tmp_path, 1, SHAPE)
    g_S = rng.uniform(1e-6, 40e-6, SHAPE)
    Booking([ledger.arrays[0]], Cells.all(SHAPE)).record_reading(reading(*g_S.ravel()), 0.0)
    forward = direction is Direction.FORWARD
    v_in_v = rng.uniform(-0.2, 0.2, (5, SHAPE[0] if forward else SHAPE[1])).astype(dtype)
    v_in_v[:, 1] = 0.0
    ledger.arrays[0].record_products(Driven.of(v_in_v), direction, None, 2)
    counts = ledger.snapshot()
    expected_w = ((v_in_v.astype(float) ** 2) @ (g_S if forward else g_S.T)).sum()
    assert counts.vmm_vectors == 5
    assert counts.vmm_dac_conversions == 5 * (v_in_v.shape[1] - 1)
    assert counts.vmm_adc_conversions == 10
    assert counts.vmm_cells == 5 * v_in_v.shape[1] * 2
    assert counts.vmm_power_w == pytest.approx(expected_w, rel=1e-5)
    some = np.array([2, 0])
    ledger.arrays[0].record_products(Driven.of(v_in_v[:, some]), direction, some, 2)
    part_w = ((v_in_v[:, some].astype(float) ** 2) @ (g_S if forward else g_S.T)[some]).sum()
    assert (ledger.snapshot() - counts).vmm_power_w == pytest.approx(part_w, rel=1e-5)


def random_requests(array: ArrayLedger, shape: tuple[int, int], rng: np.random.Generator) -> None:
    """One of each kind; readings name cells more than once and fail here and there."""
    some = Cells(rng.integers(shape[0], size=9), rng.integers(shape[1], size=9))
    g_S = rng.uniform(1e-6, 40e-6, 9)
    g_S[rng.random(9) < 0.3] = np.nan
    Booking([array], some).record_reading(reading(*g_S), 0.2)
    flat = rng.choice(shape[0] * shape[1], 2, replace=False)
    cells = Cells(*np.unravel_index(flat, shape))
    array.expect(cells, 20)
    Booking([array], cells).record_writes(outcome(), 0.2, 10.0, 20)
    array.expect(cells, np.array([4, 1]))
    array.settle(cells, np.array([4, 1]), 1)
    Booking([array], cells).record_cut_short(np.array([1, 0]))
    array.record_pulses(Pulses.same(cells, Polarity.SET, 2.0, 1.0, 1e-6, 3))
    Booking([array], cells[:1]).forget()


def test_a_request_over_several_arrays_counts_as_those_to_each(tmp_path: Path) -> None:
    together, alone = (Ledger(tmp_path / name, 3, SHAPE) for name in ("together", "alone"))
    rng = np.random.default_rng(4)
    for _ in range(20):
        flat = rng.choice(2 * SHAPE[0] * SHAPE[1], 9, replace=False)
        number, row, col = np.unravel_index(flat, (2, *SHAPE))
        cells, number = Cells(row, col), 2 * number  # nothing is asked of array 1
        places = [np.flatnonzero(number == one) for one in np.unique(number)]
        ledgers = {ledger: [ledger.arrays[one] for one in np.unique(number)] for ledger in (together, alone)}
        named_twice = Cells(np.append(row, row[:2]), np.append(col, col[:2]))
        twice = [np.flatnonzero(np.append(number, number[:2]) == one) for one in np.unique(number)]
        g_S = rng.uniform(1e-6, 40e-6, 11)
        g_S[rng.random(11) < 0.2] = np.nan
        seen = Reading(g_S, np.zeros(11, np.uint8))
        pulses = rng.integers(0, 4, 9)
        written = WriteOutcome(g_S[:9], g_S[2:], pulses, pulses + 1, 1e-12 * pulses, np.zeros(9, np.uint8))
        Booking(ledgers[together], named_twice, twice).record_reading(seen, 0.2)
        booking = Booking(ledgers[together], cells, places)
        booking.record_writes(written, 0.2, 10.0)
        for ledger, here, these in zip(ledgers[alone], places, twice, strict=True):
            Booking([ledger], named_twice[these]).record_reading(
                Reading(seen.g_S[these], seen.status[these]), 0.2
            )
            its = WriteOutcome(*(values[here] for values in vars(written).values()))
            Booking([ledger], cells[here]).record_writes(its, 0.2, 10.0)
    counts, expected = together.snapshot(), alone.snapshot()
    for name, values in vars(expected).items():
        np.testing.assert_allclose(vars(counts)[name], values, rtol=1e-12, err_msg=name)
    driven = Driven.of(rng.uniform(-0.2, 0.2, (5, SHAPE[0])))
    for ledger in (together, alone):
        for array in ledger.arrays:
            array.record_products(driven, Direction.FORWARD, None, SHAPE[1])
    assert together.snapshot().vmm_power_w == pytest.approx(alone.snapshot().vmm_power_w, rel=1e-9)


@pytest.mark.parametrize("direction", Direction)
def test_the_power_of_products_follows_every_change(tmp_path: Path, direction: Direction) -> None:
    rng = np.random.default_rng(2)
    forward = direction is Direction.FORWARD
    v_in_v = rng.uniform(-0.2, 0.2, (5, SHAPE[0] if forward else SHAPE[1]))
    for _ in range(2):  # sessions
        ledger = Ledger(tmp_path, 1, SHAPE)
        for _ in range(30):
            random_requests(ledger.arrays[0], SHAPE, rng)
            before = ledger.snapshot()
            ledger.arrays[0].record_products(Driven.of(v_in_v), direction, None, 2)
            g_S = np.nan_to_num(ledger.arrays[0].g_last_S(Cells.all(SHAPE))).reshape(SHAPE)
            expected_w = (v_in_v**2 @ (g_S if forward else g_S.T)).sum()
            assert (ledger.snapshot() - before).vmm_power_w == pytest.approx(expected_w, rel=1e-6)
        ledger.close()


def test_the_record_says_at_each_flush_what_the_counters_hold(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    ledger = Ledger(tmp_path, 2, SHAPE, "c1")
    for number in (0, 1, 1):
        random_requests(ledger.arrays[number], SHAPE, rng)
        ledger.arrays[number].record_products(Driven.of(np.full((2, 3), 0.1)), Direction.FORWARD, None, 4)
        ledger.flush()
        content = read_json(tmp_path / "ledger.json")
        assert content is not None
        for array, written in zip(ledger.arrays, content["counters"], strict=True):
            counts = array.snapshot()
            for name in ("pulses", "writes", "verify_reads"):
                assert written[name] == [counts[name].sum(), None]
            assert written["totals"][0] == counts["vmm_vectors"] + sum(
                counts[f"vmm_{kind}_conversions"] for kind in ("dac", "adc")
            )
            assert written["vmm_cells"][0] == counts["vmm_cells"]
    # As after a kill: what the record says is compared with what is there.
    assert Ledger(tmp_path, 2, SHAPE, "c1").snapshot().pulses.sum() == ledger.snapshot().pulses.sum()


def test_maps_of_pulses_go_on_counting_and_cannot_be_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 2, SHAPE)
    maps = ledger.pulses()
    ledger.arrays[1].expect(CELLS, 3)
    assert [int(one.sum()) for one in maps] == [0, 6]
    np.testing.assert_array_equal(np.stack(maps), ledger.snapshot().pulses)
    with pytest.raises(ValueError, match="read-only"):
        maps[0][0, 0] = 1


def test_no_request_takes_memory_that_grows_with_the_array(tmp_path: Path) -> None:
    shape = (1000, 1000)
    ledger, rng = Ledger(tmp_path, 1, shape, "c1"), np.random.default_rng(4)
    array, v_in_v = ledger.arrays[0], np.full((1, 2), 0.1)
    two = np.array([3, 70])

    def products() -> None:
        array.record_products(Driven.of(v_in_v), Direction.FORWARD, two, 4)
        array.record_products(Driven.of(v_in_v), Direction.TRANSPOSED, two, 4)

    requests: list[Callable[[], object]] = [
        lambda: random_requests(array, shape, rng),
        products,
        ledger.pulses,
        ledger.flush,
    ]
    for request in requests * 2:
        tracemalloc.start()
        request()
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert taken < 200_000  # one map of the cells alone takes a million bytes or more


def test_a_difference_holds_what_happened_in_between_and_survives_a_checkpoint(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 2, SHAPE)
    Booking([ledger.arrays[1]], CELLS).record_writes(outcome(), 0.2, 10.0)
    np.savez(tmp_path / "before.npz", **ledger.snapshot().as_arrays())
    Booking([ledger.arrays[0]], CELLS).record_writes(outcome(), 0.2, 10.0)
    ledger.arrays[0].record_products(Driven.of(np.full((2, 3), 0.1)), Direction.FORWARD, None, 4)
    with np.load(tmp_path / "before.npz") as archive:
        run = ledger.snapshot() - LedgerCounts.from_arrays(archive)
    assert run.pulses.shape == (2, *SHAPE)
    assert run.pulses[0].sum() == 3
    assert run.pulses[1].sum() == 0
    assert run.vmm_vectors == 2
    assert isinstance(run.vmm_vectors, int)
    assert isinstance(run.vmm_power_w, float)


def test_a_ledger_from_before_cells_of_products_were_counted_opens(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 1, SHAPE)
    Booking([ledger.arrays[0]], CELLS).record_writes(outcome(), 0.2, 10.0)
    saved = ledger.snapshot().as_arrays()
    ledger.close()
    (tmp_path / "array0" / "vmm_cells.npy").unlink()
    (tmp_path / "ledger.json").unlink()  # older still
    del saved["vmm_cells"]
    counts = Ledger(tmp_path, 1, SHAPE).snapshot() - LedgerCounts.from_arrays(saved)
    assert (counts.vmm_cells, counts.pulses.sum()) == (0, 0)


def test_a_snapshot_does_not_move(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 1, SHAPE)
    before = ledger.snapshot()
    Booking([ledger.arrays[0]], CELLS).record_writes(outcome(), 0.2, 10.0)
    assert before.pulses.sum() == 0


def test_counts_add_up_over_sessions(tmp_path: Path) -> None:
    for _ in range(2):
        ledger = Ledger(tmp_path, 1, SHAPE)
        Booking([ledger.arrays[0]], CELLS).record_writes(outcome(), 0.2, 10.0)
        ledger.close()
    assert Ledger(tmp_path, 1, SHAPE).snapshot().pulses.sum() == 6


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_counts_survive_a_kill(tmp_path: Path) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        import numpy as np
        from eapu_hil.hal import Cells, Reading
        from eapu_hil.bench.booking import Booking
        from eapu_hil.bench.ledger import ArrayLedger

        ledger = ArrayLedger(Path({str(tmp_path)!r}), (3, 4))
        cells = Cells.all((3, 4))
        Booking([ledger], cells).record_reading(Reading(np.full(12, 1e-5), np.zeros(12, np.uint8)), 0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-P", "-c", textwrap.dedent(script)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    ledger = ArrayLedger(tmp_path, SHAPE)
    assert (ledger.snapshot()["verify_reads"] == 1).all()
    assert ledger.g_last_S(CELLS) == pytest.approx([1e-5, 1e-5])


def test_another_shape_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    ArrayLedger(tmp_path, SHAPE).close()
    with pytest.raises(
        ConfigError, match=r"pulses\.npy: holds int64 of shape \(3, 4\); expected .* \(4, 3\)"
    ):
        ArrayLedger(tmp_path, (4, 3))
    (tmp_path / "writes.npy").write_bytes(b"junk")
    with pytest.raises(ConfigError, match=r"writes\.npy: damaged: the chip's ledger cannot be opened"):
        ArrayLedger(tmp_path, SHAPE)
