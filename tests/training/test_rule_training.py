"""Every rule trains on the arrays: what it sends is on record, and a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.hal import ConfigError
from eapu_hil.rules import installed_rules
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import read_metrics, read_snapshots, read_writes
from eapu_hil.training.trainer import resume, train, trained_network

Make = Callable[..., ExperimentConfig]
Silent = Callable[..., Any]

NAMES = sorted(installed_rules())
BLIND = {"bp_open_loop", "two_pulse", "manhattan", "stellar", "mixed_precision", "stochastic_sparse_momentum"}
TWO_MATRICES = {"tiki_taka_v2", "c_ttv2", "agad"}
HOST_FIRST = {"offline_then_map", "hybrid"}
STEPS = 8


@pytest.fixture
def make(make_experiment: Make) -> Callable[..., ExperimentConfig]:
    def make_for(rule: str, **changes: Any) -> ExperimentConfig:
        optimizer = {"name": "sgd", "lr": 0.3, "momentum": 0.0}
        return make_experiment(
            rule={"name": rule}, bench={"arrays": 6}, steps=STEPS, **{"optimizer": optimizer, **changes}
        )

    return make_for


class _StopAfter:
    """A `Progress` that stops the run after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None:  # noqa: ARG002
        if step == self._step:
            raise KeyboardInterrupt

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_end(self) -> None: ...


def test_all_rules_are_tried_here() -> None:
    assert set(NAMES) > BLIND | TWO_MATRICES | HOST_FIRST
    assert len(NAMES) == 18


@pytest.mark.parametrize("rule", [name for name in NAMES if name != "digital"])
def test_what_a_rule_sends_is_on_record(rule: str, tmp_path: Path, make: Make, silent: Silent) -> None:
    summary = train(make(rule), tmp_path / "run", silent())
    assert summary["exit_status"] == "success"
    assert summary["steps"] == STEPS
    records = read_writes(tmp_path / "run")
    trained = records[records["step"] > 0]
    assert trained.size > 0 or rule == "dead_zone"
    blind = np.isnan(trained["after_S"])
    assert blind.all() if rule in BLIND | TWO_MATRICES else not blind.any()
    assert np.isfinite(trained["target_S"]).all()
    # The ledger saw as many pulses as the log.
    assert summary["pulses_total"] == records["pulses"].sum()
    assert summary["writes_total"] == np.count_nonzero(records["pulses"])


@pytest.mark.parametrize(
    "rule", ["mixed_precision", "stellar", "agad", "hybrid", "offline_then_map", "eapu_deterministic"]
)
def test_a_stopped_run_goes_on(rule: str, tmp_path: Path, make: Make, silent: Silent) -> None:
    experiment = make(rule, checkpoint_every=4)
    with pytest.raises(KeyboardInterrupt):
        train(experiment, tmp_path / "run", _StopAfter(6))
    before = read_writes(tmp_path / "run")
    summary = resume(tmp_path / "run", silent())
    assert summary["exit_status"] == "success"
    steps = [line["step"] for line in read_metrics(tmp_path / "run", "step")]
    assert steps == list(range(1, STEPS + 1))
    after = read_writes(tmp_path / "run")
    assert after[: before.size].tobytes() == before.tobytes()
    if rule != "offline_then_map":
        # What had happened to the chip was not done again: the log goes on with the step after it.
        assert after["step"][before.size :].min() == 7


@pytest.mark.parametrize("rule", sorted(HOST_FIRST))
def test_nothing_is_written_before_the_mapping(rule: str, tmp_path: Path, make: Make, silent: Silent) -> None:
    train(make(rule, evaluate_every=STEPS), tmp_path / "run", silent())
    steps = read_writes(tmp_path / "run")["step"]
    mapped = STEPS if rule == "offline_then_map" else round(0.8 * STEPS)
    assert set(steps) == set(range(mapped, STEPS + 1))
    maps = read_snapshots(tmp_path / "run")
    assert sum(int(maps[f"pulses_{n}"].sum()) for n in range(6)) > 0


def test_a_mapped_network_is_evaluated_on_the_array(tmp_path: Path, make: Make, silent: Silent) -> None:
    experiment = make("offline_then_map", optimizer={"name": "adam", "lr": 0.03})
    summary = train(experiment, tmp_path / "run", silent())
    assert summary["vmm_total"] > 0
    with trained_network(tmp_path / "run") as (task, network):
        again = task.evaluate(network.infer, quick=False).value
    assert again == pytest.approx(summary["metric"]["final"], abs=0.05)


def test_weights_on_the_host_stay_inside_what_a_pair_can_hold(
    tmp_path: Path, make: Make, silent: Silent
) -> None:
    experiment = make("offline_then_map", optimizer={"name": "adam", "lr": 3.0}, weight_range=0.5)
    train(experiment, tmp_path / "run", silent())
    # All targets are conductances of the window, none had to be cut: the largest is the window's end.
    targets_uS = read_writes(tmp_path / "run")["target_S"] * 1e6
    assert targets_uS.max() == pytest.approx(40.0, abs=1e-3)


def test_a_rule_without_its_pulses_is_refused_before_anything_is_opened(
    tmp_path: Path, make_experiment: Make, silent: Silent
) -> None:
    experiment = make_experiment(rule={"name": "manhattan"}, bench={"preset": "pcm"})
    with pytest.raises(ConfigError, match="no `increment`"):
        train(experiment, tmp_path / "run", silent())
    assert not (tmp_path / "run").exists()


def test_a_second_matrix_needs_its_own_cells(tmp_path: Path, make_experiment: Make, silent: Silent) -> None:
    experiment = make_experiment(rule={"name": "tiki_taka_v2"}, bench={"arrays": 2, "shape": [64, 12]})
    with pytest.raises(ConfigError, match="does not fit"):
        train(experiment, tmp_path / "run", silent())


def test_a_narrower_band_late_in_training(tmp_path: Path, make_experiment: Make, silent: Silent) -> None:
    errors = {}
    for band_uS in (None, 0.2):
        rule = {"name": "eapu", "late_band_uS": band_uS, "late_from": 0.5, "threshold_scale": 0.2}
        run = tmp_path / str(band_uS)
        train(make_experiment(rule=rule, optimizer={"name": "adam", "lr": 0.02}), run, silent())
        records = read_writes(run)
        late = records[(records["step"] > 5) & (records["status"] == 0)]
        early = records[(records["step"] <= 5) & (records["step"] > 0) & (records["status"] == 0)]
        errors[band_uS] = [np.abs(some["after_S"] - some["target_S"]).mean() for some in (early, late)]
    assert errors[0.2][0] == pytest.approx(errors[None][0])
    assert errors[0.2][1] < 0.5 * errors[None][1]
