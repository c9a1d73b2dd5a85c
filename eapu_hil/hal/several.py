"""Requests over several arrays, split by array, and the answers put together again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np

from eapu_hil.hal.crossbar import Reading, WriteOutcome
from eapu_hil.hal.vectors import IntArray

Answer = TypeVar("Answer", Reading, WriteOutcome)


def by_array(array: IntArray) -> list[tuple[int, IntArray]]:
    """Each array that any cell is on, in their order, and where its cells are. array: of each cell, shape (n,)."""
    if array.size == 0:
        return []
    order = np.argsort(array.astype(np.int16), kind="stable")  # numpy sorts these in linear time
    ordered = array[order]
    edges = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), array.size]
    return [(int(ordered[a]), order[a:b]) for a, b in pairwise(edges)]


def joined(answers: Sequence[Answer], places: Sequence[IntArray], like: Answer) -> Answer:
    """One answer for all cells. places: where the cells of each of `answers` are. like: one for no cells."""
    count = sum(here.size for here in places)
    whole = {}
    for name, empty in vars(like).items():
        whole[name] = np.empty(count, empty.dtype)
        for answer, here in zip(answers, places, strict=True):
            whole[name][here] = getattr(answer, name)
    return type(like)(**whole)


def no_reading() -> Reading:
    """The reading of no cells."""
    return Reading(np.zeros(0), np.zeros(0, np.uint8))


def no_writes() -> WriteOutcome:
    """The outcome for no cells."""
    real, whole = np.zeros(0), np.zeros(0, np.int64)
    return WriteOutcome(real, real, whole, whole, real, np.zeros(0, np.uint8))
