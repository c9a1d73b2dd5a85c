"""PyTorch is an extra: the rest of the project works without it, and says what is missing where it is needed."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_rest_of_the_project_does_not_import_torch() -> None:
    modules = "eapu_hil.cli.parser, eapu_hil.training.trainer, eapu_hil.study.compare, eapu_drivers, eapu_calibration"
    done = run(f"import sys, {modules}; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_without_torch_one_line_says_what_to_install() -> None:
    done = run("import sys; sys.modules['torch'] = None; import eapu_hil.torch")
    assert done.returncode == 1
    assert "pip install 'eapu-hil[torch]'" in done.stderr.splitlines()[-1]
