"""What the link to a controller loses where 1 % of the frames are hurt and the line has no rate of its own.

As in `link.py`, which has the other figures of the link: the real firmware behind a proxy that spoils frames. A frame
that the proxy delays stops the line for 10 ms, whatever the link does, so these stops are taken off the time.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from speed.figures import Figure

WRITES, TURNS, SHARE = 50_000, 3, 0.01
CONTROLLER = Path(__file__).parents[2] / "tests" / "drivers" / "controller"


def line() -> list[Figure]:
    """Wall times of cell writes through a good and a bad line, in turn."""
    sys.path.insert(0, str(CONTROLLER))
    import boards

    if boards.MISSING is not None:
        return [Figure("link, 1 % of the frames hurt", "", boards.MISSING, None, 0.15)]
    good, bad = [], []
    for seed in range(1, TURNS + 1):
        good.append(_write(0.0, seed))
        bad.append(_write(SHARE, seed))
    good_s, bad_s, stops_s = (
        statistics.median(column)
        for column in ([t for t, _ in good], [t for t, _ in bad], [s for _, s in bad])
    )
    lost, beyond = 1 - good_s / bad_s, 1 - good_s / (bad_s - stops_s)
    against = f"lost beyond the proxy's stops, {100 * stops_s / bad_s:.0f} % of the time; {100 * lost:.0f} % with them"
    work = f"link without a line rate, {100 * SHARE:g} % of the frames hurt, of {WRITES:,} writes"
    return [Figure(work, f"{WRITES / bad_s:,.0f} cells/s", against, beyond, 0.15)]


def _write(share: float, seed: int) -> tuple[float, float]:
    """Wall time of the writes, and how long delayed frames stopped the line; stops of both directions add up."""
    import boards
    import proxy
    from eapu_drivers.controller.ports import SocketPort
    from link import linked, write_all

    with boards.free_board() as board:
        between = proxy.Proxy(board.host, seed=seed, share=share)
        with linked(SocketPort(between.near, "proxy")) as link:
            took_s, _ = write_all(link, WRITES)
        delays = between.up.hit["delay"] + between.down.hit["delay"]
    return took_s, delays * proxy.DELAY_s
