"""The EaPU rule on tensors, in any unit: of conductance or of weights."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eapu_hil.rules.spoken_of import SpokenOf

RuleName = SpokenOf
RULES: tuple[RuleName, ...] = get_args(RuleName)

# Changes that share one candidate rate: few enough to confine the effect of one large step.
_ROW = 4096
# Above this rate, drawing bits for every weight of a row is cheaper than drawing candidates.
_RATE_MAX = 1 / 16
_ROWS_AT_ONCE = 16  # of those that get bits, so that what is made on the way stays in the cache
# Keeps rounding from losing a weight that the first bits let through.
_SLACK = 1 + 1e-6


def eapu_step(
    dg_uS: Tensor, threshold_uS: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """The changes that EaPU writes for the wanted changes `dg_uS` (uS, any shape): 0 where a weight is not written.

    A change of at least the threshold th is written as it is, a smaller one with probability |dG| / th and then as
    large as th. The expectation is dG; with write noise of standard deviation sigma the variance is
    |dG| (th + sigma^2 / th) - dG^2 below the threshold, least at th = sigma (doi 10.1038/s41467-025-66240-7).
    threshold_uS: one for all, or one for each change. A threshold of 0 writes every change that is not 0.
    """
    step = torch.zeros(dg_uS.numel(), dtype=dg_uS.dtype, device=dg_uS.device)
    if step.numel():
        padded = in_rows(dg_uS.float() if dg_uS.element_size() < 4 else dg_uS)
        if isinstance(threshold_uS, Tensor):
            threshold_uS = in_rows(threshold_uS.to(padded).expand(dg_uS.shape), fill=torch.inf)
        index, change_uS = eapu_writes(padded, largest_of(padded), threshold_uS, generator)
        step[index] = change_uS.to(step.dtype)
    return step.view(dg_uS.shape)


def eapu_writes(
    wanted: Tensor, largest: Tensor, threshold: float | Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """The writes of `eapu_step`: indices into the flattened `wanted`, ascending, and the change at each.

    wanted: in rows, see `rows_for`. largest: of each row, see `largest_of`. threshold: in the unit of `wanted`, one for
    all, or one for each. Exact in law, whatever the changes.
    """
    flat, floor = wanted.view(-1), float(threshold.min()) if isinstance(threshold, Tensor) else threshold
    if floor == 0 and not isinstance(threshold, Tensor):
        index = positions(flat.bool())
        return index, flat.index_select(0, index)
    if wanted.device.type != "cpu" or floor == 0:  # there, one pass over everything is cheap
        uniform = torch.rand(wanted.shape, device=wanted.device, dtype=wanted.dtype, generator=generator)
        index = positions((wanted.abs() >= uniform * threshold) & wanted.bool())
        change = flat.index_select(0, index)
        return index, torch.maximum(change.abs(), _at(threshold, index, change)).copysign(change)
    index, uniform = _drawn(wanted, largest / floor, floor, generator)
    change = flat.index_select(0, index)
    size, least = change.abs(), _at(threshold, index, change)
    written = positions((uniform * least <= size) & change.bool())
    step = torch.maximum(size, least).copysign_(change)
    return index.index_select(0, written), step.index_select(0, written)


def _at(threshold: float | Tensor, index: Tensor, like: Tensor) -> Tensor:
    if isinstance(threshold, Tensor):
        return threshold.view(-1).index_select(0, index)
    return like.new_full((), threshold)


def _drawn(
    wanted: Tensor, rates: Tensor, floor: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """The weights whose uniform number can pass, ascending, and these numbers.

    A weight is written if u th <= |dG| with u uniform in (0, 1). In a row only a u below its rate = max |dG| / floor
    can do that. Where this bound is small, the weights with such a u are drawn (thinning); where it is not, the first 8
    bits of every u.
    """
    many = ~(rates <= _RATE_MAX)
    rows = positions(many)
    found = [_survivors(wanted, rows, floor, generator)] if rows.numel() else []
    if rows.numel() < rates.numel():
        found.append(_candidates(rates.masked_fill(many, 0.0), wanted.shape[1], generator))
    if len(found) == 1:
        return found[0]
    index, order = torch.cat([index for index, _ in found]).sort()
    return index, torch.cat([uniform for _, uniform in found]).index_select(0, order)


def _candidates(rates: Tensor, row: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Weights whose number is below the rate of their row, and these numbers; inf where one is named again.

    Drawn as the points of a Poisson process with density -log(1 - rate) for each weight: a weight with at least one
    point is a candidate, which happens with probability `rate`.
    """
    counts = torch.poisson(-torch.log1p(-rates) * row, generator=generator).long()
    row_of = torch.repeat_interleave(counts)
    places = torch.randint(row, row_of.shape, device=rates.device, generator=generator)
    index = (row_of * row + places).int().sort().values.long()
    uniform = torch.rand(row_of.shape, dtype=rates.dtype, generator=generator)
    uniform *= rates.index_select(0, row_of)
    uniform[1:].masked_fill_(index[1:] == index[:-1], torch.inf)
    return index, uniform


def _survivors(
    wanted: Tensor, rows: Tensor, floor: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """The weights in `rows` whose number can pass by its first 8 bits, and these numbers.

    The rest of a number is drawn only where the first bits let it through.
    """
    row = wanted.shape[1]
    indices, digits = [], []
    for some in rows.split(_ROWS_AT_ONCE):  # type: ignore[no-untyped-call]  # torch leaves it untyped
        size = wanted.index_select(0, some).abs_().mul_(256 * _SLACK / floor).view(-1)
        # Eight numbers at a time: several times faster than asking for bytes.
        words = torch.empty(-(-size.numel() // 8), dtype=torch.int64)
        bits = words.random_(-(2**63), None, generator=generator).view(torch.uint8)[: size.numel()].to(size)
        hit = positions(size.ge_(bits).bool())
        indices.append(some.index_select(0, hit // row) * row + hit % row)
        digits.append(bits.index_select(0, hit))
    index, first = torch.cat(indices), torch.cat(digits)
    rest = torch.rand(first.shape, dtype=first.dtype, generator=generator)
    return index, rest.add_(first).div_(256)


def rows_for(n: int) -> tuple[int, int]:
    """The shape in which `n` (at least 1) wanted changes go through the rule: (rows, row), the end filled with 0."""
    row = min(n, _ROW)
    return -(-n // row), row


def in_rows(values: Tensor, fill: float = 0.0) -> Tensor:
    """`values` (any shape, not empty) in the shape of `rows_for`."""
    rows, row = rows_for(values.numel())
    return F.pad(values.reshape(-1), (0, rows * row - values.numel()), value=fill).view(rows, row)


def largest_of(wanted: Tensor) -> Tensor:
    """The largest size in each row; not finite where one in it is not."""
    return torch.maximum(wanted.amax(dim=1), -wanted.amin(dim=1))


def positions(mask: Tensor) -> Tensor:
    """Where the flattened `mask` holds, ascending."""
    if mask.device.type == "cpu":  # several times faster than torch's own
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.reshape(-1).nonzero().squeeze(1)
