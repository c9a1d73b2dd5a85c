"""Weights as pairs of cells: programming, single changes, bad cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.forming import exercise, form
from eapu_hil.hal import Cells, CellStatus, HilError, Limits, Targets
from eapu_hil.hal.recipe import Recipe
from eapu_hil.placement.mapping import place
from eapu_hil.placement.pairs import ConductancePairs, WriteBatch
from eapu_hil.rules.contract import GATE_OF_TARGET, MINUS, NEITHER, PLUS, PulseTrain

SHAPES = {"first": (20, 6), "second": (12, 5)}
R_WG = {"first": 0.5 / 39e-6, "second": 1.0 / 39e-6}
COUNT = 20 * 6 + 12 * 5


@dataclass
class Bed:
    """Pairs on an open bench, with a log of what was written; `hooks` are called with each entry."""

    bench: Bench
    recipe: Recipe
    pairs: ConductancePairs = field(init=False)
    log: list[WriteBatch] = field(default_factory=list)
    hooks: list[Callable[[WriteBatch], None]] = field(default_factory=list)

    def on_written(self, written: WriteBatch) -> None:
        self.log.append(written)
        for hook in self.hooks:
            hook(written)


Make = Callable[..., Bed]
Bad = NDArray[np.bool_]


@pytest.fixture
def make(limits: Limits) -> Iterator[Make]:
    with ExitStack() as stack:

        def make_bed(
            preset: str = "ideal",
            bad: Callable[[Bad], None] | None = None,
            sigma_S: float = 1e-6,
            **overrides: Any,
        ) -> Bed:
            source = {
                "backend": "twin",
                "preset": preset,
                "shape": [24, 16],
                "arrays": 2,
                "overrides": overrides,
                "limits": {**vars(limits), "pulses_per_cell_max": 1000},
            }
            bench = stack.enter_context(open_bench(source, commission=False))
            known_bad = []
            for array in bench.arrays:
                status = np.full(array.shape, CellStatus.OK, np.uint8)
                if preset != "ideal":
                    form(array, Cells.all(array.shape), bench.recipe)
                    status = exercise(array, Cells.all(array.shape), bench.recipe).reshape(array.shape)
                known_bad.append(status != CellStatus.OK)
            if bad is not None:
                bad(known_bad[0])
            # the places do not depend on the bad cells, so that pairs with one exist
            tiles = place(SHAPES, [np.zeros((24, 16))] * 2)
            bed = Bed(bench, bench.recipe)
            bed.pairs = ConductancePairs(
                bench.arrays,
                tiles,
                SHAPES,
                R_WG,
                bench.recipe,
                lambda g_S: sigma_S + 0.05 * np.asarray(g_S),
                known_bad,
                bed.on_written,
            )
            return bed

        yield make_bed


def some_matrix(layer: str, share: float = 0.9) -> NDArray[np.float32]:
    """Weights over the window of a pair."""
    largest = share * R_WG[layer] * 39e-6
    return np.random.default_rng(1).uniform(-largest, largest, SHAPES[layer]).astype(np.float32)


def program_all(bed: Bed, share: float = 0.9) -> None:
    for layer in SHAPES:
        bed.pairs.program_matrix(layer, some_matrix(layer, share))


class TestProgramming:
    @pytest.mark.parametrize("preset", ["ideal", "rram_180nm"])
    def test_a_matrix_arrives(self, make: Make, preset: str) -> None:
        bed = make(preset, **({} if preset == "ideal" else {"faults.stuck_fraction": 0.0}))
        program_all(bed)
        for layer in SHAPES:
            error_S = (bed.pairs.matrix(layer) - some_matrix(layer)) / R_WG[layer]
            assert bed.pairs.matrix(layer).dtype == np.float32
            # two cells, each inside its band
            assert (np.abs(error_S) <= 2 * bed.recipe.band_S * 1.001).mean() > 0.99
            assert error_S.std() < bed.recipe.band_S

    def test_one_cell_of_each_pair_stays_low(self, make: Make) -> None:
        bed = make()
        program_all(bed)
        targets_S = np.concatenate([written.targets.g_target_S for written in bed.log])
        assert targets_S.size == 2 * COUNT
        assert np.isclose(targets_S, bed.recipe.g_min_S).mean() == pytest.approx(0.5, abs=0.01)

    def test_weights_beyond_the_window_are_cut(self, make: Make) -> None:
        bed = make()
        program_all(bed, share=3.0)
        for layer in SHAPES:
            matrix, largest = bed.pairs.matrix(layer), R_WG[layer] * 39e-6
            np.testing.assert_allclose(matrix, np.clip(some_matrix(layer, 3.0), -largest, largest), atol=0.06)

    def test_beliefs_follow_the_cells_only_when_refreshed(self, make: Make) -> None:
        bed = make()
        program_all(bed)
        before = bed.pairs.matrix("first")
        written = bed.log[0]
        cells = Targets(written.targets.cells[:4], np.full(4, 33e-6))
        bed.bench.arrays.program_cells(written.array[:4], cells, bed.recipe)
        np.testing.assert_array_equal(bed.pairs.matrix("first"), before)
        bed.pairs.refresh()
        assert (bed.pairs.matrix("first") != before).any()

    def test_a_bad_cell_is_compensated_by_its_partner(self, make: Make) -> None:
        """The two columns of a pair stand side by side: bad are the minus cell of one weight, both of another."""

        def spoil(bad: Bad) -> None:
            bad[:2, :] = True  # two whole rows
            bad[2:6, ::2] = True  # one cell of each pair in four more

        bed = make(bad=spoil)
        program_all(bed, share=0.8)
        for written in bed.log:
            assert not ((written.array == 0) & (written.targets.cells.row < 2)).any()
        matrix, wanted = bed.pairs.matrix("first"), some_matrix("first", 0.8)
        errors = bed.pairs.errors("first")
        alone = np.zeros(SHAPES["first"], bool)
        dead = np.isinf(errors.up_S).reshape(alone.shape) & np.isinf(errors.down_S).reshape(alone.shape)
        assert dead.any()
        rows = np.concatenate([w.targets.cells.row[w.array == 0] for w in bed.log])
        cols = np.concatenate([w.targets.cells.col[w.array == 0] for w in bed.log])
        assert not ((rows >= 2) & (rows < 6) & (cols % 2 == 0)).any()
        # The bad cell holds 1 uS, so its partner alone makes weights of one sign; those arrive.
        partly = np.abs(matrix - wanted) < 2 * R_WG["first"] * bed.recipe.band_S
        assert partly[~dead].mean() > 0.85
        assert (matrix[dead] == 0).all()

    def test_a_partner_balances_what_a_stuck_cell_conducts(self, make: Make) -> None:
        """A minus cell stuck at 15 uS: zero means 15 uS in the plus cell."""
        stuck = {
            "faults.stuck_fraction": 0.15,
            "faults.stuck_high_share": 1.0,
            "faults.g_stuck_high_S": 15e-6,
        }
        bed = make("rram_180nm", **stuck)
        for layer, shape in SHAPES.items():
            bed.pairs.program_matrix(layer, np.zeros(shape, np.float32))
        bed.pairs.refresh()
        weights_S = np.concatenate([(bed.pairs.matrix(layer) / R_WG[layer]).ravel() for layer in SHAPES])
        # with 28 % of the pairs holding such a cell, an uncompensated one would stand out by 14 uS
        assert (np.abs(weights_S) < 6e-6).mean() > 0.95


class TestWriting:
    @pytest.mark.parametrize("size_S", [3e-6, 8e-6])
    def test_a_change_arrives_within_the_band(self, make: Make, size_S: float) -> None:
        bed = make()
        program_all(bed, share=0.6)
        before = np.concatenate([bed.pairs.matrix(layer).ravel() / R_WG[layer] for layer in SHAPES])
        chosen = np.arange(0, COUNT, 3)
        step_S = np.where(np.arange(chosen.size) % 2, size_S, -size_S)
        bed.log.clear()
        written = bed.pairs.write(chosen, step_S, bed.recipe)
        assert written == bed.log
        after = np.concatenate([bed.pairs.matrix(layer).ravel() / R_WG[layer] for layer in SHAPES])
        moved = after - before
        assert np.abs(moved[chosen] - step_S).max() <= bed.recipe.band_S * 1.01
        others = np.setdiff1d(np.arange(COUNT), chosen)
        assert (moved[others] == 0).all()
        # one cell a weight, and all weights in one request
        [one] = written
        assert len(one.targets) == chosen.size
        assert set(one.array.tolist()) == {0, 1}
        np.testing.assert_array_equal(one.weights, chosen)

    def test_a_change_starts_from_what_the_cell_holds_now(self, make: Make) -> None:
        """Not from what it held when it was last read: it may have relaxed since."""
        bed = make()
        bed.pairs.program_matrix("first", np.full(SHAPES["first"], R_WG["first"] * 20e-6, np.float32))
        plus = [one for one in bed.log if (one.targets.g_target_S > 10e-6).any()]
        for one in plus:
            high = one.targets.g_target_S > 10e-6
            targets = Targets(one.targets.cells[high], np.full(high.sum(), 30e-6))
            bed.bench.arrays.program_cells(one.array[high], targets, bed.recipe)
        [written] = bed.pairs.write(np.arange(6), np.full(6, -6e-6), bed.recipe)
        np.testing.assert_allclose(written.targets.g_target_S, 24e-6, atol=1e-6)

    def test_lowering_a_cell_comes_first(self, make: Make) -> None:
        bed = make()
        program_all(bed, share=0.6)
        written = bed.pairs.write(np.arange(COUNT), np.full(COUNT, -0.5e-6), bed.recipe)
        for one in written:
            falls = one.targets.g_target_S < one.outcome.g_before_S + 1e-9
            # of a positive weight the plus cell falls; of a negative one there is no room but upwards
            matrix_S = np.concatenate([some_matrix(layer, 0.6).ravel() / R_WG[layer] for layer in SHAPES])
            clear = np.abs(matrix_S[one.weights]) > 3e-6
            np.testing.assert_array_equal(falls[clear], matrix_S[one.weights][clear] > 0)

    def test_a_preferred_cell_takes_what_it_has_room_for(self, make: Make) -> None:
        """To lower a weight its minus cell rises, though the plus cell of a positive one could fall."""
        bed = make()
        program_all(bed, share=0.6)
        count = SHAPES["first"][0] * SHAPES["first"][1]
        bed.pairs.prefer("first", np.full(count, MINUS))
        first = bed.pairs.weights_of("first")
        for one in bed.pairs.write(np.arange(first.start, first.stop), np.full(count, -0.5e-6), bed.recipe):
            assert (one.targets.g_target_S > one.outcome.g_before_S).all()
        # Raised, the minus cell of a negative weight falls; that of a positive one has no room, so the plus cell rises.
        for one in bed.pairs.write(np.arange(first.start, first.stop), np.full(count, 8e-6), bed.recipe):
            falls = one.targets.g_target_S < one.outcome.g_before_S
            matrix_S = some_matrix("first", 0.6).ravel() / R_WG["first"]
            clear = np.abs(matrix_S[one.weights - first.start]) > 10e-6
            assert clear.any()
            np.testing.assert_array_equal(falls[clear], matrix_S[one.weights - first.start][clear] < 0)
        bed.pairs.prefer("first", np.full(count, NEITHER))
        written = bed.pairs.write(np.arange(first.start, first.stop), np.full(count, -0.5e-6), bed.recipe)
        assert any((one.targets.g_target_S < one.outcome.g_before_S).any() for one in written)

    def test_at_the_end_of_the_window(self, make: Make) -> None:
        bed = make()
        full = {layer: np.full(shape, R_WG[layer] * 39e-6, np.float32) for layer, shape in SHAPES.items()}
        for layer, matrix in full.items():
            bed.pairs.program_matrix(layer, matrix)
        bed.log.clear()
        assert bed.pairs.write(np.arange(10), np.full(10, 20e-6), bed.recipe) == []
        assert bed.log == []
        errors = bed.pairs.errors("first")
        assert np.isfinite(errors.down_S).all()
        [down] = bed.pairs.write(np.arange(10), np.full(10, -5e-6), bed.recipe)
        assert (down.outcome.status == CellStatus.OK).all()

    def test_part_of_a_change_is_made_where_only_a_part_fits(self, make: Make) -> None:
        bed = make()
        matrix = np.full(SHAPES["first"], R_WG["first"] * 34e-6, np.float32)
        bed.pairs.program_matrix("first", matrix)
        [written] = bed.pairs.write(np.arange(8), np.full(8, 20e-6), bed.recipe)
        np.testing.assert_allclose(written.targets.g_target_S, bed.recipe.g_max_S)

    def test_the_log_comes_before_the_belief(self, make: Make) -> None:
        bed = make()
        program_all(bed)
        seen: list[NDArray[np.float32]] = []
        bed.hooks.append(lambda _: seen.append(bed.pairs.matrix("first")))
        before = bed.pairs.matrix("first")
        bed.pairs.write(np.array([0]), np.array([-5e-6]), bed.recipe)
        assert abs(seen[0][0, 0] - before[0, 0]) < 0.1 * R_WG["first"] * 5e-6
        assert abs(bed.pairs.matrix("first")[0, 0] - before[0, 0]) > 0.5 * R_WG["first"] * 5e-6

    def test_if_the_log_fails_nothing_is_believed(self, make: Make) -> None:
        bed = make()
        program_all(bed)
        before = bed.pairs.matrix("first")

        def full_disk(_: WriteBatch) -> None:
            raise OSError("no space left")

        bed.hooks.append(full_disk)
        with pytest.raises(OSError, match="no space"):
            bed.pairs.write(np.array([0]), np.array([-5e-6]), bed.recipe)
        assert abs(bed.pairs.matrix("first") - before).max() < 0.1 * R_WG["first"] * 5e-6

    def test_pairs_without_a_working_cell(self, make: Make) -> None:
        def spoil(bad: Bad) -> None:
            bad[:] = True

        bed = make(bad=spoil)
        dead = np.flatnonzero(np.concatenate([np.isinf(bed.pairs.errors(layer).up_S) for layer in SHAPES]))
        alive = np.setdiff1d(np.arange(COUNT), dead)
        assert dead.size > 0
        for layer in SHAPES:
            np.testing.assert_array_equal(
                np.isinf(bed.pairs.errors(layer).up_S), np.isinf(bed.pairs.errors(layer).down_S)
            )
        bed.pairs.write(np.arange(COUNT), np.full(COUNT, 10e-6), bed.recipe)
        touched = np.concatenate([one.weights for one in bed.log] or [np.zeros(0, np.int64)])
        np.testing.assert_array_equal(np.sort(touched), alive)
        errors = bed.pairs.errors("first")
        assert errors.floor_S == (0.0 if np.isinf(errors.up_S).all() else errors.up_S.min())

    def test_a_cell_that_gets_stuck_is_not_written_again(self, make: Make) -> None:
        stuck = {"faults.stuck_fraction": 0.2, "faults.stuck_high_share": 0.0}
        bed = make("ideal", **stuck)
        program_all(bed)
        found = {
            (int(array), int(row), int(col))
            for one in bed.log
            for array, row, col, status in zip(
                one.array, one.targets.cells.row, one.targets.cells.col, one.outcome.status, strict=True
            )
            if status == CellStatus.STUCK
        }
        assert found
        bed.log.clear()
        for sign in (1.0, -1.0):
            bed.pairs.write(np.arange(COUNT), np.full(COUNT, sign * 5e-6), bed.recipe)
        again = {
            (int(array), int(row), int(col))
            for one in bed.log
            for array, row, col in zip(one.array, one.targets.cells.row, one.targets.cells.col, strict=True)
        }
        assert again
        assert not found & again


class TestErrors:
    def test_they_follow_the_conductance_of_the_cell_to_be_written(self, make: Make) -> None:
        bed = make()
        program_all(bed, share=0.6)
        errors = bed.pairs.errors("first")
        matrix_S = bed.pairs.matrix("first").ravel() / R_WG["first"]
        high = matrix_S > 5e-6  # lowering it lowers the plus cell, raising it raises the same
        expected_S = 1e-6 + 0.05 * (matrix_S[high] + 1e-6)
        np.testing.assert_allclose(errors.down_S[high], expected_S, atol=0.06e-6)
        assert errors.floor_S == pytest.approx(min(errors.up_S.min(), errors.down_S.min()))
        assert errors.floor_S > 1e-6

    def test_they_are_renewed_by_a_write(self, make: Make) -> None:
        bed = make()
        program_all(bed, share=0.2)
        before = bed.pairs.errors("first").down_S[0]
        bed.pairs.write(np.array([0]), np.array([20e-6]), bed.recipe)
        assert bed.pairs.errors("first").down_S[0] > before + 0.3e-6

    def test_one_that_is_not_a_number_is_refused(self, make: Make) -> None:
        with pytest.raises(
            HilError, match="layer first: the write error of 120 weights is not a number; measure"
        ):
            make(sigma_S=np.nan).pairs.errors("first")


class TestAsked:
    def test_it_inverts_the_mapping(self, make: Make) -> None:
        """From the log of a write back to the change of each weight, as a crashed run does it."""
        bed = make()
        program_all(bed, share=0.6)
        rng = np.random.default_rng(3)
        chosen = rng.permutation(COUNT)[:40]
        step_S = rng.choice([-4e-6, 4e-6], 40)
        bed.log.clear()
        bed.pairs.write(chosen, step_S, bed.recipe)
        found = np.full(COUNT, np.nan)
        for one in bed.log:
            change_S = one.targets.g_target_S - one.outcome.g_before_S
            weights, asked_S = bed.pairs.asked(one.array, one.targets.cells, change_S)
            np.testing.assert_array_equal(weights, one.weights)
            found[weights] = asked_S
        np.testing.assert_allclose(found[chosen], step_S, atol=1e-12)
        assert np.isnan(found).sum() == COUNT - 40

    def test_cells_without_a_weight_are_left_out(self, make: Make) -> None:
        bed = make()
        cells, ones = Cells.all((24, 16)), np.ones(24 * 16)
        owners = [bed.pairs.asked(np.full(len(cells), number), cells, ones)[0] for number in (0, 1)]
        assert sum(owner.size for owner in owners) == 2 * COUNT == 2 * bed.pairs.weight_count
        counts = np.bincount(np.concatenate(owners), minlength=COUNT)
        assert (counts == 2).all()

    def test_layers_follow_each_other(self, make: Make) -> None:
        bed = make()
        assert bed.pairs.weights_of("first") == slice(0, 120)
        assert bed.pairs.weights_of("second") == slice(120, 180)
        assert bed.pairs.weight_count == 180


class TestPulses:
    def train(self, weights: list[int], sides: list[int], change_uS: float) -> PulseTrain:
        n = len(weights)
        return PulseTrain(
            index=np.array(weights),
            side=np.array(sides),
            polarity=np.ones(n, np.int64),
            amplitude_v=np.full(n, 2.0),
            gate_v=np.full(n, GATE_OF_TARGET),
            width_s=np.full(n, 1e-7),
            count=np.full(n, 2),
            change_S=np.full(n, change_uS * 1e-6),
        )

    def test_the_host_goes_on_with_what_it_expects(self, make: Make) -> None:
        bed = make()
        program_all(bed)
        before = bed.pairs.matrix("first").ravel()[:2] / R_WG["first"]
        written = bed.pairs.pulse(np.array([0, 1]), self.train([0, 1], [PLUS, MINUS], 2.0))
        after = bed.pairs.matrix("first").ravel()[:2] / R_WG["first"]
        np.testing.assert_allclose(after - before, [2e-6, -2e-6], atol=2e-9)
        outcome = written[0].outcome
        assert np.isnan(outcome.g_after_S).all()
        assert outcome.pulses.tolist() == [2, 2]
        assert outcome.reads.tolist() == [0, 0]

    def test_they_are_on_record_before_they_are_sent(self, make: Make) -> None:
        bed = make()
        program_all(bed)
        before = bed.bench.ledger.snapshot().pulses.sum()
        seen: list[int] = []
        bed.hooks.append(lambda _: seen.append(int(bed.bench.ledger.snapshot().pulses.sum() - before)))
        bed.pairs.pulse(np.array([3]), self.train([3], [PLUS], 1.0))
        assert seen == [0]
        assert bed.bench.ledger.snapshot().pulses.sum() - before == 2

    def test_bad_cells_are_left_out_and_the_window_bounds_what_is_expected(self, make: Make) -> None:
        bed = make(bad=lambda bad: bad.fill(True))
        weights = np.arange(COUNT)
        train = self.train([*range(COUNT)], [PLUS] * COUNT, 100.0)
        pulsed = sum(batch.weights.size for batch in bed.pairs.pulse(weights, train))
        assert 0 < pulsed < COUNT
        largest_S = max(bed.pairs.matrix(layer).max() / R_WG[layer] for layer in SHAPES)
        assert largest_S <= bed.recipe.g_max_S
