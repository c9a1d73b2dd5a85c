"""The numbers of a request: copied, read-only, and refused where numpy would bend them to something else.

numpy makes row 0 of -0.9, rows 0 and 1 of a boolean mask, real numbers of complex ones, and shows what lies under a
mask. None of that may decide which cell gets which pulse.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eapu_hil.base.errors import LimitError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_EXACT = 2.0**53  # floats beyond it are not every whole number


def real_numbers(value: ArrayLike, what: str) -> FloatArray:
    """`value` as a read-only float64 array of its own. Raises LimitError for what is not real numbers."""
    return _frozen(_as_float64(_plain(value, what)))


def whole_numbers(value: ArrayLike, what: str) -> IntArray:
    """`value` as a read-only int64 array of its own. Raises LimitError for what is not whole numbers."""
    array = _plain(value, what)
    if array.dtype.kind == "f":
        array = _as_float64(array)
        wrong = ~((array == np.trunc(array)) & (np.abs(array) < _EXACT))  # NaN and inf are wrong, too
    elif array.dtype.kind == "u":
        wrong = array > np.iinfo(np.int64).max
    else:
        return _frozen(array.astype(np.int64, copy=False))
    if wrong.any():
        raise LimitError(f"{what}: {array[wrong].flat[0]} asked; allowed are whole numbers")
    return _frozen(array.astype(np.int64, copy=False))


def real_number(value: float, what: str) -> float:
    """One real number. Raises LimitError for anything else."""
    array = _plain(value, what)
    if array.ndim:
        raise LimitError(f"{what}: an array of shape {array.shape} asked; allowed is one number")
    return float(array)


def volts(value: ArrayLike, what: str) -> NDArray[np.floating]:
    """As `real_numbers`; float32 stays float32, so that a product is what the caller's numbers give."""
    array = _plain(value, what)
    if array.dtype != np.float32:
        array = _as_float64(array)
    return _frozen(array)


def _plain(value: ArrayLike, what: str) -> NDArray[Any]:
    """A copy of real numbers, of numpy's own class, whatever was given."""
    if type(value) is np.ndarray and value.dtype.kind in "iuf":
        return value.copy()
    several = value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(one, np.ma.MaskedArray) for one in several):
        raise LimitError(f"{what}: a masked array asked; allowed are plain numbers, nothing of them masked")
    if any(isinstance(one, (bool, np.bool_)) for one in several):
        raise LimitError(
            f"{what}: truth values asked; allowed are numbers (np.flatnonzero makes them of a mask)"
        )
    try:
        array: NDArray[Any] = np.array(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise LimitError(f"{what}: {type(value).__name__} asked; allowed are numbers ({error})") from error
    if array.dtype.kind not in "iuf":
        raise LimitError(f"{what}: values of type {array.dtype} asked; allowed are real numbers")
    return array


def _as_float64(array: NDArray[Any]) -> FloatArray:
    """A long double that is too large becomes infinite, which no limit allows."""
    with np.errstate(over="ignore"):
        return array.astype(np.float64, copy=False)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
