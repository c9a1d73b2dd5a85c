"""EaPU for models of PyTorch: an optimizer whose steps become writes of simulated or real memristor pairs.

Needs the extra `torch`; nothing else in the project does.
"""

from __future__ import annotations

try:
    import torch  # noqa: F401 - whether it is there
except ImportError as error:
    raise ImportError(f"{error}; eapu_hil.torch needs: pip install 'eapu-hil[torch]'") from error

from eapu_hil.torch.bench import BenchCells
from eapu_hil.torch.device import PairDevice, Relaxation
from eapu_hil.torch.layers import CrossbarConv2d, CrossbarLinear
from eapu_hil.torch.optimizer import EaPU
from eapu_hil.torch.pairs import PairCells, Pairs
from eapu_hil.torch.report import CellWrites, LayerReport, Report
from eapu_hil.torch.rule import RULES, RuleName, eapu_step

__all__ = [
    "RULES",
    "BenchCells",
    "CellWrites",
    "CrossbarConv2d",
    "CrossbarLinear",
    "EaPU",
    "LayerReport",
    "PairCells",
    "PairDevice",
    "Pairs",
    "Relaxation",
    "Report",
    "RuleName",
    "eapu_step",
]
