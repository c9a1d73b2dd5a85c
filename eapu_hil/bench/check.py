"""`eapu-hil check`: proves that the host refuses more than each limit, and asks the device whether it does, too.

Leaves every line grounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from eapu_hil.bench.opening import open_bench
from eapu_hil.bench.recipe_limits import strongest_v
from eapu_hil.hal import (
    Cells,
    Crossbar,
    DeviceProof,
    Direction,
    HilError,
    Identity,
    LimitError,
    LineFault,
    Polarity,
    Pulses,
    Targets,
)
from eapu_hil.hal.recipe import Recipe

_BEYOND = 1.001  # of the limit: just too much
_NO_LIMITS = ("shape", "closed")  # tested, but no key under `limits`
_HARMLESS_V = 0.1  # amplitude of requests that test another limit


@dataclass(frozen=True)
class Proof:
    """One request that the host refused. array: number. limit: key of the bench file, or what else was tested."""

    array: int
    limit: str
    asked: str
    refusal: str


@dataclass(frozen=True)
class Checked:
    """identities: of each array. All of them are grounded and closed.

    device_proofs: the limits that the device of each array holds by itself; None where it was not asked, as it holds
    none. faults: of the lines of each array; None where it cannot tell.
    """

    identities: list[Identity]
    shapes: list[tuple[int, int]]
    proofs: list[Proof]
    device_proofs: list[list[DeviceProof] | None]
    faults: list[list[LineFault] | None]


def check(source: Path | str, overrides: Sequence[str] = (), *, exchanged: bool = False) -> Checked:
    """Opens a bench, identifies its arrays, tests contacts, asks for a little more than each limit, grounds, closes.

    overrides: of the bench file, as for `open_bench`.

    The requests are for one cell and as weak as they can be in all but what they test, so that even a bench
    without an interlock would come to no harm. Raises HilError as soon as one of them is not refused because of the
    limit that it tests, or a device does not hold a limit.
    """
    proofs: list[Proof] = []
    with open_bench(source, overrides, commission=False, exchanged=exchanged) as bench:
        arrays = bench.arrays
        identities, shapes = [array.identity for array in arrays], [array.shape for array in arrays]
        faults = [array.test_contacts() for array in arrays]
        for number, array in enumerate(arrays):
            for limit, asked, request in _requests(array, bench.recipe):
                proofs.append(Proof(number, limit, asked, _refusal(number, limit, asked, request)))
        device_proofs = [array.prove_limits() for array in arrays]
        for array in arrays:
            array.ground()
    for number, array in enumerate(arrays):
        asked = "a read after closing"
        read = partial(array.read, Cells.block(0, 1, 0, 1), _HARMLESS_V)
        proofs.append(Proof(number, "closed", asked, _refusal(number, "closed", asked, read)))
    return Checked(identities, shapes, proofs, device_proofs, faults)


def _requests(array: Crossbar, recipe: Recipe) -> list[tuple[str, str, Callable[[], object]]]:
    limits, cell = array.limits, Cells.block(0, 1, 0, 1)
    rows, columns = array.shape
    amplitude_v, gate_v = limits.v_max_v * _BEYOND, limits.v_gate_max_v * _BEYOND
    width_s, read_v = limits.width_max_s * _BEYOND, limits.v_read_max_v * _BEYOND
    count = limits.pulses_per_cell_max + 1
    g_S = limits.i_max_a / strongest_v(recipe) * _BEYOND
    # The window is wide enough, so that only the current is in the way.
    wide = recipe.model_copy(update={"g_max_S": 2 * max(g_S, recipe.g_max_S)})

    def pulse(
        amplitude_v: float = _HARMLESS_V, gate_v: float = 0.0, width_s: float = 1e-9, count: int = 1
    ) -> None:
        polarity = np.array([Polarity.SET])
        array.pulse(
            Pulses(
                cell,
                polarity,
                np.array([amplitude_v]),
                np.array([gate_v]),
                np.array([width_s]),
                np.array([count]),
            )
        )

    def product(direction: Direction) -> None:
        lines = rows if direction is Direction.FORWARD else columns
        array.vmm(np.full((1, lines), read_v), direction)

    return [
        ("v_max_v", f"a pulse of {amplitude_v:.6g} V", lambda: pulse(amplitude_v=amplitude_v)),
        ("v_gate_max_v", f"a gate of {gate_v:.6g} V", lambda: pulse(gate_v=gate_v)),
        ("width_max_s", f"a pulse of {width_s:.6g} s", lambda: pulse(width_s=width_s)),
        ("pulses_per_cell_max", f"{count} pulses on one cell", lambda: pulse(count=count)),
        ("v_read_max_v", f"a read at {read_v:.6g} V", lambda: array.read(cell, read_v)),
        ("v_read_max_v", f"a product at {read_v:.6g} V", lambda: product(Direction.FORWARD)),
        ("v_read_max_v", f"a transposed product at {read_v:.6g} V", lambda: product(Direction.TRANSPOSED)),
        (
            "i_max_a",
            f"a target that draws {g_S * strongest_v(recipe):.6g} A",
            lambda: array.program(Targets(cell, np.array([g_S])), wide),
        ),
        (
            "shape",
            f"cell ({rows}, {columns})",
            lambda: array.read(Cells(np.array([rows]), np.array([columns])), 0.1),
        ),
    ]


def _refusal(number: int, limit: str, asked: str, request: Callable[[], object]) -> str:
    try:
        request()
    except LimitError as error:
        if limit in _NO_LIMITS or f"limits.{limit}" in str(error):
            return str(error)
        raise HilError(
            f"array {number}: {limit}: {asked} was refused, but for another reason: {error}"
        ) from error
    raise HilError(f"array {number}: {limit}: {asked} was not refused; do not use this bench")
