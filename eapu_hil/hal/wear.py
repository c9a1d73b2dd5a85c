"""Wear is counted before it happens: an optional ability of a device, and the account that it counts in.

Only the device knows how a request is cut into exchanges with the hardware. It tells the account before each of them
how many pulses every cell may get, and corrects that by the answer. So whatever ends the process or the line in
between, no cell has seen more pulses than were counted, and only the exchange under way is counted too high.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from eapu_hil.hal.crossbar import Cells
from eapu_hil.hal.vectors import IntArray


class WearAccount(Protocol):
    """The pulses of each cell of one array. Cells are named once in a call; counts are one a cell, or one for all."""

    def expect(self, cells: Cells, at_most: IntArray | int) -> None:
        """Before an exchange: from now on each of `cells` counts `at_most` pulses more."""
        ...

    def settle(self, cells: Cells, at_most: IntArray | int, pulses: IntArray | int) -> None:
        """The answer to that exchange: of the `at_most` expected pulses each of `cells` got `pulses`."""
        ...


@runtime_checkable
class AccountsForWear(Protocol):
    """A `Crossbar` whose `pulse` and `program` count their pulses in an account, exchange by exchange.

    For a device without this ability the bench counts the most that a whole request may do, before it is sent.
    """

    def account_to(self, account: WearAccount) -> None:
        """From now on pulses are counted in `account`. The bench calls this once, before the first request."""
        ...
