"""Other people's drivers, unchanged, against the simulated instruments: PyMeasure's and QCoDeS's.

They run with the Python of `.venv-others`, which `make others` makes: nothing else needs those packages.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.server import Device
from eapu_drivers.simulated.instruments.sim_keithley2400 import SimulatedKeithley2400
from eapu_drivers.simulated.instruments.sim_keithley2450 import SimulatedKeithley2450
from eapu_drivers.simulated.instruments.sim_keithley2600b import SimulatedKeithley2600B
from stations import SmallStation

REPOSITORY = Path(__file__).parents[2]
OTHERS = REPOSITORY / ".venv-others" / "bin" / "python"
FAMILIES: dict[str, Callable[[Probe], Device]] = {
    "2400": lambda probe: SimulatedKeithley2400(probe, ["source"]),
    "2450": lambda probe: SimulatedKeithley2450(probe, ["source"]),
    "2600": lambda probe: SimulatedKeithley2600B(probe, ["source", "spare"]),
    "wrapped": lambda probe: SimulatedKeithley2600B(probe, ["source", "spare"]),
}
SCRIPTS = sorted(path.stem for path in (Path(__file__).parent / "others").glob("*.py"))


def test_every_script_is_run() -> None:
    families = ("2400", "2450", "2600")
    expected = {f"{package}_{family}" for package in ("pymeasure", "qcodes") for family in families}
    assert set(SCRIPTS) == expected | {"qcodes_wrapped"}


@pytest.mark.skipif(not OTHERS.exists(), reason="PyMeasure and QCoDeS are not installed: make others")
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_measures_the_cell(tmp_path: Path, script: str) -> None:
    station = SmallStation(tmp_path)
    station.array._cells.g_S[:] = 20e-6
    device = FAMILIES[script.partition("_")[2]](station.probe)
    program = Path(__file__).parent / "others" / f"{script}.py"
    with station.serving(device) as server:
        done = subprocess.run(
            [OTHERS, program, server.resource],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["conductance_S"] == pytest.approx(20e-6, rel=0.01)
    assert found.get("slope_S", 20e-6) == pytest.approx(20e-6, rel=0.01)
    assert found["compliance_a"] == pytest.approx(1e-4)
    assert found["errors"] == []
