"""The simulated probe station: currents, disturbed cells, compliance, and what can be wrong with a line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from eapu_drivers.simulated.instruments.circuit import GROUND
from eapu_drivers.simulated.instruments.probe import Probe, Source

from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig
from eapu_hil.twin.array import TwinArray
from eapu_hil.twin.driver import simulated_arrays

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 20e-3,
    "pulses_per_cell_max": 100,
}
ROWS, COLUMNS = 3, 2


class Station:
    """Every line can be connected to every bus: `a:row0`."""

    def __init__(self, directory: Path, real_time: bool = False) -> None:
        content = {"backend": "twin", "preset": "ideal", "shape": [ROWS, COLUMNS], "limits": LIMITS}
        config = load_model(BenchConfig, content, (), "benches")
        self.clock, arrays = simulated_arrays(config, directory)
        self.array: TwinArray = arrays[0]
        lines = [
            f"{kind}{k}" for kind, n in (("row", ROWS), ("column", COLUMNS), ("gate", ROWS)) for k in range(n)
        ]
        wires = {f"{bus}:{line}": (bus, line) for bus in (GROUND, "a", "b", "g") for line in lines}
        self.probe = Probe(self.array, self.clock, wires, real_time=real_time)
        self.a, self.b, self.g = (self.probe.source(bus) for bus in "abg")
        self.g_S = self.array._cells.g_S
        self.g_S[:] = np.array([10, 20, 30, 15, 25, 35]) * 1e-6
        self.probe.drive(self.g, level_v=4.0, on=True)

    def connect(self, *crosspoints: str) -> None:
        self.probe.close_crosspoints(set(crosspoints))

    def on(self, source: Source, level_v: float, i_limit_a: float = 1e-2) -> None:
        self.probe.drive(source, level_v=level_v, on=True, i_limit_a=i_limit_a)

    def current_a(self, source: Source) -> float:
        return self.probe.measure(source, 1e-3)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


ONE = ("a:column1", "ground:row2", "g:gate2")  # the cell (2, 1), 35 uS


class TestCurrents:
    def test_one_cell(self, station: Station) -> None:
        station.connect(*ONE)
        station.on(station.a, 0.2)
        assert station.current_a(station.a) == pytest.approx(0.2 * 35e-6, rel=1e-3)
        station.on(station.a, -0.1)
        assert station.current_a(station.a) == pytest.approx(-0.1 * 35e-6, rel=1e-3)

    def test_off_or_with_a_line_missing_there_is_none(self, station: Station) -> None:
        station.connect(*ONE)
        station.probe.drive(station.a, level_v=0.2, on=False)
        assert station.current_a(station.a) == 0.0
        station.on(station.a, 0.2)
        for missing in ONE:
            station.connect(*(set(ONE) - {missing}))
            assert abs(station.current_a(station.a)) < 1e-11

    @pytest.mark.parametrize("gate_v", [0.0, 0.6])
    def test_a_closed_gate(self, station: Station, gate_v: float) -> None:
        station.connect(*ONE)
        station.probe.drive(station.g, level_v=gate_v)
        station.on(station.a, 0.2)
        assert abs(station.current_a(station.a)) < 1e-11

    def test_columns_together_add_up(self, station: Station) -> None:
        station.connect("a:column0", "a:column1", "ground:row1", "g:gate1")
        station.on(station.a, 0.2)
        assert station.current_a(station.a) == pytest.approx(0.2 * 45e-6, rel=1e-3)

    def test_a_grounded_neighbour_draws_nothing(self, station: Station) -> None:
        station.connect(*ONE, "ground:column0", "ground:row0", "ground:row1")
        station.on(station.a, 0.2)
        assert station.current_a(station.a) == pytest.approx(0.2 * 35e-6, rel=1e-3)

    def test_a_driven_row_with_a_grounded_column_draws_through_all_of_them(self, station: Station) -> None:
        station.connect("a:row2", "ground:column0", "ground:column1", "g:gate2")
        station.on(station.a, 0.2)
        assert station.current_a(station.a) == pytest.approx(0.2 * 60e-6, rel=1e-3)

    def test_a_path_through_a_floating_line(self, station: Station) -> None:
        """Column 0 floats between two open cells: their conductances in series add to the cell's own."""
        station.connect("a:row0", "ground:row1", "g:gate0", "g:gate1")
        station.on(station.a, 0.2)
        in_series_S = 1 / (1 / 10e-6 + 1 / 30e-6) + 1 / (1 / 20e-6 + 1 / 15e-6)
        assert station.current_a(station.a) == pytest.approx(0.2 * in_series_S, rel=1e-3)

    def test_two_sources(self, station: Station) -> None:
        station.connect("a:column0", "b:row0", "g:gate0")
        station.on(station.a, 0.3)
        station.on(station.b, 0.1)
        assert station.current_a(station.a) == pytest.approx(0.2 * 10e-6, rel=1e-3)
        assert station.current_a(station.b) == pytest.approx(-0.2 * 10e-6, rel=1e-3)


class TestDisturb:
    def test_below_the_threshold_nothing_ever_changes(self, station: Station) -> None:
        before = station.g_S.copy()
        station.connect(*ONE)
        station.on(station.a, 0.69)
        station.probe.elapse(3600.0)
        np.testing.assert_array_equal(station.g_S, before)

    def test_above_it_the_voltage_sets_the_direction(self, station: Station) -> None:
        before = station.g_S.copy()
        station.connect(*ONE, "ground:column0")
        station.on(station.a, -1.2)
        station.probe.elapse(2e-3)
        assert station.g_S[5] < 1e-6
        station.probe.drive(station.g, level_v=1.2)
        station.on(station.a, 1.2)
        station.probe.elapse(2e-3)
        assert station.g_S[5] == pytest.approx(20e-6, rel=0.01)
        np.testing.assert_array_equal(station.g_S[:5], before[:5])

    def test_no_time_no_change(self, station: Station) -> None:
        station.connect(*ONE)
        station.on(station.a, -1.2)
        station.on(station.a, 0.0)
        station.probe.elapse(1.0)
        assert station.g_S[5] == 35e-6

    def test_half_selected_cells(self, station: Station) -> None:
        before = station.g_S[4]
        station.connect(*ONE, "b:column0", "b:row0", "b:row1")
        station.on(station.b, 0.6)
        station.on(station.a, -1.2)
        station.probe.elapse(2e-3)
        assert station.g_S[4] == before  # 0.6 V
        station.on(station.b, 0.8)
        station.probe.elapse(2e-3)
        assert station.g_S[4] > 1.2 * before  # 0.8 V: its row is open, and it is set


class TestCompliance:
    def test_the_source_gives_way(self, station: Station) -> None:
        station.connect(*ONE)
        station.on(station.a, 0.5, i_limit_a=1e-5)
        assert station.current_a(station.a) == pytest.approx(1e-5)
        assert station.a.limited

    def test_below_the_limit_it_does_not(self, station: Station) -> None:
        station.connect(*ONE)
        station.on(station.a, 0.5, i_limit_a=2e-5)
        station.current_a(station.a)
        assert not station.a.limited

    def test_it_ends_a_set(self, station: Station) -> None:
        station.g_S[5] = 1e-6
        station.connect(*ONE)
        station.probe.drive(station.g, level_v=1.9)
        station.on(station.a, 1.2, i_limit_a=1.2e-5)
        station.probe.elapse(2e-3)
        assert station.g_S[5] == pytest.approx(10e-6, rel=0.01)
        assert station.a.limited

    def test_two_sources_against_each_other(self, station: Station) -> None:
        station.connect("a:column0", "b:column0")
        station.on(station.a, 1.0, i_limit_a=1e-3)
        station.on(station.b, 0.0, i_limit_a=1e-4)
        assert station.current_a(station.a) == pytest.approx(1e-4, rel=1e-6)
        assert station.b.limited


class TestFaults:
    def test_a_short_conducts_whatever_the_gate_does(self, station: Station) -> None:
        station.probe.faults.shorts[2, 1] = 1000.0
        station.connect("a:column1", "ground:row2", "ground:gate2")
        station.on(station.a, 0.1)
        assert station.current_a(station.a) == pytest.approx(1e-4, rel=2e-3)

    @pytest.mark.parametrize("line", ["row2", "column1", "gate2"])
    def test_an_open_line(self, station: Station, line: str) -> None:
        station.probe.faults.open_lines.add(line)
        station.connect(*ONE)
        station.on(station.a, 0.2)
        assert abs(station.current_a(station.a)) < 1e-11

    def test_a_gate_that_leaks(self, station: Station) -> None:
        station.probe.faults.gate_shorts[2] = 1e4
        station.connect(*ONE)
        station.probe.drive(station.g, level_v=1.0, i_limit_a=1.0)
        station.on(station.a, 0.2)
        assert station.current_a(station.g) == pytest.approx(1e-4, rel=1e-3)
        assert abs(station.current_a(station.a)) < 1e-11


def test_time_passes_as_it_is_told_to(station: Station) -> None:
    start_s = station.clock.now_s()
    station.probe.elapse(0.5)
    station.probe.catch_up()
    assert station.clock.now_s() - start_s == 0.5


def test_in_real_time_it_also_passes_by_itself(tmp_path: Path) -> None:
    station = Station(tmp_path, real_time=True)
    station.connect(*ONE)
    station.on(station.a, -1.2)
    time.sleep(0.05)
    station.probe.catch_up()
    assert station.clock.now_s() >= 0.05
    assert station.g_S[5] < 1e-6


@pytest.mark.parametrize("act", [lambda s: s.connect("nowhere"), lambda s: s.connect()])
def test_crosspoints_that_lead_nowhere(station: Station, act: Callable[[Station], None]) -> None:
    act(station)
    station.on(station.a, 0.2)
    assert abs(station.current_a(station.a)) < 1e-11
