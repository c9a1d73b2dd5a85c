"""The weight matrices of a network: their shapes, first values and scale, and where on a chip they are placed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from eapu_hil.bench import Bench
from eapu_hil.hal.recipe import Recipe
from eapu_hil.network.layers import Float32Array, initial_matrix
from eapu_hil.network.network import named_weight_specs
from eapu_hil.placement.layout import Layout
from eapu_hil.placement.mapping import cell_cost, place
from eapu_hil.rules import RuleModel
from eapu_hil.tasks import Task
from eapu_hil.training.config import ExperimentConfig

FAST_MATRIX = ".fast"  # behind a layer's name: the second matrix of cells that some rules have
INIT_STREAM = 1


def matrix_shapes(task: Task, rule: RuleModel | None = None) -> dict[str, tuple[int, int]]:
    """(n_in, n_out) by layer, and with `rule` of all matrices that it has on the arrays."""
    shapes = {name: spec.matrix_shape for name, spec in named_weight_specs(task.layers()).items()}
    if rule is None or not rule.second_matrix:
        return shapes
    return {**shapes, **{name + FAST_MATRIX: shape for name, shape in shapes.items()}}


def initial_matrices(task: Task, seed: int) -> dict[str, Float32Array]:
    """The weights that training starts from, the same for every rule with the same seed."""
    rng = np.random.default_rng([seed, INIT_STREAM])
    return {name: initial_matrix(spec, rng) for name, spec in named_weight_specs(task.layers()).items()}


def weights_per_siemens(
    shapes: Mapping[str, tuple[int, int]], config: ExperimentConfig, recipe: Recipe
) -> dict[str, float]:
    """Weight per siemens of differential conductance, by matrix: the window holds what `weight_range` says."""
    window_S = recipe.g_max_S - recipe.g_min_S
    return {
        name: config.weight_range * math.sqrt(2.0 / shape[0]) / window_S for name, shape in shapes.items()
    }


def require_fit(task: Task, config: ExperimentConfig) -> None:
    """Raises ConfigError when the network has more cells than the bench, or the rule asks for pulses that the
    recipe lacks.

    Before anything is opened.
    """
    place(matrix_shapes(task, config.rule), [np.zeros(config.bench.shape)] * config.bench.arrays)
    if config.rule.host_share < 1:
        config.rule.make((1, 1), config.recipe or config.bench.recipe)


def choose_layout(task: Task, bench: Bench, rule: RuleModel | None = None) -> Layout:
    """The best places on the chip as it is now. Readings decide, so a second call may choose differently.

    rule: one with a second matrix of cells gets places for that too.
    """
    statuses = bench.chip.bad_cells_of_all()
    costs = [cell_cost(*one, bench.recipe) for one in zip(bench.arrays, statuses, strict=True)]
    return Layout(place(matrix_shapes(task, rule), costs))
