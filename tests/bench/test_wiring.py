"""How a bench of instruments is wired: the channel map and what a bench file may say around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from eapu_drivers.visa.config import SmuConfig, simulated_instruments
from hypothesis import given
from hypothesis import strategies as st

from eapu_hil.base.loading import load_model
from eapu_hil.bench.wiring import ChannelMap, Instruments, at_bus
from eapu_hil.hal import ConfigError

BUSES = {"source": "A", "ground": "B", "gate": "C", "bias": ["D", "E"]}
MAP = {"buses": BUSES, "rows": ["1x01..1x03"], "columns": ["1x04", "1x05"], "gates": ["1x06..1x08"]}
INSTRUMENTS = {
    "gate": {"channel": "b"},
    "switch": "GPIB0::16::INSTR",
    "map": MAP,
    "unselected": "grounded",
    "reset": "negative",
}
LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 2e-2,
    "pulses_per_cell_max": 100,
}


def bench(**changes: Any) -> SmuConfig:
    content = {
        "backend": "smu",
        "resource": "GPIB0::24::INSTR",
        "instruments": INSTRUMENTS,
        "shape": [3, 2],
        "limits": LIMITS,
        **changes,
    }
    return load_model(
        SmuConfig, {key: value for key, value in content.items() if value is not None}, (), "benches"
    )


def test_ranges_are_written_out() -> None:
    channels = load_model(ChannelMap, MAP, (), "maps")
    assert channels.lines("row") == ["1x01", "1x02", "1x03"]
    assert channels.shape == (3, 2)
    assert at_bus(channels.lines("gate")[2], "C") == "1C08"


@given(st.integers(0, 90), st.integers(0, 9))
def test_a_range_has_every_line_between(first: int, more: int) -> None:
    columns = [f"2x{first:02d}..2x{first + more:02d}"]
    channels = load_model(ChannelMap, {**MAP, "columns": columns}, (), "maps")
    assert channels.lines("column") == [f"2x{number:02d}" for number in range(first, first + more + 1)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": ["101"]}, r"line '101': must have one 'x'"),
        ({"columns": ["1x01"]}, "line '1x01' stands there twice"),
        ({"gates": ["1x06"]}, "3 rows and 1 gates; each row must have one gate"),
        ({"rows": ["1x03..1x01"]}, "a range must differ in its last number only, and rise"),
        ({"rows": ["1x01..2x03"]}, "a range must differ in its last number only, and rise"),
        ({"buses": {**BUSES, "gate": "A"}}, "each must have a name of its own"),
    ],
)
def test_a_map_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_model(ChannelMap, {**MAP, **changes}, (), "maps")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unselected": "half"}, "'half' needs 1 sources in bias"),
        ({"unselected": "third", "bias": [{"channel": "a"}]}, "'third' needs 2 sources in bias"),
        ({"bias": [{"channel": "a"}]}, "'grounded' needs 0 sources"),
        ({"reset": "reversed"}, "unselected must be 'floating'; it is 'grounded'"),
        ({"unselected": None}, "unselected: missing; it must be given"),
        ({"reset": None}, "reset: missing; it must be given"),
    ],
)
def test_instruments_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    content = {key: value for key, value in {**INSTRUMENTS, **changes}.items() if value is not None}
    with pytest.raises(ConfigError, match=said):
        load_model(Instruments, content, (), "instruments")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [4, 2]}, "leads to one array of 3 x 2; arrays and shape ask for 1 of 4 x 2"),
        ({"arrays": 2}, "leads to one array of 3 x 2; arrays and shape ask for 2 of 3 x 2"),
        ({"instruments": {**INSTRUMENTS, "switch": "sim:707b"}}, "all are simulated, or none is"),
        (
            {"instruments": {**INSTRUMENTS, "reset": "reversed"}},
            "bench: instruments: reset: 'reversed' drives a whole row",
        ),
        ({"resource": "sim:4200", "instruments": None}, "no such simulation; allowed are sim:2400, sim:2450"),
        (
            {"preset": "ideal"},
            r"preset: only where the cells are simulated \(resource: sim:...\); given with .*GPIB0",
        ),
    ],
)
def test_a_bench_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        bench(**changes)


def test_a_real_bench_has_the_slow_recipe_and_no_preset() -> None:
    config = bench()
    assert not config.simulated
    assert config.preset is None
    assert config.recipe.set.width_s == 2e-3


def test_a_simulated_bench_needs_its_resource_only() -> None:
    config = bench(resource="sim:2400", instruments=None)
    assert config.simulated
    assert config.instruments.switch == "sim:707b"
    assert config.instruments.map.shape == (3, 2)
    assert config.preset == "rram_180nm"


def test_what_a_simulated_bench_says_itself_stays() -> None:
    config = bench(resource="sim:b2900", instruments={"switch": "sim:34980a", "nplc": 1.0})
    channels = config.instruments.map
    assert (config.instruments.switch, config.instruments.nplc) == ("sim:34980a", 1.0)
    assert at_bus(channels.lines("row")[0], channels.buses.source) == "1101"


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(["sim:707b", "sim:34980a"]))
def test_the_simulated_map_has_a_crosspoint_for_each_line_and_bus(
    rows: int, columns: int, switch: str
) -> None:
    content = simulated_instruments((rows, columns), {"switch": switch})
    channels = load_model(Instruments, content, (), "instruments").map
    assert channels.shape == (rows, columns)


def test_a_map_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAP))
    (tmp_path / "bench.yaml").write_text(
        yaml.safe_dump(
            {
                "backend": "smu",
                "resource": "GPIB0::24::INSTR",
                "instruments": {**INSTRUMENTS, "map": "./map.yaml"},
                "shape": [3, 2],
                "limits": LIMITS,
            }
        )
    )
    config = load_model(SmuConfig, tmp_path / "bench.yaml", (), "benches")
    assert config.instruments.map.lines("column") == ["1x04", "1x05"]
