from __future__ import annotations

import numpy as np
from rule_steps import US, errors, steps_uS

from eapu_hil.rules import Proposal
from eapu_hil.rules.threshold_accumulate import ThresholdAccumulateConfig


def test_three_steps_by_hand() -> None:
    rule, rng = ThresholdAccumulateConfig(threshold_uS=2.0).make((2, 1), None), np.random.default_rng(0)
    for expected in ([], [], [0]):
        # 0.7 uS three times; the other weight's 0.3 uS stay owed.
        answer = rule.propose(steps_uS(-0.7, 0.3), errors(2), rng)
        assert isinstance(answer, Proposal)
        assert answer.index.tolist() == expected
    np.testing.assert_allclose(answer.step_S, [-2.1 * US], rtol=1e-6)
    np.testing.assert_allclose(rule.state()["acc"], steps_uS(0.0, 0.9), atol=1e-12)
