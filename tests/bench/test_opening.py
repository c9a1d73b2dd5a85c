from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.loading import FileModel, load_model
from eapu_hil.bench import open_bench
from eapu_hil.bench.config import BenchConfig, TwinBenchConfig
from eapu_hil.bench.driver import Driver
from eapu_hil.hal import Cells, ConfigError, Crossbar, Direction, LimitError, Limits, Targets
from eapu_hil.training.config import ExperimentConfig

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 1e-3,
    "pulses_per_cell_max": 100,
}
BENCH = {"backend": "lab", "arrays": 2, "shape": [6, 4], "limits": LIMITS}
CELLS = Cells(np.array([1, 2]), np.array([0, 3]))


class LabBench(BenchConfig):
    """Bench files of the lab's backend. rack: where it stands."""

    rack: int = 1


class Limitless(FileModel):
    """No bench: it has not the keys that every bench has."""


class Lab:
    """A driver that a lab has installed; remembers what it opened."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make
        self.shape = (6, 4)
        self.opened: list[Any] = []
        self.events: list[str] = []
        self.directories: list[Path] = []
        self.racks: list[int] = []

    @contextmanager
    def open_arrays(self, config: LabBench, chip_dir: Path) -> Iterator[list[Crossbar]]:
        self.directories.append(chip_dir)
        self.racks.append(config.rack)
        names = [f"array{number} " for number in range(config.arrays)]
        self.opened = [
            self.make(self.shape, lambda request, name=name: self.events.append(name + request))
            for name in names
        ]
        try:
            yield list(self.opened)
        finally:
            self.events.append("closed")


@pytest.fixture
def lab(make_crossbar: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    """The driver `lab`, installed as a package installs one; `missing` cannot be imported."""
    lab = Lab(make_crossbar)
    site = tmp_path / "site"
    info = site / "lab_driver-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-driver\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[eapu_hil.drivers]\nlab = lab_driver:DRIVER\nmissing = no_such_module:DRIVER\n"
        "old = lab_driver:open_arrays\nplain = lab_driver:PLAIN\n"
    )
    module = types.ModuleType("lab_driver")
    module.open_arrays = lab.open_arrays  # type: ignore[attr-defined]
    module.DRIVER = Driver(LabBench, lab.open_arrays)  # type: ignore[attr-defined]
    module.PLAIN = Driver(Limitless, lab.open_arrays)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lab_driver", module)
    monkeypatch.syspath_prepend(str(site))
    return lab


def test_opens_interlocked_arrays_and_grounds_them_before_the_device_closes(lab: Lab, tmp_path: Path) -> None:
    with open_bench(BENCH, chip_dir=tmp_path / "chip") as bench:
        assert [array.name for array in bench.arrays] == ["array 0", "array 1"]
        assert bench.arrays[0].limits == Limits(**LIMITS)  # type: ignore[arg-type]
        assert bench.recipe == bench.config.recipe
        assert (bench.chip.passport.model, bench.chip.passport.serial) == ("fake", "serial-1")
        with pytest.raises(LimitError, match="array 1: a read at 0"):
            bench.arrays[1].read(CELLS, 0.6)
        bench.arrays[1].program(Targets(CELLS, np.full(2, 1e-5)))
        bench.arrays[0].vmm(np.full((3, 6), 0.1), Direction.FORWARD)
        counts = bench.ledger.snapshot()
        assert counts.writes.sum(axis=(1, 2)).tolist() == [0, 2]
        assert counts.vmm_vectors == 3
    assert lab.events == ["array1 program", "array0 vmm", "array0 ground", "array1 ground", "closed"]
    assert lab.directories == [tmp_path / "chip"]


def test_a_chip_keeps_its_passport_and_ledger_over_sessions(lab: Lab, tmp_path: Path) -> None:
    bench_file = tmp_path / "bench.yaml"
    bench_file.write_text(f"backend: lab\narrays: 2\nshape: [6, 4]\nchip: chips/a\nlimits: {LIMITS}\n")
    for _ in range(2):
        with open_bench(bench_file) as bench:
            bench.arrays[0].program(Targets(CELLS, np.full(2, 1e-5)))
            bench.arrays[0].program(Targets(CELLS, np.full(2, 2e-5)))
            created = bench.chip.passport.created
    with open_bench(bench_file) as bench:
        assert bench.chip.passport.created == created
        assert bench.ledger.snapshot().writes.sum() == 8
    assert set(lab.directories) == {tmp_path / "chips" / "a"}


@pytest.mark.usefixtures("lab")
def test_without_a_chip_it_lives_as_long_as_the_session() -> None:
    with open_bench(BENCH) as bench:
        directory = bench.chip.directory
        assert (directory / "passport.yaml").is_file()
    assert not directory.exists()


def test_every_array_is_grounded_when_the_session_fails(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_bench(BENCH, chip_dir=tmp_path / "chip"):
        raise KeyboardInterrupt
    assert lab.events == ["array0 ground", "array1 ground", "closed"]


def test_a_chip_of_another_bench_is_refused_before_the_device_is_opened(lab: Lab, tmp_path: Path) -> None:
    with open_bench(BENCH, chip_dir=tmp_path / "chip"):
        pass
    lab.directories.clear()
    with (
        pytest.raises(ConfigError, match=r"2 arrays of 6 x 4 cells; the bench has 3 of 6 x 4"),
        open_bench(BENCH, ["arrays=3"], tmp_path / "chip"),
    ):
        pass
    assert lab.directories == []


def test_a_chip_in_use_is_refused(lab: Lab, tmp_path: Path) -> None:
    with (
        open_bench(BENCH, chip_dir=tmp_path / "chip"),
        pytest.raises(ConfigError, match="in use by process"),
        open_bench(BENCH, chip_dir=tmp_path / "chip"),
    ):
        pass
    assert lab.events == ["array0 ground", "array1 ground", "closed"]


@pytest.mark.usefixtures("lab")
def test_unknown_and_broken_backends_are_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"^bench: backend: .*'labb', did you mean 'lab'\?; .*lab, missing"),
        open_bench({**BENCH, "backend": "labb"}, chip_dir=tmp_path / "chip"),
    ):
        pass
    with (
        pytest.raises(
            ConfigError, match="the driver 'missing' of lab-driver cannot be loaded: ModuleNotFound"
        ),
        open_bench({**BENCH, "backend": "missing"}, chip_dir=tmp_path / "chip"),
    ):
        pass
    for backend, said in (
        ("old", "names method"),
        ("plain", "names Limitless, which is not derived from BenchConfig"),
    ):
        with (
            pytest.raises(ConfigError, match=said),
            open_bench({**BENCH, "backend": backend}, chip_dir=tmp_path / "chip"),
        ):
            pass
    assert not (tmp_path / "chip").exists()


@pytest.mark.usefixtures("lab")
def test_two_packages_with_one_driver_are_both_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "other" / "other_lab-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-lab\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[eapu_hil.drivers]\nlab = other_lab:DRIVER\n")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    with pytest.raises(ConfigError, match="'lab': lab-driver and other-lab"):
        load_model(BenchConfig, BENCH, (), "benches")
    assert load_model(BenchConfig, "twin", (), "benches").simulated  # the others are not harmed


def test_a_driver_has_keys_of_its_own_and_others_are_refused(lab: Lab, tmp_path: Path) -> None:
    with open_bench({**BENCH, "rack": 3}, ["rack=4"], tmp_path / "chip"):
        pass
    assert lab.racks == [4]
    for key, value, said in (
        ("rack", "left", "bench: rack: must be a valid integer; given 'left'"),
        ("rak", 3, "bench: rak: unknown key, did you mean 'rack'\\?; allowed are backend, .*rack"),
        ("port", "COM3", "bench: port: unknown key; only backend 'controller' can have it"),
        ("overrides", {"a": 1}, "bench: overrides: unknown key; only backend .*'twin' can have it"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_model(BenchConfig, {**BENCH, key: value}, (), "benches")
    with pytest.raises(ConfigError, match=r"backend: 'lab' asked; .* keys preset, overrides, seed"):
        load_model(TwinBenchConfig, BENCH, (), "benches")


@pytest.mark.usefixtures("lab")
def test_an_experiment_keeps_the_keys_of_its_bench() -> None:
    content = {
        "name": "short",
        "bench": {**BENCH, "rack": 7},
        "task": {"name": "digits"},
        "rule": {"name": "eapu"},
        "optimizer": {"name": "adam"},
        "steps": 10,
        "batch": 2,
    }
    first = load_model(ExperimentConfig, content, (), "experiments")
    assert isinstance(first.bench, LabBench)
    again = load_model(ExperimentConfig, first.model_dump(mode="json"), ["bench.arrays=3"], "experiments")
    assert isinstance(again.bench, LabBench)
    assert (again.bench.rack, again.bench.arrays) == (7, 3)


def test_writes_from_python_are_in_the_passport(lab: Lab, tmp_path: Path) -> None:
    """So that a drift monitor knows what the cells should hold, whoever wrote them."""
    with open_bench(BENCH, chip_dir=tmp_path / "chip") as bench:
        bench.arrays[1].program(Targets(CELLS, np.array([1e-5, 3e-5])))
        bench.arrays[1].without_record().program(Targets(CELLS, np.array([3e-5, 3e-5])))
        (entry,) = bench.chip.history()
    assert (entry.kind, entry.values["array"], entry.values["in_band"]) == ("programmed", 1, 2)
    assert entry.arrays["g_target_S"].tolist() == [1e-5, 3e-5]
    assert entry.arrays["pulses"].tolist() == [2, 2]
    assert lab.events[:2] == ["array1 program", "array1 program"]


def test_without_a_package_that_forms_it_a_twin_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eapu_hil.bench.opening.COMMISSIONING", "eapu_hil.nobody")
    twin = {**BENCH, "backend": "twin"}
    with (
        pytest.raises(
            ConfigError, match=r"no installed package .* \(entry point eapu_hil\.nobody\); install"
        ),
        open_bench(twin, chip_dir=tmp_path / "chip"),
    ):
        pass


def test_a_device_of_another_shape_is_refused_and_leaves_no_chip(lab: Lab, tmp_path: Path) -> None:
    lab.shape = (8, 8)
    with (
        pytest.raises(ConfigError, match=r"2 arrays of 6 x 4 asked; the backend has arrays of 8 x 8, 8 x 8"),
        open_bench(BENCH, chip_dir=tmp_path / "chip"),
    ):
        pass
    assert lab.events == ["closed"]
    assert not (tmp_path / "chip").exists()


@pytest.mark.usefixtures("lab")
def test_limits_beyond_the_device_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"limits\.v_max_v: 4.0 asked; the device allows at most 3\.5"),
        open_bench(BENCH, ["limits.v_max_v=4"], tmp_path / "chip"),
    ):
        pass


def test_a_real_chip_is_not_formed_unasked(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_bench(BENCH, chip_dir=tmp_path / "chip") as bench:
        assert bench.chip.history() == []
    assert "the write error of this recipe is not known; measure it with: eapu-hil calibrate" in caplog.text
    assert lab.events == ["array0 ground", "array1 ground", "closed"]
