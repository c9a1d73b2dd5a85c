"""Pulses and writes of one array: frame by frame, each cell once, and counted before it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.controller import messages
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.frame_wear import FrameWear, SentFrame
from eapu_drivers.controller.messages import CELLS_MAX
from eapu_drivers.controller.recovery import account_for
from eapu_hil.hal import Cells, CellStatus, FloatArray, HilError, IntArray, TransportError

Request = Callable[
    [int, NDArray[np.void]], messages.Pulse | messages.Write
]  # from its first id and its records


class Sender:
    """That of array `number` of `board`. wear: of the frames under way."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self._number = number
        self.name = f"{board.name}, array {number}"
        self.wear = FrameWear()

    def send(
        self,
        cells: Cells,
        records: NDArray[np.void],
        at_most: IntArray,
        request: Request,
        kind: type[messages.Pulsed] | type[messages.Written],
        read_g_S: Callable[[Cells], FloatArray],
    ) -> NDArray[Any]:
        """Sends the records, `CELLS_MAX` a frame; returns one record of the answers a cell.

        at_most: pulses that each cell may get. As many frames are under way as the board has room for: enough to keep
        it busy, and no more, since their pulses count before anybody knows of them. read_g_S: see `account_for`.
        """
        self.wear.look()
        self.wear.forget()
        answers = np.empty(len(cells), kind.TAIL)
        frames: list[SentFrame] = []
        taken = 0
        link = self._board.link
        first_id = link.take_ids(len(cells)) if len(cells) else 0

        def take() -> None:
            nonlocal taken
            frame, first = frames[taken], taken * CELLS_MAX
            assert frame.future is not None
            answer = self._board.result(frame.future)
            self.wear.answered(frame, answer)
            found = self._board.expect(answer, frame.request, kind, self._place_of(cells, first))
            answers[first : first + len(frame.cells)] = found.tail
            taken += 1
            aborted = (found.tail["status"] & CellStatus.ABORTED).any()
            if aborted and first + len(frame.cells) < len(cells):
                self._board.require_sound()  # a ground from elsewhere: the rest would drive lines again
                raise HilError(f"{self.name}: put to 0 V in the middle of a request; the rest was not sent")

        try:
            for first in range(0, len(cells), CELLS_MAX):
                if len(frames) - taken >= link.welcome.window:
                    take()
                part = slice(first, first + CELLS_MAX)
                frames.append(SentFrame(request(first_id + first, records[part]), cells[part], at_most[part]))
                self.wear.expect(frames[-1])
                frames[-1].future = link.submit(frames[-1].request)
            while taken < len(frames):
                take()
        except BaseException as error:
            self._board.abandon([frame.future for frame in frames if frame.future is not None])
            if isinstance(error, TransportError):
                board = self._board
                raise account_for(self.name, board, error, cells, frames, self.wear, read_g_S) from error
            raise
        if (answers["status"] & CellStatus.ABORTED).any():
            self._board.require_sound()
        return answers

    def _place_of(self, cells: Cells, first: int) -> Callable[[int], str]:
        """Names the cell of a record of a frame that began with cell number `first`."""

        def place(index: int) -> str:
            here = first + index
            if here >= len(cells):
                return f"array {self._number}"
            return f"array {self._number}, cell ({cells.row[here]}, {cells.col[here]})"

        return place
