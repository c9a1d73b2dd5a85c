"""What a `Crossbar` may be able to do besides the contract. Whoever uses an ability asks for it with isinstance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class LineFault:
    """A fault that a test of contacts found. where: "row 3", "cell (3, 2)". problem: in words, with figures."""

    where: str
    problem: str


@runtime_checkable
class ContactTest(Protocol):
    """A `Crossbar` that can tell, with voltages that change nothing, which of its lines are open or shorted."""

    def test_contacts(self) -> list[LineFault]:
        """Tests every line; grounds afterwards."""
        ...


@dataclass(frozen=True)
class DeviceProof:
    """One limit that a device itself held. limit: key of the bench file. asked, answer: in words, with figures."""

    limit: str
    asked: str
    answer: str


@runtime_checkable
class ProvesLimits(Protocol):
    """A `Crossbar` that can show, past the host's interlock, that the device itself holds its limits."""

    def prove_limits(self) -> list[DeviceProof]:
        """Asks the device about each limit that it can hold by itself; nothing reaches a cell.

        A controller is sent requests that its firmware has to refuse. Instruments would carry such requests out:
        they are sent none, their compliance and protection are read back. Raises HilError where a limit is not
        held.
        """
        ...
