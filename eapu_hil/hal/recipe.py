"""The parameters of write-verify, as a YAML file or an inline mapping names them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

_STEPS_MAX = 10_000  # of a ramp: each is a pulse and a reading of each cell


class Ramp(BaseModel):
    """A voltage that starts at `start_v` and grows by `step_v` up to `stop_v`, in 10,000 steps at most."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start_v: PositiveFloat
    step_v: PositiveFloat
    stop_v: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> Ramp:
        if self.stop_v < self.start_v:
            raise ValueError(f"stop_v ({self.stop_v}) must not be below start_v ({self.start_v})")
        steps = (self.stop_v - self.start_v) / self.step_v
        if steps > _STEPS_MAX:
            raise ValueError(f"step_v ({self.step_v}) makes {steps:.3g} steps; allowed are {_STEPS_MAX:,}")
        return self


class SetRecipe(BaseModel):
    """SET is controlled by the gate: the saturation current of the access transistor limits the conductance.

    The first gate voltage is `gate_offset_v + g_target / gate_slope_S_per_v`, the array's nominal G(Vg) line,
    kept inside `gate`. While the cell stays below its band the gate rises by the missing conductance over the
    slope, at least by `gate.step_v`. At the end of the gate ramp the amplitude takes over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gate: Ramp
    gate_offset_v: float
    gate_slope_S_per_v: PositiveFloat
    amplitude: Ramp
    width_s: PositiveFloat


class ResetRecipe(BaseModel):
    """RESET is controlled by the amplitude, with the gate fully open."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gate_v: PositiveFloat
    amplitude: Ramp
    width_s: PositiveFloat


class FormRecipe(BaseModel):
    """Forming: an amplitude ramp at a fixed gate until the cell reads at least `g_formed_S`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gate_v: PositiveFloat
    amplitude: Ramp
    width_s: PositiveFloat
    g_formed_S: PositiveFloat


class IncrementRecipe(BaseModel):
    """Small identical pulses for rules that write without verify, the gate open as far as the window's high end.

    step_S: mean change of a cell in the middle of the window by one of them, as `pulse_response` measures it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    set_amplitude_v: PositiveFloat
    set_gate_v: PositiveFloat
    reset_amplitude_v: PositiveFloat
    reset_gate_v: PositiveFloat
    width_s: PositiveFloat
    step_S: PositiveFloat


class Recipe(BaseModel):
    """How a cell is written and when to stop.

    g_min_S, g_max_S: the window of the targets; an open bench refuses others.
    band_S: a cell is done when it reads within +-band_S of its target, twice (the second read confirms); at most half
        of the window.
    v_read_v: voltage of the verify reads.
    v_in_max_v: full scale of the inputs of products; left out, it is `v_read_v`.
    pulses_max, flips_max: caps for one cell in one epoch (pulses; changes of direction).
    pulses_at_cap_max: strongest pulses in a row without effect before the cell is called stuck.
    time_max_s: bench time after which the cells still open end as NOT_CONVERGED.
    rewrite_in_band: pulse a cell even when it already reads inside its band.
    epochs, epoch_wait_s: whole-batch repetitions after a wait, against relaxation.
    increment: pulses of rules that do not verify; None where nothing is known of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    g_min_S: PositiveFloat
    g_max_S: PositiveFloat
    band_S: PositiveFloat
    v_read_v: PositiveFloat
    v_in_max_v: PositiveFloat = Field(default_factory=lambda data: data["v_read_v"])
    set: SetRecipe
    reset: ResetRecipe
    form: FormRecipe
    increment: IncrementRecipe | None = None
    pulses_max: PositiveInt
    flips_max: PositiveInt
    pulses_at_cap_max: PositiveInt
    time_max_s: PositiveFloat
    rewrite_in_band: bool = False
    epochs: PositiveInt = 1
    epoch_wait_s: float = Field(default=0.0, ge=0.0)

    @model_validator(mode="after")
    def _window(self) -> Recipe:
        if self.g_max_S <= self.g_min_S:
            raise ValueError(f"g_max_S ({self.g_max_S}) must be above g_min_S ({self.g_min_S})")
        half_S = (self.g_max_S - self.g_min_S) / 2
        if self.band_S > half_S:
            raise ValueError(
                f"band_S ({self.band_S}) must be at most half of the window, {half_S:g} (in siemens): nearly every "
                "cell would be in band without a pulse"
            )
        return self
