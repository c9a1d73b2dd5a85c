"""Sealed files: what was written comes back; what is torn, changed or of another owner is refused."""

import contextlib
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eapu_hil.base.npz import DamagedError, read_npz, write_npz
from eapu_hil.base.seals import (
    ForeignError,
    UnsealedError,
    read_sealed_json,
    read_sealed_npz,
    unsealed,
    write_sealed_json,
    write_sealed_npz,
    write_sealed_yaml,
)

OWNER: dict[str, str | int] = {"run": "r1", "step": 3}
ARRAYS: dict[str, NDArray[Any]] = {
    "g_S": np.arange(6.0).reshape(2, 3).T,
    "count": np.array(7),
    "empty": np.zeros((0, 3)),
    "words": np.array(["a", "ü"]),
    "records": np.array([(1, 2.0)], [("a", "<i4"), ("b", "<f8")]),
}
NUMBERS: dict[str, Any] = {
    "a": 1,
    "b": [1.5, 1e-300, None, True],
    "c": {"d": "2026-01-01", "e": "x: y"},
    "f": 0.1,
}


def _written(path: Path) -> Path:
    if path.suffix == ".npz":
        write_sealed_npz(path, ARRAYS, "checkpoint", OWNER)
    else:
        write_sealed_json(path, NUMBERS, "checkpoint", OWNER)
    return path


def _read(path: Path) -> bool:
    """Whether what is found is what was written."""
    if path.suffix == ".json":
        return read_sealed_json(path, "checkpoint", OWNER) == NUMBERS
    found = read_sealed_npz(path, "checkpoint", OWNER)
    return all(np.array_equal(found[name], array) for name, array in ARRAYS.items())


def test_arrays_come_back(tmp_path: Path) -> None:
    write_sealed_npz(tmp_path / "a.npz", ARRAYS, "checkpoint", OWNER, compressed=True)
    found = read_sealed_npz(tmp_path / "a.npz", "checkpoint", {"run": "r1"})
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize(
    ("kind", "owner", "said"),
    [
        ("moves", OWNER, "kind checkpoint, expected moves"),
        ("checkpoint", {"run": "r2"}, "run r1, expected r2"),
        ("checkpoint", {"run": "r1", "step": 4}, "step 3, expected 4"),
        ("checkpoint", {"chip": "c"}, "chip no chip, expected c"),
    ],
)
def test_a_file_of_another_owner_is_refused(
    tmp_path: Path, kind: str, owner: dict[str, str | int], said: str
) -> None:
    write_sealed_npz(tmp_path / "a.npz", ARRAYS, "checkpoint", OWNER)
    write_sealed_json(tmp_path / "a.json", NUMBERS, "checkpoint", OWNER)
    with pytest.raises(ForeignError, match=said):
        read_sealed_npz(tmp_path / "a.npz", kind, owner)
    with pytest.raises(ForeignError, match=said):
        read_sealed_json(tmp_path / "a.json", kind, owner)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_a_flipped_bit_is_harmless_or_refused(tmp_path: Path, place: int, bit: int) -> None:
    for suffix in (".npz", ".json"):
        path = _written(tmp_path / f"a{suffix}")
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= 1 << bit
        path.write_bytes(content)
        with contextlib.suppress(DamagedError):
            assert _read(path)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_half_a_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = _written(tmp_path / f"a{suffix}")
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match="damaged"):
            _read(path)


def test_what_an_older_version_wrote_is_told_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **ARRAYS)  # type: ignore[arg-type]
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(UnsealedError):
        read_sealed_npz(tmp_path / "a.npz", "k", OWNER)
    with pytest.raises(UnsealedError):
        read_sealed_json(tmp_path / "a.json", "k", OWNER)


def test_yaml_keeps_its_seal_through_a_parser(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_sealed_yaml(path, NUMBERS, "k", OWNER)
    assert unsealed(path, yaml.safe_load(path.read_text(encoding="utf-8")), "k", OWNER) == NUMBERS
    path.write_text(path.read_text(encoding="utf-8").replace("1.5", "1.6"), encoding="utf-8")
    with pytest.raises(DamagedError, match="changed by hand"):
        unsealed(path, yaml.safe_load(path.read_text(encoding="utf-8")), "k", OWNER)


def test_an_absent_file_is_said_to_be_absent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_sealed_npz(tmp_path / "a.npz", "k", OWNER)
    with pytest.raises(FileNotFoundError):
        read_sealed_json(tmp_path / "a.json", "k", OWNER)


def test_arrays_larger_than_allowed_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, {"a": np.zeros(1 << 20)}, compressed=True)
    with pytest.raises(DamagedError, match="allowed are 1000"):
        read_npz(path, 1000)
    header = b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header.ljust(80) + b"\n")
    with pytest.raises(DamagedError, match="1000000000000"):
        read_npz(path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DamagedError):
        read_npz(tmp_path / "a.npz")


def test_nothing_is_written_through_a_link_that_lies_in_the_way(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    (tmp_path / "a.json.part").symlink_to(elsewhere)
    write_sealed_json(tmp_path / "a.json", NUMBERS, "k", OWNER)
    assert elsewhere.read_text() == "mine"
    assert read_sealed_json(tmp_path / "a.json", "k", OWNER) == NUMBERS


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_a_pipe_and_a_file_without_end_are_refused_before_they_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(1 << 34)
    for name, said in (("pipe", "a pipe or a device"), ("large", "larger than 256 MiB")):
        with pytest.raises(DamagedError, match=said):
            read_sealed_json(tmp_path / f"{name}.json", "summary", {})
