"""The baseline that writes every weight at every step."""

from __future__ import annotations

import numpy as np
import pytest

from eapu_hil.hal import HilError
from eapu_hil.rules import WriteErrors
from eapu_hil.rules.bp import BpConfig

ERRORS = WriteErrors.uniform(2e-6, 5)


def test_proposes_every_change_in_full() -> None:
    dg_S = np.array([1e-9, 0, -5e-6, -0.0, 3e-12], np.float32)
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    proposal = BpConfig().make((5, 1), None).propose(dg_S, ERRORS, rng)
    assert proposal.index.tolist() == [0, 2, 4]
    assert proposal.index.dtype == np.int64
    assert np.array_equal(proposal.step_S, dg_S[[0, 2, 4]].astype(np.float64))
    assert rng.bit_generator.state == before


def test_no_change_no_write() -> None:
    proposal = (
        BpConfig().make((5, 1), None).propose(np.zeros(5, np.float32), ERRORS, np.random.default_rng(0))
    )
    assert proposal.index.size == proposal.step_S.size == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_step_is_refused(bad: float) -> None:
    dg_S = np.array([0, 0, bad, 0, 0], np.float32)
    with pytest.raises(HilError, match="a change that is not finite"):
        BpConfig().make((5, 1), None).propose(dg_S, ERRORS, np.random.default_rng(0))


def test_nothing_to_remember() -> None:
    rule = BpConfig().make((5, 1), None)
    assert rule.name == "bp"
    assert rule.state() == {}
    with pytest.raises(HilError, match="'bp'"):
        rule.restore({"acc": np.zeros(5)})
