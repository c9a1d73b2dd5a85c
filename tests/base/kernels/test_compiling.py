"""Kernels are kept on the disk, and made anew when any of their files has changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eapu_hil.base.kernels import compiling

USE = "import sys; sys.path.insert(0, '.'); from some.outer import outer; print(outer(1.0))"


def run(folder: Path, before: str = "") -> str:
    """What a new process prints. before: a program that runs first."""
    command = [sys.executable, "-P", "-c", before + USE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "some"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "compiling.py").write_text(Path(compiling.__file__).read_text())
    (package / "inner.py").write_text(
        "from some.compiling import compiled\n\n\n@compiled\ndef inner(x):\n    return x + 1.0\n"
    )
    (package / "outer.py").write_text(
        "from some.compiling import compiled\nfrom some.inner import inner\n\n\n"
        "@compiled\ndef outer(x):\n    return 10.0 * inner(x)\n"
    )
    return tmp_path


def test_a_kernel_follows_what_it_calls(folder: Path) -> None:
    assert run(folder) == "20.0"
    kept = sorted((folder / "some" / "__pycache__").glob("outer.outer*.nbi"))
    assert kept
    inner = folder / "some" / "inner.py"
    inner.write_text(inner.read_text().replace("x + 1.0", "x + 2.0"))
    assert run(folder) == "30.0"


def test_what_is_kept_is_used_again(folder: Path) -> None:
    run(folder)
    data = sorted((folder / "some" / "__pycache__").glob("*.nbc"))
    times = [path.stat().st_mtime_ns for path in data]
    assert data
    assert run(folder) == "20.0"
    assert [path.stat().st_mtime_ns for path in data] == times


def test_without_a_directory_to_keep_them_in_they_are_compiled_all_the_same(folder: Path) -> None:
    nowhere = "import numba.core.caching as c; c.FunctionCache._impl_class._locator_classes = []; "
    assert run(folder, nowhere) == "20.0"
    assert not list((folder / "some" / "__pycache__").glob("*.nb?"))
