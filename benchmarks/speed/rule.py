"""A step of the optimizer with its rule, a million weights: ours in numpy and our wrapper of PyTorch's.

Write errors differ from weight to weight (1.5 to 3 uS), as a calibrated chip's do, and so do gradients, by orders of
magnitude, with a mean beside their noise. The scale of weights is chosen so that a share of them is written a step.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
from numpy.typing import NDArray
from peers import there

from eapu_hil.network.optimizer import Adam
from eapu_hil.rules import WriteErrors
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.rules.eapu_residual import EapuResidualConfig
from speed.figures import Figure, ms, needs
from speed.timing import medians_s

Floats = NDArray[np.float32]
SIDE, GRADIENTS, ROUNDS, LEARNING_RATE, SETTLING = 1000, 8, 15, 1e-3, 50
RATIOS = (1e-3, 1e-2, 4e-2)  # of the weights are written a step
RESIDUAL = "eapu_residual"
R_WG = 1 / 80  # weight per uS, as the authors have it
AUTHORS, ADAMW, WRAPPED = "the authors' AdamEaPU", "torch AdamW", "torch wrapper"


def _gradients(rng: np.random.Generator) -> Floats:
    scale = np.exp(rng.normal(-7, 1.5, SIDE * SIDE)).astype(np.float32)
    grads = rng.standard_normal((GRADIENTS, SIDE * SIDE), dtype=np.float32)
    return (grads + 0.1 * rng.standard_normal(SIDE * SIDE, dtype=np.float32)) * scale


def _ours(grads: Floats, ratio: float, errors: WriteErrors, residual: bool) -> Callable[[], object]:
    """Adam, the change in siemens, and the rule. ratio: of the weights that a step should write."""
    weights, adam, steps = grads.shape[1], Adam((grads.shape[1],)), count()
    config = EapuResidualConfig() if residual else EapuConfig()
    rule = config.make((weights, 1), None)
    for number in range(SETTLING):
        settled = adam.step(grads[number % GRADIENTS], LEARNING_RATE)
    mean_error = 0.5 * float(np.mean(1 / errors.up_S) + np.mean(1 / errors.down_S))
    siemens_per_weight = np.float32(ratio / (float(np.abs(settled).mean()) * mean_error))

    def step() -> None:
        number = next(steps)
        change = adam.step(grads[number % GRADIENTS], LEARNING_RATE)
        change *= siemens_per_weight  # in place, as a run does
        rule.propose(change, errors, np.random.default_rng([0, number]))

    return step


def _of_torch(grads: Floats) -> dict[str, Callable[[], object]]:
    import torch
    from peers.authors_eapu import AdamEaPU
    from peers.digital_steps import optimizer_step

    from eapu_hil.torch import EaPU

    square = list(grads.reshape(GRADIENTS, SIDE, SIDE))
    return {
        AUTHORS: optimizer_step(lambda its: AdamEaPU(its, lr=LEARNING_RATE, r_wg=R_WG), square),
        ADAMW: optimizer_step(lambda its: torch.optim.AdamW(its, lr=LEARNING_RATE), square),
        WRAPPED: optimizer_step(
            lambda its: EaPU(torch.optim.AdamW(its, lr=LEARNING_RATE), sigma_uS=2.0, r_wg=R_WG), square
        ),
    }


def rules() -> list[Figure]:
    """Both against the authors' optimizer as it is described, and the wrapper against plain AdamW."""
    rng = np.random.default_rng(0)
    grads = _gradients(rng)
    up_S, down_S = rng.uniform(1.5e-6, 3e-6, (2, grads.shape[1])).astype(np.float32)
    errors = WriteErrors(up_S, down_S, 1.5e-6)
    names = {f"EaPU + Adam, {1e3 * ratio:g} per mille written": ratio for ratio in RATIOS}
    ways = {name: _ours(grads, ratio, errors, False) for name, ratio in names.items()}
    ways[f"{RESIDUAL} + Adam"] = _ours(grads, RATIOS[-1], errors, True)
    if not there("torch"):
        taken_s = medians_s(ways, ROUNDS)
        return [
            Figure(f"{name}, 1e6 weights", ms(s), needs("torch"), None, 0.15) for name, s in taken_s.items()
        ]
    taken_s = medians_s({**ways, **_of_torch(grads)}, ROUNDS)

    def against(name: str, peer: str, at_most: float) -> Figure:
        ratio = taken_s[name] / taken_s[peer]
        return Figure(
            f"{name}, 1e6 weights", ms(taken_s[name]), f"x {peer}, {ms(taken_s[peer])}", ratio, at_most
        )

    return [
        *(against(name, AUTHORS, 0.15) for name in ways),
        against(WRAPPED, AUTHORS, 0.5),
        against(WRAPPED, ADAMW, 3.0),
    ]
