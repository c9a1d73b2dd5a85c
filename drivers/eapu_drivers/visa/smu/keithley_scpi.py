"""The base of drivers of Keithley units that speak SCPI: lists of levels, readings in threes, the output off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eapu_drivers.visa.instrument import ScpiInstrument, number
from eapu_drivers.visa.smu.base import SAFE_s
from eapu_drivers.visa.smu.state import AskedMeter
from eapu_hil.hal import FloatArray, IntArray

_LIST_A_COMMAND = 100


class KeithleyScpi(AskedMeter, ScpiInstrument):
    """The base of the 2400 and the 2450."""

    def load_list(self, levels_v: Sequence[float]) -> None:
        """Makes the list of levels that a sweep runs through; nothing is sourced by it."""
        for start in range(0, len(levels_v), _LIST_A_COMMAND):
            part = ",".join(map(number, levels_v[start : start + _LIST_A_COMMAND]))
            self.ask_checked(f":SOUR:LIST:VOLT{':APP' if start else ''} {part}")

    def ask_states(self, queries: Sequence[str]) -> list[str]:
        message = ";".join(queries)
        answers = self.ask_tied(message).split(";")
        if len(answers) != len(queries):
            raise self.wrong_answer(message, ";".join(answers), f"{len(queries)} answers")
        return answers

    def ask_threes(
        self, message: str, count: int, timeout_s: float
    ) -> tuple[FloatArray, FloatArray, IntArray]:
        """`count` readings, each of three numbers, the last of which is its status word."""
        answer = self.ask_tied(message, timeout_s)
        try:
            values = np.array([float(part) for part in answer.split(",")]).reshape(count, 3)
            status = np.array([int(value) for value in values[:, 2]])
        except (ValueError, OverflowError):
            raise self.wrong_answer(message, answer, f"{count} times voltage, current and status") from None
        return values[:, 0], values[:, 1], status

    def require_off(self) -> None:
        """Raises ProtocolError where the output is still on."""
        answer = self.ask(":OUTP?", SAFE_s)
        if answer.strip() != "0":
            raise self.wrong_answer(":OUTP?", answer, "0: the output is still on")
