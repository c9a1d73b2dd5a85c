"""Tiki-Taka v2, chopped, and AGAD: one step of each by hand."""

from __future__ import annotations

import numpy as np
import pytest
from rule_steps import RESET, SET, US, errors, pulses, steps_uS

from eapu_hil.hal.recipe import Recipe
from eapu_hil.rules import TransferRule
from eapu_hil.rules.agad import AgadConfig
from eapu_hil.rules.c_ttv2 import CTtv2Config
from eapu_hil.rules.tiki_taka_v2 import TikiTakaV2Config

RNG = np.random.default_rng(0)
SHAPE = (3, 2)


def transferring(config: TikiTakaV2Config | CTtv2Config | AgadConfig, recipe: Recipe) -> TransferRule:
    rule = config.make(SHAPE, recipe)
    assert isinstance(rule, TransferRule)
    return rule


def test_the_fast_matrix_gets_whole_increments_at_random(recipe: Recipe) -> None:
    rule = transferring(TikiTakaV2Config(), recipe)
    assert pulses(rule.propose(steps_uS(2.0, -1.0, 0, 0, 0, 0), errors(6), RNG)) == [
        [(0, "+", SET, 2), (1, "+", RESET, 1)],
        [(0, "-", RESET, 2), (1, "-", SET, 1)],
    ]
    many = TikiTakaV2Config().make((5000, 1), recipe)
    answer = pulses(many.propose(np.full(5000, -0.3e-6, np.float32), errors(5000), RNG))
    assert {one[2:] for one in answer[0]} == {(RESET, 1)}
    assert len(answer[0]) / 5000 == pytest.approx(0.3, abs=5 * 0.0065)


def test_rows_are_read_in_turn_and_moved_when_they_are_large(recipe: Recipe) -> None:
    rule = transferring(TikiTakaV2Config(transfer=0.5, rows=2), recipe)
    assert rule.due().tolist() == [0, 1, 2, 3]
    # H becomes 0.5 * A: 1.5, -0.4, 0.1, 0.2 uS; an increment of the pair is 1 uS.
    assert pulses(rule.transfer(np.array([3.0, -0.8, 0.2, 0.4]) * US, RNG)) == [
        [(0, "+", SET, 1)],
        [(0, "-", RESET, 1)],
    ]
    np.testing.assert_allclose(rule.state()["acc"], steps_uS(0.5, -0.4, 0.1, 0.2, 0, 0), atol=1e-12)
    assert rule.due().tolist() == [4, 5, 0, 1]
    # -0.4 - 0.8 = -1.2 in the second weight
    assert pulses(rule.transfer(np.array([0.0, 0.0, 0.0, -1.6]) * US, RNG))[0] == [(1, "+", RESET, 1)]
    again = transferring(TikiTakaV2Config(transfer=0.5, rows=2), recipe)
    again.restore(rule.state())
    assert again.due().tolist() == rule.due().tolist()


def test_a_flipped_row_is_written_and_read_with_the_other_sign(recipe: Recipe) -> None:
    rule = transferring(CTtv2Config(transfer=1.0, rows=1, flip=1.0), recipe)
    rest_S = np.array([0.4, 0.0]) * US
    rule.transfer(rest_S, RNG)  # row 0 is read as it is, then its sign flips
    np.testing.assert_allclose(rule.state()["acc"][:2], rest_S)
    assert rule.state()["chopper"].tolist() == [-1, 1, 1]
    first, _ = pulses(rule.propose(steps_uS(1, 0, 1, 0, 0, 0), errors(6), RNG))
    assert first == [(0, "+", RESET, 1), (2, "+", SET, 1)]
    rule.transfer(np.zeros(2), RNG)
    rule.transfer(np.zeros(2), RNG)
    rule.transfer(rest_S, RNG)  # what the row rests at has cancelled
    np.testing.assert_allclose(rule.state()["acc"][:2], 0.0, atol=1e-12)


def test_agad_takes_the_other_sign_as_reference(recipe: Recipe) -> None:
    rule = transferring(AgadConfig(transfer=0.5, rows=3, flip=1.0, significance=0.0), recipe)
    rest_S = np.array([5.0, 5.0, 0, 0, 0, 0]) * US
    rule.transfer(rest_S, RNG)  # sign +: nothing to compare with yet
    np.testing.assert_array_equal(rule.state()["acc"], 0.0)
    moved_S = (
        np.array([-0.6, 0.0, 0, 0, 0, 0]) * US
    )  # written under -: the gradient pushed the weight up by 0.6
    rule.transfer(rest_S + moved_S, RNG)
    np.testing.assert_allclose(rule.state()["acc"], steps_uS(0.3, 0, 0, 0, 0, 0), atol=1e-12)


def test_agad_leaves_out_what_may_be_chance(recipe: Recipe) -> None:
    found = []
    for significance in (0.0, 3.0):
        rule = transferring(AgadConfig(transfer=1.0, rows=3, flip=0.3, significance=significance), recipe)
        rng = np.random.default_rng(3)
        sent = [pulses(rule.transfer(1.0e-6 * rng.standard_normal(6), rng)) for _ in range(400)]
        found.append(sum(len(train) for trains in sent for train in trains))
    assert found[1] < 0.25 * found[0]
