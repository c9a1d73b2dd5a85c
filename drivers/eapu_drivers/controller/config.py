"""The keys of a controller board in a bench file."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from eapu_hil.bench.config import TwinBenchConfig, is_simulation

SIMULATIONS = ("sim:posix", "sim:qemu")


class ControllerConfig(TwinBenchConfig):
    """A bench file with `backend: controller`.

    port: where the board answers: a serial port, any pyserial URL, `sim:posix` or `sim:qemu` (its firmware, with the
        twin in place of the arrays).
    """

    address_key: ClassVar[str | None] = "port"

    port: str = Field(min_length=1)

    @field_validator("port")
    @classmethod
    def _known_simulation(cls, port: str) -> str:
        if is_simulation(port) and port not in SIMULATIONS:
            raise ValueError(f"no such simulation; allowed are {', '.join(SIMULATIONS)}, or a real port")
        return port
