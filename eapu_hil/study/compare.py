"""The same experiment under several rules: a run for each in DIR/RULE, and comparison.json over all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eapu_hil.base.loading import load_model
from eapu_hil.base.locks import own
from eapu_hil.base.storage import storage_errors
from eapu_hil.hal import ConfigError
from eapu_hil.report.comparison_data import COMPARISON, write_comparison
from eapu_hil.report.page_files import PAGE, STANDALONE
from eapu_hil.training import resume, train
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.matrices import require_fit
from eapu_hil.training.progress import Progress
from eapu_hil.training.proof import prove
from eapu_hil.training.runs import read_start, read_summary, succeeded

_LOCK = "runs.lock"
_OWN_FILES = {COMPARISON, PAGE, STANDALONE, "figures", _LOCK}


def with_rules(
    experiment: ExperimentConfig, rules: Sequence[str], allow_modules: Collection[str] = ()
) -> dict[str, ExperimentConfig]:
    """The experiment once for each rule, by its label. The experiment's own rule keeps its parameters, others have
    defaults.

    allow_modules: modules that `rules` may name, besides those of the experiment. Raises ConfigError for an unknown
    rule or one that is named twice.
    """
    content, allowed = experiment.model_dump(mode="json"), {*experiment.modules, *allow_modules}
    if not rules:
        raise ConfigError("--rules: name at least one rule")
    found: dict[str, ExperimentConfig] = {}
    for name in rules:
        one = experiment
        if name != experiment.rule.name:
            changed = {**content, "rule": {"name": name}}
            try:
                one = load_model(ExperimentConfig, changed, (), "experiments", allow_modules=allowed)
            except ConfigError as error:
                raise ConfigError(f"--rules {name}: {error}") from error
            one = one.model_copy(update={"bench": experiment.bench})  # which knows its file
        if one.rule.label in found:
            raise ConfigError(f"--rules {','.join(rules)}: name each rule once")
        found[one.rule.label] = one
    return found


def compare(
    experiments: Mapping[str, ExperimentConfig], directory: Path, progress: Callable[[str], Progress]
) -> dict[str, Any]:
    """Trains each of `experiments` in `directory`/NAME and returns what comparison.json holds.

    A run of the same configuration that is there already is not repeated if it has finished, and resumed if it
    has not. progress: makes the progress of a run from its name. Raises ConfigError before anything is trained
    when an experiment cannot be run or `directory` holds something else.
    """
    if directory.exists():
        _require_comparison(directory)
    for experiment in experiments.values():
        if experiment.rule.trains_on != "host":
            require_fit(experiment.task.make(), experiment)
    with own_runs(directory):
        return _compare(experiments, directory, progress)


@contextmanager
def own_runs(directory: Path) -> Iterator[None]:
    """Makes `directory`, and this process the only one that trains runs in it. Raises InUseError, StorageError."""
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with own(directory / _LOCK, f"{directory}: another process trains its runs"):
        yield


def _compare(
    experiments: Mapping[str, ExperimentConfig], directory: Path, progress: Callable[[str], Progress]
) -> dict[str, Any]:
    summaries = {name: _finished(experiment, directory, name) for name, experiment in experiments.items()}
    comparison = _write(summaries, directory)
    for name, experiment in experiments.items():
        if summaries[name] is None:
            started = (directory / name).exists()
            bar = progress(name)
            summaries[name] = (
                resume(directory / name, bar, experiment.modules)
                if started
                else train(experiment, directory / name, bar)
            )
            comparison = _write(summaries, directory)
    return comparison


def _write(summaries: Mapping[str, dict[str, Any] | None], directory: Path) -> dict[str, Any]:
    """comparison.json, of what has ended so far: a report can be made of it at any time."""
    rules = {name: summary for name, summary in summaries.items() if summary is not None}
    comparison = {"rules": rules, "ratios": ratios(rules), "planned": list(summaries)}
    write_comparison(directory, comparison)
    return comparison


def ratios(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """For each pair "A/B": A's counts and energy over B's, and A's final metric minus B's.

    None where a rule has no such number, as `digital` has no writes.
    """
    found = {}
    for first, one in summaries.items():
        for second, other in summaries.items():
            if first != second:
                found[f"{first}/{second}"] = {
                    "metric_difference": _difference(_final(one), _final(other)),
                    "update_ratio_mean": _ratio(one.get("update_ratio_mean"), other.get("update_ratio_mean")),
                    "writes_total": _ratio(one.get("writes_total"), other.get("writes_total")),
                    "pulses_total": _ratio(one.get("pulses_total"), other.get("pulses_total")),
                    "energy_j": _ratio(_energy(one), _energy(other)),
                }
    return found


def require_same_experiment(run_dir: Path, experiment: ExperimentConfig) -> None:
    """Raises ConfigError when the run in `run_dir` is not one of `experiment`, HilError when it is damaged."""
    prove(run_dir)
    content, another = read_start(run_dir).get("experiment", {}), "holds a run of another configuration"
    if (_name(content, "rule"), _name(content, "task")) != (experiment.rule.name, experiment.task.name):
        raise ConfigError(f"{run_dir}: {another}; name a new directory with --out")
    allowed = experiment.modules
    if load_model(ExperimentConfig, content, (), "experiments", allow_modules=allowed) != experiment:
        raise ConfigError(f"{run_dir}: {another}; name a new directory with --out")


def _name(content: Mapping[str, Any], key: str) -> Any:
    section = content.get(key)
    return section.get("name") if isinstance(section, Mapping) else section


def _finished(experiment: ExperimentConfig, directory: Path, name: str) -> dict[str, Any] | None:
    """The summary of the run that is there, None if it has not finished or not begun."""
    run_dir = directory / name
    if not run_dir.exists():
        return None
    require_same_experiment(run_dir, experiment)
    summary = read_summary(run_dir)
    return summary if succeeded(summary) else None


def _require_comparison(directory: Path) -> None:
    if not directory.is_dir():
        raise ConfigError(f"{directory}: already exists and is no directory")
    for entry in directory.iterdir():
        if entry.name not in _OWN_FILES and not (entry / "start.yaml").is_file():
            raise ConfigError(
                f"{directory}: already exists and holds {entry.name}, which is no part of a comparison; "
                "name a new directory with --out"
            )


def _final(summary: Mapping[str, Any]) -> float | None:
    value: float | None = (summary.get("metric") or {}).get("final")
    return value


def _energy(summary: Mapping[str, Any]) -> float | None:
    value: float | None = (summary.get("energy_j") or {}).get("total")
    return value


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _difference(one: float | None, other: float | None) -> float | None:
    return one - other if one is not None and other is not None else None
