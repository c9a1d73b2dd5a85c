"""The keys of a controller board in a bench file."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field, field_validator

from eapu_drivers.addresses import com_fault, port_fault
from eapu_hil.bench.config import SIMULATED, TwinBenchConfig, is_simulation

_ADDRESS = re.compile(
    r"\d{1,3}(\.\d{1,3}){3}(:\d+)?|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:\d+)?|[A-Za-z][\w-]*:\d+"
)
SIMULATIONS = ("posix", "qemu")  # ports of the firmware that run without a board


class ControllerConfig(TwinBenchConfig):
    """A bench file with `backend: controller`.

    port: where the board answers: a serial port, `socket://HOST:PORT`, `rfc2217://HOST:PORT`, `sim:posix` or
        `sim:qemu` (its firmware, with the twin in place of the arrays).
    """

    address_key: ClassVar[str | None] = "port"

    port: str = Field(min_length=1)

    @field_validator("port")
    @classmethod
    def _known_simulation(cls, port: str) -> str:
        allowed = [f"{SIMULATED}{name}" for name in SIMULATIONS]
        if is_simulation(port) and port not in allowed:
            raise ValueError(f"no such simulation; allowed are {', '.join(allowed)}, or a real port")
        if _ADDRESS.fullmatch(port):
            raise ValueError(
                f"{port!r} is no port; for a board on the network write socket://HOST:PORT, such as "
                f"socket://{port.partition(':')[0]}:5000"
            )
        fault = None if is_simulation(port) else com_fault(port, "/dev/ttyACM0") or port_fault(port)
        if fault is not None:
            raise ValueError(fault)
        return port
