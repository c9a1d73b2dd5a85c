"""What is wrong with the name of a resource, and what to write in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eapu_drivers.visa.wrong_names import problem
from stations import LIMITS

from eapu_hil.base.loading import load_model
from eapu_hil.bench import open_bench
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import ConfigError, TransportError

MAP = {
    "buses": {"source": "A", "ground": "B", "gate": "C"},
    "rows": ["1x01..1x04"],
    "columns": ["1x05..1x07"],
    "gates": ["1x08..1x11"],
}


def bench(resource: str = "TCPIP0::127.0.0.1::1::SOCKET", **instruments: Any) -> dict[str, Any]:
    wiring = {
        "gate": {"channel": "b"},
        "switch": "TCPIP0::127.0.0.1::2::SOCKET",
        "unselected": "grounded",
        "reset": "negative",
        "map": MAP,
        **instruments,
    }
    keys = {"backend": "smu", "resource": resource, "shape": [4, 3], "limits": LIMITS}
    return {**keys, "instruments": wiring}


@pytest.mark.parametrize(
    "name",
    [
        "TCPIP0::10.0.0.5::5025::SOCKET",
        "TCPIP::10.0.0.5::INSTR",
        "GPIB0::24::INSTR",
        "ASRL/dev/ttyUSB0::INSTR",
        "USB0::0x05E6::0x2450::04000001::INSTR",
    ],
)
def test_good_ones(name: str) -> None:
    assert problem(name, "@py") is None


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("10.0.0.5", "write TCPIP0::10.0.0.5::5025::SOCKET (raw socket) or TCPIP0::10.0.0.5::INSTR"),
        ("10.0.0.5:1234", "write TCPIP0::10.0.0.5::1234::SOCKET"),
        ("smu.lab.local", "write TCPIP0::smu.lab.local::5025::SOCKET"),
        ("/dev/ttyUSB0", "write ASRL/dev/ttyUSB0::INSTR"),
        ("TCPIP0:10.0.0.5", "no VISA name"),
        ("GPIB0::24::5::6::7", "no VISA name"),
        ("nonsense ", "no VISA name"),
    ],
)
def test_wrong_ones(name: str, write: str) -> None:
    said = problem(name, "@py")
    assert said is not None
    assert write in said


@pytest.mark.parametrize("name", ["COM3", "com11", "ASRLCOM3::INSTR"])
def test_serial_ports_of_windows(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    said = problem(name, "@py")
    assert said is not None
    assert "a serial port of Windows; on this machine write the port's file" in said
    monkeypatch.setattr("sys.platform", "win32")
    assert problem(name, "@ivi") is None
    if name == "COM3":
        assert "write ASRL3::INSTR" in str(problem(name, "@py"))


@pytest.mark.parametrize("name", ["10.0.0.5", "/dev/ttyUSB0"])
def test_a_vendors_library_has_aliases_but_not_these(name: str) -> None:
    assert problem("my_smu", "@ivi") is None
    assert problem(name, "@ivi") is not None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bench("COM3"), r"resource: .*serial port of Windows"),
        (bench("10.0.0.5"), r"resource: .*write TCPIP0::10\.0\.0\.5"),
        (bench(switch="10.0.0.6"), r"instruments\.switch: .*write TCPIP0::10\.0\.0\.6"),
        (bench(gate={"resource": "10.0.0.7"}), r"instruments\.gate\.resource: .*write TCPIP0::10\.0\.0\.7"),
        (bench(gate={}), r"instruments\.gate: the channel that resource .* take already; write channel:"),
        (bench(gate={"resource": "TCPIP0::127.0.0.1::1::SOCKET"}), r"instruments\.gate: the channel"),
    ],
)
def test_in_a_bench_file(content: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(ConfigError, match=said):
        load_model(BenchConfig, content, (), "benches")


def test_a_library_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(
            TransportError, match=r"^GPIB0::24::INSTR: GPIB needs a library .*write instruments\.visa"
        ),
        open_bench(bench("GPIB0::24::INSTR"), chip_dir=tmp_path / "chip"),
    ):
        pass


@pytest.mark.parametrize(
    ("switch", "buses", "said"),
    [
        ("sim:707b", "ABC", "crosspoint '9A01' .*a Keithley 707B has slots 1 to 6"),
        ("sim:34980a", "123", "crosspoint '9101' .*a Keysight 34980A has slots 1 to 8"),
    ],
)
def test_a_slot_that_is_not_there(tmp_path: Path, switch: str, buses: str, said: str) -> None:
    names = dict(zip(("source", "ground", "gate"), buses, strict=True))
    content = {**bench("sim:2450"), "preset": "ideal"}
    content["instruments"] = {"switch": switch, "map": {**MAP, "buses": names, "rows": ["9x01..9x04"]}}
    with pytest.raises(ConfigError, match=said), open_bench(content, chip_dir=tmp_path / "chip"):
        pass


def test_a_recipe_with_pulses_that_are_too_short(tmp_path: Path) -> None:
    content = {**bench("sim:2450"), "preset": "ideal", "recipe": "rram_180nm"}
    content["instruments"] = {}
    with (
        pytest.raises(ConfigError, match=r"recipe\.set\.width_s: .* write recipe: rram_180nm_ms"),
        open_bench(content, chip_dir=tmp_path / "chip"),
    ):
        pass


@pytest.mark.parametrize(
    ("port", "said"),
    [("COM3", "write the port's file, such as /dev/ttyACM0"), ("10.0.0.5", "write socket://HOST:PORT")],
)
def test_ports_of_a_controller(port: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    content = {"backend": "controller", "port": port, "shape": [4, 3], "limits": LIMITS}
    with pytest.raises(ConfigError, match=said):
        load_model(BenchConfig, content, (), "benches")
