"""What may change of a run that goes on, and what start.yaml keeps of such a change.

    changes:
    - time: 2026-11-30T21:00:00+00:00
      after_step: 400
      optimizer.lr: {from: 0.005, to: 0.001}

`experiment` in start.yaml is the experiment as it is now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from eapu_hil.base.errors import did_you_mean
from eapu_hil.base.loading import load_model
from eapu_hil.base.overrides import parse_overrides
from eapu_hil.base.provenance import now_iso
from eapu_hil.hal import ConfigError
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import last_steps, load_checkpoint

# None of these decides where weights lie, what a cell may be asked to hold, or what state an optimizer or rule keeps.
CHANGEABLE = (
    "optimizer.lr",
    "optimizer.schedule",
    "optimizer.warmup_steps",
    "optimizer.final_fraction",
    "optimizer.betas",
    "optimizer.eps",
    "optimizer.momentum",
    "batch",
    "evaluate_every",
    "checkpoint_every",
    "refresh_every",
)


def changed(
    config: ExperimentConfig,
    steps: int | None,
    changes: Sequence[str],
    run_dir: Path,
    allow_modules: Collection[str],
) -> ExperimentConfig:
    """The experiment of a run with what is asked for. steps: the new total. changes: `key.path=value` texts.

    Raises ConfigError for what may not change in the middle of this run.
    """
    if changes:
        for key in parse_overrides(changes):
            _require_changeable(key, run_dir)
        new = load_model(ExperimentConfig, config, changes, "experiments", allow_modules=allow_modules)
        config = new.model_copy(update={"bench": config.bench})  # which knows its file
    return config if steps is None else _with_steps(config, steps, run_dir)


def recorded(
    start: Mapping[str, Any], before: ExperimentConfig, after: ExperimentConfig, run_dir: Path
) -> dict[str, Any]:
    """What start.yaml has to hold of a change; empty where nothing differs."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    differing = {
        key: {"from": _at(old, key), "to": _at(new, key)}
        for key in ("steps", *CHANGEABLE)
        if _at(old, key) != _at(new, key)
    }
    if not differing:
        return {}
    change = {"time": now_iso(), "after_step": _last_kept(after, run_dir), **differing}
    return {"experiment": new, "changes": [*start.get("changes", []), change]}


def _require_changeable(key: str, run_dir: Path) -> None:
    if key in CHANGEABLE:
        return
    hint = "; --steps N sets the total" if key == "steps" else did_you_mean(key, CHANGEABLE)
    raise ConfigError(
        f"{run_dir}: --set {key}: cannot change in the middle of a run{hint}; allowed are {', '.join(CHANGEABLE)}. "
        "For other values train a new run"
    )


def _with_steps(config: ExperimentConfig, steps: int, run_dir: Path) -> ExperimentConfig:
    """The experiment with a new total of steps."""
    taken = _taken(run_dir)
    if steps < max(taken, 1):
        raise ConfigError(
            f"{run_dir}: a new total of {steps} steps asked; {taken} were taken already, so allowed is a larger total"
        )
    if config.rule.trains_on == "host_then_array":
        raise ConfigError(
            f"{run_dir}: rule {config.rule.name!r} writes its weights to the array after a share of the run, so the "
            "total cannot change; train a new run with as many steps as you want"
        )
    return config.model_copy(update={"steps": steps})


def _taken(run_dir: Path) -> int:
    last = last_steps(run_dir)
    return max(last.metrics or 0, last.writes or 0)


def _last_kept(config: ExperimentConfig, run_dir: Path) -> int:
    """The step after which the run goes on: without an array the steps after the last checkpoint are taken again."""
    if config.rule.trains_on != "host":
        return _taken(run_dir)
    checkpoint = load_checkpoint(run_dir)
    return checkpoint.step if checkpoint is not None else 0


def _at(content: Mapping[str, Any], key: str) -> Any:
    value: Any = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
