"""A ledger is never made up: what is missing, torn, exchanged or counts backwards is refused with one line."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from eapu_hil.base.seals import write_sealed_yaml
from eapu_hil.bench import open_bench
from eapu_hil.bench.ledger import Ledger
from eapu_hil.hal import Cells, HilError, Polarity, Pulses

SHAPE = (8, 4)
BENCH = {
    "backend": "twin",
    "preset": "ideal",
    "arrays": 2,
    "shape": list(SHAPE),
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 1000,
    },
}


def used_chip(directory: Path, bench: dict[str, object] | None = None, count: int = 3) -> Path:
    """A chip whose cells of both arrays have seen pulses."""
    with open_bench(bench or BENCH, chip_dir=directory, commission=False) as opened:
        for number, array in enumerate(opened.arrays):
            cells = Cells.all(SHAPE)
            array.pulse(Pulses.same(cells, Polarity.SET, 1.0, 1.0, 1e-7, count + number))
    return directory


def reopen(chip: Path) -> int:
    with open_bench(BENCH, chip_dir=chip, commission=False) as opened:
        return int(opened.ledger.snapshot().pulses.sum())


def counter(chip: Path, name: str = "pulses", array: int = 0) -> Path:
    return chip / "ledger" / f"array{array}" / f"{name}.npy"


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def zero_a_part(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[128 + 16 : 128 + 48] = bytes(32)
    path.write_bytes(content)


NAMES = ["pulses", "writes", "verify_reads", "pulse_energy_j", "g_last_S", "totals", "vmm_cells"]
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "half a counter": (lambda chip: halve(counter(chip)), r"pulses\.npy: damaged: cut short"),
    "half of another array's": (
        lambda chip: halve(counter(chip, "writes", 1)),
        r"array1/writes\.npy: damaged",
    ),
    "only its end": (
        lambda chip: counter(chip).write_bytes(counter(chip).read_bytes()[:-4]),
        r"what it says of its chip cannot be read",
    ),
    "an empty counter": (lambda chip: counter(chip).write_bytes(b""), r"pulses\.npy: .*cannot be opened"),
    "noise": (lambda chip: counter(chip).write_bytes(os.urandom(500)), r"pulses\.npy: .*cannot be opened"),
    "zeros": (lambda chip: zero_a_part(counter(chip)), r"pulses\.npy: damaged, or changed by hand"),
    "the whole ledger": (lambda chip: shutil.rmtree(chip / "ledger"), r"ledger\.json: missing"),
    "one array": (lambda chip: shutil.rmtree(chip / "ledger" / "array1"), r"array1/pulses\.npy: missing"),
    "the record": (lambda chip: (chip / "ledger" / "ledger.json").unlink(), r"ledger\.json: missing"),
    "a torn record": (lambda chip: halve(chip / "ledger" / "ledger.json"), r"ledger\.json: damaged"),
    "array 1's": (
        lambda chip: counter(chip).write_bytes(counter(chip, array=1).read_bytes()),
        r"another file was put in its place: array 1, expected 0",
    ),
    "another counter": (
        lambda chip: counter(chip, "writes").write_bytes(counter(chip).read_bytes()),
        r"another file was put in its place: counter pulses, expected writes",
    ),
    "one of an older version": (
        lambda chip: np.save(counter(chip), np.load(counter(chip))),
        r"of an older version, beside files of this one",
    ),
    **{
        f"no {name}": (lambda chip, name=name: counter(chip, name).unlink(), rf"{name}\.npy: missing")  # type: ignore[misc]
        for name in NAMES
    },
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_ledger_that_was_damaged_is_refused(tmp_path: Path, damage: str) -> None:
    chip = used_chip(tmp_path / "chip")
    assert reopen(chip) == 32 * 7
    act, said = DAMAGES[damage]
    act(chip)
    with pytest.raises(HilError, match=said) as caught:
        reopen(chip)
    assert "\n" not in str(caught.value)
    with pytest.raises(HilError, match=said):  # nothing was refilled by the first try
        reopen(chip)


@pytest.mark.parametrize("name", ["array0/pulses.npy", "ledger.json"])
def test_files_of_another_chip_are_refused(tmp_path: Path, name: str) -> None:
    chip, other = used_chip(tmp_path / "chip"), used_chip(tmp_path / "other", {**BENCH, "seed": 7})
    shutil.copy(other / "ledger" / name, chip / "ledger" / name)
    with pytest.raises(HilError, match=r"another file was put in its place: chip .*, expected"):
        reopen(chip)


def test_a_counter_from_a_copy_of_before_is_refused(tmp_path: Path) -> None:
    chip = used_chip(tmp_path / "chip")
    shutil.copy(counter(chip), tmp_path / "before.npy")
    used_chip(chip)
    shutil.copy(tmp_path / "before.npy", counter(chip))
    with pytest.raises(HilError, match=r"pulses\.npy: damaged, or changed by hand"):
        reopen(chip)


def killed(chip: Path) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        from eapu_hil.bench import open_bench
        from eapu_hil.hal import Cells, Polarity, Pulses

        with open_bench({BENCH!r}, chip_dir=Path({str(chip)!r}), commission=False) as bench:
            bench.arrays[0].pulse(Pulses.same(Cells.all({SHAPE}), Polarity.SET, 1.0, 1.0, 1e-7, 5))
            bench.ledger.flush()  # as the trainer does with every checkpoint
            bench.arrays[0].pulse(Pulses.same(Cells.all({SHAPE}), Polarity.SET, 1.0, 1.0, 1e-7, 1))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-P", "-c", textwrap.dedent(script)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
class TestAfterAKill:
    def test_nothing_is_lost(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        chip = tmp_path / "chip"
        killed(chip)
        with caplog.at_level(logging.INFO):
            assert reopen(chip) == 32 * 6
        assert "the last session did not end" in caplog.text

    @pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "zeros"])
    def test_damage_is_noticed_all_the_same(self, tmp_path: Path, damage: str) -> None:
        chip = tmp_path / "chip"
        killed(chip)
        act, said = DAMAGES[damage]
        act(chip)
        with pytest.raises(HilError, match=said):
            reopen(chip)

    def test_a_counter_that_counts_less_than_before_is_refused(self, tmp_path: Path) -> None:
        chip = tmp_path / "chip"
        killed(chip)
        content = bytearray(counter(chip).read_bytes())
        content[128 : 128 + 8 * 16] = bytes(8 * 16)  # half of its values
        counter(chip).write_bytes(content)
        with pytest.raises(
            HilError, match=r"counts 96 in all, less than the 160 that ledger\.json remembers"
        ):
            reopen(chip)


def test_the_ledger_of_an_older_version_is_rewritten_once_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chip = used_chip(tmp_path / "chip")
    as_before(chip)
    with caplog.at_level(logging.INFO):
        assert reopen(chip) == 32 * 7
        assert reopen(chip) == 32 * 7
    assert caplog.text.count("of an older version") == 1
    halve(counter(chip))
    with pytest.raises(HilError, match="cut short"):
        reopen(chip)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda chip: counter(chip).unlink(), r"pulses\.npy: missing"),
        (lambda chip: halve(counter(chip)), r"pulses\.npy: damaged: cut short"),
    ],
)
def test_the_ledger_of_an_older_version_is_not_made_up_either(
    tmp_path: Path, act: Callable[[Path], None], said: str
) -> None:
    chip = used_chip(tmp_path / "chip")
    as_before(chip)
    act(chip)
    with pytest.raises(HilError, match=said):
        reopen(chip)


def as_before(chip: Path) -> None:
    """The ledger of `chip` as an older version would have left it."""
    for path in (chip / "ledger").glob("array*/*.npy"):
        np.save(path, np.load(path))
    (chip / "ledger" / "ledger.json").unlink()
    passport = chip / "passport.yaml"
    content = yaml.safe_load(passport.read_text(encoding="utf-8"))
    del content["seal"]
    write_sealed_yaml(passport, content | {"ledger": False}, "passport", {"chip": content["id"]})


def test_who_looks_at_a_ledger_without_the_chips_id_changes_nothing(tmp_path: Path) -> None:
    chip = used_chip(tmp_path / "chip")
    before = (chip / "ledger" / "ledger.json").read_bytes()
    ledger = Ledger(chip / "ledger", 2, SHAPE)
    assert ledger.snapshot().pulses.sum() == 32 * 7
    ledger.close()
    assert (chip / "ledger" / "ledger.json").read_bytes() == before
    assert reopen(chip) == 32 * 7


def test_a_chip_that_was_killed_in_the_making_is_made_to_the_end(tmp_path: Path) -> None:
    """Nothing was counted yet, so that no counter can be lost."""
    chip = tmp_path / "chip"
    with open_bench(BENCH, chip_dir=chip, commission=False):
        pass
    the_id = yaml.safe_load((chip / "passport.yaml").read_text())["id"]
    for path in (chip / "passport.yaml", chip / "entries.json", chip / "ledger/ledger.json"):
        path.unlink()
    for name in ("totals", "vmm_cells"):
        counter(chip, name, array=1).unlink()
    (chip / "chip.id").write_text(f"{the_id}\n", encoding="ascii")
    assert reopen(chip) == 0


def test_a_ledger_with_a_gap_and_without_a_record_is_refused_once_it_counted(tmp_path: Path) -> None:
    chip = used_chip(tmp_path / "chip")
    (chip / "ledger/ledger.json").unlink()
    counter(chip, "totals", array=1).unlink()
    with pytest.raises(HilError, match="missing"):
        Ledger(chip / "ledger", 2, SHAPE, yaml.safe_load((chip / "passport.yaml").read_text())["id"])
