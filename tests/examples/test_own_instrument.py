"""The example of an instrument family in a package of its own: discovered and opened as an installed package is."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from eapu_drivers.simulated.instruments.station import open_source_meter
from eapu_drivers.visa.discover import find_instruments
from eapu_drivers.visa.families import SOURCE_METER_GROUP, simulated_models

from eapu_hil.base.loading import load_model
from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import Cells, CellStatus, Targets
from eapu_hil.hal.testing import CrossbarContract

EXAMPLE = Path(__file__).parents[2] / "examples" / "04_own_instrument"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package as `pip install --editable` leaves it: its folder on the path, its metadata beside."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    site = tmp_path_factory.mktemp("site")
    metadata = site / "own_instrument-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, offered in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in offered.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        patch.syspath_prepend(site)
        yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_instrument"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(
        EXAMPLE / "bench.yaml", chip_dir=tmp_path_factory.mktemp("chip"), commission=False
    ) as opened:
        yield opened


def test_it_is_discovered(tmp_path: Path) -> None:
    twin = load_model(BenchConfig, "ideal", (), "benches")
    with open_source_meter("acme", twin, tmp_path, "127.0.0.1", 0) as server:
        [found] = find_instruments([server.resource])
    assert (found.problem, found.maker, found.model, found.driver) == ("", "Acme", "SMU-1", "acme")
    assert simulated_models(SOURCE_METER_GROUP)["acme"] == "Acme SMU-1"


def test_a_bench_with_it(bench: Bench) -> None:
    [array] = bench.arrays
    assert array.identity.model == "SMU-1 + 707B"
    cells = Cells.block(0, 2, 0, 2)
    target_S = np.array([5e-6, 12e-6, 20e-6, 33e-6])
    done = array.program(Targets(cells, target_S))
    assert (done.status == CellStatus.OK).all()
    np.testing.assert_allclose(array.read(cells, 0.2).g_S, target_S, atol=1.2 * bench.recipe.band_S)


class TestContract(CrossbarContract):
    """The suite of the contract on its bench, as its makers would run it."""
