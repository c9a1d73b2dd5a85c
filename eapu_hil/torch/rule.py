"""The EaPU rule on tensors. Conductances are in uS here, so that half precision does not underflow."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from eapu_hil.rules.registry import SpokenOf

RuleName = SpokenOf
RULES: tuple[RuleName, ...] = get_args(RuleName)


def eapu_step(
    dg_us: Tensor, threshold_us: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """What EaPU writes for the wanted changes `dg_us` (uS, any shape): 0 where a weight is not written.

    A change of at least the threshold th is written as it is, a smaller one with probability |dG| / th and then as
    large as th. The expectation is dG; with write noise of standard deviation sigma the variance is
    |dG| (th + sigma^2 / th) - dG^2 below the threshold, least at th = sigma (doi 10.1038/s41467-025-66240-7).
    threshold_us: one for all, or one for each change. A threshold of 0 writes every change that is not 0.
    """
    size_us = dg_us.abs()
    uniform = torch.rand(dg_us.shape, device=dg_us.device, dtype=dg_us.dtype, generator=generator)
    written = (size_us >= uniform * threshold_us) & (size_us > 0)
    least_us = torch.as_tensor(threshold_us, dtype=dg_us.dtype, device=dg_us.device)
    return torch.where(written, torch.maximum(size_us, least_us).copysign(dg_us), 0.0)
