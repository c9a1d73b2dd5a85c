from __future__ import annotations

import numpy as np
from rule_steps import US, errors, steps_uS

from eapu_hil.rules import Proposal
from eapu_hil.rules.dead_zone import DeadZoneConfig


def test_a_step_by_hand() -> None:
    rule = DeadZoneConfig(threshold_uS=1.0).make((4, 1), None)
    answer = rule.propose(steps_uS(0.9, -1.5, 0.0, 3.0), errors(4), np.random.default_rng(0))
    assert isinstance(answer, Proposal)
    assert answer.index.tolist() == [1, 3]
    np.testing.assert_allclose(answer.step_S, [-1.5 * US, 3.0 * US], rtol=1e-6)
