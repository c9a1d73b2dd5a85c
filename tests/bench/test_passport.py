from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

from eapu_hil.bench.chip_id import chip_id
from eapu_hil.bench.passport import Chip, own_chip
from eapu_hil.hal import CellStatus, ConfigError, HilError

SHAPE = (3, 4)
NO_ARRAYS: dict[str, np.ndarray] = {}


@pytest.fixture
def chip(tmp_path: Path) -> Chip:
    return Chip.create(tmp_path / "chip", "fake", "serial-1", SHAPE, 2)


def test_a_passport_is_read_as_it_was_written(chip: Chip) -> None:
    again = Chip.open(chip.directory)
    assert again.passport == chip.passport
    assert (again.passport.model, again.passport.serial) == ("fake", "serial-1")
    assert (again.passport.shape, again.passport.arrays) == (SHAPE, 2)


def test_a_passport_is_never_overwritten(chip: Chip) -> None:
    with pytest.raises(ConfigError, match="never overwritten"):
        Chip.create(chip.directory, "other", "", SHAPE, 2)


def test_what_is_no_passport_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a chip's passport"):
        Chip.open(tmp_path)
    (tmp_path / "passport.yaml").write_text("format: eapu-hil-chip-1\nmodel: x\n")
    with pytest.raises(ConfigError, match=r"passport\.yaml: serial: missing"):
        Chip.open(tmp_path)
    (tmp_path / "passport.yaml").write_text("format: another\n")
    with pytest.raises(
        ConfigError,
        match=r"passport\.yaml: format: must be 'eapu-hil-chip-1' or 'eapu-hil-chip-2'; given 'another'",
    ):
        Chip.open(tmp_path)


def test_a_chip_of_another_shape_is_refused(chip: Chip) -> None:
    chip.require(SHAPE, 2)
    with pytest.raises(ConfigError, match=r"chip: 2 arrays of 3 x 4 cells; the bench has 2 of 4 x 3"):
        chip.require((4, 3), 2)
    with pytest.raises(ConfigError, match="the bench has 1 of 3 x 4"):
        chip.require(SHAPE, 1)


def test_history_keeps_every_measurement(chip: Chip) -> None:
    assert chip.history() == []
    assert chip.latest("noise") is None
    chip.record("noise", {"sigma_S": np.float64(1e-6), "cells": (1, 2)}, {"g_S": np.eye(2)}, 1.5)
    chip.record("offset", {"a": None}, {}, 2.0)
    chip.record("noise", {"sigma_S": 2e-6}, {}, 3.0)
    history = Chip.open(chip.directory).history()
    assert [(entry.number, entry.kind, entry.clock_s) for entry in history] == [
        (1, "noise", 1.5),
        (2, "offset", 2.0),
        (3, "noise", 3.0),
    ]
    assert history[0].values == {"sigma_S": 1e-6, "cells": [1, 2]}
    np.testing.assert_array_equal(history[0].arrays["g_S"], np.eye(2))
    latest = chip.latest("noise")
    assert latest is not None
    assert latest.values["sigma_S"] == 2e-6
    names = sorted(path.name for path in (chip.directory / "measurements").iterdir())
    assert names == ["0001_noise.npz", "0001_noise.yaml", "0002_offset.yaml", "0003_noise.yaml"]


def test_an_entry_that_was_cut_short_does_not_count_and_is_not_overwritten(chip: Chip) -> None:
    chip.record("noise", {}, {}, 0.0)
    orphan = chip.directory / "measurements" / "0002_noise.npz"
    orphan.write_bytes(b"half")
    chip.record("noise", {}, {"g_S": np.ones(2)}, 1.0)
    assert [entry.number for entry in chip.history()] == [1, 3]
    assert orphan.read_bytes() == b"half"


def test_a_damaged_measurement_is_named(chip: Chip) -> None:
    chip.record("noise", {}, {"g_S": np.ones(2)}, 0.0)
    (chip.directory / "measurements" / "0001_noise.npz").write_bytes(b"junk")
    with pytest.raises(HilError, match=r"0001_noise\.npz: damaged"):
        chip.history()


def recorded(chip: Chip, *kinds: str) -> Path:
    """Entries of these kinds, each with an array; the folder of their files."""
    for number, kind in enumerate(kinds):
        chip.record(kind, {"number": number}, {"g_S": np.full(3, number)}, float(number))
    return chip.directory / "measurements"


@pytest.mark.parametrize("name", ["0001_noise.yaml", "0002_write_error.yaml", "0003_noise.yaml"])
def test_an_entry_that_was_deleted_is_missed(chip: Chip, name: str) -> None:
    folder = recorded(chip, "noise", "write_error", "noise")
    for path in folder.glob(f"{name.removesuffix('.yaml')}.*"):
        path.unlink()
    for asked in (chip.history, chip.write_error, lambda: chip.latest("noise"), lambda: chip.bad_cells(0)):
        with pytest.raises(HilError, match=rf"{name}: missing; entries\.json lists it"):
            asked()


def test_a_list_of_entries_that_was_deleted_or_is_an_old_one_is_refused(chip: Chip) -> None:
    old = (chip.directory / "entries.json").read_bytes()
    recorded(chip, "noise", "offset")
    (chip.directory / "entries.json").write_bytes(old)
    with pytest.raises(HilError, match=r"0001_noise\.yaml: not in entries\.json"):
        chip.history()
    (chip.directory / "entries.json").unlink()
    with pytest.raises(HilError, match=r"entries\.json: missing"):
        chip.history()


def test_an_entry_that_a_killed_process_did_not_list_counts(chip: Chip) -> None:
    recorded(chip, "noise")
    before = (chip.directory / "entries.json").read_bytes()
    chip.record("offset", {}, {}, 1.0)
    (chip.directory / "entries.json").write_bytes(before)
    assert [entry.kind for entry in chip.history()] == ["noise", "offset"]
    chip.record("noise", {}, {}, 2.0)
    assert [entry.number for entry in Chip.open(chip.directory).history()] == [1, 2, 3]


@pytest.mark.parametrize("suffix", ["yaml", "npz"])
def test_entries_that_were_exchanged_are_refused(chip: Chip, tmp_path: Path, suffix: str) -> None:
    folder = recorded(chip, "noise", "noise")
    other = recorded(Chip.create(tmp_path / "other", "fake", "serial-1", SHAPE, 2), "noise")
    first, second = folder / f"0001_noise.{suffix}", folder / f"0002_noise.{suffix}"
    mine = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(HilError, match=rf"0001_noise\.{suffix}: another file .*: entry 2, expected 1"):
        chip.history()
    first.write_bytes((other / first.name).read_bytes())
    with pytest.raises(HilError, match=rf"0001_noise\.{suffix}: another file was put in its place: chip "):
        chip.history()
    first.write_bytes(mine)
    assert len(chip.history()) == 2


def test_an_entry_of_a_copy_of_the_chip_is_refused(chip: Chip, tmp_path: Path) -> None:
    shutil.copytree(chip.directory, tmp_path / "copy")
    other = recorded(Chip.open(tmp_path / "copy"), "noise")
    folder = recorded(chip, "noise")
    (folder / "0001_noise.yaml").write_bytes(
        (other / "0001_noise.yaml").read_bytes().replace(b"+00:00", b"+01:00")
    )
    with pytest.raises(HilError, match=r"0001_noise\.yaml: damaged, or changed by hand"):
        chip.history()
    chip.record("offset", {"of": "this one"}, {}, 0.0)
    Chip.open(tmp_path / "copy").record("offset", {"of": "the copy"}, {}, 0.0)
    (folder / "0002_offset.yaml").write_bytes((other / "0002_offset.yaml").read_bytes())
    with pytest.raises(HilError, match=r"0002_offset\.yaml: another file was put in its place"):
        chip.latest("offset")


def test_a_file_of_an_older_version_is_refused_in_a_new_directory(chip: Chip) -> None:
    folder = recorded(chip, "noise")
    content = yaml.safe_load((folder / "0001_noise.yaml").read_text())
    del content["seal"]
    (folder / "0001_noise.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(HilError, match=r"0001_noise\.yaml: carries no seal"):
        chip.history()


@pytest.mark.parametrize("change", ["serial-1=serial-2", "chip-2=chip-1", "- 3=- 4"])
def test_a_passport_that_was_changed_by_hand_is_refused(chip: Chip, change: str) -> None:
    path = chip.directory / "passport.yaml"
    old, new = change.split("=")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(HilError, match=r"passport\.yaml: damaged, or changed by hand"):
        Chip.open(chip.directory)


def test_a_passport_of_an_older_version_beside_entries_with_seals_is_refused(chip: Chip) -> None:
    recorded(chip, "noise")
    old = {
        "format": "eapu-hil-chip-1",
        "model": "fake",
        "serial": "1",
        "shape": [3, 4],
        "arrays": 2,
        "created": "",
    }
    (chip.directory / "passport.yaml").write_text(yaml.safe_dump(old))
    with pytest.raises(HilError, match=r"entries\.json: newer than the passport beside it"):
        Chip.open(chip.directory).history()


def test_links_in_a_chip_are_not_followed(chip: Chip, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (chip.directory / "measurements").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(ConfigError, match=r"measurements: a link to .*must lie in its directory"),
        own_chip(chip.directory),
    ):
        pass


@pytest.mark.parametrize("kind", ["", "Noise", "../noise", "1st"])
def test_a_kind_that_is_no_file_name_is_refused(chip: Chip, kind: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        chip.record(kind, {}, {}, 0.0)


def test_bad_cells_come_from_the_last_forming_and_what_was_found_later(chip: Chip) -> None:
    assert (chip.bad_cells(0) == CellStatus.OK).all()
    old = np.full(SHAPE, CellStatus.STUCK, np.uint8)
    status = np.zeros(SHAPE, np.uint8)
    status[0, 1] = CellStatus.STUCK
    found = {"row": np.array([2, 0]), "col": np.array([3, 1])}
    chip.record("bad_cells", {"array": 0}, {**found, "status": np.full(2, 16, np.uint8)}, 0.0)
    chip.record("forming", {"array": 0}, {"status": old}, 0.0)
    chip.record("forming", {"array": 0}, {"status": status}, 1.0)
    chip.record("forming", {"array": 1}, {"status": old}, 1.0)
    assert np.flatnonzero(chip.bad_cells(0)).tolist() == [1]
    assert (chip.bad_cells(1) == CellStatus.STUCK).all()
    chip.record("bad_cells", {"array": 0}, {**found, "status": np.array([1, 0], np.uint8)}, 2.0)
    assert chip.bad_cells(0)[2, 3] == CellStatus.NOT_CONVERGED
    assert chip.bad_cells(0)[0, 1] == CellStatus.OK  # it works again
    for number, status in enumerate(chip.bad_cells_of_all()):
        np.testing.assert_array_equal(status, chip.bad_cells(number))
    chip.record("forming", {"array": 0}, {"status": np.zeros((2, 2), np.uint8)}, 3.0)
    with pytest.raises(HilError, match=r"0006_forming\.yaml: damaged"):
        chip.bad_cells(0)


def test_write_error_adds_both_parts_and_interpolates(chip: Chip) -> None:
    with pytest.raises(HilError, match="the write error was never measured"):
        chip.write_error()
    values = {
        "levels_S": [10e-6, 20e-6],
        "sigma_write_S": [0.6e-6, 0.0],
        "sigma_relax_S": [0.8e-6, 2e-6],
        "relax_time_s": 1.0,
    }
    chip.record("write_error", values, NO_ARRAYS, 0.0)
    error = chip.write_error()
    assert error.relax_time_s == 1.0
    assert error.sigma_S([0.0, 10e-6, 15e-6, 20e-6, 1.0]) == pytest.approx([1e-6, 1e-6, 1.5e-6, 2e-6, 2e-6])
    assert error.sigma_S(np.full((2, 3), 10e-6)).shape == (2, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"levels_S": [20e-6, 10e-6]},
        {"levels_S": [10e-6]},
        {"sigma_write_S": [None, 1e-6]},
        {"sigma_relax_S": "much"},
        {"relax_time_s": None},
    ],
)
def test_a_damaged_write_error_is_named(chip: Chip, change: dict[str, object]) -> None:
    values = {
        "levels_S": [1e-5, 2e-5],
        "sigma_write_S": [1e-6] * 2,
        "sigma_relax_S": [1e-6] * 2,
        "relax_time_s": 1.0,
    }
    chip.record("write_error", {**values, **change}, NO_ARRAYS, 0.0)
    with pytest.raises(HilError, match=r"0001_write_error\.yaml: damaged"):
        chip.write_error()


def test_a_chip_has_one_owner(tmp_path: Path) -> None:
    directory = tmp_path / "chips" / "a"
    script = f"""
        from pathlib import Path
        from eapu_hil.bench.passport import own_chip
        with own_chip(Path({str(directory)!r})):
            print("owned", flush=True)
            input()
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "owned\n"
        with pytest.raises(ConfigError, match=rf"chip: in use by process {other.pid}; "), own_chip(directory):
            pass
        other.kill()
        other.wait()
    assert (directory / "chip.lock").read_text() == f"{other.pid}\n"
    with own_chip(directory):  # the lock of a dead process is taken over
        assert (directory / "chip.lock").read_text() == f"{os.getpid()}\n"


def test_owning_twice_in_one_process_is_refused_too(tmp_path: Path) -> None:
    with own_chip(tmp_path), pytest.raises(ConfigError, match="in use"), own_chip(tmp_path):
        pass
    with own_chip(tmp_path):
        pass


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with (
        pytest.raises(ConfigError, match="not a chip's passport; name an empty or new directory"),
        own_chip(tmp_path),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="not a chip's passport"), own_chip(tmp_path / "thesis.tex"):
        pass


def test_a_chip_that_was_being_made_when_its_process_was_killed_is_made_anew(tmp_path: Path) -> None:
    with own_chip(tmp_path):
        chip_id(tmp_path)
        (tmp_path / "twin").mkdir()
    with own_chip(tmp_path):
        made = Chip.create(tmp_path, "m", "s", (2, 2), 1)
    assert Chip.open(tmp_path).id == made.id


@pytest.mark.parametrize("left", ["entries.json", "measurements"])
def test_a_chip_that_lost_its_passport_gets_no_new_one(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir()
    (tmp_path / "chip.lock").touch()  # of a process that was killed
    with (
        pytest.raises(ConfigError, match=r"passport\.yaml: missing; put it back from a copy"),
        own_chip(tmp_path),
    ):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {left, "chip.lock"}


def test_a_new_directory_goes_when_no_chip_came_of_it(tmp_path: Path) -> None:
    with pytest.raises(HilError, match="no device"), own_chip(tmp_path / "chip"):
        raise HilError("no device")
    assert list(tmp_path.iterdir()) == []
