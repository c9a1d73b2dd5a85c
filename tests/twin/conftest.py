"""Shared by the tests of the twin: presets with single parts switched, cells without an array around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.bench import Bench, open_bench
from eapu_hil.twin.cells import CellArray
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.state import StateFiles

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 1e-3,
    "pulses_per_cell_max": 1000,
}
MakeCells = Callable[..., CellArray]
OpenTwin = Callable[..., Bench]


@pytest.fixture
def make_preset() -> Callable[..., TwinPreset]:
    """`make_preset("ideal", {"forming.enabled": True})`."""

    def make(name: str = "rram_180nm", overrides: dict[str, Any] | None = None) -> TwinPreset:
        return load_model(TwinPreset, name, overrides or {}, "presets")

    return make


@pytest.fixture
def make_cells(make_preset: Callable[..., TwinPreset], tmp_path: Path) -> MakeCells:
    """Cells of the ideal preset with `overrides`; `folder` keeps their state."""

    def make(
        count: int = 400, overrides: dict[str, Any] | None = None, seed: int = 0, folder: str | None = None
    ) -> CellArray:
        made = len(list(tmp_path.iterdir()))
        files = StateFiles(tmp_path / (folder or f"cells{made}"))
        return CellArray(make_preset("ideal", overrides), np.full(count, np.nan), files, [[seed]])

    return make


@pytest.fixture
def open_twin(tmp_path: Path) -> Iterator[OpenTwin]:  # noqa: ARG001 - a chip in it is closed before it goes
    """`open_twin("ideal", shape=[16, 8], **{"circuit.line_resistance_ohm": 1.0})`: an open bench, closed at the end.

    Its cells are neither formed nor measured beforehand.
    """
    with ExitStack() as stack:

        def make(
            preset: str = "ideal",
            shape: tuple[int, int] = (16, 8),
            arrays: int = 1,
            seed: int = 0,
            chip_dir: Path | None = None,
            limits: dict[str, Any] | None = None,
            **overrides: Any,
        ) -> Bench:
            source = {
                "backend": "twin",
                "preset": preset,
                "overrides": overrides,
                "arrays": arrays,
                "shape": list(shape),
                "seed": seed,
                "limits": {**LIMITS, **(limits or {})},
            }
            return stack.enter_context(open_bench(source, chip_dir=chip_dir, commission=False))

        yield make
