"""Processes that the product starts run nothing that happens to lie in the working directory."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from eapu_drivers.visa.guard import Guard

ROOT = Path(__file__).parents[1]
STARTS = [
    (path.relative_to(ROOT), node.lineno, node)
    for folder in ("eapu_hil", "drivers", "calibration", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable"
]


@pytest.mark.parametrize(
    ("path", "node"), [(path, node) for path, _, node in STARTS], ids=[f"{p}:{n}" for p, n, _ in STARTS]
)
def test_python_is_started_without_the_working_directory(path: Path, node: ast.List) -> None:
    """A script has its own folder in front; -m and -c have the working directory, unless -P is given."""
    words = [element.value for element in node.elts if isinstance(element, ast.Constant)]
    if "-m" in words or "-c" in words:
        assert words[0] == "-P", path


def test_a_module_of_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("queue", "json", "yaml", "pyvisa"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'a').write('{name}')")
    monkeypatch.chdir(tmp_path)
    with Guard() as guard:
        guard.watch({}, {}, "@py")
    assert not (tmp_path / "run").exists()
