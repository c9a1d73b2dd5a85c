"""The crossbars that the contract's suite runs against. A new backend joins by one more entry of `BENCHES`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eapu_drivers.simulated.board import rig
from proxy import Proxy

from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.forming import form
from eapu_hil.hal import Cells

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 1e-3,
    "pulses_per_cell_max": 100,
    "v_read_max_v": 0.25,
}
# Instruments pulse for milliseconds.
SLOW_LIMITS = {**LIMITS, "width_max_s": 2e-2}


# What changes cells between two readings that are seconds apart, as they are here, and not between those of a board.
SLOW_CHANGES_OFF = {
    "relaxation.enabled": False,
    "rtn.enabled": False,
    "read_noise.flicker_relative_per_decade": 0.0,
}


def instruments(resource: str, **instruments: Any) -> dict[str, Any]:
    return {
        "backend": "smu",
        "resource": resource,
        "instruments": instruments,
        "overrides": {"faults.stuck_fraction": 0.0, **SLOW_CHANGES_OFF},
        "shape": [4, 4],  # each cell takes some hundred messages
        "limits": SLOW_LIMITS,
    }


BENCHES: dict[str, dict[str, Any]] = {
    "twin rram_180nm": {
        "backend": "twin",
        "preset": "rram_180nm",
        "overrides": {"faults.stuck_fraction": 0.0},
        "shape": [16, 8],
        "limits": LIMITS,
    },
    "twin ideal": {"backend": "twin", "preset": "ideal", "shape": [16, 8], "limits": LIMITS},
    "controller on posix": {
        "backend": "controller",
        "port": "sim:posix",
        "overrides": {"faults.stuck_fraction": 0.0},
        "shape": [16, 8],
        "limits": LIMITS,
    },
    "controller on a bad line": {
        "backend": "controller",
        "port": "sim:posix",
        "overrides": {"faults.stuck_fraction": 0.0},
        "shape": [16, 8],
        "limits": LIMITS,
    },
    "controller in QEMU": {
        "backend": "controller",
        "port": "sim:qemu",
        "overrides": {"faults.stuck_fraction": 0.0},
        "shape": [16, 8],
        "limits": LIMITS,
    },
    "Keithley 2400 + 707B": instruments("sim:2400"),
    "Keithley 2450 + 707B": instruments("sim:2450"),
    "Keithley 2600B + 707B": instruments("sim:2600b"),
    "Keysight B2900 + 34980A": instruments("sim:b2900", switch="sim:34980a"),
}
# Of the frames between host and controller: corrupted, dropped, duplicated, delayed, reordered.
FRAMES_HIT = {"controller on a bad line": 0.05}
# What a simulated controller needs: program, package.
TOOLS = {
    "sim:posix": {"make": "make", "cc": "gcc"},
    "sim:qemu": {
        "make": "make",
        "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
        "qemu-system-arm": "qemu-system-arm",
    },
}


def opened(name: str) -> Iterator[Bench]:
    missing = [
        package
        for tool, package in TOOLS.get(BENCHES[name].get("port", ""), {}).items()
        if shutil.which(tool) is None
    ]
    if missing:
        pytest.skip(f"{name}: apt-get install {' '.join(missing)}")
    with pytest.MonkeyPatch.context() as patch:
        if name in FRAMES_HIT:
            patch.setattr(rig, "start", behind_a_proxy(FRAMES_HIT[name]))
        # Instruments write cell by cell: forming is enough, and the write error is not needed here.
        by_hand = BENCHES[name]["backend"] == "smu"
        with open_bench(BENCHES[name], commission=not by_hand) as bench:
            if by_hand:
                at_once = bench.recipe.form.amplitude.model_copy(update={"start_v": 3.4})
                law = bench.recipe.form.model_copy(update={"amplitude": at_once})
                recipe = bench.recipe.model_copy(update={"form": law})
                form(bench.arrays[0], Cells.all(bench.config.shape), recipe)
            yield bench


def behind_a_proxy(share: float) -> Callable[..., rig.Rig]:
    """`rig.start`, with a line that damages this share of the frames."""
    start = rig.start

    def start_behind(*arguments: Any) -> rig.Rig:
        board = start(*arguments)
        board.host = Proxy(board.host, share=share).near
        return board

    return start_behind


@pytest.fixture(params=BENCHES, scope="module")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An open bench of one array of 16 x 8 cells that are formed and work. The tests of a module share it."""
    yield from opened(request.param)


@pytest.fixture(params=BENCHES)
def own_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The same for one test alone, which may close it."""
    yield from opened(request.param)
