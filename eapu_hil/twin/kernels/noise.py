"""Random numbers of the twin's kernels: normal numbers by Box and Muller's method (doi 10.1214/aoms/1177706645)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.kernels.compiling import compiled, vectorised
from eapu_hil.base.kernels.words import LANES, draw_words

_PAIRS = 256  # normal numbers are made in so many pairs at a time
_QUARTER = np.float32(np.pi / 2 * 2.0**-30)


class Noise(NamedTuple):
    """A stream. state: (4 * lanes,). normals, words: drawn and not used yet; at: how many of each are used, (2,)."""

    state: NDArray[np.uint32]
    normals: NDArray[np.float32]
    words: NDArray[np.uint32]
    at: NDArray[np.int64]


def seeded(seed: Sequence[int]) -> Noise:
    """The stream of `seed`."""
    state = np.random.SeedSequence(list(seed)).generate_state(4 * LANES).astype(np.uint32)
    return Noise(
        state,
        np.empty(2 * _PAIRS, np.float32),
        np.empty(_PAIRS, np.uint32),
        np.array([2 * _PAIRS, _PAIRS]),
    )


@vectorised
def draw_normals(
    state: NDArray[np.uint32],
    radius: NDArray[np.uint32],
    angle: NDArray[np.uint32],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
) -> None:
    """Fills `first` and `second` with normal numbers. radius, angle: scratch of the same size."""
    draw_words(state, radius)
    draw_words(state, angle)
    one, two, half = np.float32(1), np.float32(2), np.float32(0.5)
    for i in range(first.size):
        uniform = (np.float32(np.int32(radius[i] >> np.uint32(1))) + half) * np.float32(2.0**-31)
        # Its logarithm: the exponent, and a series for the rest, which lies within sqrt(2) of 1.
        bits = np.float32(uniform).view(np.int32)
        exponent = np.int32(np.int32(bits - np.int32(0x3F3504F3)) >> np.int32(23))
        rest = np.int32(bits - np.int32(exponent << np.int32(23))).view(np.float32)
        z = (rest - one) / (rest + one)
        w = z * z
        series = np.float32(1 / 5) + w * (np.float32(1 / 7) + w * np.float32(1 / 9))
        log = two * z * (one + w * (np.float32(1 / 3) + w * series)) + np.float32(exponent) * np.float32(
            np.log(2.0)
        )
        length = np.sqrt(-two * log)
        # An angle within an eighth of a turn; two more bits swap its sides and turn it round.
        word = angle[i]
        turn = np.float32(np.int32(word) >> np.int32(2)) * _QUARTER
        t = turn * turn
        sine = turn * (one + t * (np.float32(-1 / 6) + t * (np.float32(1 / 120) + t * np.float32(-1 / 5040))))
        cosine = one + t * (
            -half + t * (np.float32(1 / 24) + t * (np.float32(-1 / 720) + t * np.float32(1 / 40320)))
        )
        swapped = (word & np.uint32(1)) != np.uint32(0)
        length *= one - np.float32(np.int32(word & np.uint32(2)))
        first[i] = length * (sine if swapped else cosine)
        second[i] = length * (cosine if swapped else sine)


@compiled
def normal(noise: Noise) -> float:
    """One normal number."""
    at = noise.at[0]
    if at == 2 * _PAIRS:
        scratch = np.empty(2 * _PAIRS, np.uint32)
        first, second = noise.normals[:_PAIRS], noise.normals[_PAIRS:]
        draw_normals(noise.state, scratch[:_PAIRS], scratch[_PAIRS:], first, second)
        at = 0
    noise.at[0] = at + 1
    return float(noise.normals[at])


@compiled
def uniform(noise: Noise) -> float:
    """One number of [0, 1)."""
    at = noise.at[1]
    if at == _PAIRS:
        draw_words(noise.state, noise.words)
        at = 0
    noise.at[1] = at + 1
    return float(noise.words[at]) * 2.0**-32
