"""What grows with the cells of a chip: the ledger's work, and the memory of a twin."""

from __future__ import annotations

import mmap
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from eapu_hil.bench.booking import Booking
from eapu_hil.bench.ledger import Driven, Ledger
from eapu_hil.hal import Cells, Direction, Reading, WriteOutcome
from speed.benches import twin
from speed.figures import Figure, ms
from speed.timing import processor_s

SHAPE, ROUNDS, SNAPSHOTS = (128, 64), 15, 3
CHIPS = ((1, (32, 32)), *((arrays, SHAPE) for arrays in (1, 12, 122, 1220)))  # 1e3 to 1e7 cells
USED, WRITTEN = 12, 2  # arrays that a layer lies on at most, and cells that a step writes on each
BATCH = 72  # vectors of a product
GROWTH = 1.5  # of a step from 1e5 to 1e7 cells: what may be noise
FEW_ARRAYS, MANY_ARRAYS = 2, 18
RESIDENT = """
import sys
from pathlib import Path
import numpy as np
from speed.benches import random_targets_S, twin
from eapu_hil.hal import Cells, Direction, Targets
arrays, shape, rng = int(sys.argv[1]), (128, 64), np.random.default_rng(0)
with twin(arrays, shape, Path(sys.argv[2])) as bench:
    for array in bench.arrays:
        array.read(Cells.all(shape), bench.recipe.v_read_v)
        array.program(Targets(Cells.block(0, 4, 0, 4), random_targets_S(rng, 16)))
        array.vmm(np.full((1, shape[0]), 0.1), Direction.FORWARD)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
print(pages)
"""


def _step(ledger: Ledger, rng: np.random.Generator, shape: tuple[int, int]) -> None:
    """What a training step of a layer on up to `USED` arrays makes the ledger count."""
    rows, columns = shape
    v_rows_v, v_columns_v = (rng.uniform(-0.2, 0.2, (BATCH, lines)) for lines in shape)
    for account in ledger.arrays[:USED]:
        account.record_products(Driven.of(v_rows_v), Direction.FORWARD, None, columns)
        account.record_products(Driven.of(v_columns_v), Direction.TRANSPOSED, None, rows)
        cells = Cells(rng.integers(0, rows, WRITTEN), np.arange(WRITTEN))
        booking = Booking([account], cells)
        g_S, ones = rng.uniform(5e-6, 35e-6, WRITTEN), np.ones(WRITTEN, np.int64)
        booking.record_reading(Reading(g_S, np.zeros(WRITTEN, np.uint8)), 0.2)
        account.expect(cells, 100)
        outcome = WriteOutcome(g_S, g_S, 3 * ones, 4 * ones, 1e-12 * ones, np.zeros(WRITTEN, np.uint8))
        booking.record_writes(outcome, 0.2, 10.0, 100)


def ledger() -> list[Figure]:
    """A step's worth of the ledger, on up to `USED` arrays, and a snapshot, from 1e3 to 1e7 cells."""
    rng, figures, steps_s = np.random.default_rng(0), [], []
    for arrays, shape in CHIPS:
        with tempfile.TemporaryDirectory() as scratch:
            account = Ledger(Path(scratch) / "ledger", arrays, shape)
            step = partial(_step, account, rng, shape)
            steps_s.append(statistics.median(processor_s(step) for _ in range(ROUNDS)))
            snapshot_s = statistics.median(processor_s(account.snapshot) for _ in range(SNAPSHOTS))
            account.close()
        work = f"ledger of {arrays * shape[0] * shape[1]:,} cells, a step on {min(arrays, USED)} arrays"
        figures.append(Figure(work, ms(steps_s[-1]), f"a snapshot {ms(snapshot_s)}"))
    _, _, small_s, _, large_s = steps_s
    work = "ledger of 1e7 cells, a step"
    return [
        *figures,
        Figure(work, ms(large_s), f"x the same of 1e5 cells, {ms(small_s)}", large_s / small_s, GROWTH),
    ]


def memory() -> list[Figure]:
    """Resident memory that an array more takes, over its cells, after reads, writes and a product on each."""
    work = "memory of a cell on the twin, bytes"
    if not Path("/proc/self/statm").exists():
        return [Figure(work, "", "needs Linux", None, 96)]
    pages = {}
    with tempfile.TemporaryDirectory() as scratch:
        for arrays in (FEW_ARRAYS, MANY_ARRAYS):
            chip = Path(scratch) / str(arrays)
            with twin(arrays, SHAPE, chip):
                pass  # forms and measures it, in memory of this process
            command = [sys.executable, "-P", "-c", RESIDENT, str(arrays), str(chip)]
            pages[arrays] = int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    cells = (MANY_ARRAYS - FEW_ARRAYS) * SHAPE[0] * SHAPE[1]
    a_cell = (pages[MANY_ARRAYS] - pages[FEW_ARRAYS]) * mmap.PAGESIZE / cells
    return [Figure(work, f"{a_cell:.0f} bytes", f"mapped files included, {cells:,} cells more", a_cell, 96)]
