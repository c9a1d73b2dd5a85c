"""Simulated memristor pairs on tensors: a weight is (g_plus - g_minus) * r_wg, and a write moves one cell.

Much simpler than the twin, so that models of millions of weights train on it: a write ends at its target with Gaussian
noise. Pulses, wires, converters, stuck cells and spread between cells are the twin's (`eapu_hil.twin`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from eapu_hil.base.old_names import with_new_names
from eapu_hil.hal import ConfigError, HilError

PLUS, MINUS = 0, 1
# A write that can make less than this share of a change would only wear and disturb the cell.
WORTH_WRITING = 0.1


@dataclass(frozen=True)
class Relaxation:
    """How far a cell wanders after a write: Var(t) = variance_1s + variance_per_decade * log10(t / 1 s), uS^2.

    A Gaussian walk in log time, looked at when a cell's age is 1, 2, 4, 8, ... optimizer steps; before the line is
    above 0 nothing moves. The default line is the fit to measured cells of 0 to 40 uS
    (github akashlevy/RRAM-Relaxation-Master-Model, MIT); its tails, its mean and its dependence on the state are left
    out. The line counts from the first read after the write: a `sigma_uS` measured about 1 s after writing (2 uS)
    already contains what `variance_1s_uS2` says.
    """

    variance_1s_uS2: float = 4.28
    variance_per_decade_uS2: float = 1.78
    seconds_per_step: float = 1.0

    def __post_init__(self) -> None:
        if not (
            self.variance_1s_uS2 >= 0 and self.variance_per_decade_uS2 >= 0 and self.seconds_per_step > 0
        ):
            raise ConfigError(f"relaxation: {self}: variances are at least 0, seconds_per_step above 0")

    def variance_uS2(self, age_steps: Tensor) -> Tensor:
        """Variance since the write of cells that were written `age_steps` (at least 1) steps ago, uS^2."""
        decades = torch.log10(age_steps * self.seconds_per_step)
        return (self.variance_1s_uS2 + self.variance_per_decade_uS2 * decades).clamp(min=0.0)


@dataclass(frozen=True)
class PairDevice:
    """The cells of all pairs.

    g_min_uS, g_max_uS: window of a cell; nothing is written or wanders beyond it. `math.inf` for no upper end.
    read_noise_uS: standard deviation of one cell's reading; a weight in a product has that of two cells.
    relaxation: None for cells that keep what is written.
    """

    g_min_uS: float = 2.0
    g_max_uS: float = 100.0
    read_noise_uS: float = 0.0
    relaxation: Relaxation | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.g_min_uS < self.g_max_uS or math.isinf(self.g_min_uS):
            raise ConfigError(
                f"device: a window of {self.g_min_uS} to {self.g_max_uS} uS; expected 0 <= g_min_uS < g_max_uS"
            )
        if not 0 <= self.read_noise_uS < math.inf:
            raise ConfigError(f"device: read_noise_uS is {self.read_noise_uS}; expected at least 0")

    @property
    def span_uS(self) -> float:
        """Largest difference of two cells of a pair, uS."""
        return self.g_max_uS - self.g_min_uS


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

    def __init__(self, device: PairDevice, weights: Tensor, r_wg: float, name: str) -> None:
        """Cells that hold `weights` exactly, as `program` leaves them. r_wg: weight per uS."""
        self.device = device
        self.r_wg = r_wg
        self.name = name
        shape = (2, *weights.shape)
        self.g_uS = torch.empty(shape, device=weights.device)
        self.writes = torch.zeros(shape, device=weights.device, dtype=torch.int32)
        self._written_at = torch.zeros(shape, device=weights.device, dtype=torch.int32)
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
        """Writes the changes (uS, shape of the weights) that are not 0, each as far as the window lets it.

        A change goes to the cell that lowers the pair's common conductance if it has room, else to the other; one
        for which there is no room at all is left out. sigma_uS: standard deviation of what the write leaves.
        Returns how many cells were written.
        """
        flat_uS = change_uS.reshape(-1)
        index = flat_uS.nonzero().squeeze(1)
        g_uS, low_uS, high_uS = self.g_uS.view(2, -1), self.device.g_min_uS, self.device.g_max_uS
        wanted_uS = flat_uS[index]
        size_uS = wanted_uS.abs()
        falling = (
            wanted_uS > 0
        ).long()  # lowering this cell moves the weight the wanted way: MINUS to raise it
        rising = 1 - falling
        room_down_uS = g_uS[falling, index] - low_uS
        room_up_uS = high_uS - g_uS[rising, index]
        down = (room_down_uS >= size_uS) | (room_down_uS >= room_up_uS)
        room_uS = torch.where(down, room_down_uS, room_up_uS)
        possible = room_uS >= WORTH_WRITING * size_uS
        side = torch.where(down, falling, rising)[possible]
        move_uS = torch.where(down, -1.0, 1.0) * torch.minimum(size_uS, room_uS)
        index, move_uS = index[possible], move_uS[possible]
        noise = torch.randn(move_uS.shape, device=move_uS.device, generator=generator)
        g_uS[side, index] = (g_uS[side, index] + move_uS + sigma_uS * noise).clamp(low_uS, high_uS)
        self.writes.view(2, -1)[side, index] += 1
        self._written_at.view(2, -1)[side, index] = step
        return index.numel()

    def relax(self, step: int, generator: torch.Generator | None) -> None:
        """Lets the cells wander up to optimizer step `step`; to be called once for each."""
        law = self.device.relaxation
        if law is None:
            return
        age = step - self._written_at
        due = torch.nonzero((age > 0) & ((age & (age - 1)) == 0), as_tuple=True)
        now = age[due].float()
        before_uS2 = torch.where(now > 1, law.variance_uS2((now / 2).clamp(min=1.0)), 0.0)
        noise = torch.randn(now.shape, device=now.device, generator=generator)
        moved_uS = self.g_uS[due] + (law.variance_uS2(now) - before_uS2).sqrt() * noise
        self.g_uS[due] = moved_uS.clamp(self.device.g_min_uS, self.device.g_max_uS)

    def read(self, generator: torch.Generator | None) -> Tensor:
        """The weights as a product sees them, float32: a new draw of the read noise at each call."""
        difference_uS = self.g_uS[PLUS] - self.g_uS[MINUS]
        if self.device.read_noise_uS > 0:
            noise = torch.randn(difference_uS.shape, device=difference_uS.device, generator=generator)
            difference_uS += math.sqrt(2) * self.device.read_noise_uS * noise
        return difference_uS * self.r_wg

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
