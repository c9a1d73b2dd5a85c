"""The base of the channels of all simulated source-measure units: a source, ranges, a limit, a converter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eapu_drivers.simulated.instruments.probe import Probe

LINE_HZ = 50.0
_OVER_RANGE = 1.05  # a range measures, and limits, up to 5 % beyond its name
_NOISE_OF_RANGE = 2e-6  # sd of a reading of one power line period


@dataclass(frozen=True)
class Sample:
    """One reading. voltage_v: at the terminals. level_v: that was sourced. limited: in compliance.
    overflow: beyond the measuring range.
    """

    voltage_v: float
    current_a: float
    time_s: float
    limited: bool
    overflow: bool
    level_v: float


class Channel:
    """A channel at `bus` of a station. The attributes are what was set; change them through the methods.

    i_ranges_a: rising. i_range_a: fixed measuring range; None measures in the range that fits.
    """

    def __init__(self, probe: Probe, bus: str, i_ranges_a: Sequence[float], seed: int = 0) -> None:
        self.probe = probe
        self.i_ranges_a = tuple(i_ranges_a)
        self.level_v = 0.0
        self.on = False
        self.i_limit_a = 1e-4
        self.i_range_a: float | None = None
        self.nplc = 1.0
        self._sources_current = False
        self._source = probe.source(bus)
        self._rng = np.random.default_rng(seed)
        self.reset()

    def reset(self) -> None:
        """Output off, 0 V, 100 uA, autorange. The array is not reset."""
        self.i_range_a, self.nplc, self._sources_current = None, 1.0, False
        self.drive(level_v=0.0, on=False, i_limit_a=1e-4)
        self._source.limited = False

    def drive(
        self, *, level_v: float | None = None, on: bool | None = None, i_limit_a: float | None = None
    ) -> None:
        """Changes what is sourced, at this moment. Whether it limits is then told anew."""
        self.forget()
        self.level_v = self.level_v if level_v is None else level_v
        self.on = self.on if on is None else on
        self.i_limit_a = self.i_limit_a if i_limit_a is None else i_limit_a
        self._apply()

    def set_range(self, i_range_a: float | None) -> None:
        """The smallest range that holds `i_range_a`, or autorange."""
        if i_range_a is None:
            self.i_range_a = None
        else:
            fits = [one for one in self.i_ranges_a if one >= 0.9999 * i_range_a]
            self.i_range_a = fits[0] if fits else self.i_ranges_a[-1]
        self._apply()

    def set_sourcing_current(self, current: bool) -> None:
        """A source of current, at 0 A: the line is open, at whatever level."""
        self._sources_current = current
        self._apply()

    def _apply(self) -> None:
        limit_a = self.i_limit_a
        if self.i_range_a is not None:
            limit_a = min(limit_a, _OVER_RANGE * self.i_range_a)
        driven = self.on and not self._sources_current
        self.probe.drive(self._source, level_v=self.level_v, on=driven, i_limit_a=limit_a)

    def elapse(self, duration_s: float) -> None:
        """Lets bench time pass."""
        self.probe.elapse(duration_s)

    @property
    def limited(self) -> bool:
        """Whether the source ran into its limit since `forget`, or does now."""
        return self._source.limited

    def limiting(self) -> bool:
        """Whether the source is at its limit at this moment; takes no bench time."""
        before = self.limited
        self.forget()
        self.probe.measure(self._source, 0.0)
        now = self.limited
        self._source.limited = before or now
        return now

    def forget(self) -> None:
        """Clears `limited`."""
        self._source.limited = False

    def sample(self, nplc: float | None = None) -> Sample:
        """A reading now, integrated over `nplc` (what was set, by default)."""
        self.forget()
        periods = self.nplc if nplc is None else nplc
        current_a = self.probe.measure(self._source, periods / LINE_HZ)
        limited = self.limited
        range_a = self.i_range_a or next(
            (one for one in self.i_ranges_a if one * _OVER_RANGE >= abs(current_a)), self.i_ranges_a[-1]
        )
        current_a += _NOISE_OF_RANGE * range_a / np.sqrt(periods) * self._rng.standard_normal()
        overflow = abs(current_a) > _OVER_RANGE * range_a
        voltage_v = self.probe.terminal_v(self._source) if limited else self.level_v
        return Sample(voltage_v, float(current_a), self.probe.clock.now_s(), limited, overflow, self.level_v)
