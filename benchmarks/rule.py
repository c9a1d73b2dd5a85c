"""Cost of one optimizer-and-rule step, in ms of one core per 1e6 weights.

    python benchmarks/rule.py [--weights 1000000] [--repeats 40]

The optimizer is Adam. Write errors differ from weight to weight (1.5 to 3 uS), as a calibrated chip's do. For
each update ratio the weight scale is chosen so that this fraction of the weights is written. "plain numpy" is
the same work without care, in the same run: Adam with temporaries, a uniform number for every weight and two
`where`s. Times are CPU times of the one thread that works, so that a busy machine does not show as a slow rule.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eapu_hil.network.optimizer import Adam
from eapu_hil.rules import UpdateRule, WriteErrors
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.rules.eapu_residual import EapuResidualConfig

Floats = NDArray[np.float32]
RATIOS = (1e-3, 1e-2, 4e-2)
LEARNING_RATE = 1e-3
GRADIENTS = 8  # as many different ones are used in turn, so that the moments stay realistic
BUDGET_MS = 5.0  # a fifth of the authors' 25 ms per 1e6 weights


@dataclass
class PlainAdam:
    """Adam as the textbook writes it, with the rule as one pass over all weights."""

    n_weights: int
    steps: int = 0
    mean: Floats = field(init=False)
    square: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.mean, self.square = np.zeros((2, self.n_weights), np.float32)

    def step(self, grad: Floats, lr: float) -> Floats:
        self.steps += 1
        self.mean = np.float32(0.9) * self.mean + np.float32(0.1) * grad
        self.square = np.float32(0.999) * self.square + np.float32(0.001) * grad * grad
        mean = self.mean / np.float32(1 - 0.9**self.steps)
        square = self.square / np.float32(1 - 0.999**self.steps)
        change: Floats = np.float32(-lr) * mean / (np.sqrt(square) + np.float32(1e-8))
        return change


def plain_rule(dg_S: Floats, errors: WriteErrors, rng: np.random.Generator) -> Floats:
    threshold = np.where(dg_S > 0, errors.up_S, errors.down_S)
    magnitude = np.abs(dg_S)
    write = magnitude >= rng.random(dg_S.size, dtype=np.float32) * threshold
    return np.where(write, np.copysign(np.maximum(magnitude, threshold), dg_S), np.float32(0))


def median_ms(work: Callable[[int], object], repeats: int, n_weights: int) -> float:
    """Median time of `work(repeat)` in ms per 1e6 weights, after a few runs that do not count."""
    times = []
    for repeat in range(-3, repeats):
        start = time.thread_time()
        work(repeat)
        if repeat >= 0:
            times.append(time.thread_time() - start)
    return statistics.median(times) * 1e9 / n_weights


def torch_adam_ms(grads: Floats, repeats: int) -> float | None:
    """Adam of torch on the same gradients, one thread; None without torch."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    tensor = torch.zeros(grads.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([tensor], lr=LEARNING_RATE)
    torch_grads = [torch.from_numpy(grad) for grad in grads]

    def work(repeat: int) -> None:
        tensor.grad = torch_grads[repeat % GRADIENTS]
        optimizer.step()

    return median_ms(work, repeats, grads.shape[1])


def measure_rule(rule: UpdateRule, ratio: float, grads: Floats, errors: WriteErrors, repeats: int) -> str:
    """One line of the table for one rule at one update ratio."""
    n_weights = grads.shape[1]
    adam, plain = Adam((n_weights,)), PlainAdam(n_weights)
    for repeat in range(50):
        step = adam.step(grads[repeat % GRADIENTS], LEARNING_RATE)
    mean_error_S = 0.5 * float(np.mean(1 / errors.up_S) + np.mean(1 / errors.down_S))
    siemens_per_weight = np.float32(ratio / (float(np.abs(step).mean()) * mean_error_S))
    steps = [
        adam.step(grads[repeat % GRADIENTS], LEARNING_RATE) * siemens_per_weight
        for repeat in range(GRADIENTS)
    ]
    scaled = np.empty(n_weights, np.float32)
    written = []

    def both(repeat: int) -> None:
        change = adam.step(grads[repeat % GRADIENTS], LEARNING_RATE)
        np.multiply(change, siemens_per_weight, out=scaled)
        rng = np.random.default_rng([0, 1, repeat + 3])
        written.append(rule.propose(scaled, errors, rng).index.size / n_weights)

    def rule_alone(repeat: int) -> None:
        rule.propose(steps[repeat % GRADIENTS], errors, np.random.default_rng([0, 2, repeat + 3]))

    def plain_both(repeat: int) -> None:
        change = plain.step(grads[repeat % GRADIENTS], LEARNING_RATE)
        plain_rule(change * siemens_per_weight, errors, np.random.default_rng([0, 3, repeat + 3]))

    both_ms = median_ms(both, repeats, n_weights)
    rule_ms = median_ms(rule_alone, repeats, n_weights)
    plain_ms = median_ms(plain_both, repeats, n_weights)
    verdict = "ok" if both_ms <= BUDGET_MS else "OVER"
    return (
        f"{rule.name:14s} {ratio:8.3f} {statistics.mean(written):9.5f} {rule_ms:9.2f} {both_ms:11.2f} "
        f"{plain_ms:11.2f} {plain_ms / both_ms:7.1f} {verdict:>7s}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=40)
    args = parser.parse_args()
    n_weights, repeats = args.weights, args.repeats
    rng = np.random.default_rng(0)
    # Gradients of different weights differ by orders of magnitude, and have a mean beside their noise.
    scale = np.exp(rng.normal(-7, 1.5, n_weights)).astype(np.float32)
    grads = rng.standard_normal((GRADIENTS, n_weights), dtype=np.float32)
    grads = (grads + 0.1 * rng.standard_normal(n_weights, dtype=np.float32)) * scale
    up_S, down_S = rng.uniform(1.5e-6, 3e-6, (2, n_weights)).astype(np.float32)
    errors = WriteErrors(up_S, down_S, 1.5e-6)

    adam, plain = Adam((n_weights,)), PlainAdam(n_weights)
    adam_ms = median_ms(lambda k: adam.step(grads[k % GRADIENTS], LEARNING_RATE), repeats, n_weights)
    plain_ms = median_ms(lambda k: plain.step(grads[k % GRADIENTS], LEARNING_RATE), repeats, n_weights)
    torch_ms = torch_adam_ms(grads, repeats)
    out = sys.stdout.write
    out(f"ms per 1e6 weights, median of {repeats}, {n_weights} weights; budget {BUDGET_MS} for Adam + rule\n")
    out(f"Adam alone {adam_ms:.2f}; plain numpy Adam {plain_ms:.2f}; torch.optim.Adam, one thread: ")
    out("not installed\n" if torch_ms is None else f"{torch_ms:.2f}\n")
    out("rule           wanted P   written rule alone Adam + rule plain numpy   ratio  budget\n")
    for ratio in RATIOS:
        rule = EapuConfig().make((n_weights, 1), None)
        out(measure_rule(rule, ratio, grads, errors, repeats))
    out(measure_rule(EapuResidualConfig().make((n_weights, 1), None), 4e-2, grads, errors, repeats))


if __name__ == "__main__":
    main()
