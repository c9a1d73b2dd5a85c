"""The contract of a switch matrix, and of a family of them.

Any object with these methods serves, whoever wrote it. A lab's own family is a class with the methods of `SwitchMatrix`
and the attributes of `SwitchFamily`, in a package with the entry point

    [project.entry-points."eapu_hil.switches"]
    own = "my_package.my_module:MyMatrix"
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from eapu_drivers.visa.instrument import InstrumentIdentity
from eapu_drivers.visa.transport import Transport


@dataclass(frozen=True)
class Layout:
    """The names of crosspoints in a family: slot, bus, two digits of a column. buses: letters or digits of them."""

    buses: str
    columns_a_slot: int


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


@runtime_checkable
class NamesCrosspoints(Protocol):
    """A `SwitchMatrix` that knows which names its crosspoints can have."""

    def will_use(self, crosspoints: Set[str]) -> None:
        """Those that an array may use: from now on `closed` tells of each, whoever closed it.

        Raises ConfigError for a name that the instrument cannot have, before anything is sent.
        """
        ...


@runtime_checkable
class SwitchFamily(Protocol):
    """The matrices that one driver fits. Most simply it is the driver's class itself.

    family: what messages and lists call it, maker and series (`Keithley 707B`).

    It may have `layout`, a `Layout`: then a simulated bench needs no channel map.
    """

    family: str

    def fits(self, identity: InstrumentIdentity) -> bool:
        """Whether the driver is for the instrument that answers this to *IDN?. It asks the instrument nothing."""
        ...

    def __call__(self, transport: Transport) -> SwitchMatrix:
        """Opens the matrix; every crosspoint is open afterwards."""
        ...
