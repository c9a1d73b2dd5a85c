"""The optimizer of EaPU's authors, written anew from its description; nothing of their code is in here.

Source: doi 10.1038/s41467-025-66240-7 and github LJinchang/Experiment_EaPU @e0e801d, `optimizer/adameapu.py`
(Apache-2.0): Adam's step u gives dG = u / r_wg; a weight is written where |dG| >= r * th with r uniform for each
weight, by dG or, where that is smaller, by th with its sign; what is written has the error sigma * N(0, 1). Tensors
with one dimension take Adam's step as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class AdamEaPU(torch.optim.Optimizer):
    """threshold_uS, sigma_uS: th and sigma. r_wg: weight per uS. The defaults are those of the authors' commands."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        threshold_uS: float = 2.0,
        sigma_uS: float = 2.0,
        r_wg: float = 1 / 80,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})
        self._threshold_uS, self._sigma_uS, self._r_wg = threshold_uS, sigma_uS, r_wg

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002 - torch's contract
        """One step of all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, object]) -> None:
        (beta1, beta2), lr, eps = group["betas"], group["lr"], group["eps"]
        state = self.state[parameter]
        if not state:
            state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        state["step"] += 1
        mean, square, grad = state["mean"], state["square"], parameter.grad
        mean.mul_(beta1).add_(grad, alpha=1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        mean_hat = mean / (1 - beta1 ** state["step"])
        square_hat = square / (1 - beta2 ** state["step"])
        change = -lr * mean_hat / (square_hat.sqrt() + eps)
        parameter.add_(self._written(change) if parameter.dim() > 1 else change)

    def _written(self, change: Tensor) -> Tensor:
        dg_uS = change / self._r_wg
        size_uS = dg_uS.abs()
        write = size_uS >= torch.rand_like(dg_uS) * self._threshold_uS
        step_uS = torch.where(size_uS >= self._threshold_uS, dg_uS, dg_uS.sign() * self._threshold_uS)
        error_uS = self._sigma_uS * torch.randn_like(dg_uS)
        return torch.where(write, step_uS + error_uS, 0.0) * self._r_wg
