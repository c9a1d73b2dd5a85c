"""Whether the board itself holds its limits: it is sent what it has to refuse, past all checks of the host.

Each request is beyond one limit by the smallest step that a message can carry, and as weak as can be in all else, so
that a board which carried it out would do next to nothing to the cell at row 0, column 0.
"""

from __future__ import annotations

import numpy as np

from eapu_drivers.controller import messages
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.frame_wear import FrameWear, SentFrame
from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import Reason, Refused
from eapu_drivers.controller.refusals import refusal
from eapu_hil.hal import Cells, DeviceProof, HilError
from eapu_hil.hal.recipe import Recipe

_CELL = Cells(np.array([0]), np.array([0]))
_WEAK_v = 1e-3  # amplitude of the one pulse that a board without a current limit would apply


class Prover:
    """For array `number` of `board`. wear: counts what a board that refuses nothing would do. name: for messages."""

    def __init__(self, board: Board, number: int, wear: FrameWear, name: str) -> None:
        self._board = board
        self._number = number
        self._wear = wear
        self._name = name

    def prove(self, recipe: Recipe) -> list[DeviceProof]:
        """One proof a limit. recipe: any that the limits allow. Raises HilError where the board takes a request."""
        board = self._board
        held = board.ask(messages.GetLimits(board.link.take_ids()), messages.LimitsAre)
        read_uv = held.v_read_max_uv + 1
        read = messages.Read(board.link.take_ids(), self._number, read_uv, 0, 0, 1, 1)
        return [
            self._pulse("v_max_v", "amplitude_uv", Reason.V_MAX, held.v_max_uv, (1e-6, "V")),
            self._pulse("v_gate_max_v", "gate_uv", Reason.V_GATE_MAX, held.v_gate_max_uv, (1e-6, "V")),
            self._current(recipe, held.i_max_na),
            self._pulse("width_max_s", "width_ns", Reason.WIDTH_MAX, held.width_max_ns, (1e-9, "s")),
            self._pulse(
                "pulses_per_cell_max", "count", Reason.PULSES_MAX, held.pulses_per_cell_max, (1, "pulses")
            ),
            self._refused("v_read_max_v", f"a read at {read_uv * 1e-6:.9g} V", Reason.V_READ_MAX, read),
        ]

    def _pulse(
        self, limit: str, field: str, reason: Reason, most: int, unit: tuple[float, str]
    ) -> DeviceProof:
        """A pulse of 1 uV and 1 ns at a closed gate, with `field` one step beyond `most`. unit: of one step, in SI."""
        step, name = unit
        top = int(np.iinfo(messages.Pulse.TAIL[field]).max)
        if most >= top:
            asked, carried = f"more than {most * step:.9g} {name}", f"{top * step:.9g} {name}"
            return DeviceProof(limit, asked, f"cannot be asked: a request carries at most {carried}")
        tail = np.zeros(1, messages.Pulse.TAIL)
        weak = {"polarity": 1, "amplitude_uv": 1, "gate_uv": 0, "width_ns": 1, "count": 1}
        for key, value in {**weak, field: most + 1}.items():
            tail[key] = value
        request = messages.Pulse(self._board.link.take_ids(), self._number, tail)
        return self._refused(limit, f"a pulse with {(most + 1) * step:.9g} {name}", reason, request)

    def _current(self, recipe: Recipe, i_max_na: int) -> DeviceProof:
        """A target at which even the weak pulse of a recipe of its own would draw more."""
        ramp = {"start_v": _WEAK_v, "step_v": _WEAK_v, "stop_v": _WEAK_v}
        content = recipe.model_dump()
        content["set"] |= {"amplitude": ramp}
        content["reset"] |= {"amplitude": ramp}
        weak = Recipe.model_validate({**content, "pulses_max": 1, "epochs": 1})
        slot = self._board.slot(weak)
        i_a = (i_max_na + 1) * 1e-9
        tail = np.zeros(1, messages.Write.TAIL)
        tail["g_target_S"] = i_a / _WEAK_v
        request = messages.Write(self._board.link.take_ids(), self._number, slot, tail)
        asked = f"a target of {tail['g_target_S'][0]:.9g} S, which draws {i_a:.9g} A at {_WEAK_v} V"
        return self._refused("i_max_a", asked, Reason.I_MAX, request)

    def _refused(self, limit: str, asked: str, reason: Reason, request: Exchange) -> DeviceProof:
        answer = self._answer(request)
        if not isinstance(answer, Refused):
            raise HilError(
                f"{self._name}: {asked} asked, beyond limits.{limit}: the board did not refuse it "
                f"({type(answer).__name__.upper()} in answer); do not use it"
            )
        if answer.reason != reason:
            other = refusal(answer, self._name, type(request).__name__.upper())
            raise HilError(
                f"{self._name}: {asked} asked, beyond limits.{limit}: refused, but for another reason: {other}"
            )
        said = f"refused by the board: {reason.name}, {answer.asked:.9g} asked, {answer.allowed:.9g} allowed"
        return DeviceProof(limit, asked, said)

    def _answer(self, request: Exchange) -> Exchange:
        if not isinstance(request, messages.Pulse | messages.Write):
            return self._board.call(request)
        most = request.tail["count"].astype(np.int64) if isinstance(request, messages.Pulse) else 1
        frame = SentFrame(request, _CELL, most)
        self._wear.expect(frame)
        answer = self._board.call(request)
        self._wear.answered(frame, answer)
        return answer
