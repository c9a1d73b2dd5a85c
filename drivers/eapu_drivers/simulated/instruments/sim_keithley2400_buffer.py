"""The reading buffer of a simulated Keithley 2400, its statistics and the status registers that tell of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eapu_drivers.simulated.instruments.channel import Sample
from eapu_drivers.simulated.instruments.scpi import Act, ScpiError, choice, nothing, real, shown

POINTS_MAX = 2500
_POINTS = 100  # after *RST
# Of the measurement event register.
_OVERFLOWN, _AVAILABLE, _FULL, _COMPLIANCE = 1 << 7, 1 << 6, 1 << 9, 1 << 14
_MEASUREMENT, _SUMMARY = 1 << 0, 1 << 6  # of the status byte
_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "MEAN": lambda values: float(np.mean(values)),
    "SDEV": lambda values: float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
    "MAX": max,
    "MIN": min,
    "PKPK": lambda values: max(values) - min(values),
}


class TraceBuffer:
    """Takes the readings of an INIT while it is armed, until it is full. text: how a reading is answered."""

    def __init__(self, text: Callable[[Sample], str]) -> None:
        self._text = text
        self.reset()

    def reset(self) -> None:
        """*RST, as far as it concerns this."""
        self._size, self._armed, self._statistic = _POINTS, False, "MEAN"
        self._samples: list[Sample] = []
        self._events = self._event_mask = self._service_mask = 0

    def commands(self) -> dict[str, Act]:
        """Those that it answers."""
        return {
            "*SRE": lambda value: self._set_mask("_service_mask", value),
            "*SRE?": lambda: str(self._service_mask),
            ":STATus:MEASurement:ENABle": lambda value: self._set_mask("_event_mask", value),
            ":STATus:MEASurement[:EVENt]?": self._take_events,
            ":TRACe:CLEar": lambda: self._samples.clear(),
            ":TRACe:POINts": self._set_size,
            ":TRACe:POINts?": lambda: str(self._size),
            ":TRACe:POINts:ACTual?": lambda: str(len(self._samples)),
            ":TRACe:FEED": lambda value: nothing(choice(value, "SENSe", "SENSe1")),
            ":TRACe:FEED:CONTrol": self._set_armed,
            ":TRACe:DATA?": lambda: ",".join(map(self._text, self._samples)),
            ":CALCulate3:FORMat": self._set_statistic,
            ":CALCulate3:DATA?": self._statistics,
        }

    def take(self, samples: Sequence[Sample]) -> None:
        """The readings of one INIT."""
        for sample in samples:
            self._events |= _AVAILABLE | _COMPLIANCE * sample.limited | _OVERFLOWN * sample.overflow
        if self._armed:
            self._samples += samples[: self._size - len(self._samples)]
            if len(self._samples) >= self._size:
                self._armed = False
                self._events |= _FULL

    def clear_events(self) -> None:
        """*CLS."""
        self._events = 0

    def status_byte(self, others: int) -> int:
        """With what else belongs in it."""
        byte = others | (_MEASUREMENT if self._events & self._event_mask else 0)
        return byte | (_SUMMARY if byte & self._service_mask else 0)

    def _take_events(self) -> str:
        events, self._events = self._events, 0
        return str(events)

    def _set_mask(self, name: str, value: str) -> None:
        setattr(self, name, round(real(value, 0, 65535)))

    def _set_size(self, value: str) -> None:
        self._size = round(real(value, 1, POINTS_MAX))
        self._samples.clear()

    def _set_armed(self, value: str) -> None:
        self._armed = choice(value, "NEXT", "NEVer") == "NEXT"
        if self._armed:
            self._samples.clear()

    def _set_statistic(self, value: str) -> None:
        self._statistic = choice(value, "MEAN", "SDEViation", "MAXimum", "MINimum", "PKPK")

    def _statistics(self) -> str:
        """Of voltages, currents and resistances."""
        if not self._samples:
            raise ScpiError((-230, "Data corrupt or stale"))
        rows = [
            (sample.voltage_v, sample.current_a, sample.voltage_v / (sample.current_a or 1e-30))
            for sample in self._samples
        ]
        work = _STATISTICS[self._statistic]
        return ",".join(shown(work([row[k] for row in rows])) for k in range(3))
