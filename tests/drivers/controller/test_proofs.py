"""The board is asked past the host's interlock whether it holds its limits."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchwork import CELLS, V_READ_V, Bed
from boards import MISSING
from eapu_drivers.controller import messages
from eapu_drivers.controller.messages import Reason, Refused
from test_controller_crossbar import array_on

from eapu_hil.bench.ledger import ArrayLedger
from eapu_hil.hal import CellStatus, HilError, Limits, ProvesLimits, Targets


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_the_firmware_refuses_a_request_beyond_each_limit_and_nothing_reaches_a_cell(bed: Bed) -> None:
    assert isinstance(bed.array, ProvesLimits)
    proofs = {proof.limit: proof for proof in bed.array.prove_limits()}
    assert set(proofs) == {field.name for field in fields(Limits)}
    assert all("refused by the board" in proof.answer for proof in proofs.values())
    assert "3.500001 V" in proofs["v_max_v"].asked
    assert "3.5 allowed" in proofs["v_max_v"].answer
    assert (bed.lines().pulses, bed.lines().reads) == (0, 0)
    assert (bed.array.program(Targets(CELLS, np.full(128, 20e-6))).status == CellStatus.OK).all()
    assert bed.array.read(CELLS, V_READ_V).g_S.shape == (128,)


def test_a_board_that_takes_what_it_has_to_refuse_is_named_and_its_pulse_counts(
    link: Any, tmp_path: Path
) -> None:
    array = array_on(link)
    ledger = ArrayLedger(tmp_path, array.shape)
    array.account_to(ledger)
    with pytest.raises(HilError, match=r"array 0: .* beyond limits\.v_max_v: the board did not refuse it"):
        array.prove_limits()
    assert ledger.pulses(CELLS).sum() == link.pulses.sum() == 1
    ledger.close()
    assert link.grounds == 1


def test_a_refusal_for_another_reason_proves_nothing(link: Any) -> None:
    array = array_on(link)
    link.refuse = lambda request: (
        Refused(request.id, Reason.CONVERTER, 0, 3.5, 3.4) if isinstance(request, messages.Pulse) else None
    )
    with pytest.raises(HilError, match=r"refused, but for another reason: .*converter"):
        array.prove_limits()
