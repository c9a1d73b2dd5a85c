"""Memristor pairs on tensors: a weight is (g_plus - g_minus) * r_wg, and a write moves one cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from eapu_hil.base.old_names import with_new_names
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.torch.cells import MINUS, PLUS, Cells
from eapu_hil.torch.device import PairDevice
from eapu_hil.torch.rule import positions


class PairCells(Protocol):
    """The cells of one tensor of weights, simulated (`Pairs`) or on a bench (`eapu_hil.torch.bench.BenchPairs`).

    name: for messages. r_wg: weight per uS of differential conductance.
    """

    name: str
    r_wg: float

    @property
    def writes(self) -> Tensor:
        """Writes of each cell so far, int32, shape (2, *weights), plus cells first."""
        ...

    def program(self, weights: Tensor, step: int) -> None:
        """Sets the cells to `weights`, uncounted."""
        ...

    def threshold_uS(self, dg_uS: Tensor, fixed_uS: float) -> float | Tensor:
        """EaPU's threshold for the changes `dg_uS`: `fixed_uS`, or what is known better."""
        ...

    def write(self, change_uS: Tensor, sigma_uS: float, step: int, generator: torch.Generator | None) -> int:
        """Writes the changes that are not 0, each as far as the window lets it; returns how many cells were written."""
        ...

    def relax(self, step: int, generator: torch.Generator | None) -> None:
        """Lets the cells wander up to optimizer step `step`; to be called once for each."""
        ...

    def read(self, generator: torch.Generator | None) -> Tensor:
        """The weights, float32."""
        ...

    def state(self) -> dict[str, Tensor]:
        """A copy of what a checkpoint has to keep."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Puts back what `state` returned. Raises HilError if it belongs to another tensor."""
        ...


class Pairs:
    """The cells of one tensor of weights, simulated.

    g_uS: conductances, shape (2, *weights), plus cells first. writes: of each cell, same shape.
    """

    def __init__(
        self,
        device: PairDevice,
        weights: Tensor,
        r_wg: float,
        name: str,
        cells: Cells | None = None,
        first: int = 0,
    ) -> None:
        """Cells that hold `weights` exactly, as `program` leaves them. r_wg: weight per uS.

        cells, first: cells that other pairs use too, and the first weight there; None for cells of their own.
        """
        self.device = device
        self.r_wg = r_wg
        self.name = name
        self._cells = cells or Cells(device, weights.numel(), weights.device)
        self._span = slice(first, first + weights.numel())
        shape = (2, *weights.shape)
        self.g_uS = self._cells.g_uS[:, self._span].view(shape)
        self.writes = self._cells.writes[:, self._span].view(shape)
        self._written_at = self._cells.written_at[:, self._span].view(shape)
        self.program(weights, step=0)

    def program(self, weights: Tensor, step: int) -> None:
        """Sets the cells to `weights`, without noise and uncounted: one holds the weight, the other g_min.

        Raises ConfigError for weights that do not fit into the window.
        """
        wanted_uS = weights.detach().float() / self.r_wg
        largest_uS = float(wanted_uS.abs().max()) if wanted_uS.numel() else 0.0
        if not largest_uS <= self.device.span_uS:
            raise ConfigError(
                f"{self.name}: a weight of {largest_uS * self.r_wg:.4g} needs {largest_uS:.4g} uS at r_wg = "
                f"{self.r_wg:.4g} per uS; the window has {self.device.span_uS:.4g} uS: use a larger r_wg"
            )
        self.g_uS[PLUS] = self.device.g_min_uS + wanted_uS.clamp(min=0.0)
        self.g_uS[MINUS] = self.device.g_min_uS - wanted_uS.clamp(max=0.0)
        self._written_at.fill_(step)

    def threshold_uS(self, dg_uS: Tensor, fixed_uS: float) -> float:
        """The same for all cells."""
        return fixed_uS

    def write(self, change_uS: Tensor, sigma_uS: float, step: int, generator: torch.Generator | None) -> int:
        """Writes the changes (uS, shape of the weights) that are not 0, as `Cells.write` does.

        Returns how many cells were written.
        """
        flat_uS = change_uS.reshape(-1).to(self.g_uS.dtype)
        index = positions(flat_uS.bool())
        first = self._span.start
        return self._cells.write(
            first + index, flat_uS.index_select(0, index), sigma_uS, step, generator
        ).numel()

    def relax(self, step: int, generator: torch.Generator | None) -> None:
        """Lets the cells wander up to optimizer step `step`; to be called once for each."""
        self._cells.relax(self._span, step, generator)

    def read(self, generator: torch.Generator | None) -> Tensor:
        """The weights as a product sees them, float32: a new draw of the read noise at each call."""
        return self._cells.read_uS(self._span, generator).mul_(self.r_wg).view(self.g_uS.shape[1:])

    def state(self) -> dict[str, Tensor]:
        """A copy of what a checkpoint has to keep."""
        return {
            "g_uS": self.g_uS.clone(),
            "writes": self.writes.clone(),
            "written_at": self._written_at.clone(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Puts back what `state` returned. Raises HilError if it belongs to another tensor."""
        own = {"g_uS": self.g_uS, "writes": self.writes, "written_at": self._written_at}
        state = with_new_names(state)
        held = {key: tuple(value.shape) for key, value in state.items()}
        expected = {key: tuple(value.shape) for key, value in own.items()}
        if held != expected:
            raise HilError(f"{self.name}: the checkpoint holds {held}; expected {expected}")
        for key, value in own.items():
            value.copy_(state[key])
