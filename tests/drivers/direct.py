"""Instruments without a line: the simulated station's channels and crosspoints as the array's protocols want them.

They stand for an object that somebody else wrote, and they are fast.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np
from eapu_drivers.simulated.instruments.channel import Channel, Sample
from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.visa.instrument import InstrumentIdentity
from eapu_drivers.visa.smu.contract import Abilities, Setup, Sweep

from eapu_hil.hal import FloatArray

I_RANGES_A = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


class DirectMeter:
    """A `SourceMeter` at a bus of the station. log: what was asked of it, in order."""

    abilities = Abilities(200.0, 1e-9, 1.0, 1e-3, 1.0, 10)

    def __init__(self, probe: Probe, bus: str) -> None:
        self.identity = InstrumentIdentity("we", f"meter at {bus}", bus, "0")
        self.channel = Channel(probe, bus, I_RANGES_A)
        self.log: list[tuple[object, ...]] = []

    def set_up(self, setup: Setup) -> None:
        self.log.append(("set_up", setup))
        self.channel.drive(level_v=0.0, i_limit_a=setup.i_limit_a)
        self.channel.set_range(setup.i_limit_a)
        self.channel.nplc = setup.nplc

    def output(self, on: bool) -> None:
        self.log.append(("output", on))
        self.channel.drive(level_v=0.0, on=on)

    def hold(self, level_v: float) -> None:
        self.log.append(("hold", level_v))
        self.channel.drive(level_v=level_v)

    def held(self) -> Sweep:
        return _sweep([self.channel.sample()])

    def sweep(self, levels_v: FloatArray) -> Sweep:
        self.log.append(("sweep", levels_v.size))
        assert levels_v.size <= self.abilities.points_max
        samples = []
        for level_v in levels_v:
            self.channel.drive(level_v=float(level_v))
            samples.append(self.channel.sample())
        self.channel.drive(level_v=0.0)
        return _sweep(samples)

    def pulse(self, level_v: float, width_s: float, count: int = 1) -> bool:
        self.log.append(("pulse", level_v, width_s, count))
        hit = False
        for _ in range(count):
            self.channel.drive(level_v=level_v)
            self.channel.elapse(width_s)
            hit |= self.channel.limited
            self.channel.drive(level_v=0.0)
        return hit

    def safe_off(self) -> None:
        self.log.append(("safe_off",))
        self.channel.drive(level_v=0.0, on=False)

    def close(self) -> None: ...


class DirectSwitch:
    """A `SwitchMatrix` of the station; `on_connect` is called before crosspoints move."""

    identity = InstrumentIdentity("we", "matrix", "0", "0")

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.now: frozenset[str] = frozenset()
        self.hot = 0  # changes with a source away from 0 V

    def connect(self, crosspoints: Set[str]) -> None:
        assert crosspoints <= self._probe.crosspoints
        self.hot += any(source.on and source.level_v != 0.0 for source in self._probe.sources)
        self.now = frozenset(crosspoints)
        self._probe.close_crosspoints(self.now)

    def closed(self) -> frozenset[str]:
        return self.now

    def safe_off(self) -> None:
        self.connect(frozenset())

    def close(self) -> None: ...


def _sweep(samples: list[Sample]) -> Sweep:
    return Sweep(
        np.array([sample.current_a for sample in samples]),
        np.array([sample.limited for sample in samples]),
        np.array([sample.overflow for sample in samples]),
    )
