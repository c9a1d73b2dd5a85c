"""A simulated Keithley 2600B: the tables of its channels, for the scripts that it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eapu_drivers.simulated.instruments.channel import LINE_HZ, Channel
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.sim_keithley2600b_trigger import (
    I_MAX_A,
    I_MIN_A,
    V_MAX_V,
    Timer,
    TriggerModel2600B,
    shown_a,
)
from eapu_drivers.simulated.instruments.tsp import TspDevice
from eapu_drivers.simulated.instruments.tsp_tables import (
    Errors,
    Named,
    Numbered,
    Setting,
    TspBuffer,
    TspTable,
)

IDENTITY = "Keithley Instruments Inc., Model {model}, {serial}, 3.4.0"
V_RANGES_V = (0.2, 2.0, 20.0, 200.0)
I_RANGES_A = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1.5)
_MODELS = {1: "2635B", 2: "2636B"}
_TIMERS = 8
_BUFFERS_MAX = 100  # of a channel
_SMALLEST_A = 1e-12


class _Source(TspTable):
    func = Setting(1, values=(0, 1))
    autorangev = Setting(1, values=(0, 1))
    autorangei = Setting(1, values=(0, 1))
    levelv = Setting(0.0, -V_MAX_V, V_MAX_V)
    leveli = Setting(0.0, -I_MAX_A, I_MAX_A)
    limiti = Setting(1e-1, I_MIN_A, I_MAX_A)
    limitv = Setting(20.0, 1e-2, V_MAX_V)
    output = Setting(0, values=(0, 1, 2))
    offmode = Setting(0, values=(0, 1, 2))
    delay = Setting(0.0, -1, 1e6)
    settling = Setting(0, values=(0, 1, 2, 3, 128))
    highc = Setting(0, values=(0, 1))
    sink = Setting(0, values=(0, 1))
    outputenableaction = Setting(0, values=(0, 1))
    rangei = Setting(1e-7, 0.0, I_MAX_A)
    _rangev = Setting(20.0, 0.0, V_MAX_V)

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
        elif name == "func":
            self._channel.set_sourcing_current(self.func == 0)  # at 0 A, whatever leveli says


class _Measure(TspTable):
    autorangei = Setting(1, values=(0, 1, 2))
    autorangev = Setting(1, values=(0, 1, 2))
    rangev = Setting(20.0, 0.0, V_MAX_V)
    nplc = Setting(1.0, 0.001, 25.0)
    autozero = Setting(2, values=(0, 1, 2))
    count = Setting(1, 1, 60000)
    delay = Setting(0.0, -1, 1e6)
    interval = Setting(0.0, 0.0, 1.0)
    _rangei = Setting(1e-1, 0.0, I_MAX_A)

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

    def i(self, buffer: TspBuffer | None = None) -> float:
        """Current, A."""
        return self._measured(lambda sample: shown_a(sample), buffer)

    def v(self, buffer: TspBuffer | None = None) -> float:
        """Voltage, V."""
        return self._measured(lambda sample: sample.voltage_v, buffer)

    def r(self, buffer: TspBuffer | None = None) -> float:
        """Resistance, ohm."""
        return self._measured(lambda sample: sample.voltage_v / (sample.current_a or _SMALLEST_A), buffer)

    def iv(self, i_buffer: TspBuffer | None = None, v_buffer: TspBuffer | None = None) -> tuple[float, float]:
        """Current and voltage."""
        sample = self._channel.sample()
        for buffer, value in ((i_buffer, shown_a(sample)), (v_buffer, sample.voltage_v)):
            if buffer is not None:
                buffer._take([value], append=bool(buffer.appendmode))
        return shown_a(sample), sample.voltage_v

    def _measured(self, of: Any, buffer: TspBuffer | None) -> float:
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


class _Smu(TspTable):
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

    def __init__(self, errors: Errors, channel: Channel, timers: Sequence[Timer]) -> None:
        super().__init__(errors)
        self._channel = channel
        self._source, self._measure = _Source(errors, channel), _Measure(errors, channel)
        self._trigger = TriggerModel2600B(errors, self, timers)
        self._buffers = [TspBuffer(errors), TspBuffer(errors)]
        self.reset()

    source = property(lambda self: self._source)
    measure = property(lambda self: self._measure)
    trigger = property(lambda self: self._trigger)
    nvbuffer1 = property(lambda self: self._buffers[0])
    nvbuffer2 = property(lambda self: self._buffers[1])

    def reset(self) -> None:
        """Output off, 0 V, 100 mA; the array is not reset."""
        del self._buffers[2:]
        for table in (self, self._source, self._measure, self._trigger, *self._buffers):
            table._reset()
        self._channel.reset()
        self._channel.drive(i_limit_a=1e-1)

    def abort(self) -> None:
        """Ends a sweep; here none outlives its message."""

    def makebuffer(self, _size: float) -> TspBuffer:
        """A buffer of the script's own."""
        if len(self._buffers) >= _BUFFERS_MAX:
            raise MemoryError(f"at most {_BUFFERS_MAX} buffers; reset forgets those of scripts")
        self._buffers.append(TspBuffer(self._errors))
        return self._buffers[-1]


class SimulatedKeithley2600B(TspDevice):
    """A 2635B, or with two buses a 2636B."""

    def __init__(self, probe: Probe, buses: Sequence[str], serial: str = "4000001") -> None:
        errors = Errors()
        self.channels = [Channel(probe, bus, I_RANGES_A, seed=20 + k) for k, bus in enumerate(buses)]
        timers = [Timer(errors, number) for number in range(1, _TIMERS + 1)]
        smus = {f"smu{'ab'[k]}": _Smu(errors, channel, timers) for k, channel in enumerate(self.channels)}
        model = _MODELS[len(buses)]

        def reset() -> None:
            for smu in smus.values():
                smu.reset()
            for timer in timers:
                timer.reset()
            self.format._reset()

        instruments = Named(**{name: _Condition(errors, smu._channel) for name, smu in smus.items()})
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
        self._first = smus["smua"]
        super().__init__(errors, tables, common, probe.elapse, probe.clock.now_s)

    def trip(self) -> None:
        """The output of smua goes off by itself."""
        self._first.source.output = 0


class _Condition(TspTable):
    """status.measurement.instrument.smuX: bit 0 is the voltage limit, bit 1 the current limit."""

    def __init__(self, errors: Errors, channel: Channel) -> None:
        super().__init__(errors)
        self._channel = channel

    @property
    def condition(self) -> float:
        return 2.0 * (self._channel.on and self._channel.sample(0.001).limited)
