"""A network whose products run on the arrays of a bench; the backward ones on the host if that is wanted."""

from __future__ import annotations

from collections.abc import Mapping

from eapu_hil.bench import Bench
from eapu_hil.network.layers import Weights, WeightSpec
from eapu_hil.network.network import Network
from eapu_hil.placement.array_weights import ArrayWeights, HostBackward
from eapu_hil.placement.pairs import ConductancePairs
from eapu_hil.placement.row_moves import Tiles
from eapu_hil.tasks import Task


class ArrayNetwork:
    """The network of `task` on `bench`.

    tiles, r_wg: where each layer lies, and its weight per siemens. host_backward: whether backward products use the
    weights as `pairs` believes them to be.
    """

    def __init__(
        self,
        task: Task,
        bench: Bench,
        pairs: ConductancePairs,
        tiles: Tiles,
        r_wg: Mapping[str, float],
        *,
        host_backward: bool,
    ) -> None:
        self._pairs = pairs
        self._on_array: dict[str, ArrayWeights] = {}
        self._on_host: dict[str, HostBackward] = {}

        def make(name: str, spec: WeightSpec) -> Weights:
            weights = ArrayWeights(
                spec.matrix_shape, bench.arrays, tiles[name], r_wg[name], bench.recipe.v_in_max_v
            )
            self._on_array[name] = weights
            if not host_backward:
                return weights
            self._on_host[name] = HostBackward(weights, pairs.matrix(name))
            return self._on_host[name]

        self.network = Network(task.layers(), make)

    def read_back(self) -> None:
        """Gives the backward products on the host the weights as they are believed to be now."""
        for name, weights in self._on_host.items():
            weights.matrix[...] = self._pairs.matrix(name)

    def move(self, tiles: Tiles) -> None:
        """From now on the weights lie on `tiles`."""
        for name, weights in self._on_array.items():
            weights.move(tiles[name])
