"""A bench of instruments shows what its instruments hold of its limits, with every output off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benches import FAMILIES, Opened, benches

from eapu_hil.hal import InstrumentError, ProvesLimits


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Opened]]:
    with benches(tmp_path, monkeypatch) as open_it:
        yield open_it


@pytest.mark.parametrize("resource", FAMILIES)
def test_compliance_and_range_are_read_back(opened: Callable[[str], Opened], resource: str) -> None:
    it = opened(resource)
    array = it.bench.arrays[0]._device
    assert isinstance(array, ProvesLimits)
    before_S = it.station._array._cells.g_S.copy()
    proofs = {proof.limit: proof for proof in array.prove_limits()}
    assert set(proofs) == {
        "v_max_v",
        "i_max_a",
        "v_read_max_v",
        "instruments.i_read_max_a",
        "v_gate_max_v",
        "instruments.i_gate_max_a",
    }
    assert "compliance of 0.002 A, output off" in proofs["i_max_a"].answer
    assert "compliance of 1e-06 A, output off" in proofs["instruments.i_gate_max_a"].answer
    assert (it.station._array._cells.g_S == before_S).all()
    assert it.grounded()


def test_a_limit_that_is_not_held(opened: Callable[[str], Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    it = opened("sim:2450")
    device = it.station.servers["source"].device

    def takes_another(_: float) -> None:
        device.channel.drive(i_limit_a=0.05)  # type: ignore[attr-defined]

    monkeypatch.setattr(device._unit, "set_limit", takes_another)  # type: ignore[attr-defined]
    array = it.bench.arrays[0]._device
    assert isinstance(array, ProvesLimits)
    with pytest.raises(InstrumentError, match=r"compliance, A: 0\.002 asked, but .* reports 0\.05"):
        array.prove_limits()
    assert it.grounded()
