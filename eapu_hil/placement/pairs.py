"""The weights of a network as pairs of cells: what each is believed to hold, and how a change is written.

The host never sees true conductances. It keeps the last reading of every mapped cell, chooses from it which cell
of a pair to write, reads that cell again just before the write, and asks for that reading plus the wanted change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench.wide import BenchArrays
from eapu_hil.hal import Cells, CellStatus, FloatArray, HilError, IntArray, Pulses, Targets, WriteOutcome
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.several import by_array
from eapu_hil.network.layers import Float32Array
from eapu_hil.placement.addresses import Maps, PairAddresses
from eapu_hil.placement.mapping import WeightTile
from eapu_hil.rules import WriteErrors
from eapu_hil.rules.contract import MINUS, NEITHER, PLUS, PulseTrain

BoolArray = NDArray[np.bool_]
SigmaOf = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class WriteBatch:
    """One request that writes cells, and its outcome.

    array, weights: number of the array and index of the weight of each cell, shape (n,).
    """

    array: IntArray
    weights: IntArray
    targets: Targets
    outcome: WriteOutcome


class ConductancePairs:
    """All mapped weights of a network, in the order of its layers; a weight is named by its index over all.

    tiles, shapes, r_wg: per layer, where it lies, its (n_in, n_out), and weight per siemens.
    sigma_of: the measured write error (S) of a cell as a function of its conductance, from the chip's passport.
    arrays: of a bench, without their own record of writes.
    bad: one map (rows, columns) an array, True where a cell must not be written.
    on_written: called with each outcome before it is believed, so that it can be put on disk first.
    """

    def __init__(
        self,
        arrays: BenchArrays,
        tiles: Mapping[str, Sequence[WeightTile]],
        shapes: Mapping[str, tuple[int, int]],
        r_wg: Mapping[str, float],
        recipe: Recipe,
        sigma_of: SigmaOf,
        bad: Sequence[BoolArray],
        on_written: Callable[[WriteBatch], None],
    ) -> None:
        self._arrays = arrays
        self._addresses = PairAddresses((len(arrays), *arrays[0].shape), tiles, shapes)
        self._r_wg = dict(r_wg)
        self._recipe = recipe
        self._sigma_of = sigma_of
        self._on_written = on_written
        self._usable = ~np.concatenate([self._addresses.pick(bad, name) for name in shapes])
        count = self._addresses.count
        self._g_S = np.full((count, 2), recipe.g_min_S)
        self._preferred = np.full(count, NEITHER)
        self._up_S, self._down_S = np.full((2, count), np.inf)
        self.refresh()

    @property
    def weight_count(self) -> int:
        return self._addresses.count

    def weights_of(self, layer: str) -> slice:
        """Which weights belong to a layer."""
        return self._addresses.weights_of(layer)

    def matrix(self, layer: str) -> Float32Array:
        """The weights of a layer as last read, shape (n_in, n_out)."""
        g_S = self._g_S[self._addresses.weights_of(layer)]
        weights: FloatArray = (g_S[:, PLUS] - g_S[:, MINUS]) * self._r_wg[layer]
        return weights.reshape(self._addresses.shapes[layer]).astype(np.float32)

    def errors(self, layer: str) -> WriteErrors:
        """The write error that a change of each weight would meet; infinite where no cell can be written.

        Raises HilError where one is not a number.
        """
        up_S, down_S = (
            self._up_S[self._addresses.weights_of(layer)],
            self._down_S[self._addresses.weights_of(layer)],
        )
        floor_S = float(min(up_S.min(), down_S.min()))
        if np.isnan(floor_S):
            raise HilError(
                f"layer {layer}: the write error of {np.isnan(up_S + down_S).sum()} weights is not a number; "
                "measure it anew: eapu-hil calibrate BENCH write_error"
            )
        return WriteErrors(up_S, down_S, 0.0 if floor_S == np.inf else floor_S)

    def of_cells(self, layer: str, maps: Maps) -> NDArray[Any]:
        """The values of all cells at both cells of each weight, (n_weights, 2). maps: (rows, columns) of each array."""
        return self._addresses.pick(maps, layer)

    def prefer(self, layer: str, side: IntArray) -> None:
        """Which cell of each pair of `layer` takes a change that it has room for: `PLUS`, `MINUS`, or `NEITHER`.

        side: shape (n_weights,). `NEITHER`, as it is at first, leaves it to `write`.
        """
        here = self._addresses.weights_of(layer)
        changed = np.flatnonzero(self._preferred[here] != side) + here.start
        self._preferred[here] = side
        if changed.size:
            self._update_errors(changed)

    def refresh(self) -> None:
        """Reads every mapped cell."""
        everything = np.arange(self.weight_count)
        self._read_pairs(everything)
        self._update_errors(everything)

    def program_matrix(
        self, layer: str, matrix: Float32Array, done: BoolArray | None = None
    ) -> list[WriteBatch]:
        """Writes a whole layer: the weight goes to one cell of a pair, the other stays at the low end.

        A pair with a bad cell gets what its good cell can make of it. Weights beyond the window are cut to it.
        done: shape (arrays, rows, columns), cells to leave as they are; none by default.
        """
        weights = np.arange(self.weight_count)[self._addresses.weights_of(layer)]
        wanted_S = matrix.ravel().astype(np.float64) / self._r_wg[layer]
        low_S, high_S = self._recipe.g_min_S, self._recipe.g_max_S
        target_S = low_S + np.stack([np.maximum(wanted_S, 0.0), np.maximum(-wanted_S, 0.0)], axis=1)
        usable, g_S = self._usable[weights], self._g_S[weights]
        for side, partner, sign in ((PLUS, MINUS, 1.0), (MINUS, PLUS, -1.0)):
            alone = ~usable[:, partner]
            target_S[alone, side] = (g_S[:, partner] + sign * wanted_S)[alone]
        if done is not None:
            usable = usable & ~self._addresses.pick(done, layer)
        index, side_of = np.nonzero(usable)
        target_S = np.clip(target_S, low_S, high_S)[index, side_of]
        weights, written = weights[index], []
        # An array at a time, because this takes long: a kill loses the record of no more than one array's writes.
        for _, here in by_array(self._addresses.array_of(weights)):
            written += self._program(weights[here], side_of[here], target_S[here], self._recipe)
        return written

    def write(self, weights: IntArray, step_S: FloatArray, recipe: Recipe) -> list[WriteBatch]:
        """Writes changes `step_S` (S, differential) of `weights` (unique), each as far as the window lets it.

        The change goes to the preferred cell, or where there is none to the one that lowers the pair's common
        conductance, because low states relax least, if it has room for it; else to the other; a change with no room at
        all is left out.
        """
        side = self._side(weights, step_S)
        possible = side != NEITHER
        weights, step_S, side = weights[possible], step_S[possible], side[possible]
        if weights.size == 0:
            return []
        self._read(weights, side)
        target_S = self._g_S[weights, side] + np.where(side == PLUS, step_S, -step_S)
        target_S = np.clip(target_S, self._recipe.g_min_S, self._recipe.g_max_S)
        return self._program(weights, side, target_S, recipe)

    def pulse(self, weights: IntArray, train: PulseTrain) -> list[WriteBatch]:
        """Sends a train without verify to the usable ones of its cells. weights: the train's, over all layers.

        Nothing is read: the host goes on with what the train expects. The outcome is that of a write that saw nothing,
        and it is handed on before the first pulse is sent.
        """
        chosen = np.flatnonzero(self._usable[weights, train.side])
        weights, side = weights[chosen], train.side[chosen]
        believed_S = self._g_S[weights, side]
        target_S = np.clip(believed_S + train.change_S[chosen], self._recipe.g_min_S, self._recipe.g_max_S)
        gate_v = np.where(np.isnan(train.gate_v[chosen]), self._gate_of(target_S), train.gate_v[chosen])
        written = []
        for number, here in by_array(self._addresses.array_of(weights)):
            its = chosen[here]
            n, count, cells = here.size, train.count[its], self._addresses.cells(weights[here], side[here])
            unseen = WriteOutcome(
                g_before_S=believed_S[here],
                g_after_S=np.full(n, np.nan),
                pulses=count,
                reads=np.zeros(n, np.int64),
                energy_j=np.zeros(n),
                status=np.zeros(n, np.uint8),
            )
            batch = WriteBatch(np.full(n, number), weights[here], Targets(cells, target_S[here]), unseen)
            self._on_written(batch)
            pulses = Pulses(
                cells, train.polarity[its], train.amplitude_v[its], gate_v[here], train.width_s[its], count
            )
            status = self._arrays[number].pulse(pulses).status
            written.append(replace(batch, outcome=replace(unseen, status=status)))
        self._g_S[weights, side] = target_S
        return written

    def readings(self, weights: IntArray) -> FloatArray:
        """Differential conductance of `weights`, read now, S."""
        self._read_pairs(weights)
        found: FloatArray = self._g_S[weights, PLUS] - self._g_S[weights, MINUS]
        return found

    def relocate(self, layer: str, tiles: Sequence[WeightTile]) -> list[WriteBatch]:
        """Reads the weights of `layer` that `tiles` have elsewhere, and writes them there; those are usable cells."""
        gone = self._addresses.elsewhere(layer, tiles)
        self.readings(gone)
        weights, side = np.repeat(gone, 2), np.tile([PLUS, MINUS], gone.size)
        target_S = np.clip(self._g_S[weights, side], self._recipe.g_min_S, self._recipe.g_max_S)
        self._addresses.move(layer, tiles)
        self._usable[weights] = True
        return self._program(weights, side, target_S, self._recipe)

    def write_again(
        self, array: IntArray, cells: Cells, target_S: FloatArray, errors: float
    ) -> list[WriteBatch]:
        """Reads every mapped cell, and writes those again that lie more than `errors` write errors off their target.

        target_S: of each of `cells` on the arrays `array`, S; NaN for cells to leave alone, as all others are. Of a
        cell that is named more than once the last one counts.
        """
        self.refresh()
        weights, side, known = self._addresses.find(array, cells)
        wanted_S = np.full(self._g_S.shape, np.nan)
        wanted_S[weights[known], side[known]] = target_S[known]
        off_S = np.abs(self._g_S - wanted_S)
        weights, side = np.nonzero(self._usable & (off_S > errors * self._sigma_of(wanted_S)))
        return self._program(weights, side, wanted_S[weights, side], self._recipe)

    def asked(self, array: IntArray, cells: Cells, change_S: FloatArray) -> tuple[IntArray, FloatArray]:
        """Changes `change_S` (S) of cells as changes of weights: their indices and differential change.

        array: where each of the cells is. Cells that hold no weight are left out.
        """
        weights, side, known = self._addresses.find(array, cells)
        return weights[known], np.where(side == PLUS, change_S, -change_S)[known]

    def _gate_of(self, g_S: FloatArray) -> FloatArray:
        """The gate voltage of a SET that the recipe's line gives for conductances, V."""
        law = self._recipe.set
        return np.clip(law.gate_offset_v + g_S / law.gate_slope_S_per_v, law.gate.start_v, law.gate.stop_v)

    def _side(self, weights: IntArray, step_S: FloatArray) -> IntArray:
        """Which cell of each pair takes the step."""
        g_S, usable = self._g_S[weights], self._usable[weights]
        pair = np.arange(weights.size)
        falling = np.where(step_S > 0, MINUS, PLUS)  # lowering this cell moves the weight the wanted way
        rising = 1 - falling
        room_down_S = np.where(usable[pair, falling], g_S[pair, falling] - self._recipe.g_min_S, -1.0)
        room_up_S = np.where(usable[pair, rising], self._recipe.g_max_S - g_S[pair, rising], -1.0)
        size_S = np.abs(step_S)
        down = (room_down_S >= size_S) | (room_down_S >= room_up_S)
        down &= (self._preferred[weights] != rising) | (room_up_S < size_S)
        room_S = np.where(down, room_down_S, room_up_S)
        # A write that can make less than a tenth of the change would only wear and disturb the cell.
        return np.where(room_S < 0.1 * size_S, NEITHER, np.where(down, falling, rising))

    def _read_pairs(self, weights: IntArray) -> None:
        """Both cells of each of `weights`."""
        self._read(np.repeat(weights, 2), np.tile([PLUS, MINUS], weights.size))

    def _read(self, weights: IntArray, side: IntArray) -> None:
        if weights.size:
            array, cells = self._addresses.array_of(weights), self._addresses.cells(weights, side)
            self._g_S[weights, side] = self._arrays.read_cells(array, cells, self._recipe.v_read_v).g_S

    def _program(
        self, weights: IntArray, side: IntArray, target_S: FloatArray, recipe: Recipe
    ) -> list[WriteBatch]:
        written = []
        array, cells = self._addresses.array_of(weights), self._addresses.cells(weights, side)
        for here in self._arrays.at_once(array):
            chosen, chosen_side = weights[here], side[here]
            targets = Targets(cells[here], target_S[here])
            outcome = self._arrays.program_cells(array[here], targets, recipe)
            batch = WriteBatch(array[here], chosen, targets, outcome)
            self._on_written(batch)
            self._g_S[chosen, chosen_side] = outcome.g_after_S
            stuck = (outcome.status & CellStatus.STUCK) != 0
            self._usable[chosen[stuck], chosen_side[stuck]] = False
            written.append(batch)
        self._update_errors(np.unique(weights))
        return written

    def _update_errors(self, weights: IntArray) -> None:
        for errors, direction in ((self._up_S, 1.0), (self._down_S, -1.0)):
            side = self._side(weights, np.full(weights.size, direction * self._recipe.band_S))
            g_S = self._g_S[weights, np.maximum(side, PLUS)]
            errors[weights] = np.where(side == NEITHER, np.inf, self._sigma_of(g_S))
