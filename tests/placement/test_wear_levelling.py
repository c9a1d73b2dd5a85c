"""Wear levelling: worn cells are written more rarely, and the mean update stays right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from eapu_hil.hal import ConfigError
from eapu_hil.placement.mapping import WeightTile
from eapu_hil.placement.wear_levelling import FACTOR_MAX, WearLevelling
from eapu_hil.rules import Proposal, WriteErrors
from eapu_hil.rules.contract import MINUS, NEITHER, PLUS
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import read_writes
from eapu_hil.training.trainer import train

US = 1e-6

Trained = Callable[[dict[str, Any] | None, Path], tuple[dict[str, Any], NDArray[np.void]]]


@pytest.fixture
def trained(make_experiment: Callable[..., ExperimentConfig], silent: Callable[..., Any]) -> Trained:
    """Trains 80 steps with this wear levelling in a directory; returns the summary and the writes."""

    def run(levelling: dict[str, Any] | None, run_dir: Path) -> tuple[dict[str, Any], NDArray[np.void]]:
        experiment = make_experiment(
            steps=80,
            evaluate_every=80,
            checkpoint_every=80,
            wear_levelling=levelling,
            rule={"name": "eapu", "threshold_scale": 0.5},
        )
        return train(experiment, run_dir, silent()), read_writes(run_dir)

    return run


def test_factors_by_hand() -> None:
    # The more worn cells took 10, 20, 60 and 30 pulses: mean 30.
    pulses = np.array([[10, 0], [5, 20], [60, 60], [30, 0]])
    errors = WriteErrors.uniform(2 * US, 4)
    raised = WearLevelling(threshold_growth=1.0).raised(errors, pulses)
    np.testing.assert_allclose(raised.up_S, np.array([2, 2, 4, 2]) * US)
    np.testing.assert_allclose(raised.down_S, raised.up_S)
    rooted = WearLevelling(threshold_growth=0.5).raised(errors, pulses)
    np.testing.assert_allclose(rooted.up_S[2], 2 * US * 2**0.5)
    capped = WearLevelling(threshold_growth=9.0).raised(errors, pulses)
    np.testing.assert_allclose(capped.up_S[2], FACTOR_MAX * 2 * US)


def test_a_fresh_chip_and_no_growth_change_nothing() -> None:
    errors = WriteErrors.uniform(2 * US, 2)
    for levelling, pulses in (
        (WearLevelling(), [[0, 0], [0, 0]]),
        (WearLevelling(threshold_growth=0.0), [[1, 0], [9, 9]]),
    ):
        raised = levelling.raised(errors, np.array(pulses))
        np.testing.assert_array_equal(raised.up_S, errors.up_S)


def test_a_worn_weight_is_written_more_rarely_and_its_mean_change_stays() -> None:
    n = 20_000
    pulses = np.full((n, 2), 10)
    pulses[: n // 100] = 100
    raised = WearLevelling().raised(WriteErrors.uniform(2 * US, n), pulses)
    rule, rng = EapuConfig().make((n, 1), None), np.random.default_rng(0)
    writes, change_S = np.zeros((2, n))
    for _ in range(200):
        proposal = rule.propose(np.full(n, 0.1 * US, np.float32), raised, rng)
        assert isinstance(proposal, Proposal)
        writes[proposal.index] += 1
        change_S[proposal.index] += proposal.step_S
    worn, other = slice(None, n // 100), slice(n // 100, None)
    factor = 100 / (0.01 * 100 + 0.99 * 10)
    assert writes[other].mean() / writes[worn].mean() == pytest.approx(factor, rel=0.2)
    # 200 weights and steps, some 0.5 % of them written: relative error 7 %.
    assert change_S[worn].mean() == pytest.approx(200 * 0.1 * US, rel=0.25)
    assert change_S[other].mean() == pytest.approx(200 * 0.1 * US, rel=0.02)


def test_in_training_it_takes_writes_from_the_hottest_cells(tmp_path: Path, trained: Trained) -> None:
    found = {}
    for name, levelling in (("off", None), ("on", {"threshold_growth": 2.0})):
        summary, records = trained(levelling, tmp_path / name)
        found[name] = (summary["pulses_per_cell"]["p999"] / summary["pulses_per_cell"]["mean"], records.size)
    assert found["on"][0] < 0.85 * found["off"][0]
    assert found["on"][1] < found["off"][1]


def test_the_less_worn_cell_of_a_pair_is_chosen() -> None:
    pulses = np.array([[30, 10], [10, 20], [19, 10], [5, 5]])
    np.testing.assert_array_equal(WearLevelling().sides(pulses), [MINUS, PLUS, NEITHER, NEITHER])


def test_pairs_that_share_their_wear(tmp_path: Path, trained: Trained) -> None:
    """The cells of a pair end closer together, and the more worn one lower; without, one of them takes most."""
    apart, worn = {}, {}
    for name, levelling in (("off", None), ("on", {"threshold_growth": 0.0, "share_pairs": True})):
        _, records = trained(levelling, tmp_path / name)
        pulses = np.zeros((3, 64, 16))
        np.add.at(pulses, (records["array"], records["row"], records["col"]), records["pulses"])
        pairs = [
            pulses[tile.array][tile.rows[:, None], np.stack([tile.plus, tile.minus])[:, None, :]]
            for key, plain in json.loads((tmp_path / name / "placement.json").read_text()).items()
            if key != "seal"
            for tile in map(WeightTile.from_plain, plain)
        ]
        plus, minus = (np.concatenate([both[side].ravel() for both in pairs]) for side in (PLUS, MINUS))
        apart[name], worn[name] = np.abs(plus - minus).mean(), np.maximum(plus, minus).mean()
    assert apart["on"] < 0.7 * apart["off"]
    assert worn["on"] < 0.95 * worn["off"]


def test_sharing_pairs_is_for_rules_that_leave_the_cell_open(
    make_experiment: Callable[..., ExperimentConfig],
) -> None:
    with pytest.raises(
        ConfigError, match=r"share_pairs: rule 'two_pulse' chooses the cells.*allowed with bp"
    ):
        make_experiment(
            rule={"name": "two_pulse"}, wear_levelling={"threshold_growth": 0.0, "share_pairs": True}
        )


def test_bad_values_are_refused() -> None:
    for values in ({"threshold_growth": -1}, {"factor_max": 2.0}, {"remap": 3}):
        with pytest.raises(ValidationError):
            WearLevelling(**values)


@pytest.mark.parametrize(
    "rule", [{"name": "bp"}, {"name": "mixed_precision"}, {"name": "eapu", "threshold_uS": 2.0}]
)
def test_a_rule_whose_threshold_does_not_follow_the_write_error_is_refused(
    rule: dict[str, Any], make_experiment: Callable[..., ExperimentConfig]
) -> None:
    with pytest.raises(ConfigError, match="wear_levelling: threshold_growth raises thresholds that follow"):
        make_experiment(rule=rule, wear_levelling={"threshold_growth": 1.0})
