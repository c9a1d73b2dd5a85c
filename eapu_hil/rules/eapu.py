"""Error-aware probabilistic update: write a small change rarely, but then as large as the write error.

Let dG be the wanted change of a weight and th its threshold, by default the measured write error.

    |dG| >= th   write dG
    |dG| <  th   with probability |dG| / th write sign(dG) * th, else nothing

The expectation is dG either way. With write noise of standard deviation sigma the variance of the applied
change is |dG| (th + sigma^2 / th) - dG^2 below the threshold. It is smallest at th = sigma, where it is
2 sigma |dG| - dG^2, against the sigma^2 of writing always.

Source: Liu, Shi, Liu et al., Nat. Commun. (2025), doi 10.1038/s41467-025-66240-7.
Closest prior art: the stochastic sparse update with momentum (SSM) of Wang et al., arXiv 1906.02393, which
writes one fixed step at random. Here the step is tied to the measured write error, larger changes pass
unclipped, and cells are written with verify.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from eapu_hil.base.colours import BLUE
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.base import BaseRule, plain, require_finite
from eapu_hil.rules.contract import Proposal, RuleModel, StepArray, WriteErrors


class EapuConfig(RuleModel):
    """Error-aware probabilistic update.

    threshold_uS: a fixed threshold in uS; None takes the measured write error of each cell, which depends on its state.
    threshold_scale: threshold over measured write error.
    late_band_uS: band of write-verify, uS, after the share `late_from` of the run: fewer but finer writes when
        steps have become small. None: the recipe's band to the end.
    """

    error_aware: ClassVar[bool] = True
    colour: ClassVar[str | None] = BLUE

    name: Literal["eapu"] = "eapu"
    threshold_uS: PositiveFloat | None = None
    threshold_scale: PositiveFloat = 1.0
    late_band_uS: PositiveFloat | None = None
    late_from: Annotated[float, Field(ge=0, lt=1)] = 0.75

    @model_validator(mode="after")
    def _one_threshold(self) -> EapuConfig:
        if self.threshold_uS is not None and self.threshold_scale != 1.0:
            raise ValueError(
                "threshold_scale multiplies the measured write error; leave it out with threshold_uS"
            )
        return self

    def make(self, shape: tuple[int, int], recipe: Recipe | None) -> Eapu:
        """See `RuleModel.make`."""
        threshold_S = None if self.threshold_uS is None else self.threshold_uS * 1e-6
        return Eapu(shape[0] * shape[1], threshold_scale=self.threshold_scale, threshold_S=threshold_S)

    @property
    def threshold_follows_error(self) -> bool:
        """See `RuleModel.threshold_follows_error`: unless it is fixed."""
        return self.threshold_uS is None

    def band_S(self, progress: float) -> float | None:
        """See `RuleModel.band_S`."""
        return (
            self.late_band_uS * 1e-6 if self.late_band_uS is not None and progress > self.late_from else None
        )


class Eapu(BaseRule):
    """The EaPU rule for one layer.

    threshold_scale: threshold over measured write error.
    threshold_S: a fixed threshold in S for every weight instead, or None.
    """

    name = "eapu"

    def __init__(
        self, n_weights: int, *, threshold_scale: float = 1.0, threshold_S: float | None = None
    ) -> None:
        self._scale = threshold_scale
        self._fixed = None if threshold_S is None else WriteErrors.uniform(threshold_S, n_weights)

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:
        """Draws the writes of one step; see `UpdateRule.propose`. Exact in law, whatever the steps.

        A weight is written if u th < |dG| with u uniform in (0, 1). The leading 8 bits of u rule most weights out: only
        the others are told their errors and the rest of u.
        """
        from eapu_hil.rules.kernels.chance import drawn  # its compiler takes time; a configuration needs none

        scale = self._scale
        if self._fixed is not None:
            errors, scale = self._fixed, 1.0
        if dg_S.shape != errors.up_S.shape:
            raise ValueError(f"dg_S has shape {dg_S.shape}, the write errors have {errors.up_S.shape}")
        dg_S = np.ascontiguousarray(dg_S)
        index, step_S = np.empty(dg_S.size, np.int64), np.empty(dg_S.size)
        state = rng.integers(0, 1 << 32, 64, np.uint32)
        up_S, down_S = plain(errors.up_S), plain(errors.down_S)
        count, largest_S, below_S = drawn(dg_S, up_S, down_S, scale, errors.floor_S, state, index, step_S)
        require_finite(largest_S)
        if below_S != np.inf:
            raise ValueError(f"a write error of {below_S} S is below its stated floor of {errors.floor_S} S")
        return Proposal(index[:count].copy(), step_S[:count].copy())
