"""The cells of simulated memristor pairs: their window, read noise and relaxation.

Much simpler than the twin, so that models of millions of weights train on it: a write ends at its target with Gaussian
noise. Pulses, wires, converters, stuck cells and spread between cells are the twin's (`eapu_hil.twin`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eapu_hil.hal import ConfigError


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
