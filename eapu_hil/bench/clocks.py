"""The clock of a session, by which its bench time is.

Bench time of a simulated chip is kept with its cells; that of real ones is the time of day on the host. Times of two
entries may be subtracted only if one clock gave both. Where the clock stands behind the last entry it was set back, or
another host has it: from then on it counts as another clock.
"""

from __future__ import annotations

import logging

from eapu_hil.base.quantities import duration
from eapu_hil.bench.entries import NO_CLOCK
from eapu_hil.bench.passport import Chip

_LOG = logging.getLogger(__name__)


def clock_of_session(chip: Chip, now_s: float, *, simulated: bool) -> str:
    """The name of the clock that stands at `now_s`: that of the last entry where that can be the same one."""
    name = "simulated" if simulated else "time of day"
    timed = [head for head in chip.heads() if head.clock != NO_CLOCK]
    if not timed:
        return name
    last = timed[-1]
    same_kind = last.clock.partition(" #")[0] in ("", name)  # "": by an older version, which kept no name
    if same_kind and now_s >= last.clock_s:
        return last.clock
    another = f"{name} #{1 + max(head.number for head in timed)}"
    reason = (
        f"{duration(last.clock_s - now_s)} behind that of entry {last.number}"
        if same_kind
        else f"another one than that of entry {last.number} ({last.clock})"
    )
    _LOG.warning(
        "%s: the bench's clock is %s; times from before are not compared with times from now on",
        chip.directory,
        reason,
    )
    return another
