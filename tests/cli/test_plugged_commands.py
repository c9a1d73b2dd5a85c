"""Commands of other packages: in the help without an import, run like ours, and harmless when they are broken."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from eapu_hil.cli.parser import GROUP, main

InstallPackage = Callable[..., Path]

GREETING = '''
"""Commands of a lab."""

import logging


def greet(parser):
    """Greet a bench in 100 % of cases.

    Nothing else happens.
    """
    parser.add_argument("bench")
    parser.set_defaults(command=_greet)


def _greet(args, terminal):
    logging.getLogger(__name__).debug("details")
    logging.getLogger("lab.bus").debug("a message")
    terminal.say(f"hello, {args.bench}")
    return {"greeted": args.bench}
'''


@pytest.fixture
def lab(install_package: InstallPackage) -> None:
    files = {"lab/__init__.py": "", "lab/commands.py": GREETING, "lab/broken.py": "import no_such_thing\n"}
    offered = {"greet": "lab.commands:greet", "broken": "lab.broken:run", "absent": "lab.commands:absent"}
    install_package("lab", files, {GROUP: offered})


@pytest.fixture(autouse=True)
def _forget_lab() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "lab"]:
        del sys.modules[name]


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.usefixtures("lab")
def test_help_lists_them_without_importing_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    text = words(capsys.readouterr().out)
    assert "greet Greet a bench in 100 % of cases " in text
    assert "broken (from lab)" in text
    assert "check Prove the limits of a bench" in text
    assert "calibrate Measure an array; overwrites cells" in text
    assert "lab" not in sys.modules


@pytest.mark.usefixtures("lab")
def test_they_run_like_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["greet", "twin"]) == 0
    assert capsys.readouterr().out == "hello, twin\n"
    assert main(["greet", "twin", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"greeted": "twin"}
    with pytest.raises(SystemExit):
        main(["greet", "--help"])
    assert "Nothing else happens." in capsys.readouterr().out
    assert main(["greet"]) == 2
    assert "required: bench; see eapu-hil greet --help" in capsys.readouterr().err


@pytest.mark.usefixtures("lab")
def test_a_broken_one_is_an_error_for_who_uses_it_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broken"]) == 2
    assert "the command 'broken' of lab cannot be loaded: ModuleNotFoundError" in capsys.readouterr().err
    assert main(["absent"]) == 2
    assert "the command 'absent' of lab cannot be loaded: AttributeError" in capsys.readouterr().err
    assert main(["list", "commands", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["commands"]}
    assert "no_such_thing" in found["broken"]["fault"]
    assert found["broken"]["package"] == "lab"
    assert (found["greet"]["about"], found["greet"]["fault"]) == ("Greet a bench in 100 % of cases", "")
    assert main(["completion", "bash"]) == 0
    out, err = capsys.readouterr()
    assert "greet" in out
    assert "eapu-hil: the command 'broken' of lab cannot be loaded" in err


@pytest.mark.usefixtures("lab")
def test_two_packages_with_one_command_are_named(
    install_package: InstallPackage, capsys: pytest.CaptureFixture[str]
) -> None:
    install_package(
        "other", {"other.py": GREETING}, {GROUP: {"greet": "other:greet", "check": "other:greet"}}
    )
    assert main(["greet", "twin"]) == 2
    assert "two packages offer a command 'greet': lab and other" in words(capsys.readouterr().err)
    with pytest.raises(SystemExit):
        main(["--help"])
    text = words(capsys.readouterr().out)
    assert "greet (cannot be used: lab and other both offer it)" in text
    assert "check (cannot be used: eapu-hil and other both offer it)" in text
    assert "train Train a network" in text


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([], []),
        (["-v"], ["eapu-hil: lab.commands: details"]),
        (["-vv"], ["eapu-hil: lab.commands: details", "eapu-hil: lab.bus: a message"]),
    ],
)
def test_v_shows_details_and_vv_the_bus(
    capsys: pytest.CaptureFixture[str], given: list[str], shown: list[str]
) -> None:
    for place in ([*given, "greet", "x"], ["greet", "x", *given]):
        logging.getLogger("lab").setLevel(logging.NOTSET)
        assert main(place) == 0
        assert capsys.readouterr().err.splitlines() == shown


def test_python_m_runs_it_and_the_version_is_that_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "eapu_hil.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == version("eapu-hil")


def test_help_of_everything_reads_no_training_package() -> None:
    code = (
        "import sys; sys.argv = ['eapu-hil', '--help']\n"
        "from eapu_hil.cli.parser import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'scipy', 'matplotlib', 'skimage', 'sklearn', 'torch', 'pyvisa', 'eapu_drivers', 'eapu_calibration'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("text", ["run = 3", "def run(): pass", "class run: pass"])
def test_what_is_no_command_is_said_and_harms_nothing_else(
    install_package: InstallPackage, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    install_package("lab", {"lab/__init__.py": text + "\n"}, {GROUP: {"odd": "lab:run"}})
    assert main(["odd"]) == 2
    assert "'odd' is no command: expected a function" in capsys.readouterr().err
    assert main(["completion", "bash"]) == 0
    assert main(["list", "commands"]) == 0
    assert "'odd' is no command" in capsys.readouterr().out.replace("\n", " ")
