"""Every port builds without a warning and keeps to its budgets; the build may be called by many at once."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

PORTS = ("posix", "mps2", "stm32f405")


@pytest.fixture(scope="module")
def stack(firmware: Path) -> ModuleType:
    """tools/stack.py."""
    spec = importlib.util.spec_from_file_location("firmware_stack", firmware / "tools" / "stack.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_port_keeps_to_its_budgets(need: Callable[..., None], make: Callable[..., str]) -> None:
    need("host", "arm")
    _, *rows = make("size").splitlines()
    assert [row.split()[0] for row in rows] == list(PORTS)
    for row in rows:
        _, code, data, bss, deep, ram = row.split()
        assert 10_000 < int(code) + int(data) <= 48 * 1024
        assert 500 < int(deep) < int(ram)
        assert int(data) + int(bss) < int(ram) <= 64 * 1024


def test_ports_without_a_compiler_are_left_out(
    need: Callable[..., None], firmware: Path, tmp_path: Path
) -> None:
    need("host")
    command: list[str | Path] = ["make", "-s", "-C", firmware, f"BUILD={tmp_path}", "ARM=missing-"]
    size = subprocess.run([*command, "size"], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in size.stdout.splitlines()] == ["port", "posix"]
    assert "mps2 needs gcc-arm-none-eabi" in size.stderr
    asked = subprocess.run([*command, "mps2"], capture_output=True, text=True, check=False)
    assert asked.returncode != 0
    assert "apt-get install gcc-arm-none-eabi" in asked.stderr


def test_builds_at_once_and_nothing_twice(need: Callable[..., None], firmware: Path, tmp_path: Path) -> None:
    need("host")
    command: list[str | Path] = ["make", "-s", "-C", firmware, f"BUILD={tmp_path}", "posix"]
    builds = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
    outputs = [build.communicate()[0] for build in builds]
    assert outputs == [b""] * 3
    assert all(build.returncode == 0 for build in builds)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.o")}
    image = (tmp_path / "posix" / "eapu-firmware").stat()
    subprocess.run(command, check=True)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.o")}
    assert (tmp_path / "posix" / "eapu-firmware").stat() == image


def test_a_commit_changes_the_image_that_tells_it(
    need: Callable[..., None], firmware: Path, tmp_path: Path
) -> None:
    need("host")
    command: list[str | Path] = ["make", "-s", "-C", firmware, f"BUILD={tmp_path}", "posix"]
    subprocess.run(command, check=True)
    hash_file = tmp_path / "git_hash.h"
    told = hash_file.read_text()
    hash_file.write_text('#define GIT_HASH "of-another"\n')
    before = (tmp_path / "posix" / "core" / "frame.o").stat().st_mtime_ns
    subprocess.run(command, check=True)
    assert hash_file.read_text() == told
    assert told.split('"')[1].encode() in (tmp_path / "posix" / "eapu-firmware").read_bytes()
    assert (tmp_path / "posix" / "core" / "frame.o").stat().st_mtime_ns == before


def _readers(firmware: Path, header: str) -> set[str]:
    """The sources of the posix port that include `header`, themselves or through others."""
    texts = {
        path.name: path.read_text()
        for folder in ("core", "ports/common", "ports/posix")
        for path in (firmware / folder).glob("*.[ch]")
    }
    readers = {header}
    while (
        more := {name for name, text in texts.items() if any(f'#include "{one}"' in text for one in readers)}
        - readers
    ):
        readers |= more
    return {name for name in readers if name.endswith(".c")}


@pytest.mark.parametrize("header", ["link.h", "protocol.h", "afe.h"])
def test_a_header_that_changed_makes_anew_whatever_reads_it(
    need: Callable[..., None], firmware: Path, tmp_path: Path, header: str
) -> None:
    need("host")
    command: list[str | Path] = ["make", "-s", "-C", firmware, f"BUILD={tmp_path}"]
    subprocess.run([*command, "posix"], check=True)
    asked = [*command, "LOCKED=1", "--dry-run", "--what-if", f"core/{header}", "posix"]
    steps = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    made = {Path(name).name for name in re.findall(r"-c -o \S+ (\S+\.c)$", steps, re.MULTILINE)}
    assert {"controller.c", "main.c"} <= made
    assert made == _readers(firmware, header)


def test_static_check(need: Callable[..., None], make: Callable[..., str]) -> None:
    need("cppcheck")
    assert make("check") == ""


def _functions(stack: ModuleType, folder: Path, source: str) -> object:
    (folder / "source.c").write_text(source)
    flags = ["-O2", "-fno-inline", "-fstack-usage", "-fcallgraph-info=su"]
    subprocess.run(["gcc", *flags, "-c", "source.c", "-o", "source.o"], cwd=folder, check=True)
    return stack.compiled(folder)


def test_the_deepest_chain_counts(need: Callable[..., None], stack: ModuleType, tmp_path: Path) -> None:
    need("host")
    source = """
    int shallow(int x) { return x + 1; }
    int deep(int x) { volatile char room[500]; room[x] = 1; return room[0]; }
    int main(void) { volatile int x = shallow(1); return deep(x) + x; }
    """
    worst = stack.worst(_functions(stack, tmp_path, source), None, "main")
    assert worst.chain == ("main", "deep")
    assert 350 < worst.stack_bytes < 700  # x86 lets a last function use 128 bytes below its stack


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "int f(int n) { return n ? n * f(n - 1) + f(n / 2) : 1; } int main(void) { return f(3); }",
            "recursion: f > f",
        ),
        ("int main(int n, char **f) { return ((int (*)(void))f[n])() + 1; }", "main calls through a pointer"),
        (
            "int g(char *); int main(int n, char **v) { char x[n]; return g(x) + (v != 0); }",
            "without a bound",
        ),
    ],
)
def test_what_has_no_bound_is_reported(
    need: Callable[..., None], stack: ModuleType, tmp_path: Path, source: str, why: str
) -> None:
    need("host")
    with pytest.raises(stack.StackError, match=why):
        stack.worst(_functions(stack, tmp_path, source), None, "main")
