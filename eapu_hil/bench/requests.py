"""Requests as the interlock takes them over: of the contract's own classes, their numbers copied and read-only.

What was checked is then what is sent, whatever a caller, or a thread of it, does with its own arrays meanwhile, and
whatever a class derived from the contract's does when it is asked twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ValidationError

from eapu_hil.base.validation import in_words
from eapu_hil.hal import Cells, Direction, IntArray, LimitError, Pulses, Targets
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.vectors import volts, whole_numbers


@dataclass(frozen=True, eq=False)
class Product:
    """A product request, as `Crossbar.vmm` takes it."""

    v_in_v: NDArray[np.floating]
    direction: Direction
    lines_in: IntArray | None
    lines_out: IntArray | None


def own_cells(cells: Cells) -> Cells:
    """Raises LimitError for positions that are no whole numbers, as all of these do for what is no number."""
    return Cells(cells.row, cells.col)


def own_pulses(pulses: Pulses) -> Pulses:
    """See `own_cells`."""
    return Pulses(
        own_cells(pulses.cells),
        pulses.polarity,
        pulses.amplitude_v,
        pulses.gate_v,
        pulses.width_s,
        pulses.count,
    )


def own_targets(targets: Targets) -> Targets:
    """See `own_cells`."""
    return Targets(own_cells(targets.cells), targets.g_target_S)


def own_product(
    v_in_v: ArrayLike, direction: Direction, lines_in: ArrayLike | None, lines_out: ArrayLike | None
) -> Product:
    """See `own_cells`."""
    if not isinstance(direction, Direction):
        allowed = ", ".join(map(str, Direction))
        raise LimitError(f"a product in direction {direction!r} asked; allowed are {allowed}")
    return Product(
        volts(v_in_v, "v_in_v"),
        direction,
        None if lines_in is None else whole_numbers(lines_in, "lines_in"),
        None if lines_out is None else whole_numbers(lines_out, "lines_out"),
    )


def own_recipe(recipe: Recipe) -> Recipe:
    """A copy that was validated anew: `model_copy` and what is set past the model do not validate."""
    content = BaseModel.model_dump(recipe, warnings=False)
    try:
        return type(recipe).model_validate(content, strict=True)
    except ValidationError as error:
        key, said = in_words(type(recipe), content, error, ())
        raise LimitError(f"recipe {key}: {said}") from error
