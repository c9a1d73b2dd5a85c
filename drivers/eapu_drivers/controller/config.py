"""The keys of a controller board in a bench file."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from eapu_drivers.addresses import port_fault
from eapu_hil.bench.config import SIMULATED, TwinBenchConfig, is_simulation

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
        fault = None if is_simulation(port) else port_fault(port)
        if fault is not None:
            raise ValueError(fault)
        return port
