"""Who wrote to a chip: each run leaves an entry `run` in the passport when it begins to write."""

from __future__ import annotations

import logging

from eapu_hil.bench.entries import Measurement
from eapu_hil.bench.passport import Chip
from eapu_hil.bench.programmed import PROGRAMMED

RUN = "run"
_USERS = {PROGRAMMED: "`program`", "calibration": "a calibration", "forming": "forming", "formed": "forming"}
_WRITING = (RUN, *_USERS)  # entries of what changes cells

_LOG = logging.getLogger(__name__)


def record_run(chip: Chip, run_id: str, clock_s: float) -> None:
    """Notes that run `run_id` writes from now on, unless it was the last to write."""
    last = last_use(chip)
    if last is None or last.kind != RUN or last.values["run"] != run_id:
        chip.record(RUN, {"run": run_id}, {}, clock_s)


def last_use(chip: Chip) -> Measurement | None:
    """The last entry of what changed cells: a run (`values["run"]`: its id), `program`, a calibration, forming."""
    return next(reversed(chip.of_kinds(*_WRITING)), None)


def holds_something(chip: Chip) -> bool:
    """Whether somebody wrote targets or weights to the chip, which must not be overwritten unasked."""
    return any(head.kind in (RUN, PROGRAMMED) for head in chip.heads())


def tell_of_others(chip: Chip, run_id: str) -> None:
    """Says who wrote to the chip after the run `run_id`, which is about to be used again."""
    entries = chip.of_kinds(*_WRITING)
    mine = [entry.number for entry in entries if entry.kind == RUN and entry.values["run"] == run_id]
    if not mine:  # of an older version, or it never wrote: then only other runs are known to be later
        entries = [entry for entry in entries if entry.kind == RUN]
    others = [entry for entry in entries if entry.number > max(mine, default=0)]
    if others:
        last = others[-1]
        who = f"run {last.values['run']}" if last.kind == RUN else _USERS[last.kind]
        _LOG.warning(
            "%s: the chip was used since this run: last by %s (entry %d, %s); its cells may hold other weights",
            chip.directory,
            who,
            last.number,
            last.time,
        )
