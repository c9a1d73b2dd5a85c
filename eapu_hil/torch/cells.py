"""Simulated cells of many pairs in one piece of memory, so that a step is a few passes over all of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eapu_hil.torch.device import PairDevice
from eapu_hil.torch.rule import positions

PLUS, MINUS = 0, 1
# A write that can make less than this share of a change would only wear and disturb the cell.
WORTH_WRITING = 0.1


class Cells:
    """Two cells for each of `n` weights.

    g_uS: conductances. writes: of each cell. written_at: step of the last one. All of shape (2, n), plus cells first.
    """

    def __init__(self, device: PairDevice, n: int, where: torch.device) -> None:
        self.device = device
        self.g_uS = torch.full((2, n), device.g_min_uS, device=where, dtype=torch.float32)
        self.writes = torch.zeros((2, n), device=where, dtype=torch.int32)
        self.written_at = torch.zeros((2, n), device=where, dtype=torch.int32)

    def write(
        self, index: Tensor, change_uS: Tensor, sigma_uS: float, step: int, generator: torch.Generator | None
    ) -> Tensor:
        """Writes the changes (uS, none of them 0) of the weights `index` (no two alike) as far as the window lets them.

        A change goes to the cell that lowers the pair's common conductance if it has room, else to the other; one
        for which there is no room at all is left out. sigma_uS: standard deviation of what the write leaves.
        Returns those of `index` that were written, in the same order.
        """
        n, g_uS = self.g_uS.shape[1], self.g_uS.view(-1)
        low_uS, high_uS, size_uS = self.device.g_min_uS, self.device.g_max_uS, change_uS.abs()
        # Lowering this cell moves the weight the wanted way: MINUS to raise it.
        falling = index + (change_uS > 0) * n
        rising = 2 * index + n - falling
        falling_uS, rising_uS = g_uS.index_select(0, falling), g_uS.index_select(0, rising)
        room_down_uS, room_up_uS = falling_uS - low_uS, high_uS - rising_uS
        down = (room_down_uS >= size_uS) | (room_down_uS >= room_up_uS)
        room_uS = torch.where(down, room_down_uS, room_up_uS)
        move_uS = torch.minimum(size_uS, room_uS)
        after_uS = torch.where(down, falling_uS - move_uS, rising_uS + move_uS)
        cell = torch.where(down, falling, rising)
        possible = positions(room_uS >= WORTH_WRITING * size_uS)
        if possible.numel() < index.numel():
            index, cell, after_uS = (part.index_select(0, possible) for part in (index, cell, after_uS))
        noise = torch.randn(after_uS.shape, device=after_uS.device, dtype=after_uS.dtype, generator=generator)
        g_uS.index_copy_(0, cell, after_uS.add_(noise, alpha=sigma_uS).clamp_(low_uS, high_uS))
        one = torch.ones((), dtype=torch.int32, device=cell.device)
        self.writes.view(-1).index_add_(0, cell, one.expand(cell.shape))
        self.written_at.view(-1).index_fill_(0, cell, step)
        return index

    def relax(self, weights: slice, step: int, generator: torch.Generator | None) -> None:
        """Lets the cells of `weights` wander up to optimizer step `step`; to be called once for each."""
        law = self.device.relaxation
        if law is None:
            return
        g_uS = self.g_uS[:, weights]
        age = step - self.written_at[:, weights]
        due = torch.nonzero((age > 0) & ((age & (age - 1)) == 0), as_tuple=True)
        now = age[due].float()
        before_uS2 = torch.where(now > 1, law.variance_uS2((now / 2).clamp(min=1.0)), 0.0)
        noise = torch.randn(now.shape, device=now.device, generator=generator)
        moved_uS = g_uS[due] + (law.variance_uS2(now) - before_uS2).sqrt() * noise
        g_uS[due] = moved_uS.clamp(self.device.g_min_uS, self.device.g_max_uS)

    def read_uS(self, weights: slice, generator: torch.Generator | None) -> Tensor:
        """Differences of pairs, with a new draw of the read noise of both cells if there is any."""
        difference_uS = self.g_uS[PLUS, weights] - self.g_uS[MINUS, weights]
        if self.device.read_noise_uS > 0:
            noise = torch.randn(difference_uS.shape, device=difference_uS.device, generator=generator)
            difference_uS.add_(noise, alpha=math.sqrt(2) * self.device.read_noise_uS)
        return difference_uS
