"""The driver of the Acme SMU-1, an invented source-measure unit with one channel.

It understands, besides *IDN?, *RST, *CLS and :SYST:ERR?:

    :SET V,A,NPLC      source range, compliance and integration time; :SET? answers what it took
    :OUTP 0|1          connects the source at 0 V, or disconnects it; :OUTP? answers which
    :LEV V             sources a level
    :READ?             one reading: current in A, in compliance (0 or 1), beyond the range (0 or 1)
    :SWE? V,V,...      sources and measures each level and ends at 0 V: three numbers a level
    :PULS? V,S,N       N pulses from 0 V and back: whether one ran into the compliance
"""

from __future__ import annotations

import re

import numpy as np
from eapu_drivers.visa.instrument import ScpiInstrument, number
from eapu_drivers.visa.smu.base import SAFE_s, SourceMeterBase
from eapu_drivers.visa.smu.contract import Abilities, Setup, Sweep
from eapu_drivers.visa.transport import Transport

from eapu_hil.hal import FloatArray, InstrumentError


class AcmeSmu1(SourceMeterBase, ScpiInstrument):
    """The one channel of an SMU-1."""

    family = "Acme SMU-1"
    models = re.compile(r"SMU-1\w?")
    abilities = Abilities(
        v_max_v=10.0,
        i_limit_min_a=1e-8,
        i_limit_max_a=0.1,
        pulse_min_s=1e-3,
        pulse_max_s=1.0,
        points_max=500,
    )
    nplc = (0.01, 10.0)

    def __init__(self, transport: Transport, channel: str = "") -> None:
        """Resets the instrument: output off, 0 V. channel: it has one, without a name."""
        super().__init__(transport)
        self.require_channel(channel)
        self.send("*RST;*CLS")

    def set_up(self, setup: Setup) -> None:
        self.require_setup(setup)
        self._setup = None
        asked = ",".join(map(number, (setup.v_range_v, setup.i_limit_a, setup.nplc)))
        self.send(f":SET {asked}")
        v_range_v, i_limit_a, nplc = self.ask_numbers(":SET?", 3)
        self.require_setup_taken(setup, v_range_v, i_limit_a, i_limit_a, nplc)
        self._setup = setup

    def output(self, on: bool) -> None:
        self.send(f":OUTP {int(on)}")

    def hold(self, level_v: float) -> None:
        self.require_levels(level_v)
        self.send(f":LEV {number(level_v)}")

    def held(self) -> Sweep:
        return self._readings(":READ?", 1)

    def sweep(self, levels_v: FloatArray) -> Sweep:
        self.require_sweep(levels_v)
        return self._readings(f":SWE? {','.join(map(number, levels_v))}", levels_v.size)

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        self.require_pulse(level_v, width_s, count)
        message = f":PULS? {number(level_v)},{number(width_s)},{count}"
        [limited] = self._numbers(message, 1, self.timeout_s(2 * count, 0.0, width_s))
        return bool(limited)

    def safe_off(self) -> None:
        self._setup = None
        self.try_each(
            self._transport.clear,
            lambda: self.write(":LEV 0"),
            lambda: self.write(":OUTP 0"),
            self._require_off,
        )

    def _require_off(self) -> None:
        [on] = self._numbers(":OUTP?", 1, SAFE_s)
        if on:
            raise InstrumentError(0, "the output is still on", ":OUTP 0", self.name)

    def _readings(self, message: str, count: int) -> Sweep:
        answer = self._numbers(message, 3 * count, self.timeout_s(count, self.ready.nplc))
        current_a, limited, overflow = np.array(answer).reshape(count, 3).T
        return Sweep(current_a, limited != 0, overflow != 0)

    def _numbers(self, message: str, count: int, timeout_s: float) -> list[float]:
        """The answer to `message`, once the error queue has nothing against it."""
        answer = self.ask_checked(message, timeout_s)
        values = [float(part) for part in answer.split(",")] if answer else []
        if len(values) != count:
            raise self.wrong_answer(message, answer, f"{count} numbers")
        return values
