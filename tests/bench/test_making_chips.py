"""A chip that cannot be made whole: one line says why, and nothing is left of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.platform == "win32":
    pytest.skip("limits of a process", allow_module_level=True)
import resource

BENCH = {
    "backend": "twin",
    "shape": [32, 16],
    "arrays": 4,
    "chip": "chip",
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 100,
    },
}


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        (resource.RLIMIT_FSIZE, 2048, "cannot be written"),  # as a full disk: a part of a file is written
        (resource.RLIMIT_NOFILE, 40, "Too many open files"),
    ],
)
def test_no_space_or_no_files_left(tmp_path: Path, limit: int, value: int, said: str) -> None:
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(BENCH))
    script = (
        "import resource, sys\n"
        "from eapu_hil.bench import open_bench\n"
        "from eapu_hil.cli.parser import main\n"
        f"resource.setrlimit({limit}, ({value}, {value}))\n"
        "sys.exit(main(['read', 'bench.yaml', '--block', '0:1,0:1']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("eapu-hil: error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "chip").exists()
