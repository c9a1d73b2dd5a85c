"""What is damaged, missing, an earlier one or of another run is refused with one line that names the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from eapu_hil import load_run
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.report.run_report import write_report
from eapu_hil.training.proof import prove
from eapu_hil.training.records import WRITE_DTYPE
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import load_checkpoint, read_metrics, read_writes
from eapu_hil.training.trainer import resume, trained_network

Damage = Callable[[Path], None]
START = {"name": "tiny", "experiment": {"task": {"name": "digits"}, "rule": {"name": "eapu"}, "steps": 9}}
FILES = (
    "start.yaml", "metrics.jsonl", "writes.bin", "journal.bin", "snapshots.npz", "placement.json", "moves.json",
    "summary.json",
)  # fmt: skip


def _records(step: int) -> np.ndarray:
    records = np.zeros(4, WRITE_DTYPE)
    records["step"], records["row"] = step, np.arange(4)
    records["target_S"], records["after_S"], records["pulses"] = 2e-5, 2.1e-5, 1
    return records


def _steps(store: RunStore, first: int, last: int, scale: float) -> None:
    for step in range(first, last + 1):
        store.append_writes(_records(step))
        store.append_metrics("step", {"step": step, "loss": scale / step})
        if step % 4 == 0:
            store.save_checkpoint(step, {"wall_s": np.full(50, scale * step)})
            store.files.write_json(
                "moves.json", {"moves": [_move(n) for n in range(4, step + 1, 4)]}, "moves"
            )
            store.note(moves=step // 4)


def _move(step: int) -> dict[str, object]:
    return {"step": step, "layer": "a", "tile": 0, "old": step, "new": step + 1}


def _begun(path: Path, scale: float) -> RunStore:
    store = RunStore.create(path, {**START, "seed": int(scale)})
    store.save_snapshots({"origin.clock_s": np.array(scale)})
    store.files.write_json("placement.json", {"a": [], "scale": scale}, "placement")
    store.note(placement=1)
    store.save_snapshots({"g_before_S_0": np.full((4, 4), scale)})
    store.save_checkpoint(0, {"wall_s": np.full(50, scale)})
    return store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run` and `other`, stopped at step 9; `older`, the first at step 5; `killed`, the first without an end."""
    folder = tmp_path_factory.mktemp("made")
    for name, scale in (("run", 1.0), ("other", 2.0)):
        with _begun(folder / name, scale) as store:
            _steps(store, 1, 5, scale)
            store.finish({"exit_status": "stopped", "steps": 5})
        if name == "run":
            shutil.copytree(folder / "run", folder / "older")
        with RunStore.open(folder / name) as store:
            store.amend_start({"identities": []})
            _steps(store, 6, 9, scale)
            store.save_snapshots({"pulses_0": np.full((4, 4), scale)})
            if name == "run":
                shutil.copytree(folder / "run", folder / "killed")
            store.finish({"exit_status": "stopped", "steps": 9})
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """A copy of them, to be damaged."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def test_what_is_whole_is_proven(runs: Path) -> None:
    for name in ("run", "other", "older", "killed"):
        prove(runs / name)
    assert load_run(runs / "run").summary == {"exit_status": "stopped", "steps": 9}


def _changed_in(content: bytes) -> bytes:
    at = len(content) - 20  # in the last record of a journal: no other one counts
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


@pytest.mark.parametrize("which", ["run", "killed"])
@pytest.mark.parametrize(
    "how", ["gone", "empty", "half", "flipped", "longer", "of another", "older", "a folder"]
)
@pytest.mark.parametrize("name", FILES)
def test_no_file_of_a_run_is_replaced_in_silence(runs: Path, name: str, how: str, which: str) -> None:
    path = runs / which / name
    if not path.exists() or (name, how) in {("summary.json", "gone"), ("journal.bin", "longer")}:
        return  # a run without a summary has not ended; a torn record of the journal is cut
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how in ("of another", "older"):
        shutil.copyfile(runs / ("older" if how == "older" else "other") / name, path)
    else:
        changes = {
            "empty": b"", "half": content[: len(content) // 2], "flipped": _changed_in(content),
            "longer": content + content[-40:] + b"\n",
        }  # fmt: skip
        path.write_bytes(changes[how])
    if path.is_file() and path.read_bytes() == content:
        return
    for reader in (prove, load_run, RunStore.open, write_report):
        with pytest.raises(HilError) as info:
            reader(runs / which)
        said = str(info.value)
        # An earlier end, or an earlier journal, is found out by what it does not know.
        assert name in said or how == "older", said
        assert "\n" not in said
    assert not (runs / which / "report.html").exists()


@pytest.mark.parametrize("how", ["flipped", "of another", "another step", "gone"])
def test_a_checkpoint_that_is_no_good_is_named_and_the_one_before_it_taken(
    runs: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = runs / "run" / "checkpoints" / "step_000008.npz"
    if how == "flipped":
        content = bytearray(path.read_bytes())
        content[content.index(np.full(50, 8.0).tobytes()) + 3] ^= 1
        path.write_bytes(content)
    elif how == "gone":
        path.unlink()
    else:
        source = (
            runs / "other" / "checkpoints" / path.name
            if how == "of another"
            else path.with_name("step_000004.npz")
        )
        shutil.copyfile(source, path)
    found = load_checkpoint(runs / "run")
    assert found is not None
    assert found.step == 4
    assert "step_000008.npz" in caplog.text


def test_records_behind_the_journal_are_taken_if_a_run_could_have_written_them(runs: Path) -> None:
    path = runs / "killed" / "writes.bin"
    before = path.read_bytes()
    path.write_bytes(before + _records(10).tobytes())
    assert read_writes(runs / "killed")["step"].max() == 10
    path.write_bytes(before + _records(8).tobytes())
    with pytest.raises(HilError, match=r"writes\.bin: damaged: what stands behind its first 36 records"):
        read_writes(runs / "killed")


def test_lines_that_a_power_cut_took_are_told(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are on the disk from the last checkpoint on only."""
    path = runs / "killed" / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    prove(runs / "killed")
    assert "metrics.jsonl: 51 bytes that were written are gone" in caplog.text
    with RunStore.open(runs / "killed") as store:
        store.append_metrics("step", {"step": 9, "loss": 0.5})
    prove(runs / "killed")
    assert read_metrics(runs / "killed", "step")[-1]["loss"] == 0.5
    path.write_bytes(b"".join(lines[:5]))
    with pytest.raises(HilError, match=r"metrics\.jsonl: damaged"):
        prove(runs / "killed")


def test_what_a_signal_or_a_full_disk_kept_from_the_journal_is_known_at_the_end(tmp_path: Path) -> None:
    with _begun(tmp_path / "a", 1.0) as store:
        with (tmp_path / "a" / "writes.bin").open("ab") as file:
            file.write(_records(1).tobytes())
        store.finish({"exit_status": "stopped"})
    prove(tmp_path / "a")
    assert read_writes(tmp_path / "a").size == 4


def test_a_start_without_its_seal_is_none_of_an_older_version(runs: Path) -> None:
    path = runs / "run" / "start.yaml"
    start = yaml.safe_load(path.read_text())
    del start["seal"]
    for key in ("", "run_format"):
        start.pop(key, None)
        path.write_text(yaml.safe_dump(start))
        for reader in (prove, load_run, RunStore.open, write_report):
            with pytest.raises(
                HilError, match=r"start\.yaml: damaged, or of another run: it carries no seal"
            ):
                reader(runs / "run")


def test_start_yaml_with_aliases_or_a_wild_record_format_is_refused(runs: Path) -> None:
    path = runs / "older" / "start.yaml"
    path.write_text("a: &a [1]\nb: [*a, *a]\n")
    with pytest.raises(HilError, match=r"start\.yaml: damaged"):
        prove(runs / "older")
    (runs / "older" / "journal.bin").unlink()
    path.write_text("id: a\nwrites_format: {version: 1, fields: [[step, O]]}\n")
    with pytest.raises(ConfigError, match="writes_format: damaged"):
        load_run(runs / "older").writes  # noqa: B018 - it is read


def test_a_trained_run_is_not_used_with_what_is_not_its_own(
    tmp_path: Path, make_experiment: Callable[..., object], silent: Callable[..., object]
) -> None:
    from eapu_hil.training.trainer import train

    experiment = make_experiment(steps=6)
    train(experiment, tmp_path / "a", silent())  # type: ignore[arg-type]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "checkpoints" / "step_000006.npz").unlink()
    with pytest.raises(HilError, match=r"older than the weights; bring back that of step 6"):
        trained_network(tmp_path / "b").__enter__()
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    placement = json.loads((tmp_path / "c" / "placement.json").read_text())
    placement["dense1"][0]["rows"][0] = 63
    (tmp_path / "c" / "placement.json").write_text(json.dumps(placement))
    with pytest.raises(HilError, match=r"placement\.json: damaged, or changed by hand"):
        trained_network(tmp_path / "c").__enter__()
    with pytest.raises(HilError, match=r"placement\.json"):
        resume(tmp_path / "c", steps=8)
