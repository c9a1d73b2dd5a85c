"""The circuit of a probe station as it stands: what closed crosspoints connect, and its nodal analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eapu_hil.hal import FloatArray

GROUND = "ground"  # the bus at 0 V
_CONTACT_OHM = 0.5  # of a closed crosspoint with its cables
_LEAK_OHM = 1e13  # of a line that nothing is connected to; keeps the circuit solvable


@dataclass(frozen=True)
class Solution:
    """Voltages of rows, columns and sources, V; the current out of each source, A; who limits."""

    rows_v: FloatArray
    columns_v: FloatArray
    source_v: dict[str, float]
    current_a: dict[str, float]
    limits: set[str]


@dataclass(frozen=True)
class Wired:
    """The connections that closed crosspoints make. node: of each source, behind the rows and the columns.

    matrix: conductances of contacts and leaks, the cells not yet in it. at_cells: sources at a row or a column.
    gates: the buses at each row's gate.
    """

    key: object
    matrix: FloatArray
    node: dict[str, int]
    at_cells: list[str]
    gates: dict[int, list[str]]

    @classmethod
    def of(
        cls, wires: Sequence[tuple[str, str]], sources: Sequence[str], shape: tuple[int, int], key: object
    ) -> Wired:
        """wires: bus and line of each closed crosspoint."""
        rows, columns = shape
        node = {bus: rows + columns + k for k, bus in enumerate(sources)}
        matrix = 1.0 / _LEAK_OHM * np.eye(rows + columns + len(sources))
        at_cells: dict[str, None] = {}
        gates: dict[int, list[str]] = {}
        for bus, line in wires:
            kind, number = line.rstrip("0123456789"), int(line.lstrip("abcdefghijklmnopqrstuvwxyz"))
            if kind == "gate":
                if bus == GROUND or bus in node:
                    gates.setdefault(number, []).append(bus)
                continue
            leak(matrix, number + (rows if kind == "column" else 0), node.get(bus), 1.0 / _CONTACT_OHM)
            if bus in node:
                at_cells[bus] = None
        return cls(key, matrix, node, list(at_cells), gates)


def leak(matrix: FloatArray, a: int, b: int | None, g_S: float) -> None:
    """Connects node a to node b, or to 0 V."""
    matrix[a, a] += g_S
    if b is not None:
        matrix[b, b] += g_S
        matrix[a, b] -= g_S
        matrix[b, a] -= g_S


def nodal(
    matrix: FloatArray, injected_a: FloatArray, fixed: Sequence[int], levels_v: Sequence[float]
) -> FloatArray:
    """Voltages of all nodes where those of `fixed` are given."""
    free = np.ones(len(matrix), np.bool_)
    free[fixed] = False
    voltages_v = np.zeros(len(matrix))
    voltages_v[fixed] = levels_v
    drawn_a = injected_a[free] - matrix[free] @ voltages_v
    voltages_v[free] = np.linalg.solve(matrix[np.ix_(free, free)], drawn_a)
    return voltages_v
