"""Write-verify of 65,536 cells to random targets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from peers import there

from eapu_hil.hal import Cells, Targets
from speed.benches import random_targets_S, twin
from speed.figures import Figure, ms, needs
from speed.timing import medians_s

SIZE, ROUNDS = 256, 5


def writing() -> list[Figure]:
    """One request, interlock and ledger included, against 20 passes of aihwkit over as many cells."""
    rng = np.random.default_rng(0)
    peers: dict[str, Callable[[], object]] = {}
    if there("aihwkit"):
        from peers.analog_writing import analog_writing

        peers["aihwkit ReRamES, 20 passes"] = analog_writing()
    pulses = []
    with twin(1, (SIZE, SIZE)) as bench:
        array = bench.arrays[0].without_record()
        cells = Cells.all(array.shape)

        def write() -> None:
            outcome = array.program(Targets(cells, random_targets_S(rng, len(cells))))
            pulses.append(float(outcome.pulses.mean()))

        taken_s = medians_s({"ours": write, **peers}, ROUNDS, warm=1)
    ours_s = taken_s["ours"]
    work = f"write-verify of {len(cells):,} cells, {np.median(pulses):.1f} pulses a cell"
    figures = [Figure(f"{work}, ms", ms(ours_s), "", 1e3 * ours_s, 150)]
    figures += [
        Figure(work, ms(ours_s), f"x {name}, {ms(taken_s[name])}", ours_s / taken_s[name]) for name in peers
    ]
    return figures if peers else [*figures, Figure(work, ms(ours_s), needs("aihwkit"))]
