"""`eapu-hil sim` and `eapu-hil discover`, as a person or a script meets them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from eapu_drivers.controller.discover import FoundController
from eapu_drivers.simulated.board.linerecord import LineRecord
from eapu_drivers.visa.discover import FoundInstrument
from pytest_mock import MockerFixture

from eapu_hil.cli.parser import main

BENCH = {
    "backend": "twin",
    "preset": "ideal",
    "arrays": 2,
    "shape": [8, 4],
    "chip": "chip",
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 100,
    },
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(BENCH))
    lab = {key: value for key, value in BENCH.items() if key != "preset"}
    (tmp_path / "lab.yaml").write_text(
        yaml.safe_dump({**lab, "backend": "controller", "port": "/dev/ttyACM0"})
    )
    return tmp_path


@contextmanager
def simulated(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `eapu-hil sim controller`, and the first line that it said."""
    missing = [tool for tool in ("make", "gcc") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: apt-get install make gcc")
    command = [sys.executable, "-P", "-m", "eapu_hil.cli", "sim", "controller", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_simulated_controller_is_found_and_ends(
    files: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    with simulated("--listen", "127.0.0.1:0", "--bench", "bench.yaml") as (process, said):
        found = re.fullmatch(
            r"a controller with 2 x 8 x 4 cells answers on (socket://127\.0\.0\.1:\d+)\n", said
        )
        assert found, (said, process.stderr and process.stderr.read())
        assert main(["discover", "--json", found[1], "socket://127.0.0.1:1"]) == 0
        one, none = json.loads(capsys.readouterr().out)["ports"]
        assert (one["port"], one["problem"], one["arrays"], one["rows"], one["columns"]) == (
            found[1],
            "",
            2,
            8,
            4,
        )
        assert "refused" in none["problem"]
        assert main(["discover", found[1]]) == 0
        assert re.search(rf"{found[1]} .*2 x 8 x 4", capsys.readouterr().out)
        process.send_signal(number)
        process.wait(20)
        assert process.returncode == code
    assert LineRecord.read(files / "chip").grounded


@pytest.mark.usefixtures("files")
def test_with_json_the_address_comes_first() -> None:
    with simulated("--listen", "pty", "--json", "--bench", "bench.yaml") as (process, said):
        started = json.loads(said)
        assert Path(started["port"]).exists()
        pids = started["firmware_pid"], started["rig_pid"]
        for pid in pids:
            os.kill(pid, 0)
        process.kill()
        process.wait()
    end_s = time.monotonic() + 20
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < end_s, "the board outlives the simulation"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Whether a process is alive; one that waits to be reaped is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sim",), r"required: DEVICE; see eapu-hil sim --help"),
        (("sim", "toaster"), r"invalid choice: 'toaster'"),
        (("sim", "controller"), r"required: --listen"),
        (("sim", "controller", "--listen", "5000"), r"--listen 5000: expected HOST:PORT or pty"),
        (
            ("sim", "controller", "--listen", "pty", "--bench", "lab.yaml"),
            r"--bench lab\.yaml: its arrays are not simulated; give a bench of the twin",
        ),
        (("sim", "controller", "--listen", "pty", "--bench", "none.yaml"), r"none\.yaml: cannot be read"),
    ],
)
@pytest.mark.usefixtures("files")
def test_bad_usage_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert re.search(said, error)
    assert error.count("\n") == 1


def test_discover_shows_what_every_port_said(
    capsys: pytest.CaptureFixture[str], mocker: MockerFixture
) -> None:
    board = FoundController("/dev/ttyACM0", "", "stm32f405", "board-7", "0123456789ab", 4, 128, 64, "READY")
    find = mocker.patch(
        "eapu_drivers.controller.discover.find_controllers",
        return_value=[board, FoundController("/dev/ttyS0", "no answer")],
    )
    mocker.patch("eapu_drivers.visa.discover.find_instruments", return_value=[])
    assert main(["discover"]) == 0
    find.assert_called_once_with(None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [
        "/dev/ttyACM0",
        "stm32f405",
        "board-7",
        "0123456789ab",
        "4",
        "x",
        "128",
        "x",
        "64",
        "READY",
    ]
    assert " ".join(lines[2].split()) == "/dev/ttyS0 no answer"
    find.return_value = []
    assert main(["discover"]) == 0
    assert capsys.readouterr().out == (
        "this machine has no serial port\n"
        "the VISA library @py lists no instrument; ask for one by its name (TCPIP0::HOST::5025::SOCKET)\n"
    )


def test_discover_shows_which_driver_fits(capsys: pytest.CaptureFixture[str], mocker: MockerFixture) -> None:
    mocker.patch("eapu_drivers.controller.discover.find_controllers", return_value=[])
    meter = FoundInstrument("GPIB0::24::INSTR", "", "KEITHLEY", "2400", "12", "C34", "2400")
    scope = FoundInstrument("GPIB0::7::INSTR", "", "TEKTRONIX", "TDS 210", "0", "v2", None)
    silent = FoundInstrument("USB0::1::2::3::INSTR", "no answer to '*IDN?' within 1 s")
    find = mocker.patch("eapu_drivers.visa.discover.find_instruments", return_value=[meter, scope, silent])
    assert main(["discover", "--visa", "@ivi"]) == 0
    find.assert_called_once_with(None, "@ivi")
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "GPIB0::24::INSTR KEITHLEY 2400 12 C34 2400" in said
    assert "GPIB0::7::INSTR TEKTRONIX TDS 210 0 v2 there is no driver for it" in said
    assert "USB0::1::2::3::INSTR no answer to '*IDN?' within 1 s" in said
    assert main(["discover", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ports"] == []
    assert [one["driver"] for one in found["instruments"]] == ["2400", None, None]


def test_discover_asks_only_what_it_is_told_to(mocker: MockerFixture) -> None:
    ports = mocker.patch("eapu_drivers.controller.discover.find_controllers", return_value=[])
    instruments = mocker.patch("eapu_drivers.visa.discover.find_instruments", return_value=[])
    assert main(["discover", "TCPIP0::10.0.0.5::5025::SOCKET"]) == 0
    ports.assert_not_called()
    instruments.assert_called_once_with(["TCPIP0::10.0.0.5::5025::SOCKET"], "@py")
    assert main(["discover", "/dev/ttyACM0"]) == 0
    ports.assert_called_once_with(["/dev/ttyACM0"])
    assert instruments.call_count == 1


@pytest.mark.parametrize("device", ["controller", "2400", "2600b"])
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.0.1", "lab", ""])
def test_a_simulation_is_not_opened_to_the_network_by_itself(
    device: str, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", device, "--listen", f"{host}:0"]) == 2
    said = capsys.readouterr().err
    assert ("anyone on the network could control it" in said and "--open-to-network" in said) or host == ""


@pytest.mark.usefixtures("files")
def test_opened_to_the_network_it_warns() -> None:
    with simulated("--listen", "0.0.0.0:0", "--open-to-network", "--bench", "bench.yaml") as (process, said):
        assert "answers on socket://0.0.0.0:" in said
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "--listen 0.0.0.0:0: anyone on the network can control it" in process.stderr.read()
