"""The base of drivers of Keithley units that speak SCPI: lists of levels, readings in pairs, the output off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eapu_drivers.visa.instrument import ScpiInstrument, number
from eapu_drivers.visa.smu.base import SAFE_s, SourceMeterBase
from eapu_hil.hal import FloatArray, IntArray

_LIST_A_COMMAND = 100


class KeithleyScpi(SourceMeterBase, ScpiInstrument):
    """The base of the 2400 and the 2450."""

    def load_list(self, levels_v: Sequence[float]) -> None:
        """Makes the list of levels that a sweep runs through; nothing is sourced by it."""
        for start in range(0, len(levels_v), _LIST_A_COMMAND):
            part = ",".join(map(number, levels_v[start : start + _LIST_A_COMMAND]))
            self.ask_checked(f":SOUR:LIST:VOLT{':APP' if start else ''} {part}")

    def ask_pairs(self, message: str, count: int, timeout_s: float) -> tuple[FloatArray, IntArray]:
        """`count` readings, each with its status word, once the error queue is empty."""
        answer = self.ask_checked(message, timeout_s)
        try:
            values = np.array([float(part) for part in answer.split(",")]).reshape(count, 2)
            status = np.array([int(value) for value in values[:, 1]])
        except (ValueError, OverflowError):
            raise self.wrong_answer(message, answer, f"{count} pairs of current and status") from None
        return values[:, 0], status

    def require_off(self) -> None:
        """Raises ProtocolError where the output is still on."""
        answer = self.ask(":OUTP?", SAFE_s)
        if answer.strip() != "0":
            raise self.wrong_answer(":OUTP?", answer, "0: the output is still on")
