"""What `form` says of the cells that it formed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.bench import Bench
from eapu_hil.bench.forming import FormedCells
from eapu_hil.cli.results import CellResults
from eapu_hil.cli.terminal import Terminal
from eapu_hil.hal import Cells, CellStatus


def counted_since(
    before: Mapping[str, NDArray[Any]], bench: Bench, number: int, cells: Cells
) -> dict[str, NDArray[Any]]:
    """Pulses and verify reads of each cell since the ledger of its array stood at `before`."""
    now = bench.ledger.arrays[number].counters()
    return {name: (now[name] - before[name])[cells.row, cells.col] for name in ("pulses", "verify_reads")}


def say_formed(formed: FormedCells, known: NDArray[np.bool_], g_formed_S: float, terminal: Terminal) -> bool:
    """Says what came of forming; returns whether all cells are formed. known: by the passport."""
    now = np.isfinite(formed.v_form_v)
    low = int(np.count_nonzero(known & ~now & (formed.g_formed_S < g_formed_S)))
    terminal.note(f"{int(known.sum())} of {known.size} cells are formed, {int(now.sum())} of them just now")
    if low:
        terminal.note(
            f"{low} of them read below {1e6 * g_formed_S:g} uS. The passport says that they are "
            "formed, so they got no pulse. Another chip needs another directory (key chip); --again --block "
            "R0:R1,C0:C1 forms them again"
        )
    return bool(known.all())


def add_formed(
    results: CellResults,
    cells: Cells,
    formed: FormedCells,
    done: NDArray[np.bool_],
    left: CellStatus,
    counted: Mapping[str, NDArray[Any]],
) -> None:
    """Adds them to the results.

    done: which cells are formed. left: the status of the others. counted: what the ledger counted of each.
    """
    status = np.where(done, CellStatus.OK, left).astype(np.uint8)
    results.add(
        cells,
        formed.g_formed_S,
        status,
        pulses=counted["pulses"],
        reads=counted["verify_reads"],
        v_form_v=formed.v_form_v,
        g_before_uS=1e6 * formed.g_fresh_S,
        g_fresh_uS=1e6 * formed.g_fresh_S,  # its first name, which scripts know
    )
