"""A simulated Keithley 2600B: the tables of its channels, for the scripts that it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eapu_hil.twin.instruments.channel import LINE_HZ, Channel, Sample
from eapu_hil.twin.instruments.probe import Probe
from eapu_hil.twin.instruments.tsp import Buffer, Errors, Named, Numbered, Setting, Table, TspDevice

IDENTITY = "Keithley Instruments Inc., Model {model}, {serial}, 3.4.0"
V_RANGES_V = (0.2, 2.0, 20.0, 200.0)
I_RANGES_A = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1.5)
_MODELS = {1: "2635B", 2: "2636B"}
_V_MAX_V, _I_MAX_A, _I_MIN_A = 202.0, 1.515, 1e-10
_NOT_A_NUMBER = 9.91e37
_TIMERS = 8
_SOURCE_TIME_S = 30e-6  # to settle at a new level
_SMALLEST_A = 1e-12


class _Source(Table):
    func = Setting(1, values=(0, 1))
    autorangev = Setting(1, values=(0, 1))
    autorangei = Setting(1, values=(0, 1))
    levelv = Setting(0.0, -_V_MAX_V, _V_MAX_V)
    leveli = Setting(0.0, -_I_MAX_A, _I_MAX_A)
    limiti = Setting(1e-1, _I_MIN_A, _I_MAX_A)
    limitv = Setting(20.0, 1e-2, _V_MAX_V)
    output = Setting(0, values=(0, 1, 2))
    offmode = Setting(0, values=(0, 1, 2))
    delay = Setting(0.0, -1, 1e6)
    settling = Setting(0, values=(0, 1, 2, 3, 128))
    highc = Setting(0, values=(0, 1))
    sink = Setting(0, values=(0, 1))
    outputenableaction = Setting(0, values=(0, 1))
    rangei = Setting(1e-7, 0.0, _I_MAX_A)
    _rangev = Setting(20.0, 0.0, _V_MAX_V)

    def __init__(self, errors: Errors, channel: Channel) -> None:
        super().__init__(errors)
        self._channel = channel

    @property
    def rangev(self) -> float:
        asked_v = float(self._rangev)
        return next((one for one in V_RANGES_V if 1.01 * one >= asked_v), V_RANGES_V[-1])

    @rangev.setter
    def rangev(self, value: float) -> None:
        self._rangev = abs(value)

    @property
    def compliance(self) -> bool:
        return self._channel.on and self._channel.sample(0.001).limited

    def _changed(self, name: str) -> None:
        if name == "levelv":
            if self.autorangev == 0 and abs(self.levelv) > 1.01 * self.rangev:
                self._errors.add((5007, "Operation would exceed the source range"))
                self._values["levelv"] = self._channel.level_v
            else:
                self._channel.drive(level_v=self.levelv)
        elif name == "limiti":
            self._channel.drive(i_limit_a=self.limiti)
        elif name == "output":
            self._channel.drive(on=self.output == 1)


class _Measure(Table):
    autorangei = Setting(1, values=(0, 1, 2))
    autorangev = Setting(1, values=(0, 1, 2))
    rangev = Setting(20.0, 0.0, _V_MAX_V)
    nplc = Setting(1.0, 0.001, 25.0)
    autozero = Setting(2, values=(0, 1, 2))
    count = Setting(1, 1, 60000)
    delay = Setting(0.0, -1, 1e6)
    interval = Setting(0.0, 0.0, 1.0)
    _rangei = Setting(1e-1, 0.0, _I_MAX_A)

    def __init__(self, errors: Errors, channel: Channel) -> None:
        super().__init__(errors)
        self._channel = channel

    @property
    def rangei(self) -> float:
        return self._channel.i_range_a or float(self._rangei)

    @rangei.setter
    def rangei(self, value: float) -> None:
        self._rangei = abs(value)
        self.autorangei = 0

    def i(self, buffer: Buffer | None = None) -> float:
        """Current, A."""
        return self._measured(lambda sample: _current_a(sample), buffer)

    def v(self, buffer: Buffer | None = None) -> float:
        """Voltage, V."""
        return self._measured(lambda sample: sample.voltage_v, buffer)

    def r(self, buffer: Buffer | None = None) -> float:
        """Resistance, ohm."""
        return self._measured(lambda sample: sample.voltage_v / (sample.current_a or _SMALLEST_A), buffer)

    def iv(self, i_buffer: Buffer | None = None, v_buffer: Buffer | None = None) -> tuple[float, float]:
        """Current and voltage."""
        sample = self._channel.sample()
        for buffer, value in ((i_buffer, _current_a(sample)), (v_buffer, sample.voltage_v)):
            if buffer is not None:
                buffer._take([value], append=bool(buffer.appendmode))
        return _current_a(sample), sample.voltage_v

    def _measured(self, of: Any, buffer: Buffer | None) -> float:
        values = []
        for _ in range(int(self.count)):
            values.append(float(of(self._channel.sample())))
            self._channel.elapse(self.interval)
        if buffer is not None:
            buffer._take(values, append=bool(buffer.appendmode))
        return values[-1]

    def _changed(self, name: str) -> None:
        if name == "nplc":
            self._channel.nplc = self.nplc
        elif name in ("_rangei", "autorangei"):
            self._channel.set_range(self._rangei if self.autorangei == 0 else None)


class _Stimulated(Table):
    """Actions of the trigger model: what they do, and the event that starts them (0: at once)."""

    action = Setting(0, values=(0, 1, 2))
    stimulus = Setting(0, 0, 1000)
    count = Setting(1, 0, 60000)
    limiti = Setting(1e-1, _I_MIN_A, _I_MAX_A)
    limitv = Setting(20.0, 1e-2, _V_MAX_V)


class _TriggerSource(_Stimulated):
    def __init__(self, errors: Errors) -> None:
        super().__init__(errors)
        self._levels_v: list[float] = []

    def listv(self, levels_v: Any) -> None:
        """Levels, from a Lua table."""
        self._levels_v = [float(value) for value in levels_v.values()]

    def linearv(self, start_v: float, stop_v: float, points: float) -> None:
        """Evenly spaced levels."""
        count = int(points)
        self._levels_v = [start_v + k * (stop_v - start_v) / max(count - 1, 1) for k in range(count)]


class _TriggerMeasure(_Stimulated):
    def __init__(self, errors: Errors) -> None:
        super().__init__(errors)
        self._buffers: tuple[Buffer | None, Buffer | None] = (None, None)

    def i(self, buffer: Buffer) -> None:
        """Currents go there."""
        self._buffers = (buffer, None)

    def iv(self, i_buffer: Buffer, v_buffer: Buffer) -> None:
        """Currents and voltages go there."""
        self._buffers = (i_buffer, v_buffer)


class _Timer(Table):
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


class _Trigger(Table):
    """The trigger model of a channel: source, measure, end of pulse, for each of `count` points."""

    ARMED_EVENT_ID, SOURCE_COMPLETE_EVENT_ID, MEASURE_COMPLETE_EVENT_ID = 1, 2, 3
    count = Setting(1, 0, 60000)

    def __init__(self, errors: Errors, smu: _Smu, timers: Sequence[_Timer]) -> None:
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
            spent_s = max(self._delay_s(self._measure), _SOURCE_TIME_S)
            channel.elapse(spent_s)
            sample = channel.sample()
            spent_s += channel.nplc / LINE_HZ
            for buffer, value in zip(
                self._measure._buffers, (_current_a(sample), sample.voltage_v), strict=True
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


class _Smu(Table):
    """The table `smua` or `smub`."""

    OUTPUT_OFF, OUTPUT_ON, OUTPUT_HIGH_Z = 0, 1, 2
    OUTPUT_NORMAL, OUTPUT_ZERO = 0, 1
    OUTPUT_DCAMPS, OUTPUT_DCVOLTS = 0, 1
    AUTORANGE_OFF, AUTORANGE_ON = 0, 1
    AUTOZERO_OFF, AUTOZERO_ONCE, AUTOZERO_AUTO = 0, 1, 2
    SENSE_LOCAL, SENSE_REMOTE = 0, 1
    DISABLE, ENABLE, ASYNC = 0, 1, 2
    SOURCE_IDLE, SOURCE_HOLD = 0, 1
    OE_NONE, OE_OUTPUT_OFF = 0, 1
    SETTLE_DEFAULT, SETTLE_FAST_RANGE = 0, 3
    sense = Setting(0, values=(0, 1, 3))

    def __init__(self, errors: Errors, channel: Channel, timers: Sequence[_Timer]) -> None:
        super().__init__(errors)
        self._channel = channel
        self._source, self._measure = _Source(errors, channel), _Measure(errors, channel)
        self._trigger = _Trigger(errors, self, timers)
        self._buffers = [Buffer(errors), Buffer(errors)]
        self.reset()

    source = property(lambda self: self._source)
    measure = property(lambda self: self._measure)
    trigger = property(lambda self: self._trigger)
    nvbuffer1 = property(lambda self: self._buffers[0])
    nvbuffer2 = property(lambda self: self._buffers[1])

    def reset(self) -> None:
        """Output off, 0 V, 100 mA; the array is not reset."""
        for table in (self, self._source, self._measure, self._trigger, *self._buffers):
            table._reset()
        self._channel.reset()
        self._channel.drive(i_limit_a=1e-1)

    def abort(self) -> None:
        """Ends a sweep; here none outlives its message."""

    def makebuffer(self, _size: float) -> Buffer:
        """A buffer of the script's own."""
        self._buffers.append(Buffer(self._errors))
        return self._buffers[-1]


class Keithley2600B(TspDevice):
    """A 2635B, or with two buses a 2636B."""

    def __init__(self, probe: Probe, buses: Sequence[str], serial: str = "4000001") -> None:
        errors = Errors()
        self.channels = [Channel(probe, bus, I_RANGES_A, seed=20 + k) for k, bus in enumerate(buses)]
        timers = [_Timer(errors, number) for number in range(1, _TIMERS + 1)]
        smus = {f"smu{'ab'[k]}": _Smu(errors, channel, timers) for k, channel in enumerate(self.channels)}
        model = _MODELS[len(buses)]

        def reset() -> None:
            for smu in smus.values():
                smu.reset()
            for timer in timers:
                timer.reset()
            self.format._reset()

        instruments = Named(**{name: _Condition(smu._channel) for name, smu in smus.items()})
        tables = {
            **smus,
            "trigger": Named(timer=Numbered(timers)),
            "status": Named(measurement=Named(instrument=instruments), reset=lambda: None),
            "localnode": Named(linefreq=LINE_HZ, model=model, serialno=serial, reset=reset),
            "display": Named(clear=lambda: None, settext=lambda _: None, screen=0),
            "beeper": Named(beep=lambda *_: None, enable=0),
            "reset": reset,
        }
        common: dict[str, Callable[[], str | None]] = {
            "*IDN?": lambda: IDENTITY.format(model=model, serial=serial),
            "*RST": reset,
            "*CLS": errors.clear,
            "*OPC?": lambda: "1",
            "*WAI": lambda: None,
        }
        super().__init__(errors, tables, common, probe.elapse, probe.clock.now_s)


class _Condition:
    """status.measurement.instrument.smuX: bit 0 is the voltage limit, bit 1 the current limit."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def condition(self) -> float:
        return 2.0 * (self._channel.on and self._channel.sample(0.001).limited)


def _current_a(sample: Sample) -> float:
    return _NOT_A_NUMBER if sample.overflow else sample.current_a
