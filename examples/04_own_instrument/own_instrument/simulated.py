"""The Acme SMU-1 as a program: what `meter.py` talks to where there is no instrument.

It is one source of a simulated probe station, so whatever is wired to it draws current and is disturbed as it would be
on the bench. `eapu-hil` puts it on a TCP socket.
"""

from __future__ import annotations

from collections.abc import Sequence

from eapu_drivers.simulated.instruments.channel import Channel, Sample
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.scpi import ScpiDevice, bit, boolean, real, shown

V_MAX_V, I_MAX_A, WIDTH_MAX_s, COUNT_MAX = 10.0, 0.1, 1.0, 250
I_RANGES_A = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class SimulatedAcmeSmu1(ScpiDevice):
    """One channel, at the one bus it is given."""

    def __init__(self, probe: Probe, buses: Sequence[str], *, serial: str) -> None:
        [bus] = buses
        self.channel = Channel(probe, bus, I_RANGES_A)
        self._serial = serial
        super().__init__(
            {
                "*IDN?": lambda: f"Acme,SMU-1,{self._serial},1.0",
                "*RST": self._reset,
                "*CLS": self.clear_errors,
                ":SYSTem:ERRor?": self._error,
                ":SETup": self._set_up,
                ":SETup?": lambda: ",".join(map(shown, self._setup)),
                ":OUTPut": lambda value: self.channel.drive(level_v=0.0, on=boolean(value)),
                ":OUTPut?": lambda: bit(self.channel.on),
                ":LEVel": lambda value: self.channel.drive(level_v=real(value, -V_MAX_V, V_MAX_V)),
                ":READ?": lambda: _told(self.channel.sample()),
                ":SWEep?": self._sweep,
                ":PULSe?": self._pulse,
            }
        )
        self._reset()

    def _reset(self) -> None:
        self.channel.reset()
        self._setup = (V_MAX_V, 1e-4, 1.0)

    def _error(self) -> str:
        code, text = self.take_error() or (0, "No error")
        return f'{code},"{text}"'

    def _set_up(self, v_range: str, i_limit: str, nplc: str) -> None:
        v_range_v, i_limit_a = real(v_range, 0.0, V_MAX_V), real(i_limit, 1e-8, I_MAX_A)
        self._setup = (v_range_v, i_limit_a, real(nplc, 0.01, 10.0))
        self.channel.drive(level_v=0.0, i_limit_a=i_limit_a)
        self.channel.set_range(i_limit_a)
        self.channel.nplc = self._setup[2]

    def _sweep(self, *levels: str) -> str:
        levels_v = [real(level, -V_MAX_V, V_MAX_V) for level in levels]
        told = []
        for level_v in levels_v:
            self.channel.drive(level_v=level_v)
            told.append(_told(self.channel.sample()))
        self.channel.drive(level_v=0.0)
        return ",".join(told)

    def _pulse(self, level: str, width: str, count: str) -> str:
        level_v, width_s = real(level, -V_MAX_V, V_MAX_V), real(width, 1e-3, WIDTH_MAX_s)
        limited = False
        for _ in range(int(real(count, 1, COUNT_MAX))):
            self.channel.drive(level_v=level_v)
            self.channel.elapse(width_s)
            limited |= self.channel.limited
            self.channel.drive(level_v=0.0)
            self.channel.elapse(width_s)
        return bit(limited)


def _told(sample: Sample) -> str:
    return f"{shown(sample.current_a)},{bit(sample.limited)},{bit(sample.overflow)}"
