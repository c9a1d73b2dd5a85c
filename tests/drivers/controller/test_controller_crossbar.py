"""The array of a controller against a board in Python: what is sent, what comes back, what goes wrong."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from eapu_drivers.controller import messages
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.crossbar import ControllerCrossbar
from eapu_drivers.controller.messages import CELLS_MAX, CODES_MAX, Fault, LineKind, Reason, Refused
from eapu_drivers.controller.recovery import UnfinishedError
from eapu_drivers.controller.units import Calibration, LineCalibration

from eapu_hil.base.loading import load_model
from eapu_hil.hal import (
    Cells,
    CellStatus,
    Crossbar,
    Direction,
    InstrumentError,
    LimitError,
    Limits,
    Polarity,
    Pulses,
    Targets,
    TransportError,
)
from eapu_hil.hal.recipe import Recipe

SHAPE = (16, 8)
LIMITS = Limits(3.5, 5.0, 2e-3, 1e-3, 100, 0.25)
RECIPE = load_model(Recipe, "rram_180nm", [], "recipes")
CELLS = Cells.all(SHAPE)


def array_on(link: Any, number: int = 0, calibration: Calibration | None = None) -> ControllerCrossbar:
    own = calibration or Calibration.nominal(SHAPE)
    board = Board(link, "fake", LIMITS, [own, own], 1.0)
    return ControllerCrossbar(board, number, own, RECIPE)


def sent(link: Any, kind: type) -> list[Any]:
    return [request for request in link.sent if isinstance(request, kind)]


def test_it_is_a_crossbar_that_says_what_it_is(link: Any) -> None:
    array = array_on(link, 1)
    assert isinstance(array, Crossbar)
    assert array.shape == SHAPE
    assert array.limits == LIMITS
    assert (array.identity.serial, array.identity.git_hash) == ("F1-array1", "0123456789ab")


class TestRead:
    def test_siemens_of_each_cell_in_the_order_asked(self, link: Any) -> None:
        link.g_S[1] = np.linspace(1e-6, 40e-6, 128).reshape(SHAPE)
        array = array_on(link, 1)
        chosen = np.random.default_rng(0).permutation(128)[:40]
        reading = array.read(CELLS[chosen], 0.2)
        np.testing.assert_allclose(reading.g_S, link.g_S[1].ravel()[chosen], atol=0.03e-6)
        assert (reading.status == CellStatus.OK).all()

    def test_it_takes_few_requests_and_none_is_too_large(self, link: Any) -> None:
        array_on(link).read(CELLS, 0.2)
        assert [one.rows * one.cols for one in sent(link, messages.Read)] == [112, 16]
        assert max(one.rows * one.cols for one in sent(link, messages.Read)) <= CODES_MAX

    def test_a_code_at_the_end_is_saturated(self, link: Any) -> None:
        link.g_S[0, 3, 3] = 200e-6
        reading = array_on(link).read(CELLS, -0.2)
        assert np.flatnonzero(reading.status == CellStatus.SATURATED).tolist() == [3 * 8 + 3]

    def test_the_gain_and_offset_of_each_line_count(self, link: Any) -> None:
        gain, offset = np.linspace(0.9, 1.1, 8).astype(np.float32), np.full(8, 0.01, np.float32)
        lines = dict(Calibration.nominal(SHAPE).lines)
        lines[LineKind.COL_ADC] = LineCalibration(gain.astype(float), offset.astype(float))
        calibration = Calibration(lines, frozenset({LineKind.COL_ADC}))
        plain = array_on(link).read(CELLS, 0.25).g_S.reshape(SHAPE)
        corrected = array_on(link, 0, calibration).read(CELLS, 0.25).g_S.reshape(SHAPE)
        np.testing.assert_allclose(corrected, plain * gain + 1.6e-5 * offset / 0.25, rtol=1e-6)
        uploaded = link.calibrations[0]
        assert (uploaded.array, uploaded.kind, uploaded.first) == (0, LineKind.COL_ADC, 0)
        np.testing.assert_array_equal(uploaded.tail["gain"], gain)

    def test_a_refusal_names_what_was_asked_and_allowed(self, link: Any) -> None:
        array = array_on(link)
        link.refuse = lambda request: Refused(request.id, Reason.V_READ_MAX, 0, 0.3, 0.25)
        with pytest.raises(LimitError, match=r"fake, array 0: 0\.3 V asked; allowed is at most 0\.25 V"):
            array.read(CELLS, 0.3)

    @pytest.mark.parametrize("cells", [Cells([16], [0]), Cells([-1], [0]), Cells([0], [8])])  # type: ignore[arg-type]
    def test_cells_outside_are_refused(self, link: Any, cells: Cells) -> None:
        array = array_on(link)
        for act in (
            lambda: array.read(cells, 0.2),
            lambda: array.program(Targets(cells, np.array([1e-5]))),
            lambda: array.pulse(Pulses.same(cells, Polarity.SET, 1.0, 1.0, 1e-7)),
        ):
            with pytest.raises(LimitError, match="16 rows and 8 columns"):
                act()
        assert not sent(link, messages.Read)


class TestProducts:
    @pytest.mark.parametrize("direction", list(Direction))
    def test_lines_in_any_order_and_repeated(self, link: Any, direction: Direction) -> None:
        rng = np.random.default_rng(1)
        link.g_S[0] = rng.uniform(1e-6, 40e-6, SHAPE)
        g_S = link.g_S[0] if direction is Direction.FORWARD else link.g_S[0].T
        lines_in, lines_out = np.array([5, 0, 7]), np.array([6, 1, 6])
        v_v = rng.uniform(-0.2, 0.2, (9, 3))
        found_a = array_on(link).vmm(v_v, direction, lines_in, lines_out)
        expected_a = v_v @ g_S[lines_in][:, lines_out]
        assert found_a.shape == (9, 3)
        np.testing.assert_allclose(found_a, expected_a, atol=2e-2 * np.abs(expected_a).max())

    def test_the_range_is_found_once(self, link: Any) -> None:
        array = array_on(link)
        for _ in range(3):
            array.vmm(np.full((4, 16), 0.1), Direction.FORWARD)
        array.vmm(np.full((4, 8), 0.1), Direction.TRANSPOSED)
        assert [one.range for one in sent(link, messages.Product)] == [4, 2, 2, 2, 4, 0]

    def test_refusals_name_the_line(self, link: Any) -> None:
        array = array_on(link)
        link.refuse = lambda request: Refused(request.id, Reason.V_READ_MAX, 3, 0.3, 0.25)
        with pytest.raises(LimitError, match=r"array 0: forward product, line 3: 0\.3 V asked"):
            array.vmm(np.zeros((1, 16)), Direction.FORWARD)

    @pytest.mark.parametrize("lines", [[0, 0], [-1, 2], [3, 16]])
    def test_lines_that_are_not_there_are_refused(self, link: Any, lines: list[int]) -> None:
        with pytest.raises(LimitError, match="allowed are 0 to 15, each once"):
            array_on(link).vmm(np.zeros((1, 2)), Direction.FORWARD, np.array(lines))

    def test_nothing_asked_nothing_sent(self, link: Any) -> None:
        array = array_on(link)
        assert array.vmm(np.zeros((0, 16)), Direction.FORWARD).shape == (0, 8)
        assert array.vmm(np.zeros((3, 16)), Direction.FORWARD, None, np.zeros(0, int)).shape == (3, 0)
        assert not sent(link, messages.Product)


class TestPulse:
    def test_each_cell_gets_its_own(self, link: Any) -> None:
        count = 1 + np.arange(128) % 5
        every = np.full(128, 1.0)
        outcome = array_on(link, 1).pulse(
            Pulses(CELLS, np.full(128, -1), 1.2345678 * every, 2 * every, 1e-7 * every, count)
        )
        np.testing.assert_array_equal(link.pulses[1].ravel(), count)
        assert not link.pulses[0].any()
        assert outcome.status.shape == (128,)
        frames = sent(link, messages.Pulse)
        assert [frame.tail.size for frame in frames] == [CELLS_MAX] * 10 + [8]
        assert set(frames[3].tail["amplitude_uv"].tolist()) == {1234568}
        assert set(frames[3].tail["width_ns"].tolist()) == {100}
        ids = [frame.id for frame in frames]
        assert (np.diff(ids) == CELLS_MAX).all()

    @pytest.mark.parametrize("asked", [(np.nan, 1.0, 1e-7, 1), (1.0, 1e9, 1e-7, 1), (1.0, 1.0, 9.0, 1)])
    def test_what_no_message_can_carry(self, link: Any, asked: tuple[float, float, float, int]) -> None:
        with pytest.raises(LimitError, match="fake, array 0: a"):
            array_on(link).pulse(Pulses.same(CELLS, Polarity.SET, *asked))
        assert not link.pulses.any()

    def test_a_refusal_names_the_cell(self, link: Any) -> None:
        array = array_on(link)

        def refuse(request: Any) -> Refused | None:
            if isinstance(request, messages.Pulse) and request.tail["row"][0] == 3:
                return Refused(request.id, Reason.V_MAX, 2, 3.6, 3.5)
            return None

        link.refuse = refuse
        expected = (
            r"fake, array 0, cell \(3, 2\): 3\.6 V asked; allowed is at most 3\.5 V \(limits\.v_max_v\)"
        )
        with pytest.raises(LimitError, match=expected):
            array.pulse(Pulses.same(CELLS, Polarity.SET, 3.6, 1.0, 1e-7))


class TestProgram:
    def test_targets_reach_their_cells(self, link: Any) -> None:
        targets_S = np.linspace(1e-6, 40e-6, 128)
        outcome = array_on(link).program(Targets(CELLS, targets_S))
        np.testing.assert_allclose(link.g_S[0].ravel(), targets_S)
        np.testing.assert_allclose(outcome.g_after_S, targets_S, rtol=1e-6)
        np.testing.assert_allclose(outcome.g_before_S, 10e-6, rtol=1e-6)
        for name, value in vars(outcome).items():
            assert value.shape == (128,), name
        assert outcome.pulses.dtype == outcome.reads.dtype == np.int64
        assert outcome.g_after_S.dtype == outcome.energy_j.dtype == np.float64
        assert outcome.status.dtype == np.uint8

    def test_a_recipe_is_sent_once_and_the_oldest_makes_room(self, link: Any) -> None:
        array, one = array_on(link), Targets(CELLS[:1], np.array([2e-5]))
        recipes = [RECIPE.model_copy(update={"pulses_max": 10 + number}) for number in range(5)]
        for recipe in (*recipes[:4], recipes[0], recipes[4], recipes[0]):
            array.program(one, recipe)
        assert [(one.slot, one.pulses_max) for one in sent(link, messages.Recipe)] == [
            (0, 10),
            (1, 11),
            (2, 12),
            (3, 13),
            (1, 14),
        ]
        assert [one.slot for one in sent(link, messages.Write)] == [0, 1, 2, 3, 0, 1, 0]

    def test_epochs_are_those_of_the_host(self, link: Any) -> None:
        recipe = RECIPE.model_copy(update={"epochs": 3, "epoch_wait_s": 0.5, "rewrite_in_band": True})
        outcome = array_on(link).program(Targets(CELLS[:20], np.full(20, 2e-5)), recipe)
        assert (outcome.pulses == 3).all()
        assert (outcome.reads == 9).all()
        np.testing.assert_allclose(outcome.energy_j, 3e-13, rtol=1e-6)
        assert [one.duration_ns for one in sent(link, messages.Wait)] == [500_000_000] * 2
        assert [one.rewrite_in_band for one in sent(link, messages.Recipe)] == [1, 0]

    def test_a_board_in_fault_is_an_error(self, link: Any) -> None:
        array = array_on(link)
        link.fault = 1
        link.refuse = lambda request: (
            Refused(request.id, Reason.FAULT, 0, 0, 0) if isinstance(request, messages.Write) else None
        )
        with pytest.raises(InstrumentError, match="heard nothing from the host"):
            array.program(Targets(CELLS[:1], np.array([2e-5])))


class TestLostLink:
    TARGETS = Targets(CELLS[:30], np.full(30, 2e-5))  # three frames: 12, 12 and 6 cells

    def test_finished_or_not_the_rest_is_read_and_nothing_is_sent_again(self, link: Any) -> None:
        link.lose_at, link.lose_applied = 1, True
        with pytest.raises(UnfinishedError) as caught:
            array_on(link).program(self.TARGETS)
        assert link.pulses.sum() == 24
        assert len(sent(link, messages.Write)) == 3
        assert "array 0" in str(caught.value)
        assert "of 30 cells" in str(caught.value)
        assert "12 had answered, 12 more were finished, the others were read" in str(caught.value)
        assert "nothing was sent twice" in str(caught.value)
        assert "\n" not in str(caught.value)
        np.testing.assert_array_equal(caught.value.cells.row * 8 + caught.value.cells.col, np.arange(24, 30))
        np.testing.assert_allclose(caught.value.g_S, 10e-6, atol=0.1e-6)

    def test_a_board_that_was_reset_is_configured_again_and_every_open_cell_is_read(self, link: Any) -> None:
        link.lose_at, link.lose_applied, link.same_session = 1, True, False
        array = array_on(link)
        with pytest.raises(UnfinishedError, match="0 more were finished") as caught:
            array.program(self.TARGETS)
        assert len(caught.value.cells) == 18
        np.testing.assert_allclose(caught.value.g_S[:12], 20e-6, atol=0.1e-6)
        assert len(sent(link, messages.Limits)) == 2
        assert not sent(link, messages.Recall)
        link.lose_at = None
        assert (array.program(self.TARGETS).status == CellStatus.OK).all()

    def test_a_link_that_stays_lost(self, link: Any) -> None:
        link.lose_at, link.reconnects = 0, False
        array = array_on(link)
        with pytest.raises(
            UnfinishedError, match="0 had answered, 0 more were finished, nothing was read"
        ) as caught:
            array.pulse(Pulses.same(CELLS, Polarity.SET, 1.0, 1.0, 1e-7))
        assert len(caught.value.cells) == 128
        assert np.isnan(caught.value.g_S).all()
        with pytest.raises(TransportError, match="puts its lines to 0 V by itself, 1 s after the last frame"):
            array.ground()

    def test_it_works_again_after_a_reconnect(self, link: Any) -> None:
        array = array_on(link)
        array.program(self.TARGETS)
        link._lose()
        array.program(self.TARGETS)
        assert len(sent(link, messages.Recipe)) == 2
        assert len(sent(link, messages.Limits)) == 2

    def test_another_board_is_not_taken_for_the_old_one(self, link: Any) -> None:
        from dataclasses import replace

        array = array_on(link)
        link.welcome = replace(link.welcome, serial="F2")
        with pytest.raises(TransportError, match="another board answers"):
            array.read(CELLS, 0.2)


class TestBoard:
    def test_a_board_that_holds_other_limits_is_refused(self, link: Any) -> None:
        from dataclasses import replace

        link.held = lambda limits: replace(limits, v_max_uv=5_000_000)
        with pytest.raises(InstrumentError, match=r"holds other limits .* v_max_uv 5000000, not 3500000"):
            array_on(link)

    def test_a_fault_of_before_is_cleared_when_the_bench_opens(
        self, link: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        link.fault = Fault.FRONT_END
        array_on(link)
        assert link.fault == 0
        assert "its front end failed" in caplog.text

    def test_time(self, link: Any) -> None:
        array = array_on(link)
        before_s = array.clock_s()
        array.wait(0.25)
        assert array.clock_s() == pytest.approx(before_s + 0.25)

    def test_real_time_is_utc(self, link: Any) -> None:
        import time
        from dataclasses import replace

        link.welcome = replace(link.welcome, simulated_time=0)
        array = array_on(link)
        assert array.clock_s() == pytest.approx(time.time(), abs=1.0)
        link.time_ns += 2_000_000_000
        later_s = array.clock_s()
        assert later_s == pytest.approx(time.time() + 2.0, abs=1.0)

    def test_ground_waits_for_what_was_abandoned_and_grounds_again(self, link: Any) -> None:
        array = array_on(link)
        link.silent = {messages.Write}
        pending: list[Future[Any]] = []
        submit = link.submit

        def interrupted(request: Any) -> Future[Any]:
            future = submit(request)
            if isinstance(request, messages.Write):
                future.set_running_or_notify_cancel()
                pending.append(future)
                if len(pending) == 2:
                    raise KeyboardInterrupt
            return future

        link.submit = interrupted
        with pytest.raises(KeyboardInterrupt):
            array.program(Targets(CELLS, np.full(128, 2e-5)))
        pending[0].set_result(Refused(1, Reason.ABORTED, 0, 0, 0))
        array.ground()
        assert link.grounds == 2
        array.ground()
        assert link.grounds == 3
