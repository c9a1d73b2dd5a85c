"""What a command has done to cells is saved and said, however it ends; what it cannot save it does not begin."""

from __future__ import annotations

import csv
import errno
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pytest_mock import MockerFixture

from eapu_hil.base.storage import ReservedFile, StorageError, require_space
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.passport import Chip
from eapu_hil.cli.parser import main
from eapu_hil.cli.results import blocks
from eapu_hil.hal import TransportError

BENCH: dict[str, Any] = {
    "backend": "twin",
    "preset": "ideal",
    "arrays": 1,
    "shape": [8, 8],
    "chip": "chip",
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 1000,
    },
}
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bench of 64 formed cells, and targets for 40 of them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(BENCH))
    assert main(["form", "bench.yaml", "--out", "formed.csv"]) == 0
    rows = [f"{cell // 8},{cell % 8},{10 + cell / 2}" for cell in range(40)]
    (tmp_path / "targets.csv").write_text("\n".join(["row,col,g_target_uS", *rows]))
    return tmp_path


def statuses(text: str) -> list[str]:
    return [row["status"] for row in csv.DictReader(io.StringIO(text))]


def at_call(name: str, number: int, error: BaseException, mocker: MockerFixture) -> None:
    """The request `name` of an open array raises `error` at its call of that number, from 1."""
    whole, calls = getattr(BenchArray, name), []

    def request(self: BenchArray, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == number:
            with self.interlock.sending():
                raise error
        return whole(self, *arguments)

    mocker.patch.object(BenchArray, name, request)


def test_what_is_out_of_band_or_not_formed_ends_with_4(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stuck = {**BENCH, "chip": "stuck", "overrides": {"faults.stuck_fraction": 0.3}}
    (folder / "stuck.yaml").write_text(yaml.safe_dump(stuck))
    assert main(["form", "stuck.yaml", "--block", "0:1,0:8"]) in (0, 4)
    capsys.readouterr()
    assert main(["program", "stuck.yaml", "targets.csv", "--json"]) == 4  # hardly anything is formed there
    assert json.loads(capsys.readouterr().out)["exit_code"] == 4
    assert main(["form", "stuck.yaml"]) == 4  # not refused: this passport knows that they were never formed
    assert "NOT_CONVERGED" in statuses(capsys.readouterr().out)
    assert main(["program", "stuck.yaml", "targets.csv"]) == 4
    assert main(["read", "stuck.yaml"]) == 0
    capsys.readouterr()
    assert main(["program", "bench.yaml", "targets.csv", "--json"]) == 0
    assert "exit_code" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (TransportError("the line is cut"), 1)]
)
@pytest.mark.parametrize("out", [True, False])
def test_a_stopped_program_tells_what_it_has_done(
    folder: Path,
    mocker: MockerFixture,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    out: bool,
) -> None:
    at_call("program", 2, error, mocker)
    assert main(["program", "bench.yaml", "targets.csv", *(["--out", "done.csv"] if out else [])]) == code
    said = capsys.readouterr()
    text = (folder / "done.csv").read_text() if out else said.out
    assert statuses(text) == ["OK"] * 16 + ["ABORTED"] * 24
    assert (
        f"stopped; 16 of 40 cells are done; what is known of them is in {'done.csv' if out else 'stdout'}"
        in said.err
    )
    assert not list(folder.glob("*.part"))
    entries = [entry for entry in Chip.open(folder / "chip").history() if entry.kind == "programmed"]
    assert [entry.values["cells"] for entry in entries] == [16]


def test_a_stopped_program_tells_it_as_json(
    folder: Path, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.is_dir()
    at_call("program", 2, KeyboardInterrupt(), mocker)
    assert main(["program", "bench.yaml", "targets.csv", "--json"]) == 130
    found = json.loads(capsys.readouterr().out)
    assert (found["exit_code"], found["status"].count("OK"), found["g_uS"][20]) == (130, 16, None)


def test_a_stopped_read_keeps_what_was_read(
    folder: Path, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    at_call("read", 2, KeyboardInterrupt(), mocker)
    assert main(["read", "bench.yaml", "--out", "seen.csv"]) == 130
    assert statuses((folder / "seen.csv").read_text()) == ["OK"] * 16
    assert "16 of 64 cells are done" in capsys.readouterr().err


def test_a_stopped_forming_tells_which_cells_are_formed(
    folder: Path, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "real.yaml").write_text(yaml.safe_dump({**BENCH, "preset": "rram_180nm", "chip": "real"}))
    at_call("pulse", 12, KeyboardInterrupt(), mocker)
    assert main(["form", "real.yaml", "--out", "some.csv", "--json"]) == 130
    found = statuses((folder / "some.csv").read_text())
    assert set(found) == {"OK", "ABORTED"}
    content = json.loads(capsys.readouterr().out)
    assert content["status"] == found
    formed = np.array([volts is not None for volts in content["v_form_v"]])
    assert formed.sum() == found.count("OK")


def test_form_tells_of_formed_cells_that_do_not_conduct(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "real.yaml").write_text(yaml.safe_dump({**BENCH, "preset": "rram_180nm", "chip": "real"}))
    assert main(["form", "real.yaml", "--formed", "--block", "0:1,0:2"]) == 0  # which is not so
    assert main(["form", "real.yaml", "--block", "0:1,0:3"]) == 0
    said = capsys.readouterr().err
    assert "3 of 3 cells are formed, 1 of them just now" in said
    assert "2 of them read below 5 uS. The passport says that they are formed, so they got no pulse" in said
    assert main(["form", "real.yaml", "--again", "--block", "0:1,0:3"]) == 0
    said = capsys.readouterr().err
    assert "2 of them just now" in said
    assert "got no pulse" not in said


@pytest.mark.parametrize("command", [("form",), ("program", "targets.csv"), ("read",)])
def test_a_full_disk_is_found_before_anything_is_sent(
    folder: Path, mocker: MockerFixture, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    mocker.patch.object(ReservedFile, "_fill", side_effect=FULL)
    sent = [mocker.spy(BenchArray, name) for name in ("read", "pulse", "program")]
    name, *more = command
    assert main([name, "bench.yaml", *more, "--out", "done.csv"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not any(request.called for request in sent)
    assert not (folder / "done.csv").exists()
    mocker.stopall()
    assert main([name, "bench.yaml", *more, "--out", "done.csv"]) == 0


def test_a_disk_that_is_full_at_the_end_costs_no_result(
    folder: Path, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    mocker.patch.object(ReservedFile, "write", side_effect=StorageError("done.csv: cannot be written: full"))
    capsys.readouterr()
    assert main(["program", "bench.yaml", "targets.csv", "--out", "done.csv"]) == 2
    said = capsys.readouterr()
    assert statuses(said.out) == ["OK"] * 40
    assert "done.csv: cannot be written: full" in said.err
    assert not list(folder.glob("done.csv*"))
    assert main(["program", "bench.yaml", "targets.csv", "--out", "done.csv", "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["status"]) == 40


def test_a_passport_that_is_full_costs_no_result(
    folder: Path, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    mocker.patch.object(Chip, "record", side_effect=StorageError("chip: cannot be written: full"))
    assert main(["program", "bench.yaml", "targets.csv", "--out", "done.csv"]) == 2
    assert "the cells are written, but the passport does not say so: chip" in capsys.readouterr().err
    assert statuses((folder / "done.csv").read_text()) == ["OK"] * 16


def test_room_is_taken_and_given_back(tmp_path: Path) -> None:
    file = ReservedFile(tmp_path / "a.csv", 1000)
    [part] = tmp_path.iterdir()
    assert part.stat().st_size == 1000
    file.write(b"short")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_bytes() == b"short"
    require_space(tmp_path, 10)
    ReservedFile(tmp_path / "b.csv", 10).discard()
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    with pytest.raises(StorageError, match=r"nowhere: .*needed.*No such file"):
        require_space(tmp_path / "nowhere", 10)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def clock_s(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("cell_s", "waits_s", "sizes"),
    [
        (0.0, 0.0, [16, 984]),
        (0.125, 0.0, [16] + [80] * 12 + [24]),
        (100.0, 0.0, [16] * 62 + [8]),
        (0.1, 60.0, [16, 984]),
    ],
)
def test_blocks_take_about_ten_seconds(cell_s: float, waits_s: float, sizes: list[int]) -> None:
    clock, found = Clock(), []
    for block in blocks(clock, 1000, waits_s):  # type: ignore[arg-type]  # a clock is all that is asked of the array
        found.append(block.stop - block.start)
        clock.now_s += waits_s + cell_s * found[-1]
    assert found == sizes
