"""The run directory survives crashes, torn files and full disks, and says what is wrong in one line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from eapu_hil.base.storage import StorageError
from eapu_hil.hal import Cells, CellStatus, ConfigError, HilError, Targets, WriteOutcome
from eapu_hil.training.records import WRITE_DTYPE, write_records
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import (
    last_steps,
    load_checkpoint,
    read_metrics,
    read_snapshots,
    read_start,
    read_summary,
    read_writes,
)

START = {"name": "denoise", "experiment": {"task": "denoise", "steps": 3}, "seed": 7}


def _records(step: int, count: int = 4) -> np.ndarray:
    cells = Cells.block(0, 1, 0, count)
    outcome = WriteOutcome(
        g_before_S=np.full(count, 10e-6),
        g_after_S=np.linspace(19e-6, 21e-6, count),
        pulses=np.arange(count),
        reads=np.arange(count),
        energy_j=np.zeros(count),
        status=np.full(count, CellStatus.NOT_CONVERGED, dtype=np.uint8),
    )
    return write_records(step, 1.5 * step, np.full(count, 2), Targets(cells, np.full(count, 20e-6)), outcome)


def test_a_new_run_says_what_was_run(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    with RunStore.create(run, START):
        pass
    start = read_start(run)
    assert start["experiment"] == {"task": "denoise", "steps": 3}
    assert start["seed"] == 7
    assert start["packages"]["numpy"] == np.__version__
    assert "-denoise-" in start["id"]
    assert {"time", "commit", "dirty"} <= start.keys()


@pytest.mark.parametrize("content", ["file", "directory"])
def test_an_existing_place_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    run = tmp_path / "a"
    if content == "file":
        run.write_text("mine")
    else:
        run.mkdir()
        (run / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"already exists; name a new directory with --out"):
        RunStore.create(run, START)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    RunStore.create(tmp_path, START).close()
    assert read_start(tmp_path)["name"] == "denoise"


def test_a_run_that_fails_before_it_recorded_anything_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no bench"), RunStore.create(tmp_path / "a", START):
        raise ConfigError("no bench")
    assert not (tmp_path / "a").exists()
    with contextlib.suppress(HilError), RunStore.create(tmp_path / "b", START) as store:
        store.append_writes(_records(1))
        raise HilError("lost")
    assert read_writes(tmp_path / "b").size == 4


def test_what_is_known_later_is_added_to_the_start(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "a", START) as store:
        store.amend_start({"identities": [{"model": "twin"}]})
        assert store.start["seed"] == 7
    assert read_start(tmp_path / "a")["identities"] == [{"model": "twin"}]


def test_records_keep_every_field_and_are_36_bytes(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "a", START) as store:
        store.append_writes(_records(1))
        store.append_writes(_records(2, count=0))
        store.append_writes(_records(3))
    assert (tmp_path / "a" / "writes.bin").stat().st_size == 8 * 36
    found = read_writes(tmp_path / "a")
    np.testing.assert_array_equal(found, np.concatenate([_records(1), _records(3)]))
    np.testing.assert_allclose(found["target_S"], 20e-6, rtol=1e-6)
    assert list(found["time_s"][[0, -1]]) == [1.5, 4.5]


def test_other_records_are_refused(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "a", START) as store, pytest.raises(TypeError, match="WRITE_DTYPE"):
        store.append_writes(np.zeros(3))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 5 * WRITE_DTYPE.itemsize))
def test_a_torn_record_is_cut_and_writing_goes_on(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    run = tmp_path_factory.mktemp("torn") / "a"
    with RunStore.create(run, START) as store:
        store.append_writes(_records(1, count=2))
    with (run / "writes.bin").open("ab") as file:  # as a kill leaves it: behind the last batch that is known
        file.write(_records(1, count=5).tobytes()[:cut])
    whole = cut // WRITE_DTYPE.itemsize
    assert read_writes(run).size == 2 + whole
    with RunStore.open(run) as store:
        store.append_writes(_records(2, count=3))
    np.testing.assert_array_equal(
        read_writes(run),
        np.concatenate([_records(1, count=2), _records(1, count=5)[:whole], _records(2, count=3)]),
    )


def test_metrics_lines_can_be_tailed_and_torn(tmp_path: Path) -> None:
    run = tmp_path / "a"
    with RunStore.create(run, START) as store:
        store.append_metrics("step", {"step": 1, "loss": np.float32(0.5)})
        assert read_metrics(run)[0] == {"kind": "step", "step": 1, "loss": 0.5}  # visible while it runs
        store.append_metrics("evaluation", {"step": 1, "metric": float("nan"), "input": 20.17})
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind":"step","st')
    assert len(read_metrics(run)) == 2
    with RunStore.open(run) as store:
        store.append_metrics("step", {"step": 2, "loss": 0.25})
    assert [line["step"] for line in read_metrics(run, "step")] == [1, 2]
    assert read_metrics(run, "evaluation")[0]["metric"] is None


def test_a_damaged_metrics_line_is_named(tmp_path: Path) -> None:
    RunStore.create(tmp_path / "a", START).close()
    (tmp_path / "a" / "metrics.jsonl").write_text('{"kind":"step","step":1}\n{broken\n')
    with pytest.raises(HilError, match=r"metrics\.jsonl:2: damaged line"):
        read_metrics(tmp_path / "a")


def test_repeated_steps_replace_the_earlier_ones(tmp_path: Path) -> None:
    run = tmp_path / "a"
    with RunStore.create(run, START) as store:
        for step, loss in [(1, 0.9), (2, 0.8), (3, 0.7), (2, 0.6), (3, 0.5)]:
            store.append_metrics("step", {"step": step, "loss": loss})
    assert [(line["step"], line["loss"]) for line in read_metrics(run, "step")] == [
        (1, 0.9),
        (2, 0.6),
        (3, 0.5),
    ]


def test_the_last_three_checkpoints_are_kept_and_a_damaged_one_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "a"
    with RunStore.create(run, START) as store:
        assert load_checkpoint(run) is None
        for step in (5, 10, 15, 1_000_000):
            store.save_checkpoint(step, {"layer0/acc": np.full(100, step), "rng": np.arange(4)})
        names = sorted(path.name for path in (run / "checkpoints").iterdir())
        assert names == ["step_000010.npz", "step_000015.npz", "step_1000000.npz"]
        newest = load_checkpoint(run)
        assert newest is not None
        assert newest.step == 1_000_000
        np.testing.assert_array_equal(newest.arrays["layer0/acc"], 1_000_000)

        content = bytearray((run / "checkpoints" / "step_1000000.npz").read_bytes())
        content[content.index(np.full(100, 1_000_000).tobytes())] ^= 0xFF
        (run / "checkpoints" / "step_1000000.npz").write_bytes(content)
        (run / "checkpoints" / "step_000015.npz").write_bytes(b"PK")
        fallback = load_checkpoint(run)
        assert fallback is not None
        assert fallback.step == 10
        assert "step_1000000.npz: damaged" in caplog.text


def test_where_a_run_stands(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "a", START) as store:
        last = last_steps(store.path)
        assert (last.metrics, last.writes, last.checkpoint) == (None, None, None)
        store.append_metrics("step", {"step": 3})
        store.append_metrics("event", {"text": "no step"})
        store.append_writes(_records(4))
        store.save_checkpoint(2, {"x": np.zeros(1)})
        last = last_steps(store.path)
    assert (last.metrics, last.writes, last.checkpoint) == (3, 4, 2)


def test_a_finished_run_is_closed_for_good_and_a_stopped_one_is_not(tmp_path: Path) -> None:
    run = tmp_path / "a"
    with RunStore.create(run, START) as store:
        store.finish({"exit_status": "interrupted", "metric": {"final": np.float64(1.5)}})
    assert read_summary(run) == {"exit_status": "interrupted", "metric": {"final": 1.5}}
    with RunStore.open(run) as store:
        assert read_summary(run) is None  # absent again until the end
        store.finish({"exit_status": "success"})
    with pytest.raises(ConfigError, match="has finished; there is nothing to resume"):
        RunStore.open(run)


def test_snapshots_are_added_to_each_other(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "a", START) as store:
        store.save_snapshots({"g_before_S_0": np.ones((2, 2))})
        store.save_snapshots({"g_after_S_0": np.zeros((2, 2)), "gallery_names": np.array(["camera"])})
    assert set(read_snapshots(tmp_path / "a")) == {"g_before_S_0", "g_after_S_0", "gallery_names"}


@pytest.mark.parametrize("damage", ["absent", "no start", "not yaml", "not a mapping"])
def test_what_is_no_run_is_named(tmp_path: Path, damage: str) -> None:
    run = tmp_path / "a"
    if damage != "absent":
        run.mkdir()
    if damage == "not yaml":
        (run / "start.yaml").write_text("{a: [")
    if damage == "not a mapping":
        (run / "start.yaml").write_text("3")
    with pytest.raises(ConfigError, match=r"a(/start\.yaml)?: (not a run directory|damaged)") as info:
        RunStore.open(run)
    assert "\n" not in str(info.value)


def test_two_writers_of_one_run_are_refused(tmp_path: Path) -> None:
    with (
        RunStore.create(tmp_path / "a", START),
        pytest.raises(ConfigError, match="another process is writing this run"),
    ):
        RunStore.open(tmp_path / "a")
    RunStore.open(tmp_path / "a").close()


WRITER = textwrap.dedent(
    """
    import sys, numpy as np
    from eapu_hil.training.records import WRITE_DTYPE
    from eapu_hil.training.run_store import RunStore
    store = RunStore.create(sys.argv[1], {"name": "kill"})
    for step in range(1, 1_000_000):
        records = np.zeros(50, dtype=WRITE_DTYPE)
        records["step"] = step
        store.append_writes(records)
        store.append_metrics("step", {"step": step})
        print(step, flush=True)
        if step % 7 == 0:
            store.save_checkpoint(step, {"state": np.full(1000, step)})
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("steps", [1, 23])
def test_kill_9_loses_at_most_the_batch_in_flight(tmp_path: Path, steps: int) -> None:
    run = tmp_path / "a"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, str(run)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        while int(child.stdout.readline()) < steps:
            pass
        child.send_signal(signal.SIGKILL)
        said = [steps, *(int(line) for line in child.stdout)]
    writes = read_writes(run)
    counts = np.bincount(writes["step"])[1:]
    assert counts[: said[-1]].tolist() == [50] * said[-1]  # all that was reported as written
    assert counts.size <= said[-1] + 1
    with RunStore.open(run) as store:
        last = last_steps(store.path)
        assert last.metrics is not None
        assert last.metrics >= said[-1]
        newest = said[-1] // 7 * 7  # a step is reported before its checkpoint is made
        assert (last.checkpoint or 0) in (newest - 7, newest)
    assert not list(run.rglob("*.part"))


FILLER = textwrap.dedent(
    """
    import resource, signal, sys, numpy as np
    from eapu_hil.hal import HilError
    from eapu_hil.training.records import WRITE_DTYPE
    from eapu_hil.training.run_store import RunStore
    store = RunStore.create(sys.argv[1], {"name": "full"})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # a write past this comes back short, then fails
    try:
        for step in range(1000):
            store.append_writes(np.zeros(10, dtype=WRITE_DTYPE))
    except HilError as error:
        print(error)
    try:
        store.save_checkpoint(1, {"state": np.zeros(10_000)})
    except HilError as error:
        print(error)
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits there")
def test_a_write_that_stops_half_way_leaves_whole_batches(tmp_path: Path) -> None:
    run = tmp_path / "a"
    done = subprocess.run(
        [sys.executable, "-P", "-c", FILLER, str(run)], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{run / 'writes.bin'}: cannot be written: ")
    assert "step_000001.npz" in second
    assert (run / "writes.bin").stat().st_size == 4096 // 360 * 360
    assert load_checkpoint(run) is None
    RunStore.open(run).close()
    assert not list(run.rglob("*.part"))


def test_a_full_disk_names_the_file(tmp_path: Path, mocker: MockerFixture) -> None:
    with RunStore.create(tmp_path / "a", START) as store:
        mocker.patch(
            "os.fdatasync", side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), create=True
        )
        mocker.patch("os.fsync", side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(StorageError, match=r"writes\.bin: cannot be written: No space left on device"):
            store.append_writes(_records(1))
        with pytest.raises(StorageError, match=r"summary\.json: cannot be written: No space left"):
            store.finish({"exit_status": "success"})
        with pytest.raises(StorageError, match="cannot be written: No space left"):
            RunStore.create(tmp_path / "b", START)
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "a" / "summary.json").exists()


def test_json_stays_json(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "a", {**START, "path": tmp_path, "shape": (128, 64)}) as store:
        store.finish({"map": np.arange(3), "worst": np.inf, 3: (1, 2)})
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    del summary["seal"], summary["run_state"]  # proof of what it is
    assert summary == {"map": [0, 1, 2], "worst": None, "3": [1, 2]}
    assert yaml.safe_load((tmp_path / "a" / "start.yaml").read_text())["shape"] == [128, 64]
