"""A network on the arrays of a bench, changed by an update rule and write-verify."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench import Bench
from eapu_hil.bench.ledger import LedgerCounts
from eapu_hil.hal import Cells, CellStatus, Crossbar, FloatArray, IntArray, StatusArray
from eapu_hil.hal.recipe import Recipe
from eapu_hil.network.layers import Float32Array, Weights, WeightSpec
from eapu_hil.network.network import Network, named_weight_specs
from eapu_hil.placement.mapping import ArrayWeights, HostBackward, Tile, place
from eapu_hil.placement.pairs import ConductancePairs, Written
from eapu_hil.placement.row_moves import (
    RowMove,
    as_if_moved,
    choose_moves,
    ever_occupied,
    moved,
    save_moves,
)
from eapu_hil.rules import BlindPulses, Proposal, RuleConfig, TransferRule, UpdateRule, WriteErrors, make_rule
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.rules.tiki_taka_v2 import TransferConfig
from eapu_hil.tasks import Task
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.model import Applied, State, initial_matrices
from eapu_hil.training.runs import MOVED, REFRESHED, WRITE_DTYPE, RunStore, read_writes, write_records

# A drifted cell is worth a write if it is further off than a new write would hardly ever leave it.
REFRESH_ERRORS = 3.0
FAST = ".fast"  # behind a layer's name: the second matrix of cells that some rules have


def require_fit(task: Task, config: ExperimentConfig) -> None:
    """Raises ConfigError when the network has more cells than the bench, or the rule asks for pulses that the
    recipe lacks.

    Before anything is opened.
    """
    place(_shapes(task, config.rule), [np.zeros(config.bench.shape)] * config.bench.arrays)
    if config.rule.name not in ("digital", "offline_then_map"):
        make_rule(config.rule, (1, 1), config.recipe or config.bench.recipe)


def choose_tiles(task: Task, bench: Bench, rule: RuleConfig | None = None) -> dict[str, list[Tile]]:
    """The best places on the chip as it is now. Readings decide, so a second call may choose differently.

    rule: one with a second matrix of cells gets places for that too.
    """
    maps = [
        cell_badness(array, bench.chip.bad_cells(i), bench.recipe) for i, array in enumerate(bench.arrays)
    ]
    return place(_shapes(task, rule), maps)


class ArrayModel:
    """Weights as conductance pairs on `bench`.

    tiles: where the layers lay at first; `choose_tiles` for a new run, later always the same.
    moves: what was moved since.
    store: the run that writes are logged to, before they are believed; None for a model that is only used.
    """

    def __init__(
        self,
        task: Task,
        config: ExperimentConfig,
        bench: Bench,
        tiles: Mapping[str, Sequence[Tile]],
        store: RunStore | None = None,
        moves: Sequence[RowMove] = (),
    ) -> None:
        recipe = bench.recipe
        self._bench = bench
        self._store = store
        self._initial = initial_matrices(task, config.seed)
        self._v_read_v = recipe.v_read_v
        shapes = _shapes(task, config.rule)
        self._placed, self._moves = tiles, list(moves)
        self._tiles = moved(tiles, self._moves)
        window_s = recipe.g_max_s - recipe.g_min_s
        self._r_wg = {
            name: config.weight_range * math.sqrt(2.0 / shape[0]) / window_s for name, shape in shapes.items()
        }
        self._pairs = ConductancePairs(
            [array.without_record() for array in bench.arrays],  # the run's record of its writes is kept here
            self._tiles,
            shapes,
            self._r_wg,
            recipe,
            bench.chip.write_error().sigma_s,
            self._bad(),
            self._log,
        )
        self._layers = list(_shapes(task))
        chooses = config.rule.name != "offline_then_map"
        self._rules: dict[str, UpdateRule] = {
            name: make_rule(config.rule, shapes[name], recipe) for name in self._layers if chooses
        }
        # A change that a rule asks for is made, also where it is smaller than the band.
        self._recipe = recipe.model_copy(update={"rewrite_in_band": True})
        self._weights: dict[str, ArrayWeights] = {}
        self._host: dict[str, HostBackward] = {}
        self._step, self._refresh = 0, 0  # what is written now is written for
        self._steps, self._config_rule, self._levelling = config.steps, config.rule, config.wear_levelling
        self.network = Network(task.layers(), self._weights_maker(config.backward == "host"))
        for layer in self.network.weighted:
            if layer.name in self._rules:
                layer.gradient_of = self._rules[layer.name].gradient

    def _weights_maker(self, host_backward: bool) -> Callable[[str, WeightSpec], Weights]:
        def make(name: str, spec: WeightSpec) -> Weights:
            weights = ArrayWeights(
                spec.matrix_shape,
                self._bench.arrays,
                self._tiles[name],
                self._r_wg[name],
                self._v_read_v,
            )
            self._weights[name] = weights
            if not host_backward:
                return weights
            self._host[name] = HostBackward(weights, self._pairs.matrix(name))
            return self._host[name]

        return make

    def begin(self) -> None:
        """Writes the initial weights, as step 0. Cells that the run has on record already are left alone."""
        self.map_weights(0, self._initial)

    def map_weights(self, step: int, matrices: Mapping[str, Float32Array]) -> Applied:
        """Writes the weights of all layers with verify, as `step`; cells that the run has on record are left alone.

        matrices: (n_in, n_out) by layer; weights beyond `largest_weight` are cut to it.
        """
        self._step, self._refresh = step, 0
        written = []
        done = np.zeros((len(self._bench.arrays), *self._bench.arrays[0].shape), bool)
        records = self._records()
        done[records["array"], records["row"], records["col"]] = True
        for name, matrix in matrices.items():
            written += self._pairs.program_matrix(name, matrix, done)
            if name + FAST in self._tiles:
                written += self._pairs.program_matrix(name + FAST, np.zeros_like(matrix), done)
        self._read_back()
        return self._applied_in(written)

    def largest_weight(self, layer: str) -> float:
        """What a pair of this layer can hold, in the network's units."""
        return self._r_wg[layer] * (self._recipe.g_max_s - self._recipe.g_min_s)

    def before_step(self, step: int) -> None:
        """Nothing changes from step to step but the cells."""

    def saves_after(self, step: int) -> bool:  # noqa: ARG002
        """See `Model.saves_after`."""
        return False

    def update(self, step: int, wanted: Mapping[str, Float32Array], rng: np.random.Generator) -> Applied:
        """Lets the rule choose what is written; what it wants verified is written in all layers side by side."""
        self._step, self._refresh = step, 0
        index, step_s, written = [], [], []
        levelling = self._levelling
        counting = levelling is not None and levelling.goes_by_pulses
        pulses = self._bench.ledger.snapshot().pulses if counting else None
        if levelling is not None and levelling.share_pairs and pulses is not None:
            for name in self._layers:
                self._pairs.prefer(name, levelling.sides(self._pairs.of_cells(name, pulses)))
        for name, change in wanted.items():
            dg_s = (change / np.float32(self._r_wg[name])).ravel()
            rule = self._rules[name]
            answer = rule.propose(dg_s, self._errors(name, pulses), rng)
            if isinstance(answer, Proposal):
                index.append(answer.index + self._pairs.weights_of(name).start)
                step_s.append(answer.step_s)
            elif isinstance(rule, TransferRule):
                written += self._pulse(name + FAST, answer)
                fast_s = self._pairs.readings(rule.due() + self._pairs.weights_of(name + FAST).start)
                written += self._pulse(name, rule.transfer(fast_s, rng))
            else:
                written += self._pulse(name, answer)
        if index:
            recipe = self._recipe_at(step / self._steps)
            written += self._pairs.write(np.concatenate(index), np.concatenate(step_s), recipe)
        self._read_back()
        return self._applied_in(written)

    def _errors(self, layer: str, pulses: IntArray | None) -> WriteErrors:
        """The write errors that the rule is told. pulses: of all cells, where wear levelling goes by them."""
        errors = self._pairs.errors(layer)
        if self._levelling is None or pulses is None:
            return errors
        return self._levelling.raised(errors, self._pairs.of_cells(layer, pulses))

    def _pulse(self, layer: str, pulses: BlindPulses) -> list[Written]:
        first = self._pairs.weights_of(layer).start
        return [batch for train in pulses.trains for batch in self._pairs.pulse(train.index + first, train)]

    def _recipe_at(self, progress: float) -> Recipe:
        """The recipe at this share of the run: a rule may want a narrower band towards the end."""
        band_s = self._config_rule.band_s(progress) if isinstance(self._config_rule, EapuConfig) else None
        return self._recipe if band_s is None else self._recipe.model_copy(update={"band_s": band_s})

    def refresh(self, step: int) -> Applied:
        """Writes cells again that are more than `REFRESH_ERRORS` write errors off their last target.

        Cells whose last write failed or was not verified are left alone. Looks at the cells themselves, so that
        one that was cut short goes on when it is asked for again.
        """
        self._step, self._refresh = step, REFRESHED
        target_s = np.full((len(self._bench.arrays), *self._bench.arrays[0].shape), np.nan)
        records = self._records()
        # Of several records of a cell numpy keeps the last.
        verified = (records["status"] == CellStatus.OK) & np.isfinite(records["after_s"])
        target_s[records["array"], records["row"], records["col"]] = np.where(
            verified, records["target_s"], np.nan
        )
        written = self._pairs.write_again(target_s, REFRESH_ERRORS)
        self._read_back()
        return self._applied_in(written)

    def level(self, step: int) -> Applied:
        """Moves worn rows if the experiment asks for it; see `eapu_hil.placement.row_moves`.

        The weights are where they were until the new cells are written and the move is on the disk: whatever stops
        the run before that leaves cells that hold nothing.
        """
        self._step, self._refresh = step, MOVED
        written = []
        if self._levelling is not None and self._levelling.move_rows and self._store is not None:
            moves = choose_moves(
                step, self._tiles, self._bench.ledger.snapshot().pulses, np.stack(self._bad())
            )
            tiles = moved(self._tiles, moves)
            for layer in dict.fromkeys(move.layer for move in moves):
                written += self._pairs.relocate(layer, tiles[layer])
            if moves:
                self._moves += moves
                save_moves(self._store.path, self._moves)
                self._tiles = tiles
                for name, weights in self._weights.items():
                    weights.tiles = tiles[name]
        self._read_back()
        return self._applied_in(written)

    def clock_s(self) -> float:
        """Bench time, s."""
        return self._bench.arrays[0].clock_s()

    def state(self) -> State:
        """The rules' accounts. What the cells hold is kept by the chip."""
        return {
            f"{name}.{key}": value
            for name, rule in self._rules.items()
            for key, value in rule.state().items()
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts the rules' accounts back."""
        for name, rule in self._rules.items():
            prefix = f"{name}."
            rule.restore({key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)})

    def reconcile(self, saved_step: int) -> tuple[int, dict[int, Applied]]:
        """Tells the rules what was asked for after the checkpoint. Those steps have happened to the chip."""
        if self._store is None:
            raise RuntimeError("a model without a run has nothing to reconcile")
        records = self._records()
        records = records[(records["step"] > saved_step) & (records["refresh"] == 0)]
        records = as_if_moved(records, self._tiles, self._moves)
        weights, asked_s = self._asked(records)
        for name, rule in self._rules.items():
            span = self._pairs.weights_of(name)
            own = (weights >= span.start) & (weights < span.stop)
            rule.forget(weights[own] - span.start, asked_s[own])
        last = self._store.last_steps()
        logged, written = max(saved_step, last.metrics or 0), last.writes or 0
        unlogged = {}
        for step in range(logged + 1, written + 1):
            its = records[records["step"] == step]
            unlogged[step] = self._applied(self._asked(its)[0], its["pulses"], its["status"])
        return max(logged, written), unlogged

    def maps(self, moment: str) -> State:
        """Conductances of all arrays, read now, and the pulses of each cell so far."""
        maps: State = {}
        pulses = self._bench.ledger.snapshot().pulses
        for number, array in enumerate(self._bench.arrays):
            reading = array.read(Cells.all(array.shape), self._v_read_v)
            maps[f"g_{moment}_s_{number}"] = reading.g_s.reshape(array.shape)
            maps[f"pulses_{number}"] = pulses[number]
        return maps

    def counts(self) -> LedgerCounts | None:
        """The chip's ledger."""
        return self._bench.ledger.snapshot()

    def used(self) -> NDArray[np.bool_] | None:
        """Which cells hold weights or did so earlier, shape (arrays, rows, columns)."""
        shape = (len(self._bench.arrays), *self._bench.arrays[0].shape)
        return ever_occupied(self._placed, self._moves, shape)

    def flush(self) -> None:
        """Makes the ledger durable."""
        self._bench.ledger.flush()

    def _bad(self) -> list[NDArray[np.bool_]]:
        """Where each array has cells that must not be written."""
        return [
            self._bench.chip.bad_cells(number) != CellStatus.OK for number in range(len(self._bench.arrays))
        ]

    def _read_back(self) -> None:
        for name, weights in self._host.items():
            weights.matrix[...] = self._pairs.matrix(name)

    def _log(self, batch: Written) -> None:
        """Puts a write on disk before anything believes it, and cells found stuck into the passport."""
        if self._store is not None:
            clock_s = self._bench.arrays[batch.array].clock_s()
            records = write_records(
                self._step, clock_s, batch.array, batch.targets, batch.outcome, refresh=self._refresh
            )
            self._store.append_writes(records)
            stuck = (batch.outcome.status & CellStatus.STUCK) != 0
            if stuck.any():
                cells = batch.targets.cells[stuck]
                found = {"row": cells.row, "col": cells.col, "status": batch.outcome.status[stuck]}
                values = {"array": batch.array, "cells": len(cells), "found_by": "training"}
                self._bench.chip.record("bad_cells", values, found, clock_s)

    def _records(self) -> NDArray[np.void]:
        """All writes of the run so far."""
        return read_writes(self._store.path) if self._store is not None else np.zeros(0, WRITE_DTYPE)

    def _asked(self, records: NDArray[np.void]) -> tuple[IntArray, FloatArray]:
        """Index and wanted differential change (S) of the weight of each record."""
        change_s = records["target_s"].astype(np.float64) - records["before_s"]
        cells = Cells(records["row"], records["col"])
        return self._pairs.asked(records["array"].astype(np.int64), cells, change_s)

    def _applied_in(self, written: Sequence[Written]) -> Applied:
        return self._applied(
            _joined([batch.weights for batch in written]),
            _joined([batch.outcome.pulses for batch in written]),
            _joined([batch.outcome.status for batch in written]),
        )

    def _applied(self, weights: IntArray, pulses: IntArray, status: StatusArray) -> Applied:
        changed = {}
        for name in self._layers:
            span = self._pairs.weights_of(name)
            # Rules without verify pulse both cells of a pair.
            inside = np.unique(weights[(weights >= span.start) & (weights < span.stop)]).size
            changed[name] = float(inside / (span.stop - span.start))
        return Applied(changed, int(weights.size), int(pulses.sum()), int(np.count_nonzero(status)))


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def cell_badness(array: Crossbar, status: StatusArray, recipe: Recipe) -> FloatArray:
    """How much each bad cell hurts: more, the more it conducts beyond what its partner could balance."""
    g_s = array.read(Cells.all(array.shape), recipe.v_read_v).g_s.reshape(array.shape)
    return np.where(
        status != CellStatus.OK, 1.0 + np.abs(g_s - recipe.g_min_s) / (recipe.g_max_s - recipe.g_min_s), 0.0
    )


def _shapes(task: Task, rule: RuleConfig | None = None) -> dict[str, tuple[int, int]]:
    """(n_in, n_out) by layer, and with `rule` of all matrices that it has on the arrays."""
    shapes = {name: spec.matrix_shape for name, spec in named_weight_specs(task.layers()).items()}
    fast = {name + FAST: shape for name, shape in shapes.items()} if isinstance(rule, TransferConfig) else {}
    return {**shapes, **fast}
