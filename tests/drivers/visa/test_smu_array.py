"""An array behind sources and a switch matrix: what it connects, drives and measures, cell by cell."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from direct import DirectMeter, DirectSwitch
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.station import Station, wires
from eapu_drivers.visa.array import SmuArray
from eapu_drivers.visa.bench import assembled
from stations import LIMITS

from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig
from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.hal import (
    Cells,
    CellStatus,
    ConfigError,
    Direction,
    HilError,
    InstrumentError,
    LimitError,
    Polarity,
    Pulses,
    Targets,
    TransportError,
    UnsupportedError,
)
from eapu_hil.twin.driver import simulated_arrays

SHAPE = (4, 3)
WIDTH_s = 2e-3


class Rig:
    """An array of ideal cells with direct instruments around it."""

    def __init__(self, directory: Path, preset: str = "ideal", **instruments: Any) -> None:
        content = {
            "backend": "smu",
            "resource": "sim:2400",
            "preset": preset,
            "shape": list(SHAPE),
            "limits": LIMITS,
            "instruments": instruments,
        }
        self.config = load_model(BenchConfig, content, (), "benches")
        assert self.config.instruments is not None
        clock, [self.cells] = simulated_arrays(self.config, directory)
        self.probe = Probe(self.cells, clock, wires(self.config.instruments.map))
        self.station = Station(self.cells, clock, self.probe)
        buses = ["source", "gate", *(f"bias{k}" for k in range(len(self.config.instruments.bias)))]
        self.meters = [DirectMeter(self.probe, bus) for bus in buses]
        self.switch = DirectSwitch(self.probe)
        self.array: SmuArray = assembled(
            self.config, self.config.instruments, list(self.meters), self.switch, self.station
        )

    def g_S(self) -> np.ndarray:
        """The conductances that are really there."""
        return np.array(self.cells._cells.g_S.reshape(SHAPE))

    def set_g_S(self, g_S: float) -> None:
        self.cells._cells.g_S[:] = g_S


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


ALL = Cells.all(SHAPE)


def one(row: int, col: int) -> Cells:
    return Cells.block(row, row + 1, col, col + 1)


def test_opening_grounds_every_line(rig: Rig) -> None:
    assert len(rig.switch.now) == 4 + 3 + 4
    assert not any(meter.channel.on for meter in rig.meters)


def test_reading_gives_the_conductances(rig: Rig) -> None:
    rig.cells._cells.g_S[:] = np.linspace(5e-6, 38e-6, 12)
    reading = rig.array.read(ALL, 0.2)
    np.testing.assert_allclose(reading.g_S, np.linspace(5e-6, 38e-6, 12), rtol=2e-3)
    assert not reading.status.any()
    assert rig.switch.hot == 0
    np.testing.assert_allclose(rig.array.read(ALL, -0.2).g_S, reading.g_S, rtol=2e-3)


def test_a_current_beyond_the_limit_of_readings_is_saturated(tmp_path: Path) -> None:
    rig = Rig(tmp_path, i_read_max_a=1e-6)
    rig.set_g_S(30e-6)
    assert (rig.array.read(ALL, 0.2).status == CellStatus.SATURATED).all()


@pytest.mark.parametrize(
    "instruments",
    [
        {},
        {"unselected": "floating"},
        {"unselected": "floating", "reset": "reversed"},
        {"unselected": "half", "bias": [{"channel": "x"}]},
        {"unselected": "third", "bias": [{"channel": "x"}, {"channel": "y"}]},
    ],
)
def test_a_pulse_moves_its_cell_and_no_other(tmp_path: Path, instruments: dict[str, Any]) -> None:
    rig = Rig(tmp_path, **instruments)
    rig.set_g_S(20e-6)
    cell = one(1, 2)
    # 1.2 V: a third or half of it lies below the threshold of the cells, 0.7 V
    rig.array.pulse(Pulses.same(cell, Polarity.SET, 1.2, 1.6, WIDTH_s))
    changed = rig.g_S()
    assert changed[1, 2] == pytest.approx(36e-6, rel=0.01)
    changed[1, 2] = 20e-6
    np.testing.assert_array_equal(changed, 20e-6)
    rig.array.pulse(Pulses.same(cell, Polarity.RESET, 1.2, 4.0, WIDTH_s))
    changed = rig.g_S()
    assert changed[1, 2] < 1e-6
    changed[1, 2] = 20e-6
    np.testing.assert_array_equal(changed, 20e-6)
    assert rig.switch.hot == 0


def test_half_of_too_much_disturbs_what_shares_the_row(tmp_path: Path) -> None:
    """So the scheme is the bench's choice: the simulation shows what it costs."""
    rig = Rig(tmp_path, unselected="half", bias=[{"channel": "x"}])
    rig.set_g_S(20e-6)
    rig.array.pulse(Pulses.same(one(1, 2), Polarity.SET, 3.0, 1.6, WIDTH_s))
    g_S = rig.g_S()
    assert (g_S[1] > 25e-6).all()
    np.testing.assert_array_equal(np.delete(g_S, 1, axis=0), 20e-6)


def test_a_reset_is_below_ground_or_reversed(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "a")
    rig.array.pulse(Pulses.same(one(0, 0), Polarity.RESET, 1.2, 4.0, WIDTH_s))
    assert ("pulse", -1.2, WIDTH_s, 1) in rig.meters[0].log
    rig = Rig(tmp_path / "b", unselected="floating", reset="reversed")
    rig.array.pulse(Pulses.same(one(0, 0), Polarity.RESET, 1.2, 4.0, WIDTH_s))
    assert ("pulse", 1.2, WIDTH_s, 1) in rig.meters[0].log


@pytest.mark.parametrize(
    ("scheme", "levels_v"), [("half", [0.6]), ("third", [pytest.approx(0.4), pytest.approx(0.8)])]
)
def test_biases_are_up_for_the_pulse_only(tmp_path: Path, scheme: str, levels_v: list[Any]) -> None:
    rig = Rig(tmp_path, unselected=scheme, bias=[{"channel": str(k)} for k in range(len(levels_v))])
    rig.array.pulse(Pulses.same(one(0, 0), Polarity.SET, 1.2, 1.2, WIDTH_s))
    held = [[entry[1] for entry in meter.log if entry[0] == "hold"] for meter in rig.meters[2:]]
    assert held == [[level_v, 0.0] for level_v in levels_v]


def test_compliance_is_a_status(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.set_g_S(30e-6)
    strict = replace(rig.array._setups, pulse=replace(rig.array._setups.pulse, i_limit_a=2e-5))
    rig.array._setups = strict
    status = rig.array.pulse(Pulses.same(one(0, 0), Polarity.SET, 1.2, 1.9, WIDTH_s)).status
    assert status[0] == CellStatus.COMPLIANCE


def test_a_pulse_that_is_too_short_is_refused_before_anything_is_sent(rig: Rig) -> None:
    before = [len(meter.log) for meter in rig.meters]
    with pytest.raises(UnsupportedError, match=r"a pulse of 1e-07 s asked; it can do 0\.001 s to 1 s"):
        rig.array.pulse(Pulses.same(one(0, 0), Polarity.SET, 1.2, 1.2, 1e-7))
    assert [len(meter.log) for meter in rig.meters] == before


def test_a_gate_that_leaks_is_noticed_at_work(rig: Rig) -> None:
    """Its transistor does not open, so the cell would read as one of 0 S."""
    rig.probe.faults.gate_shorts[1] = 1e5
    rig.array.read(one(0, 0), 0.2)
    with pytest.raises(
        HilError, match=r"the gate that is connected leaks: it draws its compliance of 1e-06 A at 4\.0 V"
    ):
        rig.array.read(one(1, 0), 0.2)


def test_a_recipe_of_a_request_with_pulses_that_are_too_short_is_refused_before_anything_is_sent(
    rig: Rig,
) -> None:
    before = [len(meter.log) for meter in rig.meters]
    recipe = rig.config.recipe
    short = recipe.model_copy(update={"reset": recipe.reset.model_copy(update={"width_s": 1e-7})})
    with pytest.raises(
        UnsupportedError, match=r"recipe\.reset\.width_s: 1e-07 s; .* makes pulses of 0\.001 s to 1 s"
    ):
        rig.array.program(Targets(ALL, np.full(12, 25e-6)), short)
    assert [len(meter.log) for meter in rig.meters] == before


def test_write_verify(rig: Rig) -> None:
    targets_S = np.linspace(3e-6, 37e-6, 12)
    outcome = rig.array.program(Targets(ALL, targets_S))
    assert (outcome.status == CellStatus.OK).all()
    assert np.abs(rig.g_S().ravel() - targets_S).max() < 1.2e-6
    assert (outcome.pulses > 0).all()
    assert (outcome.energy_j > 0).all()
    assert rig.switch.hot == 0


class TestProducts:
    @pytest.mark.parametrize("direction", list(Direction))
    def test_they_are_those_of_the_conductances(self, rig: Rig, direction: Direction) -> None:
        rig.cells._cells.g_S[:] = np.linspace(5e-6, 38e-6, 12)
        g_S = rig.g_S() if direction is Direction.FORWARD else rig.g_S().T
        v_v = np.random.default_rng(0).uniform(-0.2, 0.2, (25, g_S.shape[0]))
        v_v[3:9, 1] = 0.0
        np.testing.assert_allclose(rig.array.vmm(v_v, direction), v_v @ g_S, rtol=0.01, atol=2e-9)

    def test_long_batches_are_swept_in_parts(self, rig: Rig) -> None:
        rig.array.vmm(np.full((25, 4), 0.1), Direction.FORWARD)
        sizes = [entry[1] for entry in rig.meters[0].log if entry[0] == "sweep"]
        assert sizes == [10, 10, 5] * 12

    def test_a_cell_beyond_the_compliance_has_no_part_in_one(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, i_read_max_a=1e-6)
        rig.set_g_S(30e-6)
        with pytest.raises(
            InstrumentError, match=r"cell \(0, 0\): at -0\.2 V it draws the compliance of readings"
        ):
            rig.array.vmm(np.full((1, 4), 0.2), Direction.FORWARD)

    def test_chosen_lines(self, rig: Rig) -> None:
        rig.cells._cells.g_S[:] = np.linspace(5e-6, 38e-6, 12)
        some = rig.array.vmm(np.full((2, 2), 0.1), Direction.FORWARD, np.array([3, 0]), np.array([2]))
        expected_a = 0.1 * (rig.g_S()[0, 2] + rig.g_S()[3, 2])
        np.testing.assert_allclose(some, expected_a, rtol=0.01)


class TestBadPositions:
    @pytest.fixture
    def masked(self, tmp_path: Path) -> Rig:
        plain = Rig(tmp_path / "plain")
        assert plain.config.instruments is not None
        channels = plain.config.instruments.map.model_dump(mode="json")
        return Rig(tmp_path, map={**channels, "bad": [[1, 2]]})

    def test_they_read_nothing(self, masked: Rig) -> None:
        reading = masked.array.read(ALL, 0.2)
        bad = (ALL.row == 1) & (ALL.col == 2)
        assert np.isnan(reading.g_S[bad]).all()
        assert (reading.status[bad] == CellStatus.STUCK).all()
        assert np.isfinite(reading.g_S[~bad]).all()

    def test_they_are_not_written(self, masked: Rig) -> None:
        before = masked.g_S()[1, 2]
        outcome = masked.array.program(Targets(ALL, np.full(12, 25e-6)))
        bad = (ALL.row == 1) & (ALL.col == 2)
        assert (outcome.status[bad] == CellStatus.STUCK).all()
        assert outcome.pulses[bad].sum() == 0
        assert (outcome.status[~bad] == CellStatus.OK).all()
        assert masked.g_S()[1, 2] == before

    def test_a_pulse_to_one_is_refused(self, masked: Rig) -> None:
        with pytest.raises(LimitError, match=r"cell \(1, 2\): a pulse asked; the channel map calls it bad"):
            masked.array.pulse(Pulses.same(ALL, Polarity.SET, 1.2, 1.2, WIDTH_s))
        assert not any(entry[0] == "pulse" for entry in masked.meters[0].log)

    def test_a_short_there_does_no_harm(self, masked: Rig) -> None:
        masked.probe.faults.shorts[1, 2] = 50.0
        assert masked.array.test_contacts() == []
        reading = masked.array.read(ALL, 0.2)
        good = (ALL.row != 1) | (ALL.col != 2)
        assert not reading.status[good].any()
        np.testing.assert_allclose(reading.g_S[good], masked.g_S().ravel()[good], rtol=0.01)


class TestContacts:
    def test_none_wrong(self, tmp_path: Path) -> None:
        """Also with fresh cells, which hardly conduct."""
        assert Rig(tmp_path, preset="rram_180nm").array.test_contacts() == []

    def test_what_is_wrong_is_found(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, preset="rram_180nm")
        rig.probe.faults.shorts[2, 1] = 50.0
        rig.probe.faults.gate_shorts[0] = 1e4
        rig.probe.faults.open_lines |= {"row3", "column2"}
        found = {fault.where: fault.problem for fault in rig.array.test_contacts()}
        assert set(found) == {"cell (2, 1)", "gate 0", "row 3", "column 2"}
        assert found["cell (2, 1)"] == "shorted: over 1e+03 nA at 0.1 V with its gate closed"
        assert found["gate 0"] == "leaks: it draws its compliance at 4.0 V"
        assert found["row 3"].startswith("no contact of the row or its gate")

    def test_it_changes_nothing_and_grounds(self, rig: Rig) -> None:
        rig.set_g_S(20e-6)
        rig.probe.faults.shorts[2, 1] = 50.0
        rig.array.test_contacts()
        np.testing.assert_array_equal(rig.g_S(), 20e-6)
        assert not any(meter.channel.on for meter in rig.meters)
        assert len(rig.switch.now) == 11
        assert rig.switch.hot == 0
        most_a = max(entry[1].i_limit_a for entry in rig.meters[0].log if entry[0] == "set_up")
        assert most_a == 1e-6


class TestGround:
    def test_every_source_then_every_line(self, rig: Rig) -> None:
        rig.array.read(ALL, 0.2)
        rig.array.ground()
        assert [meter.log[-1] for meter in rig.meters] == [("safe_off",)] * 2
        assert len(rig.switch.now) == 11

    def test_after_it_everything_is_set_up_again(self, rig: Rig) -> None:
        rig.array.read(one(0, 0), 0.2)
        rig.array.ground()
        rig.set_g_S(20e-6)
        assert rig.array.read(one(0, 0), 0.2).g_S[0] == pytest.approx(20e-6, rel=0.01)

    def test_one_that_fails_does_not_keep_the_others_from_it(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.array.read(ALL, 0.2)

        def fail() -> None:
            raise HilError("the meter is gone")

        monkeypatch.setattr(rig.meters[0], "safe_off", fail)
        with pytest.raises(HilError, match="the meter is gone"):
            rig.array.ground()
        assert not rig.meters[1].channel.on
        assert len(rig.switch.now) == 11


class TestOpening:
    def test_a_recipe_with_pulses_that_are_too_short(self, rig: Rig) -> None:
        content = rig.config.model_dump(mode="json") | {"recipe": "rram_180nm"}
        config = load_model(BenchConfig, content, (), "benches")
        assert config.instruments is not None
        with pytest.raises(
            ConfigError, match=r"recipe\.set\.width_s: 1e-07 s; the meter at source makes pulses of"
        ):
            assembled(config, config.instruments, list(rig.meters), rig.switch, rig.station)

    def test_a_gate_of_readings_beyond_the_limit(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"gate_read_v: 6\.0 V asked; allowed is at most 5\.0 V"):
            Rig(tmp_path, gate_read_v=6.0)


def test_limits_are_those_of_the_instruments(rig: Rig) -> None:
    limits = rig.array.limits
    assert (limits.v_max_v, limits.i_max_a, limits.width_max_s) == (200.0, 1.0, 1.0)


def test_time(rig: Rig) -> None:
    start_s = rig.array.clock_s()
    rig.array.wait(3600.0)
    assert rig.array.clock_s() == pytest.approx(start_s + 3600.0)


@pytest.mark.parametrize("ask", ["read", "program", "pulse", "vmm"])
def test_a_ground_from_another_thread_ends_what_runs(rig: Rig, ask: str) -> None:
    """The lines stay at 0 V: nothing is set up again for the cells that are left."""
    requests = {
        "read": lambda: rig.array.read(ALL, 0.2),
        "program": lambda: rig.array.program(Targets(ALL, np.full(12, 20e-6))),
        "pulse": lambda: rig.array.pulse(Pulses.same(ALL, Polarity.SET, 1.0, 1.0, WIDTH_s, 1)),
        "vmm": lambda: rig.array.vmm(np.full((1, 4), 0.2), Direction.FORWARD),
    }
    connect, moves = rig.switch.connect, []

    def grounding(crosspoints: Any) -> None:
        connect(crosspoints)
        moves.append(crosspoints)
        if len(moves) == 3:
            thread = threading.Thread(target=rig.array.ground)
            thread.start()
            thread.join()

    rig.switch.connect = grounding  # type: ignore[method-assign]
    with pytest.raises(HilError, match="lines were put to 0 V in the middle of a request; it ends there"):
        requests[ask]()
    assert len(rig.switch.now) == 4 + 3 + 4
    assert not any(meter.channel.on for meter in rig.meters)
    rig.switch.connect = connect  # type: ignore[method-assign]
    requests[ask]()  # what comes later is not concerned


class TestWear:
    """The pulses of each cell are counted before its source gives them."""

    def test_what_ends_in_the_middle_is_counted_up_to_the_cell_under_way(
        self, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger = ArrayLedger(tmp_path / "ledger", SHAPE)
        rig.array.account_to(ledger)
        seen: list[int] = []

        def fail(level_v: float, width_s: float, count: int = 1) -> bool:  # noqa: ARG001
            seen.append(int(ledger.pulses(ALL).sum()))
            if len(seen) == 3:
                raise TransportError("gone")
            return False

        monkeypatch.setattr(rig.meters[0], "pulse", fail)
        with pytest.raises(TransportError):
            rig.array.pulse(Pulses.same(ALL, Polarity.SET, 1.0, 1.5, WIDTH_s, 4))
        assert seen == [4, 8, 12]
        assert ledger.pulses(ALL).sum() == 12
        ledger.close()

    def test_a_write_counts_what_its_outcome_says(self, rig: Rig, tmp_path: Path) -> None:
        ledger = ArrayLedger(tmp_path / "ledger", SHAPE)
        rig.array.account_to(ledger)
        outcome = rig.array.program(Targets(ALL, np.full(12, 20e-6)))
        np.testing.assert_array_equal(ledger.pulses(ALL), outcome.pulses)
        assert outcome.pulses.sum() > 0
        ledger.close()
