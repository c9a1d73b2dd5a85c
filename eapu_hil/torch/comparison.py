"""The same PyTorch model trained under several rules, with one table and one JSON file of what came out."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from eapu_hil.hal import ConfigError
from eapu_hil.torch.device import PairDevice
from eapu_hil.torch.optimizer import EaPU
from eapu_hil.torch.report import Report
from eapu_hil.torch.rule import RuleName

DATA_STREAM, RULE_STREAM = 1, 2  # added to a multiple of the seed


class TorchTask(Protocol):
    """A model and its training data. All of it lives on the device that the task was made for."""

    def make_model(self) -> nn.Module:
        """A fresh model; its initial weights come from torch's default generator."""
        ...

    def loss(self, model: nn.Module, rng: torch.Generator) -> Tensor:
        """The loss of one batch, drawn with `rng` (of the CPU)."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Held-out figures, `loss` among them."""
        ...


@dataclass(frozen=True)
class AdamW:
    """AdamW: a linear rise over `warmup_steps`, under a cosine from `lr` down to `final_fraction * lr` at the end."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    warmup_steps: int = 100
    final_fraction: float = 0.0

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step` (from 0) of `steps`, over `lr`."""
        rise = (step + 1) / self.warmup_steps if self.warmup_steps else 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        return min(rise, self.final_fraction + (1 - self.final_fraction) * cosine)


@dataclass(frozen=True)
class Writing:
    """How steps are written: arguments of `EaPU`."""

    sigma_uS: float = 2.0
    threshold_uS: float | None = None
    r_wg: float = 1 / 80
    device: PairDevice | None = None


@dataclass(frozen=True)
class Outcome:
    """One training. metrics: at the end, by `TorchTask.evaluate`."""

    rule: RuleName
    optimizer: AdamW
    metrics: dict[str, float]
    report: Report
    wall_s: float


def compare_rules(
    task: TorchTask,
    rules: Sequence[RuleName],
    optimizers: Mapping[RuleName, AdamW],
    writing: Writing,
    *,
    steps: int,
    seed: int,
    on_step: Callable[[RuleName, int, float], None],
) -> list[Outcome]:
    """Trains once for each rule, with its optimizer: see `train_rule`. Raises ConfigError for a rule without one."""
    for rule in rules:
        if rule not in optimizers:
            raise ConfigError(f"rules: {rule!r}; expected some of {', '.join(optimizers)}")

    def told(rule: RuleName) -> Callable[[int, float], None]:
        return lambda step, loss: on_step(rule, step, loss)

    return [
        train_rule(task, rule, optimizers[rule], writing, steps=steps, seed=seed, on_step=told(rule))
        for rule in rules
    ]


def train_rule(
    task: TorchTask,
    rule: RuleName,
    adam: AdamW,
    writing: Writing,
    *,
    steps: int,
    seed: int,
    on_step: Callable[[int, float], None] = lambda step, loss: None,  # noqa: ARG005 - tells nobody
) -> Outcome:
    """Trains a fresh model for `steps` steps. Model and batches depend on the seed alone, not on the rule.

    on_step: called every 100 steps with the number of the step and the loss of its batch.
    """
    start_s = time.monotonic()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = task.make_model()
    where = next(model.parameters()).device
    inner = torch.optim.AdamW(
        model.named_parameters(), adam.lr, (adam.beta1, adam.beta2), weight_decay=adam.weight_decay
    )
    optimizer = EaPU(
        inner,
        rule=rule,
        sigma_uS=writing.sigma_uS,
        threshold_uS=writing.threshold_uS,
        r_wg=writing.r_wg,
        device=writing.device,
        generator=torch.Generator(where).manual_seed(1000 * seed + RULE_STREAM),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: adam.rate(step, steps))
    data = torch.Generator().manual_seed(1000 * seed + DATA_STREAM)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = task.loss(model, data)
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives no types here
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            on_step(step, float(loss.detach()))
    optimizer.read()
    model.eval()
    with torch.no_grad():
        metrics = task.evaluate(model)
    return Outcome(rule, adam, metrics, optimizer.report(), time.monotonic() - start_s)


def torch_device(name: str) -> torch.device:
    """The device of an option. Raises ConfigError if this machine does not have it."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name}: not on this machine: {str(error).splitlines()[0]}") from error
    return device


def table(outcomes: Sequence[Outcome]) -> str:
    """One line a rule: the metrics, weights written in a step, writes of a cell."""
    metrics = list(outcomes[0].metrics)
    head = ["rule", *metrics, "update ratio", "writes a cell: mean", "p99.9", "max", "s"]
    lines = [head]
    for outcome in outcomes:
        report, writes = outcome.report, outcome.report.writes_per_cell
        wear = ["-"] * 4
        if writes is not None and report.update_ratio_mean is not None:
            wear = [f"{1e3 * report.update_ratio_mean:.3g} per mille"]
            wear += [f"{writes.mean:.3g}", f"{writes.p999:.0f}", f"{writes.max}"]
        quality = [f"{outcome.metrics[name]:.4f}" for name in metrics]
        lines.append([outcome.rule, *quality, *wear, f"{outcome.wall_s:.0f}"])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def save(path: Path, outcomes: Sequence[Outcome], about: Mapping[str, Any]) -> None:
    """Writes everything as JSON. about: what was run."""
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    content = {**about, **versions, "outcomes": [asdict(outcome) for outcome in outcomes]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
