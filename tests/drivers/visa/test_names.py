"""One instrument has one owner, whichever of its names a program uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from eapu_drivers.visa.names import device_of
from eapu_drivers.visa.transport import VisaTransport
from stations import SmallStation

from eapu_hil.base.locks import InUseError


@pytest.mark.parametrize(
    "names",
    [
        (
            "TCPIP0::127.0.0.1::5025::SOCKET",
            "tcpip::localhost::5025::socket",
            "TCPIP1::127.0.0.1::5025::SOCKET",
        ),
        ("TCPIP0::10.0.0.5::inst0::INSTR", "TCPIP::10.0.0.5", "TCPIP::10.0.0.5::hislip0::INSTR"),
        ("GPIB0::24::INSTR", "gpib::24", "GPIB::24::INSTR"),
        ("USB0::0x05E6::0x2450::04340543::INSTR", "usb::1510::9296::04340543::0::INSTR"),
        ("ASRL3::INSTR", "asrl3"),
        ("SMU1", "smu1"),
    ],
)
def test_names_of_one_instrument(names: tuple[str, ...]) -> None:
    assert len({device_of(name, "@py") for name in names}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TCPIP0::10.0.0.5::5025::SOCKET", "TCPIP0::10.0.0.5::5026::SOCKET"),
        ("TCPIP0::10.0.0.5::gpib0,24::INSTR", "TCPIP0::10.0.0.5::gpib0,25::INSTR"),
        ("GPIB0::24::INSTR", "GPIB1::24::INSTR"),
        ("ASRL/dev/ttyS0::INSTR", "ASRL/dev/ttyS1::INSTR"),
    ],
)
def test_names_of_two(one: str, other: str) -> None:
    assert device_of(one, "@py") != device_of(other, "@py")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_serial_port_has_one_name(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to("/dev/null")
    assert device_of(f"ASRL{tmp_path / 'by-id'}::INSTR", "@py") == device_of("ASRL/dev/null::INSTR", "@py")


def test_an_instrument_in_use_is_refused_with_the_process_that_has_it(tmp_path: Path) -> None:
    class Silent:
        def handle(self, _: str) -> bytes:
            return b""

    script = (
        "import sys; from eapu_drivers.visa.transport import VisaTransport\n"
        "with VisaTransport(sys.argv[1]): print('open', flush=True); input()"
    )
    with SmallStation(tmp_path).serving(Silent()) as server:
        _, _, port, _ = server.resource.split("::")
        command = [sys.executable, "-P", "-c", script, f"TCPIP::localhost::{port}::SOCKET"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            with pytest.raises(InUseError) as refused, VisaTransport(server.resource):
                pass
            other.kill()
        assert str(refused.value) == (
            f"{server.resource}: cannot be opened: in use by process {other.pid}; allowed is one at a time: "
            "end that process first"
        )
        with VisaTransport(server.resource, within_s=60.0), pytest.raises(InUseError, match="this program"):
            VisaTransport(server.resource)
