"""The crossbar layers of a model on the arrays of an open bench: products, reads and writes are the bench's.

with open_bench("twin") as bench:
    cells = BenchCells(model, bench)
    optimizer = EaPU(torch.optim.Adam(model.parameters()), cells=cells.pairs)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eapu_hil.bench import Bench
from eapu_hil.hal import CellStatus, ConfigError, FloatArray, HilError
from eapu_hil.placement.array_weights import ArrayWeights
from eapu_hil.placement.mapping import cell_cost, cell_indices, place
from eapu_hil.placement.pairs import ConductancePairs, WriteBatch
from eapu_hil.torch.layers import CrossbarLayer

US = 1e-6


class BenchPairs:
    """The cells of one layer, as `EaPU` uses them; the bench holds them, with its own noise and relaxation.

    r_wg: weight per uS.
    """

    def __init__(self, name: str, shape: torch.Size, cells: BenchCells, r_wg: float) -> None:
        """shape: of the parameter. r_wg: weight per S."""
        self.name = name
        self.r_wg = r_wg * US
        self._shape = shape
        self._cells = cells
        self._span = cells.conductances.weights_of(name)

    @property
    def writes(self) -> Tensor:
        """Writes of each cell since it was programmed, shape (2, *weights), plus cells first."""
        return torch.stack([self._tensor(side).int() for side in self._cells.writes[:, self._span]])

    def program(self, weights: Tensor, step: int) -> None:
        """Writes all weights with write-verify; those beyond the window are cut to it. Not counted here."""
        before = self._cells.writes.copy()
        self._cells.conductances.program_matrix(self.name, self._flat(weights).astype(np.float32))
        self._cells.writes[...] = before

    def threshold_uS(self, dg_uS: Tensor, fixed_uS: float) -> Tensor:
        """The measured write error of the cell that each change would meet, uS, in place of a fixed threshold."""
        errors = self._cells.conductances.errors(self.name)
        up_uS, down_uS = (self._tensor(values / US).to(dg_uS) for values in (errors.up_S, errors.down_S))
        return torch.where(dg_uS > 0, up_uS, down_uS)

    def write(self, change_uS: Tensor, sigma_uS: float, step: int, generator: torch.Generator | None) -> int:
        """Writes the changes (uS) that are not 0 with write-verify, each as far as the window lets it."""
        change_S = self._flat(change_uS).ravel() * US
        index = np.flatnonzero(change_S)
        written = self._cells.conductances.write(
            index + self._span.start, change_S[index], self._cells.recipe
        )
        return sum(batch.weights.size for batch in written)

    def relax(self, step: int, generator: torch.Generator | None) -> None:
        """Cells of a bench relax with its clock."""

    def read(self, generator: torch.Generator | None) -> Tensor:
        """The weights as last read: cells that were written by the verify loop, the others before that."""
        return self._tensor(self._cells.conductances.matrix(self.name))

    def state(self) -> dict[str, Tensor]:
        """The counts. What the cells hold is kept by the chip."""
        return {"writes": self.writes}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Puts the counts back and reads all cells of the bench."""
        if set(state) != {"writes"} or state["writes"].shape != (2, *self._shape):
            raise HilError(f"{self.name}: the checkpoint does not hold the counts of this layer on a bench")
        for side, counts in enumerate(state["writes"]):
            self._cells.writes[side, self._span] = self._flat(counts).ravel()
        self._cells.conductances.refresh()

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        """Values in the order of the bench, inputs first, as a tensor of the parameter's shape."""
        matrix = values.reshape(-1, self._shape[0]).T
        return torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32)).view(self._shape)

    def _flat(self, values: Tensor) -> FloatArray:
        """The inverse of `_tensor`, shape (n_in, n_out)."""
        matrix: FloatArray = values.detach().flatten(1).T.double().cpu().numpy()
        return matrix


class BenchCells:
    """Places the crossbar layers of `model` on the arrays of `bench`, writes their weights, and points them there.

    headroom: largest weight that a layer can hold, over its largest one now.
    pairs: what `EaPU` takes as `cells`. writes: of each cell, shape (2, weights of all layers).
    Raises ConfigError if the model does not fit, or has no such layer.
    """

    def __init__(self, model: nn.Module, bench: Bench, headroom: float = 2.0) -> None:
        layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, CrossbarLayer)}
        if not layers:
            raise ConfigError("the model has no CrossbarLinear or CrossbarConv2d to put on the bench")
        recipe, chip = bench.recipe, bench.chip
        arrays = bench.arrays.without_record()  # it trains: thousands of writes
        shapes = {name: layer.matrix_shape for name, layer in layers.items()}
        status = [chip.bad_cells(number) for number in range(len(arrays))]
        tiles = place(
            shapes, [cell_cost(array, bad, recipe) for array, bad in zip(arrays, status, strict=True)]
        )
        window_S = recipe.g_max_S - recipe.g_min_S
        r_wg = {
            name: headroom * float(layer.weight.detach().abs().max()) / window_S
            for name, layer in layers.items()
        }
        self._columns = arrays[0].shape[1]
        located = [cell_indices(shape, tiles[name], self._columns) for name, shape in shapes.items()]
        self._plus = np.concatenate([plus.ravel() for _, plus, _ in located])
        self.writes = np.zeros((2, self._plus.size), np.int32)
        # A change that the rule asks for is made, also where it is smaller than the band.
        self.recipe = recipe.model_copy(update={"rewrite_in_band": True})
        bad = [one != CellStatus.OK for one in status]
        sigma_of = chip.write_error().sigma_S
        self.conductances = ConductancePairs(arrays, tiles, shapes, r_wg, recipe, sigma_of, bad, self._count)
        self.pairs: dict[Tensor, BenchPairs] = {}
        for name, layer in layers.items():
            self.pairs[layer.weight] = BenchPairs(name, layer.weight.shape, self, r_wg[name])
            self.pairs[layer.weight].program(layer.weight, 0)
            layer.weights = ArrayWeights(shapes[name], arrays, tiles[name], r_wg[name], recipe.v_in_max_v)

    def _count(self, batch: WriteBatch) -> None:
        cells = batch.targets.cells
        minus = cells.row * self._columns + cells.col != self._plus[batch.weights]
        np.add.at(self.writes, (minus.astype(np.int64), batch.weights), 1)
