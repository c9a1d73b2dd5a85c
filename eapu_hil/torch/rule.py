"""The EaPU rule on tensors. Conductances are in uS here, so that half precision does not underflow."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from eapu_hil.rules.spoken_of import SpokenOf

RuleName = SpokenOf
RULES: tuple[RuleName, ...] = get_args(RuleName)


def eapu_step(
    dg_uS: Tensor, threshold_uS: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """The changes that EaPU writes for the wanted changes `dg_uS` (uS, any shape): 0 where a weight is not written.

    A change of at least the threshold th is written as it is, a smaller one with probability |dG| / th and then as
    large as th. The expectation is dG; with write noise of standard deviation sigma the variance is
    |dG| (th + sigma^2 / th) - dG^2 below the threshold, least at th = sigma (doi 10.1038/s41467-025-66240-7).
    threshold_uS: one for all, or one for each change. A threshold of 0 writes every change that is not 0.
    """
    size_uS = dg_uS.abs()
    uniform = torch.rand(dg_uS.shape, device=dg_uS.device, dtype=dg_uS.dtype, generator=generator)
    written = (size_uS >= uniform * threshold_uS) & (size_uS > 0)
    least_uS = torch.as_tensor(threshold_uS, dtype=dg_uS.dtype, device=dg_uS.device)
    return torch.where(written, torch.maximum(size_uS, least_uS).copysign(dg_uS), 0.0)
