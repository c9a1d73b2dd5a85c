"""Training: reproducible, blind to what the cells really hold, honest about how it ended, and it does learn."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pytest_mock import MockerFixture

import eapu_hil
import eapu_hil.training.array_model
from eapu_hil.base.loading import read_mapping
from eapu_hil.bench import open_bench
from eapu_hil.bench.config import TwinBenchConfig
from eapu_hil.bench.driver import Driver
from eapu_hil.bench.interlock import Interlock
from eapu_hil.bench.passport import Chip
from eapu_hil.bench.wide import BenchArrays
from eapu_hil.cli.parser import main
from eapu_hil.hal import CellStatus, ConfigError, Crossbar, HilError, IntArray, TransportError
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.errors import DivergedError
from eapu_hil.training.records import WriteCause
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import load_checkpoint, read_metrics, read_start, read_summary, read_writes
from eapu_hil.training.trainer import resume, train, trained_network
from eapu_hil.twin.crossbar import TwinCrossbar
from eapu_hil.twin.driver import open_arrays
from eapu_hil.twin.wide import TwinArrays

Make = Callable[..., ExperimentConfig]
Silent = Callable[..., Any]


def _metrics(run: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "wall_s"} for line in read_metrics(run)]


def test_the_same_seed_gives_the_same_run_bit_by_bit(
    tmp_path: Path, make_experiment: Make, silent: Silent
) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(make_experiment(seed=seed, steps=6), tmp_path / name, silent())
    assert _metrics(tmp_path / "a") == _metrics(tmp_path / "b")
    writes = [(tmp_path / name / "writes.bin").read_bytes() for name in "abc"]
    assert writes[0] == writes[1]
    assert _metrics(tmp_path / "a") != _metrics(tmp_path / "c")
    assert writes[0] != writes[2]


def test_a_script_names_an_experiment_and_watches_nothing(tmp_path: Path) -> None:
    tiny = {"rule": {"name": "digital"}, "steps": 2, "evaluate_every": 5}
    content = {**read_mapping("digits", "experiments"), **tiny}
    summary = eapu_hil.train(content, str(tmp_path / "a"))
    assert (summary["steps"], summary["exit_status"]) == (2, "success")
    assert summary == read_summary(tmp_path / "a")
    assert eapu_hil.resume(str(tmp_path / "a"), steps=3)["steps"] == 3
    with pytest.raises(ConfigError, match="digit"):
        eapu_hil.train("digit", tmp_path / "b")
    assert not (tmp_path / "b").exists()


class TestBeyondTheEnd:
    def test_a_longer_run_is_what_it_would_have_been(
        self, tmp_path: Path, make_experiment: Make, silent: Silent
    ) -> None:
        digital = {"rule": {"name": "digital"}}
        train(make_experiment(**digital, steps=6), tmp_path / "a", silent())
        resume(tmp_path / "a", silent(), steps=10)
        train(make_experiment(**digital, steps=10), tmp_path / "whole", silent())
        found, whole = load_checkpoint(tmp_path / "a"), load_checkpoint(tmp_path / "whole")
        assert found is not None
        assert whole is not None
        assert found.step == whole.step == 10
        np.testing.assert_array_equal(found.arrays["model.dense1"], whole.arrays["model.dense1"])
        assert read_start(tmp_path / "a")["experiment"]["steps"] == 10

    def test_on_an_array_no_step_is_taken_twice(
        self, tmp_path: Path, make_experiment: Make, silent: Silent
    ) -> None:
        train(make_experiment(steps=4), tmp_path / "a", silent())
        before = read_writes(tmp_path / "a")
        summary = resume(tmp_path / "a", silent(), steps=7)
        assert (summary["steps"], summary["exit_status"]) == (7, "success")
        after = read_writes(tmp_path / "a")
        np.testing.assert_array_equal(after[: before.size], before)
        assert after["step"][before.size :].min() > 4
        assert resume(tmp_path / "a", silent(), steps=8)["steps"] == 8

    def test_fewer_steps_than_were_taken_are_refused(
        self, tmp_path: Path, make_experiment: Make, silent: Silent
    ) -> None:
        train(make_experiment(rule={"name": "digital"}, steps=4), tmp_path / "a", silent())
        with pytest.raises(ConfigError, match="a new total of 3 steps asked; 4 were taken already"):
            resume(tmp_path / "a", silent(), steps=3)
        with pytest.raises(ConfigError, match="this run has finished; there is nothing to resume"):
            resume(tmp_path / "a", silent(), steps=4)
        assert read_summary(tmp_path / "a") is not None

    def test_a_mapping_at_a_share_of_the_run_stays_where_it_was(
        self, tmp_path: Path, make_experiment: Make, silent: Silent
    ) -> None:
        train(make_experiment(rule={"name": "offline_then_map"}, steps=3), tmp_path / "a", silent())
        with pytest.raises(ConfigError, match=r"'offline_then_map' writes its weights .* train a new run"):
            resume(tmp_path / "a", silent(), steps=5)
        assert read_summary(tmp_path / "a") is not None


class _Contract:
    """A crossbar that has nothing but the contract: asking for anything else raises AttributeError.

    Its class may be asked for: that is how `isinstance` finds out that it has no further ability.
    """

    _NAMES = ("identity", "shape", "limits", "clock_s", "wait", "read", "vmm", "pulse", "program", "ground")

    def __init__(self, inner: Crossbar) -> None:
        object.__setattr__(self, "_get", lambda name: getattr(inner, name))

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return _Contract
        if name not in _Contract._NAMES:
            raise AttributeError(f"{name} is not part of the contract")
        return object.__getattribute__(self, "_get")(name)


@contextmanager
def _contract_only(config: TwinBenchConfig, chip_dir: Path) -> Iterator[list[Crossbar]]:
    with open_arrays(config, chip_dir) as arrays:
        yield [_Contract(array) for array in arrays]


@pytest.mark.parametrize("backward", ["array", "host"])
def test_nothing_beyond_the_contract_is_asked_of_an_array(
    tmp_path: Path, make_experiment: Make, silent: Silent, mocker: MockerFixture, backward: str
) -> None:
    opened = mocker.Mock(side_effect=_contract_only)
    mocker.patch("eapu_hil.twin.driver.DRIVER", Driver(TwinBenchConfig, opened))
    summary = train(make_experiment(backward=backward, steps=3), tmp_path / "a", silent())
    assert summary["exit_status"] == "success"
    assert opened.called
    with pytest.raises(AttributeError, match="not part of the contract"):
        _Contract(mocker.Mock())._cells  # noqa: B018 - the wrapper itself works


@pytest.mark.parametrize("rule", ["eapu", "eapu_residual", "bp", "digital"])
def test_every_rule_trains_and_its_ratios_are_those_of_its_writes(
    tmp_path: Path, make_experiment: Make, silent: Silent, rule: str
) -> None:
    run, steps = tmp_path / "a", 12
    summary = train(make_experiment(rule={"name": rule}, steps=steps, batch=64), run, silent())
    lines, writes = read_metrics(run, "step"), read_writes(run)
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    ratios = np.array([line["update_ratio"] for line in lines])
    assert summary["update_ratio_mean"] == pytest.approx(ratios.mean())
    assert summary["update_ratio_last"] == pytest.approx(ratios[-1:].mean())  # a tenth of 12 steps
    if rule == "digital":
        assert sorted(path.name for path in run.iterdir()) == [
            "checkpoints",
            "journal.bin",
            "metrics.jsonl",
            "snapshots.npz",
            "start.yaml",
            "summary.json",
            "writes.bin",
        ]
        assert writes.size == 0
        assert summary["bench_time_s"] == 0.0
        return
    written = np.bincount(writes["step"], minlength=steps + 1)[1:]
    np.testing.assert_allclose(ratios, written / summary["weights"])
    by_layer = [line["update_ratio_layer"] for line in lines]
    assert all(set(ratio) == {"dense1", "dense2"} for ratio in by_layer)
    of_layers = [ratio["dense1"] * 64 * 6 + ratio["dense2"] * 6 * 10 for ratio in by_layer]
    np.testing.assert_allclose(of_layers, written)
    pulses = np.bincount(writes["step"], writes["pulses"], steps + 1)[1:]
    assert [line["pulses"] for line in lines] == pulses.tolist()
    assert [line["writes"] for line in lines] == written.tolist()
    failed = np.bincount(writes["step"], writes["status"] != 0, steps + 1)[1:]
    assert [line["not_converged"] for line in lines] == failed.tolist()
    if rule == "bp":
        # all but weights that cannot be changed, as with both cells stuck; in step 1 one unit has no gradient yet
        assert (ratios[1:] > 0.98).all()
        assert (writes["pulses"][writes["step"] > 0] > 0).all()
    else:
        assert ratios.max() < 0.3


def test_refreshes_come_when_scheduled_and_are_counted_apart(
    tmp_path: Path, make_experiment: Make, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        eapu_hil.training.array_model, "REFRESH_ERRORS", 0.2
    )  # steps are short: cells hardly drift
    bench = {"overrides": {"relaxation.update_interval_s": 1e-4}}
    run = tmp_path / "a"
    summary = train(make_experiment(bench=bench, steps=9, refresh_every=3), run, silent())
    lines, writes = read_metrics(run, "refresh"), read_writes(run)
    assert [line["step"] for line in lines] == [3, 6]  # nothing is trained after the last step
    again = writes["cause"] == WriteCause.REFRESH
    by_step = np.bincount(writes["step"][again], minlength=10)
    assert [line["writes"] for line in lines] == by_step[[3, 6]].tolist()
    assert min(line["writes"] for line in lines) > 0
    assert summary["refresh_writes_total"] == by_step.sum() == again.sum()
    assert summary["pulses_total"] == writes["pulses"].sum()
    of_the_rule = np.bincount(writes["step"][~again], minlength=10)[1:]
    assert [line["writes"] for line in read_metrics(run, "step")] == of_the_rule.tolist()
    assert (np.diff(writes["time_s"]) >= 0).all()


def test_a_refresh_of_numbers_on_the_host_does_nothing(
    tmp_path: Path, make_experiment: Make, silent: Silent
) -> None:
    settings = {"rule": {"name": "digital"}, "steps": 4}
    plain = train(make_experiment(**settings), tmp_path / "a", silent())
    refreshed = train(make_experiment(**settings, refresh_every=1), tmp_path / "b", silent())
    assert refreshed["metric"] == plain["metric"]
    assert [line["writes"] for line in read_metrics(tmp_path / "b", "refresh")] == [0, 0, 0]


def test_the_initial_weights_are_step_0(tmp_path: Path, make_experiment: Make, silent: Silent) -> None:
    train(make_experiment(bench={"preset": "ideal"}, steps=3), tmp_path / "a", silent())
    writes = read_writes(tmp_path / "a")
    assert (np.diff(writes["step"]) >= 0).all()
    initial = writes[writes["step"] == 0]
    assert initial.size == 2 * (64 * 6 + 6 * 10)  # both cells of every pair
    cells = np.unique(initial[["array", "row", "col"]])
    assert cells.size == initial.size
    assert set(writes["step"]) == {0, 1, 2, 3}
    maps = np.load(tmp_path / "a" / "snapshots.npz")
    found_S = [maps[f"g_before_S_{c['array']}"][c["row"], c["col"]] for c in initial]
    np.testing.assert_allclose(found_S, initial["target_S"], atol=1.01e-6)


@pytest.mark.parametrize("backward", ["array", "host"])
def test_digits_are_learnt_on_the_twin(
    tmp_path: Path, make_experiment: Make, silent: Silent, backward: str
) -> None:
    """The default twin with all that is wrong with it, from chance to most digits right."""
    experiment = make_experiment(
        bench={"arrays": 1, "shape": [64, 64]},
        task={"name": "digits", "hidden": 16},
        optimizer={"name": "adam", "lr": 1.5e-2, "schedule": "cosine"},
        steps=130,
        batch=32,
        evaluate_every=130,
        checkpoint_every=130,
        backward=backward,
    )
    metric = train(experiment, tmp_path / "a", silent())["metric"]
    assert metric["initial"] < 0.3
    assert metric["final"] > 0.85


def test_what_was_trained_is_what_is_used(tmp_path: Path, make_experiment: Make, silent: Silent) -> None:
    summary = train(make_experiment(bench={"preset": "ideal"}, steps=40, batch=32), tmp_path / "a", silent())
    for _ in range(2):
        with trained_network(tmp_path / "a") as (task, network):
            assert task.evaluate(network.infer, quick=False).value == summary["metric"]["final"]


def test_a_run_without_a_checkpoint_has_no_network(
    tmp_path: Path, make_experiment: Make, silent: Silent, mocker: MockerFixture
) -> None:
    mocker.patch.object(RunStore, "save_checkpoint", side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        train(make_experiment(bench={"preset": "ideal"}), tmp_path / "a", silent())
    with pytest.raises(HilError, match="no checkpoint"), trained_network(tmp_path / "a"):
        pass


def test_the_places_of_the_weights_are_kept_even_if_the_chip_changes(
    tmp_path: Path, make_experiment: Make, silent: Silent
) -> None:
    """Cells found bad later would lead to other places, where nothing was written."""
    experiment = make_experiment(bench={"chip": str(tmp_path / "chip")}, steps=2)
    summary = train(experiment, tmp_path / "a", silent())
    with open_bench(experiment.bench) as bench:
        bad = np.ones((8, 16), np.uint8)
        row, col = np.mgrid[:8, :16]
        cells = {"row": row.ravel(), "col": col.ravel(), "status": bad.ravel()}
        for array in range(3):
            bench.chip.record("bad_cells", {"array": array}, cells, 0.0)
    with trained_network(tmp_path / "a") as (task, network):
        value = task.evaluate(network.infer, quick=False).value
    assert value == pytest.approx(summary["metric"]["final"], abs=0.05)


class TestEndings:
    """Whatever ends a run, its directory says how and the lines are at 0 V."""

    def test_a_lost_bench_is_a_failed_run_and_the_reason_is_told(
        self, tmp_path: Path, make_experiment: Make, silent: Silent, mocker: MockerFixture
    ) -> None:
        def lost(*_: object) -> None:
            error = TransportError("the link is lost")
            mocker.patch.object(TwinCrossbar, "clock_s", side_effect=error)
            mocker.patch.object(TwinArrays, "products", side_effect=error)

        ground = mocker.spy(TwinCrossbar, "ground")
        with pytest.raises(TransportError, match="the link is lost") as info:
            train(make_experiment(), tmp_path / "a", silent(lambda step: lost() if step == 3 else None))
        assert info.value.__context__ is None  # nothing else went wrong on the way out
        summary = read_summary(tmp_path / "a")
        assert summary is not None
        assert (summary["exit_status"], summary["steps"]) == ("failed", 3)
        assert summary["error"] == "the link is lost"
        assert summary["bench_time_s"] > 0
        assert ground.call_count >= 3
        mocker.stopall()
        assert resume(tmp_path / "a", silent())["exit_status"] == "success"

    @pytest.mark.parametrize("rule", ["eapu", "digital"])
    def test_divergence_is_an_ending_of_its_own(
        self, tmp_path: Path, make_experiment: Make, silent: Silent, rule: str
    ) -> None:
        diverging = make_experiment(
            bench={"preset": "ideal"}, rule={"name": rule}, optimizer={"name": "sgd", "lr": 1e38}
        )
        with pytest.raises(DivergedError, match="lower the learning rate") as info, np.errstate(all="ignore"):
            train(diverging, tmp_path / "a", silent())
        summary = read_summary(tmp_path / "a")
        assert summary is not None
        assert (summary["exit_status"], summary["error"]) == ("diverged", str(info.value))

    @pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    @pytest.mark.parametrize("batch", [1, 8])  # while the initial weights are written, and in a step
    def test_a_signal_grounds_the_arrays_and_finishes_the_run(
        self,
        place: Path,
        capsys: pytest.CaptureFixture[str],
        mocker: MockerFixture,
        number: int,
        code: int,
        batch: int,
    ) -> None:
        events: list[str] = []
        send, append = BenchArrays.program_cells, RunStore.append_writes

        def program(arrays: BenchArrays, array: IntArray, *given: Any) -> Any:
            events.extend(f"{arrays[number].name} driven" for number in set(array.tolist()))
            return send(arrays, array, *given)

        def interrupted(store: RunStore, records: Any) -> None:
            append(store, records)
            events.append("recorded")
            if events.count("recorded") == batch:
                os.kill(os.getpid(), number)

        def grounded(interlock: Interlock) -> None:
            events.append(f"{interlock.name} grounded")
            ground(interlock)

        ground = Interlock.ground
        mocker.patch.object(BenchArrays, "program_cells", program)
        mocker.patch.object(Interlock, "ground", grounded)
        mocker.patch.object(RunStore, "append_writes", interrupted)
        assert _exit_code("train", "tiny.yaml", "--out", "a") == code
        for array in ("array 0", "array 1", "array 2"):
            of_array = [event for event in events if event.startswith(array)]
            assert of_array[-1] == f"{array} grounded"
        assert capsys.readouterr().err.splitlines()[-1] == "eapu-hil: stopped; to continue: eapu-hil resume a"
        summary = read_summary(place / "a")
        assert summary is not None
        assert summary["exit_status"] == "stopped"
        assert summary["writes_total"] > 0
        mocker.stopall()
        assert main(["resume", "a"]) == 0
        assert [line["step"] for line in read_metrics(place / "a", "step")] == list(range(1, 11))

    @pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
    def test_stopped_before_anything_was_written_nothing_is_left(
        self, place: Path, capsys: pytest.CaptureFixture[str], mocker: MockerFixture
    ) -> None:
        mocker.patch.object(TwinCrossbar, "pulse", side_effect=lambda _: os.kill(os.getpid(), signal.SIGINT))
        before = sorted(place.iterdir())
        assert _exit_code("train", "tiny.yaml", "--out", "a") == 130
        assert sorted(place.iterdir()) == before
        said = "eapu-hil: stopped; nothing was written, nothing is left behind"
        assert capsys.readouterr().err.splitlines()[-1] == said


@pytest.fixture
def place(tmp_path: Path, make_experiment: Make, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the experiment tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    content = make_experiment(bench={"preset": "ideal"}).model_dump(mode="json")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def _exit_code(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as stop:  # SIGTERM
        return int(str(stop.code))


class TestBadInput:
    """One line that says what and where, exit 2, nothing left behind."""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("rule.kapa=3", r"rule\.kapa .*: unknown key.*allowed are name, threshold_uS"),
            ("rule.name=magic", r"rule.*magic.*eapu_residual"),
            ("batch=many", r"batch .*: .*'many'"),
            ("steps=2.5", r"steps .*: .*2\.5"),
            ("seed=-1", r"seed .*: .*-1"),
            ("weight_range=2.5 uS", r"weight_range .*: .*2\.5 uS"),
            ("backward=both", r"backward .*: must be 'array' or 'host'"),
            ("optimizer.lr=0", r"optimizer\.lr .*: .*greater than 0"),
            ("bench.recipe.band_uS=1", r"bench\.recipe\.band_uS .*: unknown key, did you mean 'band_S'"),
            ("bench.shape=[32, 8]", r"does not fit: .*dense1 64 x 12.*3 array\(s\) of 32 x 8"),
            ("bench.backend=lab", r"bench\.backend: unknown driver 'lab'; allowed are controller, smu, twin"),
        ],
    )
    def test_a_wrong_value_is_named(
        self, place: Path, capsys: pytest.CaptureFixture[str], change: str, said: str
    ) -> None:
        before = sorted(place.iterdir())
        assert re.search(said, _refused(capsys, "train", "tiny.yaml", "--out", "a", "--set", change))
        assert sorted(place.iterdir()) == before

    def test_an_unreadable_image_is_named(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (place / "images").mkdir()
        (place / "images" / "one.png").write_bytes(b"\x89PNG\r\n but not much of it")
        before = sorted(place.rglob("*"))
        task = "task={name: denoise, channels: 2, patch: 16, data: {folder: images}}"
        said = _refused(capsys, "train", "tiny.yaml", "--out", "a", "--set", task)
        assert "images/one.png" in said
        assert sorted(place.rglob("*")) == before

    @pytest.mark.parametrize("change", ["arrays=4", "shape=[32, 32]"])
    def test_a_chip_of_another_shape_is_named_and_left_alone(
        self, place: Path, capsys: pytest.CaptureFixture[str], change: str
    ) -> None:
        assert main(["train", "tiny.yaml", "--out", "a", "--set", "bench.chip=chip", "--set", "steps=1"]) == 0
        before = {path: path.stat().st_mtime_ns for path in (place / "chip").rglob("*") if path.is_file()}
        arguments = (
            "train",
            "tiny.yaml",
            "--out",
            "b",
            "--set",
            "bench.chip=chip",
            "--set",
            f"bench.{change}",
        )
        said = _refused(capsys, *arguments)
        assert re.search(r"chip: chip: 3 arrays of 64 x 16 cells; the bench has [34] of", said)
        assert not (place / "b").exists()
        after = {path: path.stat().st_mtime_ns for path in (place / "chip").rglob("*") if path.is_file()}
        assert {path for path in after if after[path] != before.get(path)} <= {place / "chip" / "chip.lock"}

    def test_a_directory_that_exists_is_named_and_left_alone(
        self, place: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (place / "a").mkdir()
        (place / "a" / "notes.txt").write_text("mine")
        said = _refused(capsys, "train", "tiny.yaml", "--out", "a")
        assert said == "a: already exists; name a new directory with --out"
        assert [path.name for path in (place / "a").iterdir()] == ["notes.txt"]
        (place / "a" / "start.yaml").write_text("id: of a run\n")
        said = _refused(capsys, "train", "tiny.yaml", "--out", "a")
        assert said == "a: already exists; name a new directory with --out, or resume this run"

    def test_a_missing_placement_is_named(self, place: Path, make_experiment: Make, silent: Silent) -> None:
        train(make_experiment(bench={"preset": "ideal"}, steps=1), place / "a", silent())
        (place / "a" / "placement.json").unlink()
        with pytest.raises(HilError, match=r"placement\.json: missing"), trained_network(place / "a"):
            pass


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0].removeprefix("eapu-hil: error: ")


def test_the_start_says_what_was_run(tmp_path: Path, make_experiment: Make, silent: Silent) -> None:
    experiment = make_experiment(bench={"preset": "ideal"}, steps=1)
    train(experiment, tmp_path / "a", silent())
    start = read_start(tmp_path / "a")
    assert ExperimentConfig.model_validate(start["experiment"]) == experiment
    assert [identity["firmware"] for identity in start["identities"]] == ["ideal"] * 3
    assert json.dumps(start["experiment"]["bench"]["limits"])


def test_cells_that_die_in_training_are_in_the_passport(
    make_experiment: Callable[..., ExperimentConfig], silent: Callable[..., Any], tmp_path: Path
) -> None:
    """Cells that a few pulses wear out: whatever a write found stuck is bad from then on, also for the next run."""
    weak = {"preset": "rram_180nm", "overrides": {"endurance.cycles": 10, "endurance.exponent": 0.5}}
    train(make_experiment(bench=weak, rule={"name": "bp"}, steps=12), tmp_path / "run", silent())
    writes = read_writes(tmp_path / "run")
    stuck = writes[(writes["status"] & CellStatus.STUCK) != 0]
    assert stuck.size > 0
    bad = np.stack(Chip.open(tmp_path / "run" / "chip").bad_cells_of_all())
    assert (bad[stuck["array"], stuck["row"], stuck["col"]] & CellStatus.STUCK).all()
