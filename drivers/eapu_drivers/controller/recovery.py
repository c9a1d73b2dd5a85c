"""After a lost link: what became of the pulses and writes that were under way. Nothing is ever sent twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eapu_drivers.controller import messages
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.errors import LinkLost
from eapu_drivers.controller.frame_wear import FrameWear, SentFrame
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


def account_for(
    name: str,
    board: Board,
    lost: TransportError,
    cells: Cells,
    frames: Sequence[SentFrame],
    wear: FrameWear,
    read_g_S: Callable[[Cells], FloatArray],
) -> UnfinishedError:
    """The exception that tells it all. name: of the array. read_g_S: reads conductances of its cells, S.

    cells: of the whole request; frames: those of it that were sent, in order. Where the link came back, the board is
    asked for the results that it holds, and the other cells are read.
    """
    reconnected = isinstance(lost, LinkLost) and lost.reconnected
    same_session = isinstance(lost, LinkLost) and lost.same_session
    open_ = [frame for frame in frames if not _is_whole(frame.answer)]
    answered = sum(len(frame.cells) for frame in frames) - sum(len(frame.cells) for frame in open_)
    found = "nothing was read"
    recalled = 0
    if reconnected:
        try:
            board.prepare()
            if same_session:
                held = [frame for frame in open_ if _is_whole(_recalled(board, frame, wear))]
                recalled = sum(len(frame.cells) for frame in held)
                open_ = [frame for frame in open_ if frame not in held]
        except HilError as error:
            found = f"the board could not be asked ({error})"
    first = np.cumsum([0] + [len(frame.cells) for frame in frames])
    missing = [
        np.arange(first[number], first[number + 1]) for number, frame in enumerate(frames) if frame in open_
    ]
    touched = cells[np.concatenate([*missing, np.arange(first[-1], len(cells))]).astype(int)]
    g_S = np.full(len(touched), np.nan)
    if reconnected and len(touched):
        try:
            g_S = read_g_S(touched)
            found = f"the others were read: {g_S.min() * 1e6:.3g} to {g_S.max() * 1e6:.3g} uS"
        except HilError as error:
            found = f"the others could not be read ({error})"
    kind = "write" if isinstance(frames[0].request, messages.Write) else "pulse"
    return UnfinishedError(
        f"{name}: the link was lost during a {kind} of {len(cells)} cells ({lost}); {answered} had answered, "
        f"{recalled} more were finished, {found}; nothing was sent twice; {kind} the missing cells again",
        touched,
        g_S,
    )


def _recalled(board: Board, frame: SentFrame, wear: FrameWear) -> Exchange:
    """What the board remembers of a frame; whatever it is, `wear` hears of it."""
    answer = board.call(messages.Recall(board.link.take_ids(), frame.request.id))
    wear.answered(frame, answer)
    if frame.request.id > board.link.welcome.last_op:  # the new connection has made an end of all that waited
        wear.never_started(frame)
    return answer


def _is_whole(answer: Exchange | None) -> bool:
    """Whether this is a result, and one that says that every cell is finished."""
    if not isinstance(answer, messages.Pulsed | messages.Written):
        return False
    return not (answer.tail["status"] & CellStatus.ABORTED).any()
