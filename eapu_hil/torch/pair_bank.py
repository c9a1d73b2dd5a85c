"""The simulated pairs of many parameters as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eapu_hil.torch.cells import MINUS, PLUS, Cells
from eapu_hil.torch.device import PairDevice
from eapu_hil.torch.pairs import Pairs
from eapu_hil.torch.rule import eapu_writes, largest_of, rows_for
from eapu_hil.training.errors import DivergedError


class PairBank:
    """The simulated pairs of parameters of one device of torch and one scale: a step is a few passes over all of them.

    pairs: of each parameter, in the same order; they are views of the memory of the bank.
    """

    def __init__(
        self, device: PairDevice, parameters: Sequence[Tensor], names: Sequence[str], r_wg: float
    ) -> None:
        """Cells that hold the parameters exactly. r_wg: weight per uS."""
        self.parameters = list(parameters)
        self._r_wg = r_wg
        where = self.parameters[0].device
        sizes = [parameter.numel() for parameter in self.parameters]
        ends = torch.tensor(sizes).cumsum(0)
        n, firsts = int(ends[-1]), [0, *ends[:-1].tolist()]
        self._ends = ends.to(where)
        self._every = slice(0, n)
        self._cells = Cells(device, n, where)
        self.pairs = [
            Pairs(device, parameter, r_wg, name, self._cells, first)
            for parameter, name, first in zip(self.parameters, names, firsts, strict=True)
        ]
        # What the parameters held before a step, then minus their wanted changes.
        self._before = torch.zeros(rows_for(max(1, n)), device=where, dtype=torch.float32)
        self._before_each = self._views(self._before.view(-1)[:n])
        # What the cells hold, as weights, while nobody else has changed their conductances since.
        self._weights = torch.empty(n, device=where, dtype=torch.float32)
        self._weights_each = self._views(self._weights)
        self._version = -1

    def _views(self, flat: Tensor) -> list[Tensor]:
        sizes = [parameter.numel() for parameter in self.parameters]
        parts = flat.split(sizes)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return [part.view(parameter.shape) for part, parameter in zip(parts, self.parameters, strict=True)]

    def remember(self) -> None:
        """Notes the parameters as they are before a step."""
        torch._foreach_copy_(self._before_each, self.parameters)

    def write(
        self, threshold_uS: float, sigma_uS: float, step: int, generator: torch.Generator | None
    ) -> list[int]:
        """Writes what the EaPU rule makes of the changes since `remember`; returns how many writes each tensor got.

        Raises DivergedError, before anything is written, if a change is not finite.
        """
        torch._foreach_sub_(self._before_each, self.parameters)
        largest = largest_of(self._before)
        if not bool(torch.isfinite(largest / self._r_wg).all()):
            raise DivergedError(f"{self._diverged()}: a wanted change is not finite")
        index, minus = eapu_writes(self._before, largest, threshold_uS * self._r_wg, generator)
        known = self._cells.g_uS._version == self._version
        written = self._cells.write(index, minus.div_(-self._r_wg), sigma_uS, step, generator)
        if known:
            g_uS = self._cells.g_uS
            after_uS = g_uS[PLUS].index_select(0, written) - g_uS[MINUS].index_select(0, written)
            self._weights.index_copy_(0, written, after_uS.mul_(self._r_wg))
            self._version = g_uS._version
        ends = torch.searchsorted(written, self._ends)
        counts: list[int] = torch.diff(ends, prepend=ends.new_zeros(1)).tolist()
        return counts

    def _diverged(self) -> str:
        finite = (bool(torch.isfinite(each / self._r_wg).all()) for each in self._before_each)
        return next(pairs.name for pairs, fine in zip(self.pairs, finite, strict=True) if not fine)

    def relax(self, step: int, generator: torch.Generator | None) -> None:
        """See `PairCells.relax`."""
        self._cells.relax(self._every, step, generator)

    def read(self, generator: torch.Generator | None) -> None:
        """Sets the parameters to what a product sees now, with a new draw of the read noise if any."""
        torch.mul(self._cells.read_uS(self._every, generator), self._r_wg, out=self._weights)
        self._version = -1 if self._cells.device.read_noise_uS > 0 else self._cells.g_uS._version
        torch._foreach_copy_(self.parameters, self._weights_each)

    def show(self, generator: torch.Generator | None) -> None:
        """As `read`, in one pass where only `write` has moved the cells since then."""
        if self._version == self._cells.g_uS._version:
            torch._foreach_copy_(self.parameters, self._weights_each)
        else:
            self.read(generator)
