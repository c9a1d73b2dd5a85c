"""Addresses in files lead to devices: no URL that opens a file, no library that nobody allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eapu_drivers.addresses import port_fault, resource_fault
from eapu_drivers.controller.config import ControllerConfig
from eapu_drivers.controller.ports import SerialPort
from eapu_drivers.visa.config import SmuConfig
from eapu_drivers.visa.transport import VisaTransport

from eapu_hil.base.libraries import allow_libraries, allowed_libraries, require_library
from eapu_hil.base.loading import load_model
from eapu_hil.cli.parser import main
from eapu_hil.hal import ConfigError

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 1e-3,
    "pulses_per_cell_max": 100,
}
BOARD: dict[str, Any] = {"backend": "controller", "shape": [8, 4], "limits": LIMITS, "port": "/dev/ttyACM0"}
SMU: dict[str, Any] = {
    "backend": "smu",
    "shape": [1, 1],
    "limits": LIMITS,
    "resource": "TCPIP0::127.0.0.1::1::SOCKET",
    "instruments": {
        "gate": {"channel": "smub"},
        "switch": "TCPIP0::127.0.0.1::2::SOCKET",
        "map": {
            "buses": {"source": "A", "ground": "B", "gate": "C"},
            "rows": ["1x01"],
            "columns": ["1x02"],
            "gates": ["1x03"],
        },
        "unselected": "floating",
        "reset": "negative",
    },
}
HOSTILE_PORTS = [
    "spy:///dev/ttyACM0?file={file}",
    "SPY:///dev/ttyACM0?file={file}",
    "spy://loop://?file={file}",
    "alt:///dev/ttyACM0?class=Serial",
    "hwgrep://.*",
    "cp2110://",
    "loop://",
    "file:///etc/passwd",
    "socket+spy://localhost:1",
    "{file}",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "valued.txt"
    path.write_text("valued")
    return path


@pytest.mark.parametrize("port", HOSTILE_PORTS)
def test_ports_that_are_none_are_refused_and_open_nothing(port: str, file: Path) -> None:
    port = port.format(file=file)
    with pytest.raises(ConfigError, match="port"):
        load_model(ControllerConfig, {**BOARD, "port": port}, (), "benches")
    with pytest.raises(ConfigError, match="port"):
        load_model(ControllerConfig, BOARD, [f"port={port!r}"], "benches")
    with pytest.raises(ConfigError):
        SerialPort(port)
    assert file.read_text() == "valued"


@pytest.mark.parametrize("name", ["ASRL{}::INSTR", "asrl{}::INSTR", "ASRL{}", "PRLGX-ASRL::{}::INTFC"])
@pytest.mark.parametrize("port", HOSTILE_PORTS)
def test_visa_names_are_no_way_around(name: str, port: str, file: Path) -> None:
    resource = name.format(port.format(file=file))
    with pytest.raises(ConfigError):
        VisaTransport(resource)
    for changed in ({"resource": resource}, {"instruments": {**SMU["instruments"], "switch": resource}}):
        with pytest.raises(ConfigError):
            load_model(SmuConfig, {**SMU, **changed}, (), "benches")
    assert file.read_text() == "valued"


@pytest.mark.parametrize(
    "port",
    ["/dev/ttyACM0", "COM3", r"\\.\COM12", "socket://10.0.0.1:7", "rfc2217://h:7", "/dev/null", "ttyUSB0"],
)
def test_ports(port: str) -> None:
    assert port_fault(port) is None


@pytest.mark.parametrize(
    "resource",
    [
        "TCPIP0::10.0.0.5::5025::SOCKET",
        "TCPIP::[fe80::1%25eth0]::5025::SOCKET",
        "TCPIP::meter.lab::hislip0::INSTR",
        "GPIB0::24::INSTR",
        "USB0::0x05E6::0x2450::04423::INSTR",
        "ASRL3::INSTR",
        "ASRL/dev/ttyUSB0::INSTR",
        "ASRLCOM4::INSTR",
        "my_meter",
    ],
)
def test_visa_names(resource: str) -> None:
    assert resource_fault(resource) is None


@pytest.mark.parametrize("library", ["x.so", "/tmp/x.so", "@evil", "y.yaml@sim", "", "x.so@ivi", "@PY "])
def test_a_file_does_not_load_a_library_by_itself(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyvisa_evil.py").write_text("open('loaded', 'w').close()\n")
    bench = {**SMU, "instruments": {**SMU["instruments"], "visa": library}}
    with pytest.raises(ConfigError, match=r"instruments\.visa: .*--allow-library"):
        load_model(SmuConfig, bench, (), "benches")
    with pytest.raises(ConfigError, match=r"instruments\.visa: .*--allow-library"):
        load_model(SmuConfig, SMU, [f"instruments.visa={library!r}"], "benches")
    assert not (tmp_path / "loaded").exists()


def test_the_command_line_allows_one_by_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = tmp_path / "x.so"
    library.write_text("no library")
    bench = tmp_path / "bench.yaml"
    bench.write_text(
        str(
            {
                **SMU,
                "chip": str(tmp_path / "chip"),
                "instruments": {**SMU["instruments"], "visa": str(library)},
            }
        )
    )
    assert main(["check", str(bench)]) == 2
    assert f"bench.yaml: instruments.visa: '{library}' loads code" in capsys.readouterr().err
    assert main(["check", str(bench), "--allow-library", str(library)]) != 0  # it was tried
    assert "loads code" not in capsys.readouterr().err


def test_allowed_libraries_are_those_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.so").touch()
    with allow_libraries(["./x.so"]):
        assert require_library("x.so", ()) == str(tmp_path / "x.so")
        assert allowed_libraries() == ("./x.so",)
        with pytest.raises(ConfigError):
            require_library("y.so", ())
    with pytest.raises(ConfigError):
        require_library("x.so", ("@py",))
