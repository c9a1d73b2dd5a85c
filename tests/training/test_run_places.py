"""Where a run is made: one of several that try at once makes it, and nobody removes what another made."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from eapu_hil.base import storage
from eapu_hil.base.storage import StorageError, require_space, write_new
from eapu_hil.hal import ConfigError
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_start

START = {"name": "tiny"}


@pytest.mark.parametrize("there", [False, True])
def test_of_several_that_begin_one_run_one_has_it(tmp_path: Path, there: bool) -> None:
    for trial in range(5):
        run, said = tmp_path / f"run{trial}", []
        if there:
            run.mkdir()
        gate = threading.Barrier(4)

        def begin(run: Path = run, gate: threading.Barrier = gate, said: list[str] = said) -> None:
            gate.wait()
            try:
                with RunStore.create(run, START) as store:
                    store.append_metrics("step", {"step": 1})
                    said.append("has it")
            except ConfigError as error:
                said.append(str(error))

        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert said.count("has it") == 1
        others = [text for text in said if text != "has it"]
        assert all(
            text.startswith(f"{run}: already exists; name a new directory with --out") for text in others
        )
        assert read_start(run)["name"] == "tiny"
        assert (run / "metrics.jsonl").read_bytes()


def test_a_run_that_came_to_nothing_takes_its_own_files_along_and_no_others(tmp_path: Path) -> None:
    run = tmp_path / "a"
    with contextlib.suppress(ConfigError), RunStore.create(run, START) as store:
        store.save_snapshots({})
        (run / "notes.txt").write_text("mine")
        raise ConfigError("no bench")
    assert [path.name for path in run.iterdir()] == ["notes.txt"]
    (run / "notes.txt").unlink()
    with pytest.raises(ConfigError, match="no bench"), RunStore.create(run, START):
        raise ConfigError("no bench")
    assert run.is_dir()  # it was there before


def test_a_run_that_was_killed_before_its_first_record_is_told(tmp_path: Path) -> None:
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"killed before its first record: remove the directory"):
        read_start(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"already exists; name a new directory with --out$"):
        RunStore.create(tmp_path / "a", START)


def test_a_new_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"a\.csv: cannot be written: No space left"):
        write_new(path, fail)
    assert not path.exists()
    write_new(path, lambda file: file.write("1\n"))
    with pytest.raises(StorageError, match="exists"):
        write_new(path, fail)
    assert path.read_text() == "1\n"


def test_space_is_asked_for_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_space(tmp_path, 1_000_000)
    assert list(tmp_path.iterdir()) == []

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "posix_fallocate", full, raising=False)
    with pytest.raises(StorageError, match="3 MB are needed for what will be recorded there: No space left"):
        require_space(tmp_path, 3_000_000)
    assert list(tmp_path.iterdir()) == []
