"""An export is opened by the tools that it is for, without this package, and says what the run or chip holds."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_mock import MockerFixture

from eapu_hil.bench.ledger import Ledger
from eapu_hil.bench.passport import Chip
from eapu_hil.cli.parser import main
from eapu_hil.hal import CellStatus, ConfigError
from eapu_hil.training.export.run_content import run_content
from eapu_hil.training.export.writing import export
from eapu_hil.training.records import WRITE_DTYPE
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_writes

h5py = pytest.importorskip("h5py", reason="pip install 'eapu-hil[export]'")
pytest.importorskip("h5netcdf", reason="pip install 'eapu-hil[export]'")
pytest.importorskip("tensorboardX", reason="pip install 'eapu-hil[export]'")
pandas = pytest.importorskip("pandas")
xarray = pytest.importorskip("xarray")

SHAPE = (6, 4)
START = {
    "name": "tiny",
    "experiment": {
        "task": "digits",
        "optimizer": {"lr": 0.01},
        "bench": {
            "shape": [6, 4],
            "limits": {"v_max_v": 3.5, "unusual": False},
            "names": ["a", 2],
            "chip": None,
        },
    },
    "seed": 7,
}


def records(step: int, count: int) -> np.ndarray:
    made = np.zeros(count, WRITE_DTYPE)
    cells = np.arange(count)
    made["step"], made["time_s"], made["row"], made["col"] = step, 0.5 * step, cells % 6, cells % 4
    made["target_S"], made["pulses"] = 20e-6, 3
    made["after_S"] = 20e-6 + 1e-6 * np.sin(cells)
    made["status"] = np.where(cells % 5, CellStatus.OK, CellStatus.NOT_CONVERGED)
    return made


def new_run(path: Path, steps: int = 9, count: int = 10) -> Path:
    """A run that took steps 4 to 6 twice, because it was resumed."""
    with RunStore.create(path, START) as store:
        maps = {
            f"g_{when}_S_{array}": np.full(SHAPE, 1e-6 * (array + 1))
            for when in ("before", "after")
            for array in (0, 1)
        }
        picture = np.linspace(0, 1, 20).reshape(4, 5)
        gallery = {"gallery_0_input": picture, "gallery_names": np.array(["coins"])}
        store.save_snapshots(
            {**maps, "pulses_0": np.full(SHAPE, 5), "pulses_1": np.full(SHAPE, 6), **gallery}
        )
        store.append_metrics(
            "evaluation", {"step": 0, "name": "accuracy", "metric": 0.1, "quick": True, "items": []}
        )
        for step in [*range(1, 7), *range(4, steps + 1)]:
            store.append_writes(records(step, count))
            layers = {"dense1": 0.5, "dense2": None}
            store.append_metrics(
                "step", {"step": step, "loss": 1.0 / step, "update_ratio_layer": layers, "wall_s": 2.0}
            )
        items = [{"name": "coins", "value": 0.9}]
        store.append_metrics(
            "evaluation", {"step": steps, "name": "accuracy", "metric": 0.9, "quick": False, "items": items}
        )
        store.finish({"exit_status": "success", "energy_j": {"total": 1e-3}})
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return new_run(tmp_path / "runs" / "a")


@pytest.fixture
def chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = Chip.create(tmp_path / "chip", "twin", "seed 0", SHAPE, 2, chip_serial="W12-D07")
    status = np.zeros(SHAPE, np.uint8)
    status[2, 3] = CellStatus.STUCK
    maps = {
        name: np.full(SHAPE, value)
        for name, value in (("v_form_v", 2.8), ("g_fresh_S", 1e-7), ("g_formed_S", 2e-5))
    }
    maps["status"] = status
    made.record("forming", {"array": 1, "v_form_median_v": 2.8}, maps, 1.0)
    arrays = {"row": np.arange(3), "col": np.zeros(3, np.int64), "usable": np.ones(3, bool),
              "g_S": np.arange(12.0).reshape(4, 3), "frequency_hz": np.arange(5.0)}  # fmt: skip
    made.record("read_noise", {"array": 0, "white_sd_S": [1e-7, 2e-7]}, arrays, 2.5)
    ledger = Ledger(made.directory / "ledger", 2, SHAPE, made.id)
    ledger.arrays[1].count("pulses", np.array([0, 5]), 7, 14)
    ledger.close()
    return made.directory


@pytest.mark.parametrize(("to", "end"), [("hdf5", ".h5"), ("netcdf", ".nc")])
def test_xarray_and_h5py_open_a_run(run: Path, to: str, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--to", to]) == 0
    out = Path(f"a{end}")
    assert f"exported: {out}" in capsys.readouterr().out
    steps = xarray.load_dataset(out, group="metrics/step", engine="h5netcdf")
    assert steps.step.values.tolist() == list(range(1, 10))  # those that were repeated count once
    assert float(steps.loss.sel(step=5)) == pytest.approx(0.2)
    assert steps["update_ratio_layer.dense1"].values.tolist() == [0.5] * 9
    assert steps.wall_s.attrs["units"] == "s"
    evaluations = xarray.load_dataset(out, group="metrics/evaluation", engine="h5netcdf")
    assert evaluations.name.values.tolist() == ["accuracy"] * 2
    assert json.loads(str(evaluations["items"].values[1]))[0]["name"] == "coins"
    writes = xarray.load_dataset(out, group="writes", engine="h5netcdf")
    for name, values in writes.variables.items():
        np.testing.assert_array_equal(values.values, read_writes(run)[name])
    assert writes.target_S.attrs["units"] == "S"
    assert "NOT_CONVERGED" in writes.status.attrs["flag_meanings"]
    arrays = xarray.load_dataset(out, group="arrays", engine="h5netcdf")
    assert arrays.g_after_S.dims == ("array", "row", "col")
    assert float(arrays.g_after_S.sel(array=1)[0, 0]) == 2e-6
    with h5py.File(
        out
    ) as file:  # what MATLAB's h5read sees: numbers and text, no compound and no enumeration
        kinds = set()
        file.visititems(
            lambda _, found: kinds.add(found.dtype.kind) if isinstance(found, h5py.Dataset) else None
        )
        assert kinds <= set("iufO")
        assert file["writes/pulses"][:3].tolist() == [3, 3, 3]
        assert file["writes/time_s"].attrs["units"] == "s"
        assert file["examples/0_input/image"].shape == (4, 5)
        settings = file["configuration/experiment"].attrs
        assert settings["bench.limits.v_max_v"] == 3.5
        assert settings["bench.limits.v_max_v.units"] == "V"
        assert settings["bench.names"] == '["a", 2]'
        assert "bench.chip" not in settings
        assert file["configuration/summary"].attrs["energy_j.total.units"] == "J"
        assert "lr: 0.01" in file["configuration/experiment/yaml"].asstr()[()]


def test_pandas_reads_the_csv_files_of_a_run(run: Path) -> None:
    out = export(run, "csv", Path("out"))
    writes = pandas.read_csv(out / "writes.csv")
    assert list(writes.columns) == list(WRITE_DTYPE.names or ())
    np.testing.assert_allclose(writes["after_S"], read_writes(run)["after_S"], rtol=1e-7)
    assert pandas.read_csv(out / "metrics_step.csv")["step"].tolist() == list(range(1, 10))
    maps = pandas.read_csv(out / "arrays.csv")
    assert len(maps) == 2 * 6 * 4
    assert maps.iloc[-1][["array", "row", "col", "pulses"]].tolist() == [1, 5, 3, 6]
    settings = pandas.read_csv(out / "configuration.csv").set_index(["part", "key"])
    assert settings.loc[("experiment", "bench.limits.v_max_v"), "unit"] == "V"
    assert settings.loc[("start", "seed"), "value"] == "7"


def test_tensorboard_reads_a_run(run: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = export(run, "tensorboard", Path("board"))
    events = reader.EventAccumulator(str(out), {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    losses = events.Scalars("step/loss")
    assert [event.step for event in losses] == list(range(1, 10))
    assert losses[4].value == pytest.approx(0.2)
    assert losses[-1].wall_time - losses[0].wall_time == pytest.approx(16.0)
    assert {"evaluation/metric", "evaluation.quick/metric"} <= set(tags["scalars"])
    histograms = events.Histograms("writes/error_uS")
    assert sum(event.histogram_value.num for event in histograms) == read_writes(run).size
    assert histograms[-1].step == 9
    assert {"g_after_S/array_1", "pulses/array_0"} <= set(tags["images"])
    assert "configuration/experiment/text_summary" in tags["tensors"]


def test_xarray_and_pandas_open_a_chip(chip: Path) -> None:
    out = export(chip, "netcdf")
    arrays = xarray.load_dataset(out, group="arrays", engine="h5netcdf")
    assert int(arrays.status.sel(array=1)[2, 3]) == CellStatus.STUCK
    assert int(arrays.pulses.sum()) == 14
    assert float(arrays.v_form_v.sel(array=1)[0, 0]) == 2.8
    noise = xarray.load_dataset(out, group="measurements/0002_read_noise", engine="h5netcdf")
    assert noise.g_S.dims == ("axis0_4", "cell")
    assert noise.attrs["white_sd_S"].tolist() == [1e-7, 2e-7]
    assert noise.attrs["white_sd_S.units"] == "S"
    forming = xarray.load_dataset(out, group="measurements/0001_forming", engine="h5netcdf")
    assert forming.v_form_v.dims == ("rows", "columns")
    assert xarray.load_dataset(out, group="entries", engine="h5netcdf").kind.values.tolist() == [
        "forming",
        "read_noise",
    ]
    assert xarray.load_dataset(out, engine="h5netcdf").attrs["chip"] == "W12-D07"
    folder = export(chip, "csv")
    forming = pandas.read_csv(folder / "measurements_0001_forming.csv")
    assert forming.query("row == 2 and col == 3")["status"].tolist() == ["STUCK"]
    noise = pandas.read_csv(folder / "measurements_0002_read_noise.csv")
    assert list(noise.columns) == ["row", "col", "usable", *(f"g_S[{number}]" for number in range(4))]
    assert len(pandas.read_csv(folder / "measurements_0002_read_noise_2.csv")) == 5
    assert (export(chip, "tensorboard") / ".").is_dir()


@pytest.mark.parametrize("to", ["hdf5", "csv", "tensorboard"])
def test_a_long_run_takes_little_memory(tmp_path: Path, to: str) -> None:
    # The same in CSV would take some 100 MB, since each number is an object then.
    run = new_run(tmp_path / "a", steps=40, count=4_000 if to == "csv" else 20_000)
    assert (run / "writes.bin").stat().st_size > (6e6 if to == "csv" else 30e6)
    export(new_run(tmp_path / "short"), to, tmp_path / "first")  # what is imported does not count
    tracemalloc.start()
    try:
        export(run, to, tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (16e6 if to == "csv" else 8e6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["runs", "--to", "hdf5"],
            "runs: neither a run nor a chip (no start.yaml, no passport.yaml); export a run of it, such as runs/a",
        ),
        (["nowhere", "--to", "hdf5"], "nowhere: not a run directory"),
        (["runs/a", "--to", "hdf5", "--out", "there"], "there: already exists; name a new place with --out"),
        (["runs/a", "--to", "hdf5", "--out", "no/a.h5"], "no/a.h5: there is no directory no"),
        (["runs/a", "--to", "xls"], "--to: invalid choice: 'xls'"),
        (["runs/a"], "the following arguments are required: --to"),
    ],
)
def test_wrong_usage_is_one_line(
    run: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.is_dir()
    Path("there").write_text("mine")
    assert main(["export", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert Path("there").read_text() == "mine"


@pytest.mark.parametrize(
    ("to", "package"), [("hdf5", "h5netcdf"), ("netcdf", "h5py"), ("tensorboard", "tensorboardX")]
)
def test_a_missing_package_is_named_with_its_extra(
    run: Path, to: str, package: str, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    mocker.patch.dict("sys.modules", {package: None})
    for module in ("netcdf", "tensorboard"):
        sys.modules.pop(f"eapu_hil.training.export.{module}", None)
    assert main(["export", str(run), "--to", to]) == 2
    assert f"needs {package}: pip install 'eapu-hil[export]'" in capsys.readouterr().err


def test_a_damaged_run_and_a_failed_export_leave_nothing(run: Path, mocker: MockerFixture) -> None:
    def fail(path: Path, *_: Any) -> None:
        path.mkdir()
        raise OSError(28, "No space left on device")

    mocker.patch("eapu_hil.training.export.csv_files.write_csv_files", side_effect=fail)
    assert main(["export", str(run), "--to", "csv"]) == 2
    content = bytearray((run / "writes.bin").read_bytes())
    content[100] ^= 1
    (run / "writes.bin").write_bytes(content)
    assert main(["export", str(run), "--to", "hdf5"]) == 1
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_a_run_that_still_goes_on_is_exported(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "a", START) as store:
        store.append_writes(records(1, 5))
        out = export(tmp_path / "a", "hdf5", tmp_path / "a.h5")
    assert xarray.load_dataset(out, group="writes", engine="h5netcdf").sizes == {"write": 5}


@pytest.mark.parametrize(("to", "name"), [("hdf5", "a.h5"), ("csv", "a"), ("tensorboard", "a")])
def test_no_other_file_is_touched(tmp_path: Path, mocker: MockerFixture, to: str, name: str) -> None:
    """Neither what is called like a half of it, nor what somebody has put there meanwhile."""
    run, out = new_run(tmp_path / "run"), tmp_path / "out" / name
    out.parent.mkdir()
    mine = out.with_name(f"{name}.part")
    mine.write_text("mine")
    export(run, to, out)
    assert sorted(out.parent.iterdir()) == sorted([out, mine])
    assert mine.read_text() == "mine"

    later = out.with_name("later")
    read = mocker.patch("eapu_hil.training.export.writing._content", return_value=run_content(run))
    read.side_effect = lambda _: later.touch() or mocker.DEFAULT
    with pytest.raises(ConfigError, match="already exists"):
        export(run, to, later)
    assert later.read_bytes() == b""
    assert sorted(out.parent.iterdir()) == sorted([out, mine, later])


def test_notes_for_who_watches_are_no_results(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "run", START) as store:
        store.append_metrics("step", {"step": 1, "loss": 1.0})
        store.append_note("event", {"at_step": 1, "unix_s": 2.0, "what": "log", "text": "warm"})
        store.append_note("bench", {"step": 1, "unix_s": 2.0, "energy_j": 1.0})
    with h5py.File(export(tmp_path / "run", "hdf5", tmp_path / "a.h5")) as file:
        assert list(file["metrics"]) == ["step"]
