"""The base of drivers of source-measure units: refusals before anything is sent, and limits read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from eapu_drivers.visa.instrument import Instrument, number, require_range
from eapu_drivers.visa.smu.contract import Abilities, Setup
from eapu_hil.hal import FloatArray, InstrumentError, UnsupportedError

SAFE_s = 0.3  # timeout of what is asked on the way out
LINE_HZ = (
    50.0  # the slower of the two, for timeouts and for widths: a reading never takes longer than this says
)
OVERHEAD_s = 5e-3  # of one level of a list, for timeouts


class SourceMeterBase(Instrument):
    """abilities, nplc: what the family can do; nplc are the least and the most power line periods of a reading."""

    abilities: Abilities
    nplc: tuple[float, float]
    _setup: Setup | None = None  # as read back; None: nothing may be sourced

    def require_setup(self, setup: Setup) -> None:
        """Raises UnsupportedError for a setup that the instrument cannot take."""
        can = self.abilities
        require_range(self.name, "a source range", setup.v_range_v, 0.0, can.v_max_v, "V")
        require_range(self.name, "a compliance", setup.i_limit_a, can.i_limit_min_a, can.i_limit_max_a, "A")
        require_range(self.name, "an integration time", setup.nplc, *self.nplc, "power line periods")

    def require_pulse(self, level_v: float, width_s: float, count: int) -> None:
        """Raises UnsupportedError for pulses that the instrument cannot make."""
        can = self.abilities
        require_range(self.name, "a pulse width", width_s, can.pulse_min_s, can.pulse_max_s, "s")
        self.require_levels(level_v)
        self.require_points(2 * count)

    def require_levels(self, *levels_v: float) -> None:
        """Raises UnsupportedError for a level beyond the range that was set up."""
        most_v = self.ready.v_range_v
        for level_v in levels_v:
            require_range(self.name, "a level", level_v, -most_v, most_v, "V")

    def require_sweep(self, levels_v: FloatArray) -> None:
        """Both for a list of levels."""
        self.require_levels(float(levels_v.min()), float(levels_v.max()))
        self.require_points(levels_v.size)

    def require_points(self, points: int) -> None:
        """Raises UnsupportedError for a list that is too long."""
        if points > self.abilities.points_max:
            raise UnsupportedError(
                f"{self.name}: {points} levels asked; it can do {self.abilities.points_max} in one list"
            )

    @property
    def ready(self) -> Setup:
        """The setup that holds. Raises UnsupportedError where there is none."""
        if self._setup is None:
            raise UnsupportedError(
                f"{self.name}: nothing can be sourced before set_up has told range and compliance"
            )
        return self._setup

    def require_setup_taken(
        self, setup: Setup, v_range_v: float, limit_a: float, i_range_a: float, nplc: float
    ) -> None:
        """Compares what the instrument reports; ranges may be larger than asked. Raises InstrumentError."""
        self.require_taken("compliance, A", setup.i_limit_a, limit_a)
        self.require_taken("integration time, power line periods", setup.nplc, nplc)
        for what, asked, taken in (
            ("source range, V", setup.v_range_v, v_range_v),
            ("current range, A", setup.i_limit_a, i_range_a),
        ):
            if not taken >= 0.999 * asked:
                raise InstrumentError(0, f"{number(asked)} asked, but it reports {taken}", what, self.name)

    def writing(self, messages: Sequence[str]) -> list[Callable[[], None]]:
        """A step for each message, for `try_each`."""
        return [partial(self.write, message) for message in messages]

    @staticmethod
    def timeout_s(points: int, nplc: float, delay_s: float = 0.0) -> float:
        """How long to wait for the answer to so many readings, each after a delay."""
        return 2.0 + 1.5 * points * (nplc / LINE_HZ + delay_s + OVERHEAD_s)
