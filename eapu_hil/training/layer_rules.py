"""The update rules of a network on arrays, one for each layer: from wanted changes to writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench import Bench
from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.hal.recipe import Recipe
from eapu_hil.network.layers import Float32Array
from eapu_hil.network.network import Network
from eapu_hil.placement.pairs import ConductancePairs, WriteBatch
from eapu_hil.rules import BlindPulses, GradientRule, Proposal, TransferRule, UpdateRule, WriteErrors
from eapu_hil.rules.contract import State
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.matrices import FAST_MATRIX


class LayerRules:
    """The rules of the layers of `shapes`, (n_in, n_out) by name, whose weights are `pairs`.

    r_wg: weight per siemens, by layer.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        bench: Bench,
        pairs: ConductancePairs,
        shapes: Mapping[str, tuple[int, int]],
        r_wg: Mapping[str, float],
    ) -> None:
        self._config = config
        self._ledger = bench.ledger
        self._pairs = pairs
        self._r_wg = r_wg
        chooses = config.rule.host_share < 1
        self._rules: dict[str, UpdateRule] = {
            name: config.rule.make(shape, bench.recipe) for name, shape in shapes.items() if chooses
        }
        # A change that a rule asks for is made, also where it is smaller than the band.
        self._recipe = bench.recipe.model_copy(update={"rewrite_in_band": True})

    def attach(self, network: Network) -> None:
        """Gives each layer the gradient of its rule, where the rule has one of its own."""
        for layer in network.weighted:
            rule = self._rules.get(layer.name)
            if isinstance(rule, GradientRule):
                layer.gradient_of = rule.gradient

    def update(
        self, step: int, wanted: Mapping[str, Float32Array], rng: np.random.Generator
    ) -> list[WriteBatch]:
        """Lets each rule choose what is written; what is to be verified is written in all layers side by side.

        wanted: changes of the weights; their arrays become changes of conductance.
        """
        index, step_S, written = [], [], []
        pulses = self._worn()
        for name, change in wanted.items():
            dg_S = np.divide(change, np.float32(self._r_wg[name]), out=change).ravel()
            rule = self._rules[name]
            answer = rule.propose(dg_S, self._errors(name, pulses), rng)
            if isinstance(answer, Proposal):
                index.append(answer.index + self._pairs.weights_of(name).start)
                step_S.append(answer.step_S)
            elif isinstance(rule, TransferRule):
                written += self._pulse(name + FAST_MATRIX, answer)
                due = rule.due() + self._pairs.weights_of(name + FAST_MATRIX).start
                written += self._pulse(name, rule.transfer(self._pairs.readings(due), rng))
            else:
                written += self._pulse(name, answer)
        if index:
            recipe = self._recipe_at(step / self._config.steps)
            written += self._pairs.write(np.concatenate(index), np.concatenate(step_S), recipe)
        return written

    def state(self) -> State:
        """The accounts of all rules, `LAYER.KEY`."""
        return {
            f"{name}.{key}": value
            for name, rule in self._rules.items()
            for key, value in rule.state().items()
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `state` returned."""
        for name, rule in self._rules.items():
            prefix = f"{name}."
            rule.restore({key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)})

    def forget(self, weights: IntArray, change_S: FloatArray) -> None:
        """Tells the rules of changes (S) that were asked for after the state that `restore` put back.

        weights: by their index over all matrices.
        """
        for name, rule in self._rules.items():
            span = self._pairs.weights_of(name)
            own = (weights >= span.start) & (weights < span.stop)
            rule.forget(weights[own] - span.start, change_S[own])

    def _worn(self) -> dict[str, IntArray]:
        """The pulses of both cells of each weight so far, by layer, where wear levelling goes by them.

        Each pair is told which cell to spare.
        """
        levelling = self._config.wear_levelling
        if levelling is None or not levelling.goes_by_pulses:
            return {}
        maps = self._ledger.pulses()
        pulses = {name: self._pairs.of_cells(name, maps) for name in self._rules}
        if levelling.share_pairs:
            for name, its in pulses.items():
                self._pairs.prefer(name, levelling.sides(its))
        return pulses

    def _errors(self, layer: str, pulses: Mapping[str, IntArray]) -> WriteErrors:
        """The write errors that the rule is told. pulses: see `_worn`."""
        errors, levelling = self._pairs.errors(layer), self._config.wear_levelling
        return levelling.raised(errors, pulses[layer]) if levelling is not None and pulses else errors

    def _pulse(self, layer: str, pulses: BlindPulses) -> list[WriteBatch]:
        first = self._pairs.weights_of(layer).start
        return [batch for train in pulses.trains for batch in self._pairs.pulse(train.index + first, train)]

    def _recipe_at(self, progress: float) -> Recipe:
        """The recipe at this share of the run: a rule may want a narrower band towards the end."""
        band_S = self._config.rule.band_S(progress)
        return self._recipe if band_S is None else self._recipe.model_copy(update={"band_S": band_S})
