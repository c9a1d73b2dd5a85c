"""What the link to a controller loses where 1 % of the frames are hurt and the line has no rate of its own.

As in `link.py`, which has the other figures of the link: the real firmware behind a proxy that spoils frames. A frame
that the proxy delays stops the line for 10 ms, whatever the link does, so these stops are taken off the time.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from speed.figures import Figure

WRITES, TURNS, SHARE = 50_000, 9, 0.01
CONTROLLER = Path(__file__).parents[2] / "tests" / "drivers" / "controller"


def line() -> list[Figure]:
    """Wall times of cell writes through a good and a bad line, in turn."""
    sys.path.insert(0, str(CONTROLLER))
    import boards

    if boards.MISSING is not None:
        return [Figure("link, 1 % of the frames hurt", "", boards.MISSING, None, 0.15)]
    from link import loss_beyond_stops, proxied

    turns = [(proxied(WRITES, 0.0, seed, 0)[0], *proxied(WRITES, SHARE, seed, 0)) for seed in range(TURNS)]
    good_s, bad_s, stops_s = (statistics.median(column) for column in zip(*turns, strict=True))
    against = (
        f"lost beyond the proxy's stops, {100 * stops_s / bad_s:.0f} % of the time; "
        f"{100 * (1 - good_s / bad_s):.0f} % with them"
    )
    work = f"link without a line rate, {100 * SHARE:g} % of the frames hurt, of {WRITES:,} writes"
    return [Figure(work, f"{WRITES / bad_s:,.0f} cells/s", against, loss_beyond_stops(turns), 0.15)]
