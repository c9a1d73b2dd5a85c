"""A run that is killed at any moment goes on: nothing is written twice, nothing that was recorded is lost."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import eapu_hil.training.array_model
from eapu_hil.base.loading import load_model
from eapu_hil.base.storage import GrowingFile
from eapu_hil.bench import open_bench
from eapu_hil.bench.counts import LedgerCounts
from eapu_hil.bench.ledger import Ledger
from eapu_hil.hal import ConfigError, HilError, IntArray
from eapu_hil.placement.mapping import WeightTile, cell_indices
from eapu_hil.placement.pairs import ConductancePairs
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.records import WRITE_DTYPE, WriteCause
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import load_checkpoint, read_metrics, read_summary, read_writes
from eapu_hil.training.trainer import resume, train, trained_network
from eapu_hil.twin.chip import TwinChip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")

STEPS, CHECKPOINT_EVERY, TILES = 10, 4, 3

# Imports once what every child needs; a child is then a fork of that process.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["eapu_hil.training.trainer", "eapu_calibration", "sklearn.datasets", "sklearn.model_selection"]
)

Make = Callable[..., ExperimentConfig]


class _Silent:
    """A `Progress` that shows nothing."""

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_end(self) -> None: ...


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _between_pulses() -> None:
    strike, rounds = TwinChip._strike, itertools.count(1)

    def strike_or_die(chip: TwinChip, index: IntArray) -> None:
        if next(rounds) == 2:
            _die()
        strike(chip, index)

    TwinChip._strike = strike_or_die  # type: ignore[method-assign]


def _torn() -> None:
    def half(file: Any, data: bytes, *, durable: bool) -> None:  # noqa: ARG001
        file._file.write(data[: len(data) // 2 + 1])
        _die()

    GrowingFile.append = half  # type: ignore[assignment, method-assign]


def _unrenamed() -> None:
    Path.replace = _die  # type: ignore[assignment, method-assign]


CALLS: dict[str, tuple[type, str]] = {
    "program": (ConductancePairs, "_program"),
    "refresh": (ConductancePairs, "write_again"),
    "writes": (RunStore, "append_writes"),
    "metrics": (RunStore, "append_metrics"),
    "checkpoint": (RunStore, "save_checkpoint"),
    "summary": (RunStore, "finish"),
}
INSIDE = {"between_pulses": _between_pulses, "torn": _torn, "unrenamed": _unrenamed}


def _train_until(run: Path, experiment: dict[str, Any], moment: str) -> None:
    """Trains and dies at a moment: "writes before 11" is before the 11th call of `append_writes`.

    Also `after` it, or in the midst of it: `between_pulses`, with a record half written (`torn`), with a file
    written aside but not yet renamed (`unrenamed`).
    """
    where, how, number = moment.split()
    owner, name = CALLS[where]
    call, calls = getattr(owner, name), itertools.count(1)

    def counted(*given: Any, **named: Any) -> Any:
        now = next(calls) == int(number)
        if now and how == "before":
            _die()
        if now and how in INSIDE:
            INSIDE[how]()
        found = call(*given, **named)
        if now and how == "after":
            _die()
        return found

    setattr(owner, name, counted)
    train(load_model(ExperimentConfig, experiment, (), "experiments"), run, _Silent())


def _killed(
    run: Path,
    experiment: ExperimentConfig,
    moment: str,
    target: Callable[[Path, dict[str, Any], str], None] = _train_until,
) -> None:
    child = FORKS.Process(target=target, args=(run, experiment.model_dump(mode="json"), moment))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def _ledger(chip: Path, experiment: ExperimentConfig) -> LedgerCounts:
    ledger = Ledger(chip / "ledger", experiment.bench.arrays, experiment.bench.shape)
    try:
        return ledger.snapshot()
    finally:
        ledger.close()


def _cells(writes: NDArray[np.void]) -> list[tuple[int, ...]]:
    return [tuple(record) for record in writes[["step", "array", "row", "col"]].tolist()]


def _step_lines(run: Path) -> list[int]:
    """The step lines as they stand in the file: repeated ones too."""
    whole = (run / "metrics.jsonl").read_text().rpartition("\n")[0]
    lines = [json.loads(line) for line in whole.splitlines()]
    return [line["step"] for line in lines if line["kind"] == "step"]


# The initial weights take one batch a tile: batches 1 to 3. Every step of eapu then takes one.
@pytest.mark.parametrize(
    "moment",
    [
        "program between_pulses 2",  # the second tile of the initial weights, pulses given but not recorded
        "writes torn 2",  # half a batch of the initial weights is on the disk
        "checkpoint before 1",  # all initial weights are recorded, no checkpoint yet
        "writes before 8",  # programmed, not recorded
        "writes after 8",  # a step is recorded, its line is missing
        "metrics before 8",  # a step is written, its line is missing (line 1 is an evaluation)
        "checkpoint unrenamed 2",
        "checkpoint before 4",  # after the last step
        "summary before 1",  # all done but the summary
    ],
)
def test_killed_at_any_moment_a_run_goes_on(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any], moment: str
) -> None:
    run, experiment = tmp_path / "run", make_experiment()
    _killed(run, experiment, moment)
    assert read_summary(run) is None
    bytes_before = (run / "writes.bin").read_bytes()
    before = read_writes(run)
    lines_before = _step_lines(run) if (run / "metrics.jsonl").exists() else []
    last = max([0, *lines_before, *before["step"].tolist()])

    summary = resume(run, silent())

    whole = len(before) * WRITE_DTYPE.itemsize
    assert (run / "writes.bin").read_bytes()[:whole] == bytes_before[:whole]  # nothing lost
    after = read_writes(run)
    assert len(set(_cells(after))) == len(after)  # nothing written twice
    fresh = after["step"][len(before) :]
    assert fresh.size == 0 or fresh.min() >= (last + 1 if last else 0)
    assert _step_lines(run) == list(range(1, STEPS + 1))
    assert summary["exit_status"] == "success"
    assert summary == read_summary(run)
    assert summary["steps"] == STEPS

    # each write counts in the ratio of its step, also where the step was cut short
    written = np.bincount(after["step"], minlength=STEPS + 1)[1:]
    ratios = [line["update_ratio"] for line in read_metrics(run, "step")]
    np.testing.assert_allclose(ratios, written / summary["weights"])
    assert summary["update_ratio_mean"] == pytest.approx(np.mean(written) / summary["weights"])

    # the totals are those of the whole run, whichever part of it was cut off
    lost = summary["pulses_total"] - int(after["pulses"].sum())
    if moment in ("program between_pulses 2", "writes before 8", "writes torn 2"):
        assert 0 < lost < 60 * summary["weights"]  # pulsed and counted, but not recorded
    else:
        assert lost == 0
    clock_s = [line["clock_s"] for line in read_metrics(run, "step") if "clock_s" in line]
    assert (np.diff(clock_s) > 0).all()
    assert (np.diff(after["time_s"]) >= 0).all()
    assert summary["bench_time_s"] >= after["time_s"][-1] - after["time_s"][0]
    with trained_network(run) as (task, network):
        evaluation = task.evaluate(network.infer, quick=False)
    assert evaluation.value == pytest.approx(summary["metric"]["final"], abs=0.05)


def _train_until_refresh(run: Path, experiment: dict[str, Any], moment: str) -> None:
    eapu_hil.training.array_model.REFRESH_ERRORS = 0.2
    _train_until(run, experiment, moment)


@pytest.mark.parametrize("moment", ["refresh between_pulses 1", "refresh after 1", "refresh after 2"])
def test_killed_in_a_refresh_a_run_goes_on_with_it(
    tmp_path: Path,
    make_experiment: Make,
    silent: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    run = tmp_path / "run"
    overrides = {"relaxation.update_interval_s": 1e-4}  # steps are short: cells hardly drift
    rule = {"name": "eapu_residual", "kappa": 0.1}
    experiment = make_experiment(bench={"overrides": overrides}, rule=rule, refresh_every=3)
    _killed(run, experiment, moment, _train_until_refresh)
    before = read_writes(run)
    step = 3 * int(moment.split()[2])
    assert ((before["cause"] == WriteCause.REFRESH) & (before["step"] == step)).any() == ("after" in moment)
    assert before["step"].max() == step  # the step itself was taken
    monkeypatch.setattr(eapu_hil.training.array_model, "REFRESH_ERRORS", 0.2)

    summary = resume(run, silent())

    after = read_writes(run)
    np.testing.assert_array_equal(after[: len(before)], before)
    assert _step_lines(run) == list(range(1, STEPS + 1))
    assert [line["step"] for line in read_metrics(run, "refresh")] == [3, 6, 9]
    assert summary["refresh_writes_total"] == np.count_nonzero(after["cause"]) > 0
    asked = after[after["cause"] == WriteCause.UPDATE]
    assert len(set(_cells(asked))) == len(asked)
    written = np.bincount(asked["step"], minlength=STEPS + 1)[1:]
    assert [line["writes"] for line in read_metrics(run, "step")] == written.tolist()


def test_a_run_that_goes_on_after_a_pause_is_refreshed_first(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    run = tmp_path / "run"
    experiment = make_experiment(refresh_every=100)
    _killed(run, experiment, "metrics after 6")
    last = _step_lines(run)[-1]
    with open_bench(experiment.bench, chip_dir=run / "chip") as bench:
        for array in bench.arrays:
            array.wait(1e5)
    before = read_writes(run)
    summary = resume(run, silent())
    fresh = read_writes(run)[len(before) :]
    again = fresh["cause"] == WriteCause.REFRESH
    assert again.any()
    assert again[: again.sum()].all()
    assert set(fresh["step"][again]) == {last}
    assert summary["refresh_writes_total"] == again.sum()


def test_the_ledger_holds_commissioning_and_training(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    run, experiment = tmp_path / "run", make_experiment(bench={"preset": "ideal"})
    summary = train(experiment, run, silent())
    counts, writes = _ledger(run / "chip", experiment), read_writes(run)
    pulses = np.zeros(counts.pulses.shape, int)
    np.add.at(pulses, (writes["array"], writes["row"], writes["col"]), writes["pulses"])
    assert pulses.sum() == summary["pulses_total"]
    before = counts.pulses - pulses
    assert before.min() >= 1  # commissioning has written every cell once at least
    assert counts.writes.sum() > summary["writes_total"] == np.count_nonzero(writes["pulses"])


def _account(run: Path) -> tuple[int, NDArray[np.float32]]:
    checkpoint = load_checkpoint(run)
    assert checkpoint is not None
    accounts = [checkpoint.arrays[f"model.{layer}.acc"] for layer in ("dense1", "dense2")]
    return checkpoint.step, np.concatenate(accounts)


def _asked_S(run: Path, writes: NDArray[np.void], columns: int) -> NDArray[np.float64]:
    """By weight: the sum of the differential changes that these records asked for."""
    placement = json.loads((run / "placement.json").read_text())
    shapes = {"dense1": (64, 6), "dense2": (6, 10)}
    asked = []
    for layer, shape in shapes.items():
        tiles = [WeightTile.from_plain(tile) for tile in placement[layer]]
        array, plus, minus = cell_indices(shape, tiles, columns)
        change_S = np.zeros((TILES, 64 * columns))
        at = writes["array"], writes["row"].astype(int) * columns + writes["col"]
        np.add.at(change_S, at, writes["target_S"].astype(float) - writes["before_S"])
        asked.append((change_S[array, plus] - change_S[array, minus]).ravel())
    return np.concatenate(asked)


def test_what_was_asked_for_after_the_checkpoint_is_not_owed_any_more(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    residual = {"name": "eapu_residual", "kappa": 0.5}
    run, experiment = tmp_path / "run", make_experiment(rule=residual, optimizer={"name": "adam", "lr": 0.02})
    _killed(run, experiment, "checkpoint before 4")  # the last of 0, 4, 8 and 10
    step, owed_S = _account(run)
    assert step == 8
    later = read_writes(run)
    later = later[later["step"] > 8]
    assert later.size > 20
    resume(run, silent())
    step, still_owed_S = _account(run)
    assert step == STEPS
    asked_S = _asked_S(run, later, 16)
    assert np.count_nonzero(asked_S) > 20
    np.testing.assert_allclose(still_owed_S + asked_S, owed_S, atol=1e-10)


def test_a_run_can_be_killed_and_resumed_again_and_again(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    run, experiment = tmp_path / "run", make_experiment(seed=11, rule={"name": "eapu_residual", "kappa": 1.0})
    _killed(run, experiment, "program before 2")
    seen = []
    for stop in (2, 5, 6, 9):

        def stops(step: int, stop: int = stop) -> None:
            if step == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            resume(run, silent(stops))
        summary = read_summary(run)
        assert summary is not None
        assert (summary["exit_status"], summary["steps"]) == ("stopped", stop)
        seen.append(summary)
    final = resume(run, silent())
    totals = [(s["pulses_total"], s["verify_reads_total"], s["bench_time_s"]) for s in [*seen, final]]
    assert (np.diff(totals, axis=0) > 0).all()
    assert final["pulses_total"] == read_writes(run)["pulses"].sum()
    assert len(set(_cells(read_writes(run)))) == len(read_writes(run))


def test_digital_repeats_the_steps_after_its_checkpoint_bit_by_bit(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    experiment = make_experiment(rule={"name": "digital"})
    train(experiment, tmp_path / "whole", silent())
    _killed(tmp_path / "cut", experiment, "metrics after 9")
    resume(tmp_path / "cut", silent())
    whole, cut = (
        [line["loss"] for line in read_metrics(tmp_path / name, "step")] for name in ("whole", "cut")
    )
    assert whole == cut


def test_killed_whenever_the_signal_comes_a_run_goes_on(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    run, experiment = tmp_path / "run", make_experiment(steps=100_000)
    child = FORKS.Process(
        target=_train_until, args=(run, experiment.model_dump(mode="json"), "summary before 1")
    )
    child.start()
    while child.is_alive() and (not (run / "metrics.jsonl").exists() or len(_step_lines(run)) < 7):
        time.sleep(0.01)
    child.kill()
    child.join()
    before = read_writes(run)
    lowered = int(before["step"].max()) + 3
    assert resume(run, silent(), steps=lowered)["exit_status"] == "success"
    after = read_writes(run)
    np.testing.assert_array_equal(after[: len(before)], before)
    assert len(set(_cells(after))) == len(after)


def test_a_run_that_crashed_can_be_evaluated_as_it_is(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    run = tmp_path / "run"
    _killed(run, make_experiment(), "writes after 8")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with trained_network(run) as (task, network):
        assert 0 <= task.evaluate(network.infer, quick=False).value <= 1
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert resume(run, silent())["exit_status"] == "success"


def test_without_any_usable_checkpoint_nothing_is_written(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    run, experiment = tmp_path / "run", make_experiment()
    _killed(run, experiment, "metrics before 8")
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(b"PK")
    before = (run / "writes.bin").read_bytes()
    with pytest.raises(HilError, match=r"this run took 6 steps and has no usable checkpoint") as info:
        resume(run, silent())
    assert "\n" not in str(info.value)
    assert (run / "writes.bin").read_bytes() == before


def test_a_finished_run_and_a_run_in_use_are_refused(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    experiment = make_experiment(bench={"preset": "ideal"}, steps=1)
    train(experiment, tmp_path / "a", silent())
    with pytest.raises(ConfigError, match="has finished"):
        resume(tmp_path / "a", silent())

    def again(_: int) -> None:
        with pytest.raises(ConfigError, match="another process is writing this run"):
            resume(tmp_path / "b", silent())

    train(experiment, tmp_path / "b", silent(again))
