"""After a lost link: what became of the pulses and writes that were under way. Nothing is ever sent twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from eapu_drivers.controller import messages
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.errors import LinkLost
from eapu_drivers.controller.message import Exchange
from eapu_hil.hal import Cells, CellStatus, FloatArray, HilError, TransportError


class UnfinishedError(TransportError):
    """The link was lost in the middle of pulses or writes.

    cells: those of the request that are not known to be finished. g_S: what they read once the link was back, S;
    NaN where they could not be read.
    """

    def __init__(self, text: str, cells: Cells, g_S: FloatArray) -> None:
        super().__init__(text)
        self.cells = cells
        self.g_S = g_S


@dataclass(frozen=True, eq=False)
class SentCells:
    """Pulses or writes of `cells`. sent: their frames so far, in order; a future for each, maybe not for the last."""

    cells: Cells
    sent: Sequence[messages.Pulse | messages.Write]
    futures: Sequence[Future[Exchange]]


def account_for(
    name: str,
    board: Board,
    lost: TransportError,
    under_way: SentCells,
    read_g_S: Callable[[Cells], FloatArray],
) -> UnfinishedError:
    """The exception that tells it all. name: of the array. read_g_S: reads conductances of its cells, S.

    Where the link came back, the board is asked for the results that it holds, and the other cells are read.
    """
    cells, sent, futures = under_way.cells, under_way.sent, under_way.futures
    reconnected = isinstance(lost, LinkLost) and lost.reconnected
    same_session = isinstance(lost, LinkLost) and lost.same_session
    open_ = [number for number in range(len(sent)) if not _answered(futures, number)]
    sizes = np.array([request.tail.size for request in sent])
    first = np.concatenate(([0], np.cumsum(sizes)))
    answered = int(first[-1]) - int(sizes[open_].sum())
    found = "nothing was read"
    recalled = 0
    if reconnected:
        try:
            board.prepare()
            if same_session:
                held = [number for number in open_ if _finished(board, sent[number])]
                recalled = int(sizes[held].sum())
                open_ = [number for number in open_ if number not in held]
        except HilError as error:
            found = f"the board could not be asked ({error})"
    pieces = [np.arange(first[number], first[number + 1]) for number in open_]
    unknown = np.concatenate([*pieces, np.arange(first[-1], len(cells))])
    touched = cells[unknown]
    g_S = np.full(len(touched), np.nan)
    if reconnected and len(touched):
        try:
            g_S = read_g_S(touched)
            found = f"the others were read: {g_S.min() * 1e6:.3g} to {g_S.max() * 1e6:.3g} uS"
        except HilError as error:
            found = f"the others could not be read ({error})"
    kind = "write" if isinstance(sent[0], messages.Write) else "pulse"
    return UnfinishedError(
        f"{name}: the link was lost during a {kind} of {len(cells)} cells ({lost}); {answered} had answered, "
        f"{recalled} more were finished, {found}; nothing was sent twice; {kind} the missing cells again",
        touched,
        g_S,
    )


def _answered(futures: Sequence[Future[Exchange]], number: int) -> bool:
    if number >= len(futures):
        return False
    future = futures[number]
    done = future.done() and not future.cancelled() and future.exception() is None
    return done and _is_result(future.result())


def _finished(board: Board, request: messages.Pulse | messages.Write) -> bool:
    """Whether the board holds a result of this frame that says every cell is finished."""
    return _is_result(board.call(messages.Recall(board.link.take_ids(), request.id)))


def _is_result(answer: Exchange) -> bool:
    if not isinstance(answer, messages.Pulsed | messages.Written):
        return False
    return not (answer.tail["status"] & CellStatus.ABORTED).any()
