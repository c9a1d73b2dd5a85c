"""A product of a 256 x 256 matrix with 1,024 vectors, with noise and converters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from peers import there

from eapu_hil.hal import Cells, Direction, Targets
from speed.benches import random_targets_S, twin
from speed.figures import Figure, ms, needs
from speed.timing import medians_s

SIZE, BATCH, ROUNDS = 256, 1024, 15


def products() -> list[Figure]:
    """Of one array, and of a layer whose pairs lie on 16 arrays, against aihwkit's faster noisy tile."""
    if not there("torch"):
        return [Figure(f"product {SIZE} x {SIZE}, batch {BATCH}", "", needs("torch"))]
    import torch

    from eapu_hil.torch import BenchCells, CrossbarLinear

    rng = np.random.default_rng(0)
    peers: dict[str, Callable[[], object]] = {}
    if there("aihwkit"):
        from peers.analog_products import analog_products

        peers = analog_products()
    layer = CrossbarLinear(SIZE, SIZE, bias=False)
    x = torch.from_numpy(rng.uniform(-1, 1, (BATCH, SIZE)).astype(np.float32))

    def tiled() -> None:
        with torch.no_grad():
            layer(x)

    with twin(1, (SIZE, SIZE)) as one, twin(2 * SIZE * SIZE // (128 * 64), (128, 64)) as many:
        (array,) = one.arrays
        cells = Cells.all(array.shape)
        array.program(Targets(cells, random_targets_S(rng, len(cells))))
        BenchCells(torch.nn.Sequential(layer), many)
        v_in_v = (one.recipe.v_in_max_v * x.numpy()).astype(np.float32)
        ours = {"one array": lambda: array.vmm(v_in_v, Direction.FORWARD), "on 16 arrays": tiled}
        taken_s = medians_s({**ours, **peers}, ROUNDS)
    best = min(peers, key=taken_s.__getitem__, default=None)
    figures = []
    for name, goal in (("one array", 0.5), ("on 16 arrays", 0.7)):
        ratio = None if best is None else taken_s[name] / taken_s[best]
        against = needs("aihwkit") if best is None else f"x {best}, {ms(taken_s[best])}"
        work = f"product {SIZE} x {SIZE}, batch {BATCH}, {name}"
        figures.append(Figure(work, ms(taken_s[name]), against, ratio, goal))
    return figures
