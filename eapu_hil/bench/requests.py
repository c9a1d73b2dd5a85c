"""Requests as the interlock takes them over: of the contract's own classes, their numbers copied and read-only.

What was checked is then what is sent, whatever a caller, or a thread of it, does with its own arrays meanwhile, and
whatever a class derived from the contract's does when it is asked twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike
from pydantic import BaseModel, ValidationError

from eapu_hil.base.validation import in_words
from eapu_hil.hal import Cells, IntArray, LimitError, Pulses, Targets
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.vectors import whole_numbers


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


@dataclass(frozen=True, eq=False)
class Numbered:
    """The arrays that cells are on: the number of the array of each cell, shape (n,); `names` of all arrays."""

    array: IntArray
    names: Sequence[str]


def own_numbers(array: ArrayLike, names: Sequence[str], cells: int) -> Numbered:
    """See `own_cells`. names: of the arrays of a bench, by number. cells: how many there are."""
    own = whole_numbers(array, "array")
    if own.shape != (cells,):
        raise LimitError(
            f"array: numbers of shape {own.shape} asked; allowed is one for each of {cells} cells"
        )
    wrong = (own < 0) | (own >= len(names))
    if wrong.any():
        raise LimitError(f"array {own[wrong][0]} asked; the bench has arrays 0 to {len(names) - 1}")
    return Numbered(own, names)


def own_recipe(recipe: Recipe) -> Recipe:
    """A copy that was validated anew: `model_copy` and what is set past the model do not validate."""
    content = BaseModel.model_dump(recipe, warnings=False)
    try:
        return type(recipe).model_validate(content, strict=True)
    except ValidationError as error:
        key, said = in_words(type(recipe), content, error, ())
        raise LimitError(f"recipe {key}: {said}") from error
