"""What a source-measure unit is asked before it is used again: whether it still is as its driver left it.

Another program, or somebody at the front panel, may have changed it; what the driver remembers of it is not its state.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.visa.instrument import number
from eapu_drivers.visa.smu.base import SourceMeterBase
from eapu_drivers.visa.smu.contract import Sweep, Taken
from eapu_hil.hal import FloatArray, InstrumentError, ProtocolError

NOT_A_NUMBER = 9.0e37  # 9.9E37 is infinity, 9.91E37 no number, in the manuals of all makers; of either sign
_RELATIVE, _OF_RANGE = 1e-3, 1e-4  # a source rounds a level to the steps of its range
_ON_OR_OFF = {0.0: "off", 1.0: "on", 2.0: "off (high impedance)"}


@dataclass(frozen=True)
class StateQueries:
    """The questions for the settings of an instrument, and its own words for a source of voltage that measures
    current. sense: "" where a reading is of current whatever is set.
    """

    output: str
    function: str
    level: str
    v_range: str
    limit: str
    i_range: str
    four_wires: str
    voltage: str | float = "VOLT"
    sense: str = ""
    current: str = "CURR:DC"


class AskedMeter(SourceMeterBase):
    """The base of drivers that can say whether the instrument is as they left it (`AsksState`).

    A driver keeps `_on`, `_level_v` as it sends them, and `_taken` as it was told.
    """

    state_queries: StateQueries
    _on = False
    _level_v = 0.0
    _taken: Taken | None = None

    @abstractmethod
    def ask_states(self, queries: Sequence[str]) -> list[str]:
        """One answer each, from one message."""
        ...

    @property
    def taken(self) -> Taken | None:
        """What it took of the last setup; None before one."""
        return self._taken

    def require_as_left(self) -> None:
        """Asks output, function, level, ranges and compliance, in one message.

        Raises InstrumentError that says what was found. A channel that is not set up has to be off, no more.
        """
        ask = self.state_queries
        left: list[tuple[str, str, float | str, float]] = [("the output", ask.output, float(self._on), 0.1)]
        if self._setup is not None and self._taken is not None:
            taken = self._taken
            left += [
                ("the source function", ask.function, ask.voltage, 0.0),
                ("the level in V", ask.level, self._level_v, self.level_tolerance_v(self._level_v)),
                ("the source range in V", ask.v_range, taken.v_range_v, _RELATIVE * taken.v_range_v),
                ("the compliance in A", ask.limit, taken.i_limit_a, _RELATIVE * taken.i_limit_a),
                ("the current range in A", ask.i_range, taken.i_range_a, _RELATIVE * taken.i_range_a),
                ("four-wire sensing", ask.four_wires, 0.0, 0.1),
            ]
            if ask.sense:
                left.append(("the measured function", ask.sense, ask.current, 0.0))
        answers = self.ask_states([query for _, query, _, _ in left])
        found = []
        for (what, _, value, tolerance), answer in zip(left, answers, strict=True):
            if not _holds(answer.strip(), value, tolerance):
                found.append(f"{what} is {_shown(what, answer.strip())}, left {_shown(what, str(value))}")
        if found:
            text = f"not as it was left: {'; '.join(found)}; another program, its front panel or a trip changed it"
            raise InstrumentError(0, text, "asked for its state", self.name)

    def level_tolerance_v(self, level_v: float) -> float:
        """The distance that a level that is read back may have from the one that was asked."""
        range_v = self._taken.v_range_v if self._taken is not None else 0.0
        return _RELATIVE * abs(level_v) + _OF_RANGE * range_v

    def readings(
        self,
        message: str,
        asked_v: FloatArray,
        sourced_v: FloatArray,
        current_a: FloatArray,
        limited: NDArray[np.bool_],
        overflow: NDArray[np.bool_],
    ) -> Sweep:
        """Checks readings that answered `message`; arrays of shape (levels,).

        asked_v, sourced_v: the levels, and what the instrument says it sourced with each reading.
        overflow: by the status of each; a current beyond all numbers is one as well, of either sign.
        Raises ProtocolError for what is no number, InstrumentError for another level.
        """
        if np.isnan(current_a).any() or np.isnan(sourced_v).any():
            raise ProtocolError(f"{self.name}: {message!r} was answered with nan, which is no reading")
        overflow = overflow | (np.abs(current_a) >= NOT_A_NUMBER)
        for asked, sourced in zip(asked_v, sourced_v, strict=True):
            if not abs(sourced - asked) <= self.level_tolerance_v(float(asked)):
                text = f"a reading at {number(float(asked))} V asked; the instrument sourced {number(float(sourced))} V"
                raise InstrumentError(0, text, message, self.name)
        end_a = np.copysign(self.ready.i_limit_a, current_a)
        return Sweep(np.where(overflow, end_a, current_a), limited, overflow)


def _holds(answer: str, value: float | str, tolerance: float) -> bool:
    if isinstance(value, str):
        return answer.strip('"').upper() == value
    try:
        return abs(float(answer) - value) <= tolerance
    except ValueError:
        return False


def _shown(what: str, value: str) -> str:
    try:
        figure = float(value)
    except ValueError:
        return value
    return _ON_OR_OFF.get(figure, value) if what in ("the output", "four-wire sensing") else f"{figure:.6g}"
