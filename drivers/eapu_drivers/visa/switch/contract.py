"""What the array needs of a switch matrix. Any object with these methods serves, whoever wrote it."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from eapu_drivers.visa.instrument import InstrumentIdentity


class SwitchMatrix(Protocol):
    """Crosspoints that connect buses to lines, by the names that the instrument has for them (`1A01`, `1101`).

    Errors are those of `SourceMeter`.
    """

    @property
    def identity(self) -> InstrumentIdentity: ...

    def connect(self, crosspoints: Set[str]) -> None:
        """Leaves exactly these closed, settled and read back.

        Break before make: what has to open is open before anything closes. Crosspoints that stay closed do not move.
        """
        ...

    def closed(self) -> frozenset[str]:
        """Those that the instrument reports as closed."""
        ...

    def safe_off(self) -> None:
        """Device clear, then everything open; raises HilError that names the steps that failed."""
        ...

    def close(self) -> None:
        """Closes the line to the instrument."""
        ...
