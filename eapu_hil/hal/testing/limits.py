"""Requests beyond the limits: refused before anything is sent, never clamped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eapu_hil.base.errors import LimitError
from eapu_hil.hal.crossbar import Cells, Crossbar, Direction, Polarity, Pulses, Targets
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.testing.under_test import BenchUnderTest, WindowLevels, write

MORE = 1.03  # times a limit


def requests(array: Crossbar, recipe: Recipe, levels: WindowLevels) -> dict[str, Callable[[], object]]:
    """Requests beyond the limits, by what is wrong with them."""
    rows = array.shape[0]
    limits, width_s = array.limits, recipe.set.width_s
    inside, outside = Cells.block(0, 1, 0, 2), Cells(np.array([rows]), np.array([0]))
    twice = Cells(np.array([0, 0]), np.array([1, 1]))
    ramp = recipe.reset.amplitude.model_copy(update={"stop_v": MORE * limits.v_max_v})
    too_strong = recipe.model_copy(update={"reset": recipe.reset.model_copy(update={"amplitude": ramp})})
    gentle = {"amplitude_v": 0.5 * limits.v_max_v, "gate_v": 0.2 * limits.v_gate_max_v, "width_s": width_s}

    def pulse(cells: Cells = inside, count: int = 1, **changes: float) -> Callable[[], object]:
        return lambda: array.pulse(Pulses.same(cells, Polarity.SET, **(gentle | changes), count=count))

    def program(cells: Cells, g_S: float, with_recipe: Recipe | None = None) -> Callable[[], object]:
        return lambda: array.program(Targets(cells, np.full(len(cells), g_S)), with_recipe)

    forward, middle_S, too_high_v = Direction.FORWARD, levels.at(0.5), MORE * limits.v_read_max_v
    return {
        "pulse amplitude": pulse(amplitude_v=MORE * limits.v_max_v),
        "pulse gate": pulse(gate_v=MORE * limits.v_gate_max_v),
        "pulse width": pulse(width_s=2 * limits.width_max_s),
        "pulse count": pulse(count=limits.pulses_per_cell_max + 1),
        "pulse outside": pulse(outside),
        "pulse twice": pulse(twice),
        "pulse not a number": pulse(amplitude_v=np.nan),
        "read voltage": lambda: array.read(inside, too_high_v),
        "read outside": lambda: array.read(outside, recipe.v_read_v),
        "product voltage": lambda: array.vmm(np.full((1, rows), too_high_v), forward),
        "product shape": lambda: array.vmm(np.zeros((1, rows + 1)), forward),
        "product line": lambda: array.vmm(np.zeros((1, 1)), forward, np.array([rows])),
        "program recipe": program(inside, middle_S, too_strong),
        "program target": program(inside, -middle_S),
        "program outside": program(outside, middle_S),
        "wait": lambda: array.wait(-1.0),
    }


WHAT = (
    *(f"pulse {what}" for what in ("amplitude", "gate", "width", "count", "outside", "twice")),
    *("pulse not a number", "read voltage", "read outside", "product voltage", "product shape"),
    *("product line", "program recipe", "program target", "program outside", "wait"),
)


class LimitContract:
    """A refused request changes nothing."""

    @pytest.mark.parametrize("what", WHAT)
    def test_what_is_refused_changes_nothing(
        self,
        bench: BenchUnderTest,
        array: Crossbar,
        cells: Cells,
        levels: WindowLevels,
        v_read_v: float,
        what: str,
    ) -> None:
        write(array, cells, levels.board(cells))
        before_S, clock_s = array.read(cells, v_read_v).g_S, array.clock_s()
        before = bench.ledger.snapshot()
        with pytest.raises(LimitError) as caught:
            requests(array, bench.recipe, levels)[what]()
        assert "\n" not in str(caught.value)
        assert array.clock_s() >= clock_s  # a real clock goes on meanwhile
        after = bench.ledger.snapshot()
        np.testing.assert_array_equal(after.pulses, before.pulses)
        np.testing.assert_array_equal(after.verify_reads, before.verify_reads)
        assert after.vmm_vectors == before.vmm_vectors
        assert np.abs(array.read(cells, v_read_v).g_S - before_S).mean() < levels.noise_S / 3

    def test_every_request_of_the_list_is_tried(
        self, bench: BenchUnderTest, array: Crossbar, levels: WindowLevels
    ) -> None:
        assert set(WHAT) == set(requests(array, bench.recipe, levels))

    def test_the_limits_themselves_are_allowed(self, array: Crossbar, cells: Cells) -> None:
        one, limits = cells[:1], array.limits
        array.read(one, limits.v_read_max_v)
        array.vmm(np.full((1, array.shape[0]), -limits.v_read_max_v), Direction.FORWARD)
        array.pulse(
            Pulses.same(one, Polarity.RESET, limits.v_max_v, limits.v_gate_max_v, limits.width_max_s, count=1)
        )
