"""A bench of simulated instruments finds what simulates them as anybody's package would bring it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from stations import LIMITS

from eapu_hil.base import plugins
from eapu_hil.base.loading import load_model
from eapu_hil.bench import open_bench
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import ConfigError

BENCH = {"backend": "smu", "resource": "sim:2400", "preset": "ideal", "shape": [4, 3], "limits": LIMITS}


def test_without_simulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(group: str) -> Any:
        return [] if group == "eapu_hil.simulators" else entry_points(group=group)

    monkeypatch.setattr(plugins, "entry_points", without)
    monkeypatch.syspath_prepend(tmp_path)  # what is installed is looked up anew
    with (
        pytest.raises(ConfigError, match=r"^bench: resource: 'sim:2400': .*'instruments'.* none$"),
        open_bench(BENCH, chip_dir=tmp_path / "chip"),
    ):
        pass


def test_two_packages_that_simulate(tmp_path: Path, install: Callable[..., None]) -> None:
    install("own-lab", {}, {"eapu_hil.simulators": {"instruments": "own_lab:start"}})
    with (
        pytest.raises(
            ConfigError, match=r"^bench: resource: 'sim:2400': two packages .*eapu-hil and own-lab"
        ),
        open_bench(BENCH, chip_dir=tmp_path / "chip"),
    ):
        pass


OWN = """
from eapu_drivers.visa.switch.contract import Layout

class Matrix:
    family = "Own matrix"
    def fits(self, identity): return False
    def __call__(self, transport): ...

class Named(Matrix):
    layout = Layout("PQRST", 20)

matrix, named = Matrix(), Named()
"""


def test_the_wiring_of_a_labs_simulated_switch(install: Callable[..., None]) -> None:
    """Its own, where it says how its crosspoints are called; not that of another maker."""
    offered = {"own": "own_lab:matrix", "named": "own_lab:named"}
    install(
        "own-lab",
        {"own_lab.py": OWN},
        {"eapu_hil.switches": offered, "eapu_hil.simulated_instruments": offered},
    )
    with pytest.raises(ConfigError, match=r"instruments\.map: .*(missing|required)"):
        load_model(BenchConfig, {**BENCH, "instruments": {"switch": "sim:own"}}, (), "benches")
    config = load_model(BenchConfig, {**BENCH, "instruments": {"switch": "sim:named"}}, (), "benches")
    channels = config.instruments.map
    assert (channels.buses.source, channels.buses.gate) == ("P", "R")
    assert channels.lines("gate")[-1] == "1x11"
