"""A network on the arrays of a bench, changed by an update rule and write-verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench import Bench
from eapu_hil.hal import Cells, CellStatus, FloatArray, IntArray, StatusArray
from eapu_hil.network.layers import Float32Array
from eapu_hil.network.network import Network
from eapu_hil.placement.layout import Layout
from eapu_hil.placement.pairs import ConductancePairs, WriteBatch
from eapu_hil.placement.row_moves import choose_moves
from eapu_hil.rules.contract import State
from eapu_hil.tasks import Task
from eapu_hil.training.array_network import ArrayNetwork
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.layer_rules import LayerRules
from eapu_hil.training.matrices import FAST_MATRIX, initial_matrices, matrix_shapes, weights_per_siemens
from eapu_hil.training.records import WriteCause
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import last_steps
from eapu_hil.training.write_log import WriteCounts, WriteLog, joined

# A drifted cell is worth a write if it is further off than a new write would hardly ever leave it.
REFRESH_ERRORS = 3.0


class ArrayModel:
    """Weights as conductance pairs on `bench`.

    layout: where they lie; `choose_layout` for a new run, later that of the run.
    store: the run that writes are logged to, before they are believed; None for a model that is only used.
    """

    def __init__(
        self,
        task: Task,
        config: ExperimentConfig,
        bench: Bench,
        layout: Layout,
        store: RunStore | None = None,
    ) -> None:
        self._config = config
        self._bench = bench
        self._layout = layout
        self._log = WriteLog(bench, store)
        self._initial = initial_matrices(task, config.seed)
        shapes = matrix_shapes(task, config.rule)
        self._r_wg = weights_per_siemens(shapes, config, bench.recipe)
        sigma_of = bench.chip.write_error().sigma_S
        self._bad = [status != CellStatus.OK for status in bench.chip.bad_cells_of_all()]
        self._pairs = ConductancePairs(
            [array.without_record() for array in bench.arrays],  # the run's record of its writes is kept here
            layout.tiles,
            shapes,
            self._r_wg,
            bench.recipe,
            sigma_of,
            self._bad,
            self._record,
        )
        self._layers = matrix_shapes(task)
        self._rules = LayerRules(config, bench, self._pairs, self._layers, self._r_wg)
        host_backward = config.backward == "host"
        self._products = ArrayNetwork(
            task, bench, self._pairs, layout.tiles, self._r_wg, host_backward=host_backward
        )
        self._rules.attach(self.network)

    @property
    def network(self) -> Network:
        """The network, with its products on the arrays."""
        return self._products.network

    @property
    def array(self) -> ArrayModel:
        """See `Model.array`: the weights are on the arrays from the start."""
        return self

    def begin(self) -> None:
        """Writes the initial weights, as step 0. Cells that the run has on record already are left alone."""
        self.map_weights(0, self._initial)

    def map_weights(self, step: int, matrices: Mapping[str, Float32Array]) -> WriteCounts:
        """Writes the weights of all layers with verify, as `step`; cells that the run has on record are left alone.

        matrices: (n_in, n_out) by layer; weights beyond `largest_weight` are cut to it.
        """
        self._log.begin(step)
        done, written = self._log.written(), []
        for name, matrix in matrices.items():
            written += self._pairs.program_matrix(name, matrix, done)
            if name + FAST_MATRIX in self._layout.tiles:
                written += self._pairs.program_matrix(name + FAST_MATRIX, np.zeros_like(matrix), done)
        return self._finish(written)

    def largest_weight(self, layer: str) -> float:
        """The largest weight that a pair of this layer can hold, in the network's units."""
        recipe = self._bench.recipe
        return self._r_wg[layer] * (recipe.g_max_S - recipe.g_min_S)

    def update(self, step: int, wanted: Mapping[str, Float32Array], rng: np.random.Generator) -> WriteCounts:
        """Changes the weights as the rule says; see `Model.update`."""
        self._log.begin(step)
        return self._finish(self._rules.update(step, wanted, rng))

    def refresh(self, step: int) -> WriteCounts:
        """After `step`: writes cells again that are more than `REFRESH_ERRORS` write errors off their last target.

        Cells whose last write failed or was not verified are left alone. Looks at the cells themselves, so that
        one that was cut short goes on when it is asked for again.
        """
        self._log.begin(step, WriteCause.REFRESH)
        return self._finish(self._pairs.write_again(*self._log.verified_targets_S(), REFRESH_ERRORS))

    def level_wear(self, step: int) -> WriteCounts:
        """After the checkpoint of `step`: moves worn rows if the experiment asks for it.

        See `eapu_hil.placement.row_moves`. The weights are where they were until the new cells are written and the
        move is on the disk: whatever stops the run before that leaves cells that hold nothing.
        """
        self._log.begin(step, WriteCause.MOVE)
        levelling, store = self._config.wear_levelling, self._log.store
        if levelling is None or not levelling.move_rows or store is None:
            return self._finish([])
        moves = choose_moves(step, self._layout.tiles, self._bench.ledger.pulses(), self._bad)
        tiles = self._layout.after(moves)
        written = []
        for layer in dict.fromkeys(move.layer for move in moves):
            written += self._pairs.relocate(layer, tiles[layer])
        if moves:
            self._layout.move(moves, store.files)
            store.note(moves=self._layout.moves)
            self._products.move(tiles)
        return self._finish(written)

    def state(self) -> State:
        """The rules' accounts. What the cells hold is kept by the chip."""
        return self._rules.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts the rules' accounts back."""
        self._rules.restore(state)

    def reconcile(self, saved_step: int) -> tuple[int, dict[int, WriteCounts]]:
        """After `restore`: tells the rules what was asked for after the checkpoint, which has happened to the chip.

        Returns the last step that counts, and what those steps came to that the run's metrics lack.
        """
        if self._log.store is None:
            raise RuntimeError("a model without a run has nothing to reconcile")
        last = last_steps(self._log.store.path)
        records = self._layout.in_place(self._log.updates_after(saved_step))
        self._rules.forget(*self._asked(records))
        logged, written = max(saved_step, last.metrics or 0), last.writes or 0
        unlogged = {}
        for step in range(logged + 1, written + 1):
            its = records[records["step"] == step]
            unlogged[step] = self._counts(self._asked(its)[0], its["pulses"], its["status"])
        return max(logged, written), unlogged

    def _record(self, batch: WriteBatch) -> None:
        self._log.record(batch)
        stuck = batch.targets.cells[(batch.outcome.status & CellStatus.STUCK) != 0]
        self._bad[batch.array][stuck.row, stuck.col] = True

    def _asked(self, records: NDArray[np.void]) -> tuple[IntArray, FloatArray]:
        """Index and wanted differential change (S) of the weight of each record."""
        change_S = records["target_S"].astype(np.float64) - records["before_S"]
        cells = Cells(records["row"], records["col"])
        return self._pairs.asked(records["array"].astype(np.int64), cells, change_S)

    def _finish(self, written: Sequence[WriteBatch]) -> WriteCounts:
        """Lets the host know the weights that `written` left, and says what it came to."""
        self._products.read_back()
        return self._counts(
            joined([batch.weights for batch in written]),
            joined([batch.outcome.pulses for batch in written]),
            joined([batch.outcome.status for batch in written]),
        )

    def _counts(self, weights: IntArray, pulses: IntArray, status: StatusArray) -> WriteCounts:
        changed = {}
        for name in self._layers:
            span = self._pairs.weights_of(name)
            # Rules without verify pulse both cells of a pair.
            inside = np.unique(weights[(weights >= span.start) & (weights < span.stop)]).size
            changed[name] = float(inside / (span.stop - span.start))
        return WriteCounts(changed, int(weights.size), int(pulses.sum()), int(np.count_nonzero(status)))
