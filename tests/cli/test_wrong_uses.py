"""Every command against a table of wrong uses: one line that names the file or the flag, exit code 2, no traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eapu_hil.base.plugins import names
from eapu_hil.cli.parser import GROUP, main

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 1e-3,
    "pulses_per_cell_max": 1000,
}
BENCH: dict[str, Any] = {
    "backend": "twin",
    "preset": "ideal",
    "arrays": 1,
    "shape": [64, 32],
    "limits": LIMITS,
}
EXPERIMENT = {
    "name": "tiny",
    "bench": BENCH,
    "task": {"name": "digits", "hidden": 6},
    "rule": {"name": "digital"},
    "optimizer": {"name": "adam", "lr": 5e-3},
    "steps": 1,
    "batch": 8,
    "evaluate_every": 1,
    "checkpoint_every": 1,
}
# by name, what is in a file that should be something else; None: a directory
WRONG: dict[str, bytes | None] = {
    "empty.yaml": b"",
    "binary.yaml": bytes(range(256)),
    "list.yaml": b"- 1\n",
    "word.yaml": b"hello",
    "wrong_key.yaml": b"nonsense: 1\n",
    "wrong_types.yaml": b"backend: 3\nname: {a: 1}\nshape: x\nlimits: 3\nmeasurements: 5\nkind: []\n",
    "latin1.yaml": "n\u00e4me: 1\n".encode("latin-1"),
    "utf16.yaml": "backend: twin\n".encode("utf-16"),
    "broken.yaml": b"a: [1, 2\nb: }\n",
    "tab.yaml": b"a:\tb\n\tc: d\n",
    "no_anchor.yaml": b"a: *b\n",
    "code.yaml": b"a: !!python/object/apply:os.system ['true']\n",
    "date.yaml": b"backend: 2026-01-01\n",
    "number_as_key.yaml": b"1: 2\n",
    "twice.yaml": b"backend: twin\nbackend: twin\n",
    "directory.yaml": None,
}
ABSENT = ("nowhere", "no/where.yaml", "tiny.yaml/x.yaml", "loop.yaml", "[/b].yaml", "/dev/null")
# commands, with @ in place of the file that is wrong
WITH_FILE = (
    "check @", "read @", "program @ targets.csv", "program bench.yaml @", "form @", "drift @", "calibrate @",
    "calibrate bench.yaml --plan @", "train @", "train tiny.yaml --bench @", "demo --bench @", "compare @",
    "compare tiny.yaml --bench @", "resume @", "evaluate @ --images folder", "evaluate run --images @",
    "apply run @ --out o", "report @", "report run @", "runs --remove @", "import @ --chip chip",
    "fit-twin @ -o p.yaml", "fit-twin chip -o p.yaml --base @",
    "export @ --to hdf5", "passport show @", "passport diff @ 1 2", "sim controller --bench @ --listen 127.0.0.1:0",
    "sim 2400 --bench @ --listen 127.0.0.1:0", "list @", "schema @", "completion @", "@",
)  # fmt: skip
WITH_OUT = (
    "read bench.yaml --out @", "program bench.yaml targets.csv --out @", "form bench.yaml --out @",
    "drift bench.yaml --out @", "fit-twin chip -o @", "train tiny.yaml --out @",
    "compare tiny.yaml --rules digital --out @",
)  # fmt: skip
UNWRITABLE = ("tiny.yaml", "tiny.yaml/x", "bench.yaml/x/y")
NUMBERS = {
    "read bench.yaml --array @": "-1 9 x 1.5 99999999999999999999",
    "read bench.yaml --block @": "a 0:1 0:0,0:0 5:1,0:1 -1:2,0:1 0:999,0:1 0:1,0:1,0:1",
    "read bench.yaml --after @": "-1 nan inf x 1e400",
    "drift bench.yaml --after @": "-1 nan",
    "drift bench.yaml --band @": "-1 nan inf x",
    "train tiny.yaml --seed @": "-1 x 1.5",
    "demo --seed @": "-1",
    "calibrate bench.yaml --seed @": "-1 x",
    "calibrate bench.yaml linearity --array @": "-1 7 x",
    "fit-twin chip -o p.yaml --array @": "-1 7",
    "fit-twin chip -o p.yaml --seed @": "-1",
    "passport show chip @": "99 -1 x",
    "passport diff chip @ 1": "99",
    "resume run --steps @": "0 -5 x",
    "resume run --steps 9 --set @": "=3 seed=3 rule.name=bp optimizer.lrr=1 optimizer.lr=x",
    "report run --out @": "x",
    "export run --to @": "nope",
    "live --port @": "x -1 99999",
    "runs . --sort @": "nope",
    "runs . --where @": "x =1 nope=1",
    "table --jobs @": "0 -1 x",
    "compare tiny.yaml --rules @": "nope eapu,nope eapu,eapu ,,",
    "train tiny.yaml --set @": "=3 steps=[1 steps=1e999 a..b=1 stepz=3 steps=x bench=3 rule.name=x:y rule=eapuu",
    "train tiny.yaml --allow-module nope --set rule.name=nope:@": "Y",
    "sim controller --listen @": "nope 127.0.0.1:99999 127.0.0.1:x",
    "sim 2400 --listen @": "nope 127.0.0.1:99999",
    "calibrate bench.yaml @": "nope",
    "read bench.yaml @": "extra --nope",
}
UNFINISHED = (
    "check", "read", "program", "program bench.yaml", "form", "drift", "calibrate", "train", "compare", "resume",
    "evaluate", "evaluate run", "export run", "apply", "apply run", "report", "import", "import x.yaml", "fit-twin",
    "fit-twin chip", "passport", "passport show", "passport diff chip 1", "sim", "sim nope", "schema", "completion",
    "--nope", "",
)  # fmt: skip
NO_WRONG_USE = {"discover"}  # it takes ports, and says of each what answers there


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a bench, an experiment, a run and a chip, and with all the wrong files."""
    place, before = tmp_path_factory.mktemp("wrong"), Path.cwd()
    os.chdir(place)
    Path("bench.yaml").write_text(yaml.safe_dump({**BENCH, "chip": "chip"}))
    Path("tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    Path("targets.csv").write_text("row,col,g_target_uS\n0,1,20\n")
    Path("folder").mkdir()
    assert main(["train", "tiny.yaml", "--out", "run", "--set", "steps=1"]) == 0
    assert main(["read", "bench.yaml", "--block", "0:1,0:1"]) == 0
    for name, content in WRONG.items():
        if content is None:
            Path(name).mkdir()
        else:
            Path(name).write_bytes(content)
    Path("loop.yaml").symlink_to("loop.yaml")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield place
    os.chdir(before)


def refused(capsys: pytest.CaptureFixture[str], command: str, wrong: str = "") -> None:
    """The one line with which a command is refused names what is wrong."""
    capsys.readouterr()
    arguments = [wrong if word == "@" else word.replace("@", wrong) for word in command.split()]
    code = main(arguments)
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if line.startswith("eapu-hil: error: ")]
    assert code == 2, err
    assert len(lines) == 1, err
    assert err.splitlines()[-1] == lines[0]
    assert len(lines[0]) < 420
    assert "Traceback" not in err
    named = wrong in lines[0] or str(Path(wrong).parent) in lines[0]
    assert named or any(word in lines[0] for word in command.split() if word.startswith("-")), err


@pytest.mark.parametrize("command", WITH_FILE)
def test_a_wrong_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    before = sorted(path.name for path in folder.iterdir())
    for wrong in (*WRONG, *ABSENT):
        refused(capsys, command, wrong)
    assert sorted(path.name for path in folder.iterdir()) == before  # nothing is left behind


@pytest.mark.parametrize("command", WITH_OUT)
def test_an_output_that_cannot_be_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    before = (folder / "tiny.yaml").read_text()
    for wrong in UNWRITABLE:
        refused(capsys, command, wrong)
    assert (folder / "tiny.yaml").read_text() == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("command", "values"), NUMBERS.items())
def test_a_wrong_value_is_named(capsys: pytest.CaptureFixture[str], command: str, values: str) -> None:
    for wrong in values.split():
        refused(capsys, command, wrong)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", UNFINISHED)
def test_an_unfinished_command_says_what_is_missing(capsys: pytest.CaptureFixture[str], command: str) -> None:
    refused(capsys, command)


def test_an_unknown_option_points_to_the_help_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--steps", "3"]) == 2
    assert "--steps 3; see eapu-hil train --help" in capsys.readouterr().err


def test_every_command_is_in_the_table() -> None:
    used = {command.split()[0] for command in (*WITH_FILE, *NUMBERS)}
    assert set(names(GROUP)) - used == NO_WRONG_USE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, r"lab.yaml: backend: missing; it must be given, and so must shape, limits"),
        ({"backend": "twin", "shape": [8, 8], "limits": {}}, r"limits.v_max_v: missing; it must be given, and so must "
         r"limits.v_gate_max_v, limits.i_max_a, limits.width_max_s, limits.pulses_per_cell_max"),
        ({"backend": "smu", "resource": "sim:2400"}, "lab.yaml: shape: missing; it must be given, and so must limits"),
    ],
)  # fmt: skip
def test_all_missing_keys_are_named_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str], content: dict[str, Any], said: str
) -> None:
    (folder / "lab.yaml").write_text(yaml.safe_dump(content))
    assert main(["check", "lab.yaml"]) == 2
    assert said in capsys.readouterr().err
