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
from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules.base import BaseRule, require_finite
from eapu_hil.rules.contract import Proposal, RuleModel, StepArray, WriteErrors

# Weights that share one candidate rate: few enough to stay in the cache and to confine the effect of one
# large step, enough to hide the cost of a numpy call.
_CHUNK = 65_536
# Above this rate, drawing a number for every weight of a chunk is cheaper than drawing candidates.
_RATE_MAX = 1 / 16
# Keeps rounding in float32 from turning a lower bound of the thresholds into something above one.
_SLACK = 1 - 1e-6


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
        self._magnitude = np.empty(min(n_weights, _CHUNK), np.float32)
        self._digits = np.empty_like(self._magnitude)
        self._hit = np.empty(self._magnitude.shape, np.bool_)

    def propose(self, dg_S: StepArray, errors: WriteErrors, rng: np.random.Generator) -> Proposal:
        """Draws the writes of one step; see `UpdateRule.propose`. Exact in law, whatever the steps.

        A weight is written if u th < |dG| with u uniform in (0, 1). In a chunk of weights only a u below
        max |dG| / floor can do that. Where this bound is small, the weights with such a u are drawn, and only
        these are looked at (thinning).
        """
        scale = self._scale
        if self._fixed is not None:
            errors, scale = self._fixed, 1.0
        if dg_S.shape != errors.up_S.shape:
            raise ValueError(f"dg_S has shape {dg_S.shape}, the write errors have {errors.up_S.shape}")
        floor_S = scale * errors.floor_S * _SLACK
        rates = np.zeros(-(-dg_S.size // _CHUNK))
        indices: list[IntArray] = []
        uniforms: list[FloatArray] = []
        for chunk in range(rates.size):
            start = chunk * _CHUNK
            part = dg_S[start : start + _CHUNK]
            magnitude = np.abs(part, out=self._magnitude[: part.size])
            largest_S = float(magnitude.max())
            require_finite(largest_S)
            if largest_S > _RATE_MAX * floor_S:
                index, uniform = self._survivors(magnitude, floor_S, rng)
                indices.append(index + start)
                uniforms.append(uniform)
            elif largest_S > 0:
                rates[chunk] = largest_S / floor_S
        if rates.any():
            index, uniform = _candidates(rates, dg_S.size, rng)
            indices.append(index)
            uniforms.append(uniform)
        if not indices:
            return Proposal(np.empty(0, np.int64), np.empty(0))
        proposal = _decide(dg_S, errors, scale, np.concatenate(indices), np.concatenate(uniforms))
        return _ascending(proposal) if rates.any() and len(indices) > 1 else proposal

    def _survivors(
        self, magnitude: StepArray, floor_S: float, rng: np.random.Generator
    ) -> tuple[IntArray, FloatArray]:
        """The weights of one chunk whose uniform number can pass, and these numbers.

        The leading 8 bits of each number decide; the rest is drawn only for those that they let through.
        """
        # Eight numbers at a time: several times faster than asking for bytes.
        words = rng.integers(0, 1 << 64, -(-magnitude.size // 8), np.uint64)
        bits = words.view(np.uint8)[: magnitude.size]
        digits = self._digits[: magnitude.size]
        np.copyto(digits, bits)
        digits *= np.float32(floor_S * _SLACK / 256)
        hit = np.less_equal(digits, magnitude, out=self._hit[: magnitude.size])
        index = np.flatnonzero(hit)
        return index, (bits[index] + rng.random(index.size)) / 256


def _candidates(rates: FloatArray, n_weights: int, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
    """Weights whose uniform number is below the rate of their chunk, and these numbers.

    Drawn as the points of a Poisson process with density -log(1 - rate) per weight: a weight with at least
    one point is a candidate, which happens with probability `rate`.
    """
    density = -np.log1p(-rates)
    lengths = np.full(rates.size, float(_CHUNK))
    lengths[-1] = n_weights - _CHUNK * (rates.size - 1)
    ends = np.cumsum(density * lengths)
    points = _poisson_points(float(ends[-1]), rng)
    counts = np.diff(np.searchsorted(points, ends), prepend=0)
    chunk = np.repeat(np.arange(rates.size), counts)
    # A chunk without points may have density 0.
    per_point = np.divide(1.0, density, out=np.zeros_like(density), where=density > 0)
    offset = (points - (ends - density * lengths)[chunk]) * per_point[chunk]
    np.clip(offset, 0, lengths[chunk] - 1, out=offset)
    index = chunk * _CHUNK + offset.astype(np.int64)
    first = np.diff(index, prepend=-1) > 0
    index = index[first]
    return index, rng.random(index.size) * rates[chunk[first]]


def _poisson_points(length: float, rng: np.random.Generator) -> FloatArray:
    """A Poisson process of density 1 on (0, length): ascending positions."""
    enough = int(length + 6 * np.sqrt(length)) + 16
    points = np.cumsum(rng.standard_exponential(enough))
    while points[-1] < length:
        more = points[-1] + np.cumsum(rng.standard_exponential(enough))
        points = np.concatenate([points, more])
    return points[: np.searchsorted(points, length)]


def _decide(
    dg_S: StepArray, errors: WriteErrors, scale: float, index: IntArray, uniform: FloatArray
) -> Proposal:
    """Writes the weights with uniform * threshold < |dG|, by the larger of |dG| and threshold."""
    wanted_S = dg_S[index].astype(np.float64)
    # Random booleans as an index, or in `where`, cost a mispredicted branch each; positions do not.
    error_S = errors.down_S[index]
    up = np.flatnonzero(wanted_S > 0)
    error_S[up] = errors.up_S[index[up]]
    if error_S.size and not error_S.min() >= errors.floor_S * _SLACK:
        raise ValueError(
            f"a write error of {error_S.min()} S is below its stated floor of {errors.floor_S} S"
        )
    threshold_S = error_S * scale
    magnitude_S = np.abs(wanted_S)
    write = np.flatnonzero(uniform * threshold_S < magnitude_S)
    step_S = np.maximum(magnitude_S[write], threshold_S[write])
    return Proposal(index[write], np.copysign(step_S, wanted_S[write]))


def _ascending(proposal: Proposal) -> Proposal:
    order = np.argsort(proposal.index)
    return Proposal(proposal.index[order], proposal.step_S[order])
