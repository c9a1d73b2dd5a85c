"""Shared by the tests: a crossbar that obeys at once and remembers what it was sent."""

from __future__ import annotations

import os
import signal
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from eapu_hil.base.loading import load_model
from eapu_hil.hal import (
    Cells,
    Direction,
    FloatArray,
    Identity,
    IntArray,
    Limits,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.training.config import ExperimentConfig

READS, PULSES, PULSE_ENERGY_J = 3, 2, 1e-12

# How long an example takes says how busy the machine is, and nothing about the code.
hypothesis.settings.register_profile("eapu_hil", deadline=None)
hypothesis.settings.load_profile("eapu_hil")

# A shell that starts the tests in the background, or nohup, lets all their processes ignore these.
for _name, _default in (
    ("SIGINT", signal.default_int_handler),
    ("SIGHUP", signal.SIG_DFL),
    ("SIGQUIT", signal.SIG_DFL),
):
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)


@pytest.fixture(scope="session")
def measured_file() -> Callable[[str], Path]:
    """Finds one file of measured data below the folder EAPU_HIL_DATA, by pattern; skips where it is not there."""

    def find(pattern: str) -> Path:
        folder = os.environ.get("EAPU_HIL_DATA")
        if not folder:
            pytest.skip(f"EAPU_HIL_DATA is not set (a folder with {pattern})")
        found = list(Path(folder).glob(pattern))
        if len(found) != 1:
            pytest.skip(f"{len(found)} files {pattern} in {folder}; one is needed")
        return found[0]

    return find


@pytest.fixture
def old_files(tmp_path: Path) -> Path:
    """A folder with what version 0.1 left behind, its names for siemens included; see data/README.md."""
    folder = tmp_path / "old"
    with zipfile.ZipFile(Path(__file__).parent / "data" / "before_units.zip") as archive:
        archive.extractall(folder)
    return folder


class FakeCrossbar:
    """Every cell reads `g_S`; write-verify always hits with `PULSES` pulses and `READS` reads.

    on_request: called with the name of each request before it is obeyed; may raise.
    """

    def __init__(
        self, shape: tuple[int, int], limits: Limits, on_request: Callable[[str], None] = lambda _: None
    ) -> None:
        self.identity = Identity("fake", "serial-1", "1.0", "")
        self.shape = shape
        self.limits = limits
        self.g_S = np.full(shape, 20e-6)
        self.sent: list[tuple[str, Any]] = []
        self.grounds = 0
        self._on_request = on_request
        self._time_s = 0.0

    def _request(self, name: str, content: Any) -> None:
        self.sent.append((name, content))
        self._on_request(name)

    def clock_s(self) -> float:
        return self._time_s

    def wait(self, duration_s: float) -> None:
        self._request("wait", duration_s)
        self._time_s += duration_s

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        self._request("read", (cells, v_read_v))
        return Reading(self.g_S[cells.row, cells.col], np.zeros(len(cells), np.uint8))

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> FloatArray:
        self._request("vmm", v_in_v)
        g_S = self.g_S if direction is Direction.FORWARD else self.g_S.T
        g_S = g_S if lines_in is None else g_S[lines_in]
        currents_a: FloatArray = v_in_v @ (g_S if lines_out is None else g_S[:, lines_out])
        return currents_a

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        self._request("pulse", pulses)
        return PulseOutcome(np.zeros(len(pulses.cells), np.uint8))

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        self._request("program", (targets, recipe))
        at, n = (targets.cells.row, targets.cells.col), len(targets)
        before_S = self.g_S[at]
        self.g_S[at] = targets.g_target_S
        pulses = np.where(before_S == targets.g_target_S, 0, PULSES)
        return WriteOutcome(
            before_S,
            targets.g_target_S.copy(),
            pulses,
            np.full(n, READS),
            pulses * PULSE_ENERGY_J,
            np.zeros(n, np.uint8),
        )

    def ground(self) -> None:
        self.grounds += 1
        self._on_request("ground")


@pytest.fixture
def limits() -> Limits:
    """Those of the packaged benches."""
    return Limits(
        v_max_v=3.5,
        v_gate_max_v=5.0,
        i_max_a=2e-3,
        width_max_s=1e-3,
        pulses_per_cell_max=100,
        v_read_max_v=0.5,
    )


@pytest.fixture
def recipe() -> Recipe:
    """The packaged recipe."""
    return load_model(Recipe, "rram_180nm", [], "recipes")


@pytest.fixture
def make_crossbar(limits: Limits) -> Callable[..., FakeCrossbar]:
    """Makes a `FakeCrossbar` of 6 x 4 cells: `make_crossbar(on_request=...)`."""

    def make(
        shape: tuple[int, int] = (6, 4), on_request: Callable[[str], None] = lambda _: None
    ) -> FakeCrossbar:
        return FakeCrossbar(shape, limits, on_request)

    return make


@pytest.fixture
def make_experiment() -> Callable[..., ExperimentConfig]:
    """Makes an experiment that takes a second: `make_experiment(rule={"name": "bp"}, bench={"preset": "ideal"})`.

    Digits with 6 hidden units; the second layer is cut in two, so that each of three arrays holds a tile.
    """

    def make(bench: Mapping[str, Any] | None = None, **changes: Any) -> ExperimentConfig:
        limits = {
            "v_max_v": 3.5,
            "v_gate_max_v": 5.0,
            "i_max_a": 2e-3,
            "width_max_s": 1e-3,
            "pulses_per_cell_max": 1000,
        }
        content = {
            "name": "tiny",
            "bench": {"backend": "twin", "arrays": 3, "shape": [64, 16], "limits": limits, **(bench or {})},
            "task": {"name": "digits", "hidden": 6},
            "rule": {"name": "eapu"},
            "optimizer": {"name": "adam", "lr": 5e-3},
            "steps": 10,
            "batch": 8,
            "evaluate_every": 5,
            "checkpoint_every": 4,
            **changes,
        }
        return load_model(ExperimentConfig, content, (), "experiments")

    return make


class Silent:
    """A `Progress` that shows nothing. on_step: called with the number of each step; may raise."""

    def __init__(self, on_step: Callable[[int], None] = lambda _: None) -> None:
        self._on_step = on_step

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None:  # noqa: ARG002
        self._on_step(step)

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_end(self) -> None: ...


@pytest.fixture
def silent() -> Callable[..., Silent]:
    """Makes a `Silent` progress."""
    return Silent


@pytest.fixture
def install_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """What `pip install` leaves behind, in a folder of its own on the search path; returns that folder.

    Called with the name of the package, its files by path, and its entry points by group.
    """

    def install(name: str, files: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]) -> Path:
        place = tmp_path / f"site_{name}"
        info = place / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [
            line
            for group, offered in entry_points.items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in offered.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for path, text in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text)
        monkeypatch.syspath_prepend(place)
        return place

    return install
