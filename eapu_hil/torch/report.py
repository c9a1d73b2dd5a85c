"""The writes of a training: update ratios and wear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class CellWrites:
    """Writes of a cell over the whole training."""

    mean: float
    p999: float
    max: int

    @classmethod
    def of(cls, counts: Sequence[Tensor]) -> CellWrites:
        """counts: writes of each cell, integers of any shapes; at least one cell."""
        every = torch.cat([count.reshape(-1).cpu() for count in counts])
        # One cell in a thousand was written more often than this; `torch.quantile` refuses large tensors.
        rank = max(1, -(-999 * every.numel() // 1000))
        return cls(float(every.double().mean()), float(every.kthvalue(rank).values), int(every.max()))


@dataclass(frozen=True)
class LayerReport:
    """One tensor of weights. Update ratios: weights written in a step over weights, mean over steps and last step."""

    name: str
    shape: tuple[int, ...]
    r_wg: float
    update_ratio_mean: float
    update_ratio_last: float
    writes_per_cell: CellWrites


@dataclass(frozen=True)
class Report:
    """All tensors on the array. Empty, with None, under the rule `digital`."""

    rule: str
    steps: int
    weights: int
    cells: int
    writes_total: int
    update_ratio_mean: float | None
    update_ratio_last: float | None
    writes_per_cell: CellWrites | None
    layers: tuple[LayerReport, ...]

    def to_plain(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)
