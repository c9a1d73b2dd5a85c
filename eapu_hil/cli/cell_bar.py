"""Progress of a command that works on cells; rich is imported only where somebody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eapu_hil.cli.pace import Pace
from eapu_hil.cli.terminal import Terminal

Tell = Callable[[int], None]
_LINE_EVERY_s = 10.0


@contextmanager
def cell_bar(terminal: Terminal, label: str) -> Iterator[Callable[[int], Tell]]:
    """Given the number of cells it makes a bar, which is told how many are done; where stderr is a file, a line now and
    then.
    """
    if not (sys.stderr is not None and sys.stderr.isatty()):
        yield lambda total: _lines(terminal, label, total)
        return
    from eapu_hil.cli.bars import counting_bar

    with counting_bar(terminal.errors, "unit") as bar:

        def begin(total: int) -> Tell:
            task = bar.add_task(label, total=total, unit="cells")
            return lambda done: bar.update(task, completed=done)

        yield begin


def _lines(terminal: Terminal, label: str, total: int) -> Tell:
    pace, said_s = Pace(total), time.monotonic()
    pace.text(0)

    def tell(done: int) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= _LINE_EVERY_s:
            said_s = time.monotonic()
            terminal.note(f"{label}: {done}/{total} cells  {pace.text(done)}")

    return tell
