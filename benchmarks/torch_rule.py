"""Cost of one optimizer step with EaPU in PyTorch, in ms of one core per 1e6 weights.

    python benchmarks/torch_rule.py [--weights 1000000] [--repeats 15]

Plain `torch.optim.AdamW`; `eapu_hil.torch.EaPU` around it; and the optimizer of the authors, as `peers/authors_eapu.py`
has it. All take turns in one process, on the same gradients, with th = sigma = 2 uS and 80 uS for a weight of 1. The
weights are one tensor or a hundred, and few or many are written: the row `rule` of `make bench` judges one tensor with
few. Times are CPU times of one thread.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Protocol

import torch
from peers.authors_eapu import AdamEaPU
from torch import Tensor

from eapu_hil.torch import EaPU

SIGMA_uS, R_WG = 2.0, 1 / 80
GRADIENTS = 4  # as many different ones are used in turn, so that the moments stay realistic
Work = Callable[[int], None]
GOALS = "goals: EaPU <= 0.5 x authors, EaPU <= 3 x AdamW"


class Optimizer(Protocol):
    def step(self) -> object: ...


def gradients(shapes: list[tuple[int, int]], draws: torch.Generator) -> list[list[Tensor]]:
    """Those of different weights differ by orders of magnitude, and have a mean beside their noise."""
    scales = [torch.exp(1.5 * torch.randn(shape, generator=draws) - 7) for shape in shapes]
    return [
        [(torch.randn(scale.shape, generator=draws) + 0.1) * scale for scale in scales]
        for _ in range(GRADIENTS)
    ]


def torch_work(optimizer: Optimizer, parameters: list[torch.nn.Parameter], grads: list[list[Tensor]]) -> Work:
    def work(repeat: int) -> None:
        for parameter, grad in zip(parameters, grads[repeat % GRADIENTS], strict=True):
            parameter.grad = grad
        optimizer.step()

    return work


def measure(tensors: int, weights: int, lr: float, repeats: int) -> str:
    """One line of the table."""
    side = round((weights / tensors) ** 0.5)
    grads = gradients([(side, side)] * tensors, torch.Generator().manual_seed(0))

    plain, wrapped, theirs = (
        [torch.nn.Parameter(0.05 * torch.randn_like(grad)) for grad in grads[0]] for _ in range(3)
    )
    eapu = EaPU(
        torch.optim.AdamW(wrapped, lr=lr),
        sigma_uS=SIGMA_uS,
        r_wg=R_WG,
        generator=torch.Generator().manual_seed(1),
    )
    works = {
        "AdamW": torch_work(torch.optim.AdamW(plain, lr=lr), plain, grads),
        "EaPU": torch_work(eapu, wrapped, grads),
        "authors": torch_work(AdamEaPU(theirs, lr, r_wg=R_WG, sigma_uS=SIGMA_uS), theirs, grads),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(-GRADIENTS, repeats):
        for name, work in works.items():
            start = time.thread_time()
            work(repeat)
            if repeat >= 0:
                times[name].append(time.thread_time() - start)
    ms = {name: statistics.median(t) * 1e9 / (tensors * side * side) for name, t in times.items()}
    written = eapu.report().update_ratio_last
    return (
        f"{tensors:7d} {lr:7.0e} {written:8.4f} "
        + " ".join(f"{ms[name]:8.2f}" for name in works)
        + f" {ms['EaPU'] / ms['authors']:14.2f}"
        + f" {ms['EaPU'] / ms['AdamW']:11.2f}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = sys.stdout.write
    out(f"ms per 1e6 weights, median of {args.repeats}; torch {torch.__version__}, {platform.machine()}, ")
    out(f"{os.cpu_count()} cores; {GOALS}\n")
    out("tensors      lr  written    AdamW     EaPU  authors   EaPU/authors  EaPU/AdamW\n")
    for tensors, lr in ((1, 1e-3), (1, 5e-3), (100, 1e-3)):
        out(measure(tensors, args.weights, lr, args.repeats))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
