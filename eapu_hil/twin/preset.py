"""The preset of a twin: every parameter of the cells, the wires and the converters, with its YAML key.

Each non-ideality can be switched off by name: `enabled: false` in its section, `null` for converter bits,
0 for a resistance or a fraction. With all of them off a product is exact to float precision.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    model_validator,
)

from eapu_hil.base.sizes import Lines
from eapu_hil.hal import ConfigError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class PresetSection(BaseModel):
    """Base of all sections: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(PresetSection):
    """Conductances that a working cell can hold, S; `floor_S` is where a full RESET ends."""

    g_min_S: PositiveFloat
    g_max_S: PositiveFloat
    floor_S: PositiveFloat
    ceiling_S: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if not self.floor_S <= self.g_min_S < self.g_max_S <= self.ceiling_S:
            raise ValueError("floor_S <= g_min_S < g_max_S <= ceiling_S must hold")
        return self


class Switching(PresetSection):
    """Kinetics of one direction: a pulse of V and w covers 1 - exp(-(w/tau) exp((V - V0)/v_slope)) of the way.

    Below `v_threshold_v` nothing moves, however long it lasts, as in VTEAM (doi 10.1109/TCSII.2015.2433536): the
    exponential was meant for short pulses and would let a slow read switch cells.
    """

    v_half_v: PositiveFloat
    v_slope_v: PositiveFloat
    tau_s: PositiveFloat
    v_threshold_v: NonNegativeFloat = 0.0


class Gate(PresetSection):
    """A SET ends at `slope_S_per_v * (v_gate - threshold_v)`: the access transistor limits the current."""

    threshold_v: float
    slope_S_per_v: PositiveFloat


class WriteNoise(PresetSection):
    """Cycle-to-cycle spread of one pulse: sd = sqrt(absolute^2 * progress + (relative * change)^2)."""

    enabled: bool = True
    set_absolute_S: NonNegativeFloat
    set_relative: NonNegativeFloat
    reset_absolute_S: NonNegativeFloat
    reset_relative: NonNegativeFloat


class Variation(PresetSection):
    """Device-to-device spread (sd) of the cell parameters."""

    enabled: bool = True
    gate_threshold_v: NonNegativeFloat
    gate_slope_relative: NonNegativeFloat
    v_set_v: NonNegativeFloat
    v_reset_v: NonNegativeFloat


class FormingPreset(PresetSection):
    """Fresh cells: log-normal conductance, and the voltage at which a cell forms."""

    enabled: bool = True
    g_fresh_S: PositiveFloat
    g_fresh_log_sd: NonNegativeFloat
    v_form_v: PositiveFloat
    v_form_sd_v: NonNegativeFloat
    g_after_log_sd: NonNegativeFloat


class RelaxationPreset(PresetSection):
    """Log-time relaxation after a write, by state; the law is that of `relaxing.RelaxingCells`.

    At the conductances `g_S` the change has variance `variance_1s_S2` and mean `mean_1s_S` after 1 s and gains
    `variance_per_decade_S2` and `mean_per_decade_S` with each decade of time. It comes in jumps: in u decades its
    excess kurtosis is about 3 `jump_decades` / u (0: no jumps, normal). `up_share` of the variance is that of jumps
    upwards, which are rarer and larger than those downwards by `jump_ratio`. `passing_share` of the variance does not
    stay: a cell takes another draw of it `passing_per_decade` times a decade. Conductances are brought up to date at
    most every `update_interval_s` of bench time and after every wait.
    """

    enabled: bool = True
    g_S: list[PositiveFloat]
    variance_1s_S2: list[PositiveFloat]
    variance_per_decade_S2: list[PositiveFloat]
    mean_1s_S: list[float]
    mean_per_decade_S: list[float]
    up_share: list[Fraction]
    jump_ratio: list[PositiveFloat]
    jump_decades: NonNegativeFloat
    passing_share: Annotated[float, Field(ge=0.0, lt=1.0)]
    passing_per_decade: PositiveFloat
    update_interval_s: PositiveFloat

    @model_validator(mode="after")
    def _same_length(self) -> RelaxationPreset:
        columns = (
            self.variance_1s_S2,
            self.variance_per_decade_S2,
            self.mean_1s_S,
            self.mean_per_decade_S,
            self.up_share,
            self.jump_ratio,
        )
        if any(len(column) != len(self.g_S) for column in columns) or sorted(self.g_S) != self.g_S:
            raise ValueError("the lists must have one length and g_S must rise")
        return self


class ReadNoise(PresetSection):
    """Fluctuation of a cell's conductance: white in each sample, plus 1/f.

    The 1/f part is a sum of Ornstein-Uhlenbeck processes, one a decade of correlation time from
    `tau_min_s` to `tau_max_s`, each with sd `flicker_relative_per_decade` of the conductance.
    """

    enabled: bool = True
    white_relative: NonNegativeFloat
    white_absolute_S: NonNegativeFloat
    flicker_relative_per_decade: NonNegativeFloat
    tau_min_s: PositiveFloat
    tau_max_s: PositiveFloat

    def taus_s(self) -> NDArray[np.float64]:
        """Correlation times of the processes, s."""
        decades = round(np.log10(self.tau_max_s / self.tau_min_s)) + 1
        return self.tau_min_s * 10.0 ** np.arange(decades)


class Rtn(PresetSection):
    """Random telegraph noise: a fraction of the cells jumps between two levels."""

    enabled: bool = True
    fraction: Fraction
    amplitude_relative: NonNegativeFloat
    amplitude_log_sd: NonNegativeFloat
    tau_min_s: PositiveFloat
    tau_max_s: PositiveFloat


class FaultsPreset(PresetSection):
    """Cells that never switch, from the start.

    open_rows, open_columns: lines, by index, whose cells carry no current (0 S). shorted_rows, shorted_columns: lines
    whose cells all conduct `g_stuck_high_S`. Where the two cross, the open line wins.
    """

    stuck_fraction: Fraction
    stuck_high_share: Fraction
    g_stuck_high_S: PositiveFloat
    g_stuck_low_S: PositiveFloat
    open_rows: tuple[NonNegativeInt, ...] = ()
    open_columns: tuple[NonNegativeInt, ...] = ()
    shorted_rows: tuple[NonNegativeInt, ...] = ()
    shorted_columns: tuple[NonNegativeInt, ...] = ()

    def g_of_lines_S(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Conductances that faults of lines impose, (rows, columns), S; NaN for all other cells.

        Raises ConfigError for a line that an array of `shape` has not.
        """
        for name, axis in (("rows", 0), ("columns", 1)):
            for kind in ("open", "shorted"):
                beyond = [line for line in getattr(self, f"{kind}_{name}") if line >= shape[axis]]
                if beyond:
                    raise ConfigError(
                        f"faults.{kind}_{name}: {beyond[0]} asked; the array has {name} 0 to {shape[axis] - 1}"
                    )
        g_S = np.full(shape, np.nan)
        g_S[list(self.shorted_rows), :] = self.g_stuck_high_S
        g_S[:, list(self.shorted_columns)] = self.g_stuck_high_S
        g_S[list(self.open_rows), :] = 0.0
        g_S[:, list(self.open_columns)] = 0.0
        return g_S


class Endurance(PresetSection):
    """Wear: a pulse that moves a cell by dG uses up (|dG|/window)^exponent / cycles of its life.

    Steps below `weakest_step` of the window count as that step. `log_sd` is the spread of `cycles` over the cells.
    """

    enabled: bool = True
    cycles: PositiveFloat
    log_sd: NonNegativeFloat
    exponent: PositiveFloat
    weakest_step: Fraction
    fails_high_share: Fraction


class Circuit(PresetSection):
    """Wires: resistance of one segment between neighbouring cells, and from a driver to the first."""

    line_resistance_ohm: NonNegativeFloat


class Dac(PresetSection):
    """Input converter: signed, `bits` over +-v_full_scale_v. bits: null means continuous, unbounded."""

    bits: Annotated[int, Field(gt=0, le=32)] | None
    v_full_scale_v: PositiveFloat


class Adc(PresetSection):
    """Output converters, one a line: signed, `bits` over +-full scale. bits: null means continuous, unbounded.

    Verify reads use one range, products the smallest of `product_ranges_a` that holds a batch. noise_relative,
    offset_error_sd: of the range in use.
    """

    bits: Annotated[int, Field(gt=0, le=32)] | None
    read_full_scale_a: PositiveFloat
    product_ranges_a: Annotated[list[PositiveFloat], Field(min_length=1)]
    noise_relative: NonNegativeFloat
    gain_error_sd: NonNegativeFloat
    offset_error_sd: NonNegativeFloat

    @model_validator(mode="after")
    def _rising(self) -> Adc:
        if sorted(self.product_ranges_a) != self.product_ranges_a:
            raise ValueError("product_ranges_a must rise")
        return self


class TimingPreset(PresetSection):
    """Bench time of the operations; a verify read takes a whole row at once."""

    pulse_overhead_s: NonNegativeFloat
    read_row_s: PositiveFloat
    product_s: PositiveFloat


class TwinPreset(PresetSection):
    """All parameters of a twin.

    elements: how many binary elements in parallel make a cell; None: its conductance is continuous.
    """

    name: str
    description: str
    window: Window
    gate: Gate
    set: Switching
    reset: Switching
    write_noise: WriteNoise
    variation: Variation
    forming: FormingPreset
    elements: Lines | None = None
    relaxation: RelaxationPreset
    read_noise: ReadNoise
    rtn: Rtn
    faults: FaultsPreset
    endurance: Endurance
    circuit: Circuit
    dac: Dac
    adc: Adc
    timing: TimingPreset
    recipe: str
