"""Taking over what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from eapu_hil.hal import HilError
from eapu_hil.training.runs import Checkpoint


@contextmanager
def fitting(checkpoint: Checkpoint) -> Iterator[None]:
    """Around taking over what a checkpoint holds. Raises HilError where it is that of another network."""
    try:
        yield
    except (KeyError, ValueError, TypeError) as error:
        raise HilError(f"{checkpoint.path}: does not fit the network of this run: {error}") from error


def under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays whose names begin with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
