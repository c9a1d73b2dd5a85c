"""A chip of version 0.1: its cells hold what they held, its entries are found, and it is not measured again."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from eapu_calibration.calibrate import calibrate
from eapu_calibration.drift import look
from eapu_calibration.figures import draw
from eapu_calibration.plan import chosen_names, load_plan

from eapu_hil.bench import open_bench
from eapu_hil.bench.opening import prepare_for_training
from eapu_hil.bench.passport import Chip
from eapu_hil.cli.parser import main
from eapu_hil.hal import Cells, HilError

PROGRAMMED_uS = {(0, 0): 10.0, (1, 2): 20.0, (3, 4): 30.0}
STATE = ("g_S", "g_written_S", "moved_S", "passing_S")


@pytest.fixture
def chip(old_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(old_files)
    return old_files / "chip"


def test_its_cells_hold_what_they_held(chip: Path) -> None:
    twin, ledger = chip / "twin/array0", chip / "ledger/array0"
    held = {name: np.load(twin / f"{name.replace('_S', '_s')}.npy") for name in STATE}
    last_S = np.load(ledger / "g_last_s.npy")
    with open_bench("bench.yaml"):
        pass
    assert not twin.exists()
    twin = chip / "twin/cells"
    for name, values in held.items():
        kept = np.load(twin / f"{name}.npy")
        np.testing.assert_array_equal(kept, values.astype(kept.dtype))  # all but g_S in single precision
    np.testing.assert_array_equal(np.load(ledger / "g_last_S.npy"), last_S)
    listed = {path.name for path in (*twin.iterdir(), *ledger.iterdir())}
    assert listed >= {"g_S.npy", "g_last_S.npy", "written_s.npy"}
    assert listed.isdisjoint(
        f"{name}.npy" for name in ("g_s", "g_written_s", "moved_s", "passing_s", "g_last_s")
    )


def test_its_cells_read_what_they_held(chip: Path) -> None:
    held_S = np.load(chip / "twin/array0/g_s.npy").reshape(32, 16)
    with open_bench("bench.yaml") as bench:
        found_S = bench.arrays[0].read(Cells.all((32, 16)), 0.2).g_S.reshape(32, 16)
        for (row, col), target_uS in PROGRAMMED_uS.items():
            assert 1e6 * found_S[row, col] == pytest.approx(target_uS, abs=8.0)
    assert np.abs(found_S - held_S).max() < 0.2 * held_S.max()
    assert np.corrcoef(found_S.ravel(), held_S.ravel())[0, 1] > 0.99


def test_it_is_opened_twice(chip: Path) -> None:
    for _ in range(2):
        with open_bench("bench.yaml") as bench:
            assert bench.ledger.snapshot().pulses.sum() > 1000
            at = Cells(np.array([0]), np.array([0]))
            assert np.isfinite(bench.ledger.arrays[0].g_last_S(at)).all()
    assert "g_S.npy" in {path.name for path in (chip / "twin/cells").iterdir()}


def test_its_write_error_is_not_measured_again(chip: Path) -> None:
    entries = len(Chip.open(chip).history())
    with open_bench("bench.yaml") as bench:
        prepare_for_training(bench)
        assert len(bench.chip.history()) == entries
        assert bench.chip.write_error().sigma_S(20e-6) > 0


def test_drift_finds_what_was_programmed(chip: Path) -> None:
    with open_bench("bench.yaml") as bench:
        array, pulses = bench.arrays[0], bench.ledger.arrays[0].snapshot()["pulses"]
        drift, entry = look(array, 0, bench.chip, 0.2, 1e-6, pulses)
    targets = drift.targets
    found = zip(targets.cells.row, targets.cells.col, 1e6 * targets.g_target_S, strict=True)
    assert {(row, col): pytest.approx(target_uS) for row, col, target_uS in found} == PROGRAMMED_uS
    before = Chip.open(chip).history()[-2]
    assert before.kind == entry.kind == "drift"
    assert before.arrays.keys() == entry.arrays.keys()
    np.testing.assert_allclose(drift.since_s[drift.out], before.arrays["since_s"][drift.out])


def test_its_entries_have_the_names_of_today(chip: Path, tmp_path: Path) -> None:
    """Each entry has the keys, at every depth, that one has which is written now."""
    shutil.copytree(chip, tmp_path / "now")
    old = {entry.kind: entry for entry in Chip.open(chip).history()}
    plan = load_plan({"measurements": old["calibration"].values["plan"]["measurements"]})
    kinds = chosen_names(plan, [])
    with open_bench("bench.yaml", chip_dir=tmp_path / "now") as bench:
        calibrate(bench, 0, plan, kinds, seed=1, progress_of=lambda _: lambda _: None)
    last = max(entry.number for entry in old.values())
    new = {entry.kind: entry for entry in Chip.open(tmp_path / "now").history() if entry.number > last}
    assert len(new) > 10
    for kind, entry in new.items():
        assert keys(entry.values) == keys(old[kind].values), kind
        assert entry.arrays.keys() == old[kind].arrays.keys(), kind


def keys(content: object, above: str = "") -> set[str]:
    """Dotted keys at every depth."""
    if not isinstance(content, dict):
        return {above}
    return {key for name, value in content.items() for key in keys(value, f"{above}.{name}".lstrip("."))}


def test_a_calibration_that_was_stopped_then_goes_on(chip: Path) -> None:
    passport = Chip.open(chip)
    begun = passport.latest("calibration")
    assert begun is not None
    for entry in passport.history():
        if entry.number > 11:  # product_accuracy, endurance, and what came after the calibration
            for path in (chip / "measurements").glob(f"{entry.number:04d}_*"):
                path.unlink()
    plan = load_plan(begun.values["plan"])
    with open_bench("bench.yaml") as bench:
        made = calibrate(bench, 0, plan, begun.values["names"], seed=0, progress_of=lambda _: lambda _: None)
    assert [entry.number for entry in made] == list(range(3, 14))


def test_a_new_entry_is_read_as_it_stands(chip: Path) -> None:
    """A time of a lab may have a name that version 0.1 had for a conductance."""
    values, arrays = {"step_s": 2.0, "parts": {"band_s": 1.0}}, {"g_s": np.ones(3)}
    passport = Chip.open(chip)
    passport.record("of_a_lab", values, arrays, 0.0)
    found = passport.latest("of_a_lab")
    assert found is not None
    assert (found.values, found.arrays.keys()) == (values, arrays.keys())


def test_the_passport_is_shown_and_drawn(chip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passport", "show", "chip"]) == 0
    shown = capsys.readouterr().out
    assert all(entry.kind in shown for entry in Chip.open(chip).history() if entry.kind != "calibration")
    assert main(["passport", "diff", "chip", "8", "8"]) == 0


def test_its_entries_are_drawn(chip: Path, tmp_path: Path) -> None:
    drawn = [
        entry.kind for entry in Chip.open(chip).history() if draw(entry, tmp_path / f"{entry.number}.png")
    ]
    assert len(drawn) >= 11


def test_fit_twin_gives_the_same_preset(chip: Path) -> None:
    assert main(["fit-twin", str(chip), "-o", "again.yaml"]) == 0
    found, then = (yaml.safe_load(Path(name).read_text()) for name in ("again.yaml", "fitted.yaml"))
    assert numbers(found) == pytest.approx(numbers(then), rel=1e-3)


def numbers(content: object, above: str = "") -> dict[str, float]:
    """All numbers of a preset, by dotted key, units in lower case."""
    if isinstance(content, dict):
        parts = [numbers(value, f"{above}.{key}".lower()) for key, value in content.items()]
    elif isinstance(content, list):
        parts = [numbers(value, f"{above}.{place}") for place, value in enumerate(content)]
    else:
        return {above: float(content)} if isinstance(content, (int, float)) else {}
    return {key: value for part in parts for key, value in part.items()}


def test_a_bench_with_the_preset_of_then(chip: Path) -> None:
    content = yaml.safe_load(Path("bench.yaml").read_text())
    with open_bench(
        content | {"preset": str(chip.parent / "fitted.yaml"), "chip": None}, commission=False
    ) as bench:
        assert bench.arrays[0].shape == (32, 16)


def test_its_files_are_sealed_once(chip: Path, caplog: pytest.LogCaptureFixture) -> None:
    kinds = [entry.kind for entry in Chip.open(chip).history()]
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            with open_bench("bench.yaml") as bench:
                assert [entry.kind for entry in bench.chip.history()] == kinds
    assert caplog.text.count("of an older version; all of its files carry its id") == 1
    assert len(Chip.open(chip).id) == 32
    assert not (chip / "chip.id").exists()


def test_sealing_that_was_cut_short_goes_on(chip: Path) -> None:
    old = (chip / "passport.yaml").read_bytes()
    kinds = [entry.kind for entry in Chip.open(chip).history()]
    with open_bench("bench.yaml") as bench:
        identity = bench.chip.id
    (chip / "passport.yaml").write_bytes(old)  # the last file that is written
    (chip / "chip.id").write_text(identity)
    with open_bench("bench.yaml") as bench:
        assert bench.chip.id == identity
        assert [entry.kind for entry in bench.chip.history()] == kinds


def test_an_entry_that_is_missing_in_the_middle_is_an_error(chip: Path) -> None:
    (chip / "measurements/0007_write_error.yaml").unlink()
    with pytest.raises(HilError, match="measurements: entry 0007 is missing"), open_bench("bench.yaml"):
        pass
