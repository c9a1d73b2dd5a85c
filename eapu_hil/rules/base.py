"""Bases of rules: one without state, one that accumulates unwritten changes; and checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, HilError, IntArray
from eapu_hil.network.finite import NotFiniteError
from eapu_hil.rules.contract import State


class BaseRule:
    """The base of a rule that keeps nothing from step to step; derive from it and add `propose`."""

    name: str

    def state(self) -> State:
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        if state:
            raise HilError(
                f"the checkpoint holds {sorted(state)} for rule {self.name!r}, which keeps no state"
            )

    def forget(self, index: IntArray, step_S: FloatArray) -> None:
        """Does nothing: the part of a step that was lost is not carried over."""


def require_finite(largest_S: float) -> None:
    """Raises NotFiniteError if the largest magnitude of the wanted changes is not finite."""
    if not np.isfinite(largest_S):
        raise NotFiniteError("the optimizer asks for a change that is not finite")


def plain(errors_S: NDArray[np.floating]) -> NDArray[np.floating]:
    """Write errors (n_weights,) as kernels take them: contiguous, and one number where it is the same for all."""
    return np.array(errors_S[:1]) if errors_S.strides == (0,) else np.ascontiguousarray(errors_S)


class AccumulatingRule(BaseRule):
    """A rule with one digital number per weight: the change in S that is not written yet."""

    def __init__(self, n_weights: int) -> None:
        self._acc = np.zeros(n_weights, np.float32)

    def state(self) -> State:
        """`acc`: shape (n_weights,), float32, the change in S of each weight that is not written yet."""
        return {"acc": self._acc.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `UpdateRule.restore`."""
        require_state(self.name, state, {"acc": self._acc})

    def forget(self, index: IntArray, step_S: FloatArray) -> None:
        """Subtracts changes asked for after the checkpoint, so that they are not asked for again."""
        np.subtract.at(self._acc, index, step_S.astype(np.float32))


def require_state(name: str, state: Mapping[str, NDArray[Any]], into: Mapping[str, NDArray[Any]]) -> None:
    """Copies a checkpoint's `state` of rule `name` into the arrays of `into`. Raises HilError if it is of
    another shape.
    """
    held = {key: value.shape for key, value in state.items()}
    expected = {key: value.shape for key, value in into.items()}
    if held != expected:
        raise HilError(f"the checkpoint holds {held} for rule {name!r}; expected {expected}")
    for key, value in state.items():
        into[key][...] = value
