"""Compiled loops over the lines of a crossbar: voltage dividers, and the blocks of their elimination.

All of them take contiguous arrays.
"""

from __future__ import annotations

import numpy as np

from eapu_hil.base.kernels.compiling import compiled
from eapu_hil.hal import FloatArray


@compiled
def divider(load: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lines driven by 1 V one segment before their first node and open after the last, each node without its load.

    load: (nodes, lines), conductance of each node to ground times the resistance of a segment.
    Returns, both (nodes, lines): the voltage of each node, and the resistance seen from it in units of a segment,
    while all loads but its own are there. No subtraction occurs, so that both hold for any loads.
    """
    nodes, lines = load.shape
    voltage, ohm = np.empty((nodes, lines)), np.empty((nodes, lines))
    beyond = np.zeros(lines)  # conductance of what follows a node
    for node in range(nodes - 1, -1, -1):
        for line in range(lines):
            ohm[node, line] = beyond[line]
            total = load[node, line] + beyond[line]
            beyond[line] = total / (1.0 + total)
    before_v, before_ohm = np.ones(lines), np.ones(lines)
    for node in range(nodes):
        for line in range(lines):
            open_share = 1.0 / (1.0 + before_ohm[line] * ohm[node, line])
            voltage[node, line] = before_v[line] * open_share
            ohm[node, line] = before_ohm[line] * open_share
            share = 1.0 / (1.0 + load[node, line] * before_ohm[line])
            before_v[line] *= share
            before_ohm[line] = 1.0 + before_ohm[line] * share
    return voltage, ohm


@compiled
def inner_block(
    block: FloatArray, up: FloatArray, source: FloatArray, root: FloatArray, scaled: FloatArray
) -> None:
    """Upper triangle of the next block, scaled to a diagonal of 1, into `scaled`; all (n, n) or (n,).

    block: the inverse of the last block beside its diagonal.
    """
    n = len(up)
    for j in range(n):
        scaled[j, j] = 1.0
        for k in range(j + 1, n):
            scaled[j, k] = -(up[j] * source[k] + block[j, k]) * root[j] * root[k]


@compiled
def split_inverse(
    scaled: FloatArray, inverse: FloatArray, root: FloatArray, block: FloatArray, diagonal: FloatArray
) -> None:
    """The inverse of a block from that of the scaled one: its diagonal in double precision, and the rest.

    (1 + F) Y = 1 gives the diagonal of Y from what is beside it, which is small and so has small errors.
    """
    n = len(root)
    diagonal[:] = 1.0
    for j in range(n):
        inner = 0.0
        for k in range(j + 1, n):
            both = scaled[j, k] * inverse[j, k]
            inner += both
            diagonal[k] -= both
            block[j, k] = inverse[j, k] * root[j] * root[k]
        diagonal[j] -= inner
        block[j, j] = 0.0
    for j in range(n):
        diagonal[j] *= root[j] * root[j]
    mirror(block, block)


@compiled
def mirror(upper: FloatArray, whole: FloatArray) -> None:
    """Writes the symmetric matrix of which the upper triangle is given, (n, n), both."""
    n = len(upper)
    tile = 32  # of which rows and columns stay in the cache
    for first in range(0, n, tile):
        for second in range(first, n, tile):
            for j in range(first, min(first + tile, n)):
                for k in range(max(second, j), min(second + tile, n)):
                    value = upper[j, k]
                    whole[j, k] = value
                    whole[k, j] = value
