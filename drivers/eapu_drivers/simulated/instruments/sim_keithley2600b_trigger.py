"""The trigger model and the timers of a simulated Keithley 2600B, for one channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from eapu_drivers.simulated.instruments.channel import LINE_HZ, Channel, Sample
from eapu_drivers.simulated.instruments.tsp_tables import (
    PARAMETER_TOO_BIG,
    PARAMETER_TOO_SMALL,
    Errors,
    Setting,
    TspBuffer,
    TspTable,
)

_SOURCE_TIME_s = 30e-6  # to settle at a new level
_NOT_A_NUMBER = 9.91e37
_POINTS_MAX = 60_000
V_MAX_V, I_MAX_A, I_MIN_A = 202.0, 1.515, 1e-10


class Sourced(Protocol):
    """The parts of a channel's table that the trigger model needs: levels and limits are those of `source`."""

    _channel: Channel

    @property
    def source(self) -> Any: ...


class _Stimulated(TspTable):
    """Actions of the trigger model: what they do, and the event that starts them (0: at once)."""

    action = Setting(0, values=(0, 1, 2))
    stimulus = Setting(0, 0, 1000)
    count = Setting(1, 0, 60000)
    limiti = Setting(1e-1, I_MIN_A, I_MAX_A)
    limitv = Setting(20.0, 1e-2, V_MAX_V)


class _TriggerSource(_Stimulated):
    def __init__(self, errors: Errors) -> None:
        super().__init__(errors)
        self._levels_v: list[float] = []

    def listv(self, levels_v: Any) -> None:
        """Levels, from a Lua table."""
        self._levels_v = [float(value) for value in levels_v.values()]

    def linearv(self, start_v: float, stop_v: float, points: float) -> None:
        """Evenly spaced levels."""
        if not 1 <= points <= _POINTS_MAX:
            self._errors.add(PARAMETER_TOO_BIG if points > 1 else PARAMETER_TOO_SMALL)
            return
        count = int(points)
        self._levels_v = [start_v + k * (stop_v - start_v) / max(count - 1, 1) for k in range(count)]


class _TriggerMeasure(_Stimulated):
    def __init__(self, errors: Errors) -> None:
        super().__init__(errors)
        self._buffers: tuple[TspBuffer | None, TspBuffer | None] = (None, None)

    def i(self, buffer: TspBuffer) -> None:
        """Currents go there."""
        self._buffers = (buffer, None)

    def iv(self, i_buffer: TspBuffer, v_buffer: TspBuffer) -> None:
        """Currents and voltages go there."""
        self._buffers = (i_buffer, v_buffer)


class Timer(TspTable):
    delay = Setting(1e-5, 8e-6, 1e5)
    count = Setting(1, 0, 1_048_575)
    passthrough = Setting(0, values=(0, 1))
    stimulus = Setting(0, 0, 1000)

    def __init__(self, errors: Errors, number: int) -> None:
        super().__init__(errors)
        self._number = number

    @property
    def EVENT_ID(self) -> int:  # noqa: N802 - the instrument's name
        return 100 + self._number

    def reset(self) -> None:
        """As after power-up."""
        self._reset()

    def clear(self) -> None:
        """Forgets events."""


class TriggerModel2600B(TspTable):
    """The trigger model of a channel: source, measure, end of pulse, for each of `count` points."""

    ARMED_EVENT_ID, SOURCE_COMPLETE_EVENT_ID, MEASURE_COMPLETE_EVENT_ID = 1, 2, 3
    count = Setting(1, 0, 60000)

    def __init__(self, errors: Errors, smu: Sourced, timers: Sequence[Timer]) -> None:
        super().__init__(errors)
        self._smu = smu
        self._delays = {timer.EVENT_ID: timer for timer in timers}
        self._source, self._measure = _TriggerSource(errors), _TriggerMeasure(errors)
        self._endpulse, self._endsweep, self._arm = (_Stimulated(errors) for _ in range(3))

    source = property(lambda self: self._source)
    measure = property(lambda self: self._measure)
    endpulse = property(lambda self: self._endpulse)
    endsweep = property(lambda self: self._endsweep)
    arm = property(lambda self: self._arm)

    def _reset(self) -> None:
        super()._reset()
        for part in (self._source, self._measure, self._endpulse, self._endsweep, self._arm):
            part._reset()

    def initiate(self) -> None:
        """Runs all points; the script goes on when they are done."""
        channel, idle_v = self._smu._channel, float(self._smu.source.levelv)
        if self._source.action == 1:
            channel.drive(i_limit_a=self._source.limiti)
        for point in range(int(self.count)):
            if self._source.action == 1 and self._source._levels_v:
                channel.drive(level_v=self._source._levels_v[point % len(self._source._levels_v)])
            self._run_point(channel, idle_v)
        if self._endsweep.action == 0:
            channel.drive(level_v=idle_v)
        channel.drive(i_limit_a=self._smu.source.limiti)

    def _run_point(self, channel: Channel, idle_v: float) -> None:
        pulsed = self._endpulse.action == 0
        width_s = self._delay_s(self._endpulse) if pulsed else 0.0
        spent_s = 0.0
        if self._measure.action == 1:
            spent_s = max(self._delay_s(self._measure), _SOURCE_TIME_s)
            channel.elapse(spent_s)
            sample = channel.sample()
            spent_s += channel.nplc / LINE_HZ
            for buffer, value in zip(
                self._measure._buffers, (shown_a(sample), sample.voltage_v), strict=True
            ):
                if buffer is not None:
                    buffer._take([value], append=True)
        if pulsed:
            channel.elapse(max(width_s - spent_s, 0.0))
            channel.drive(level_v=idle_v)
            period = self._delays.get(int(self._source.stimulus))
            if period is not None:
                channel.elapse(max(float(period.delay) - max(width_s, spent_s), 0.0))

    def _delay_s(self, part: _Stimulated) -> float:
        timer = self._delays.get(int(part.stimulus))
        return 0.0 if timer is None else float(timer.delay)


def shown_a(sample: Sample) -> float:
    return _NOT_A_NUMBER if sample.overflow else sample.current_a
