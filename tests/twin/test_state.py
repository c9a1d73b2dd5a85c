"""The files that keep the simulated cells: torn, exchanged, missing, or of another device."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.mapped import MappedFile
from eapu_hil.base.seals import read_sealed_json, write_sealed_json
from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.chip_id import chip_id
from eapu_hil.hal import Cells, ConfigError, HilError, Limits, Targets
from eapu_hil.twin.state import TwinState

CELLS = Cells.block(0, 2, 0, 4)
Use = Callable[..., Bench]


@pytest.fixture
def use(limits: Limits, tmp_path: Path) -> Use:
    """Opens a bench on a chip, forms nothing, closes it."""

    def opened(name: str = "chip", **keys: Any) -> Bench:
        source = {"backend": "twin", "shape": [8, 4], "arrays": 2, "limits": dict(vars(limits)), **keys}
        with open_bench(source, chip_dir=tmp_path / name, commission=False) as bench:
            bench.arrays[0].program(Targets(CELLS, np.full(len(CELLS), 10e-6)))
            return bench

    return opened


def refused(use: Use, said: str, **keys: Any) -> None:
    with pytest.raises(HilError, match=said):
        use(**keys)


@pytest.mark.parametrize("length", [10, 100, 200, 300])
def test_a_torn_file_is_refused(use: Use, tmp_path: Path, length: int) -> None:
    use()
    path = tmp_path / "chip/twin/cells/g_S.npy"
    path.write_bytes(path.read_bytes()[:length])
    refused(use, r"cells/g_S\.npy: damaged")


def test_values_that_were_changed_are_refused(use: Use, tmp_path: Path) -> None:
    use()
    path = tmp_path / "chip/twin/cells/g_S.npy"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    refused(use, r"cells/g_S\.npy: damaged, or changed by hand")


def test_a_file_of_another_chip_or_quantity_is_refused(use: Use, tmp_path: Path) -> None:
    use(), use("other")
    path = tmp_path / "chip/twin/cells/g_S.npy"
    mine = path.read_bytes()
    for other, key in (
        ("other/twin/cells/g_S.npy", "chip"),
        ("chip/twin/cells/g_written_S.npy", "name g_written_S"),
    ):
        path.write_bytes((tmp_path / other).read_bytes())
        refused(use, rf"cells/g_S\.npy: another file was put in its place: {key}")
    path.write_bytes(mine)
    use()


@pytest.mark.parametrize("name", ["cells/g_S.npy", "clock.npy", "state.json"])
def test_a_missing_file_is_not_made_anew(use: Use, tmp_path: Path, name: str) -> None:
    use()
    path = tmp_path / "chip/twin" / name
    path.unlink()
    refused(use, rf"{name}: missing")
    assert not path.exists()


def test_cells_are_not_made_anew_when_all_of_them_are_gone(use: Use, tmp_path: Path) -> None:
    use()
    (tmp_path / "chip/twin").rename(tmp_path / "away")
    refused(use, r"state\.json: missing: the simulated cells of this chip")


def test_the_state_of_another_chip_is_refused(use: Use, tmp_path: Path) -> None:
    use(), use("other")
    (tmp_path / "chip/twin").rename(tmp_path / "away")
    (tmp_path / "other/twin").rename(tmp_path / "chip/twin")
    refused(use, r"state\.json: another file was put in its place: chip")


def test_another_device_on_the_chip_is_refused(use: Use) -> None:
    use()
    with pytest.raises(
        ConfigError, match="preset: these are cells of preset rram_180nm; the bench asks for pcm"
    ):
        use(preset="pcm")
    with pytest.raises(ConfigError, match="seed: these are cells of seed 0; the bench asks for 3"):
        use(seed=3)
    use()


def test_a_file_without_an_owner_is_refused_beside_others_that_have_one(use: Use, tmp_path: Path) -> None:
    use()
    path = tmp_path / "chip/twin/cells/g_S.npy"
    np.save(path, np.load(path))
    refused(use, r"cells/g_S\.npy: damaged: what it says of its chip cannot be read")


def test_a_zeroed_header_of_an_array_is_a_sentence(tmp_path: Path) -> None:
    asked = {"chip": str(tmp_path / "chip"), "arrays": 1, "shape": [4, 4]}
    with open_bench("ideal", asked):
        pass
    path = tmp_path / "chip" / "twin" / "cells" / "starts.npy"
    whole = path.read_bytes()
    for begin in range(8, 100, 4):
        path.write_bytes(whole[:begin] + bytes(30) + whole[begin + 30 :])
        with pytest.raises(ConfigError, match=r"starts\.npy: "), open_bench("ideal", asked):
            pass


def test_cells_of_double_precision_of_an_older_version_are_read(use: Use, tmp_path: Path) -> None:
    use()
    cells = tmp_path / "chip" / "twin" / "cells"
    record = tmp_path / "chip" / "twin" / "state.json"
    chip = {"chip": chip_id(tmp_path / "chip")}
    content = read_sealed_json(record, "twin state", chip)
    held = {}
    for name in ("g_written_S", "log_age", "moved_S", "passing_S"):
        path = cells / f"{name}.npy"
        label = path.read_bytes()[-256:]
        held[name] = np.linspace(1e-6, 5e-5, 64)
        with path.open("wb") as file:
            np.save(file, held[name])
            file.write(label)
        content["sums"][f"cells/{name}.npy"] = zlib.crc32(path.read_bytes())
    write_sealed_json(record, content, "twin state", chip)
    files = TwinState(tmp_path / "chip", content["preset"], content["seed"], 2).cells()
    for name, values in held.items():
        found = files.array(name, np.zeros(values.shape, np.float32))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values.astype(np.float32))


def test_double_precision_of_another_chip_is_refused(tmp_path: Path) -> None:
    """It is not rewritten before it says whose it is."""
    MappedFile(
        tmp_path / "x.npy", np.ones(3), {"chip": "other"}, holds="x", known=False, takes_old=False
    ).close()
    before = (tmp_path / "x.npy").read_bytes()
    with pytest.raises(ConfigError, match="another file was put in its place"):
        MappedFile(
            tmp_path / "x.npy",
            np.ones(3, np.float32),
            {"chip": "ours"},
            holds="x",
            known=True,
            takes_old=False,
        )
    assert (tmp_path / "x.npy").read_bytes() == before
