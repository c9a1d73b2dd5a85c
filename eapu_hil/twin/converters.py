"""The converters at the lines: quantisation, saturation, and the gain and offset error of each line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, IntArray, UnsupportedError
from eapu_hil.twin.kernels.noise import Noise
from eapu_hil.twin.kernels.products import amplify, disturb, measured, quantised, rounded
from eapu_hil.twin.preset import Adc, Dac

_NONE = np.zeros((1, 0, 0), np.float32)


class InputConverter:
    """DAC of the driven lines: signed, rounds to its steps; without bits it is continuous and unbounded."""

    def __init__(self, law: Dac) -> None:
        self.exact = law.bits is None
        # The largest code is 2^(bits-1) - 1: full scale is reached on both sides, zero is a code.
        codes = 1 if law.bits is None else 2 ** (law.bits - 1) - 1
        self._top_code = codes
        self._step_v = law.v_full_scale_v / codes
        self._full_scale_v = law.v_full_scale_v

    def convert(self, v_v: NDArray[np.floating]) -> NDArray[np.floating]:
        """The voltages that reach the lines, V.

        float32 once quantised (codes are small integers), as given when the converter is ideal. Raises
        UnsupportedError for a voltage beyond its full scale: a converter that silently clamps gives wrong products.
        """
        if self.exact:
            return v_v
        found_v = np.empty(v_v.shape, np.float32)
        largest = quantised(np.ascontiguousarray(v_v).reshape(-1), self._step_v, found_v.reshape(-1))
        if largest > self._top_code:
            raise UnsupportedError(
                f"twin: {float(np.abs(v_v).max())} V asked of the input converter; "
                f"allowed is at most {self._full_scale_v} V (dac.v_full_scale_v)"
            )
        return found_v


@dataclass(frozen=True)
class FullScale:
    """A range of an output converter: the codes +-top_code stand for +-amperes_a."""

    amperes_a: float
    top_code: int


class OutputConverters:
    """ADCs of the measured lines, one a line: gain, offset and noise, then rounding and saturation.

    Those of an array range automatically: a batch is measured in the smallest of `ranges_a` that holds its largest
    current. gain, offset: (arrays, lines), the offset in shares of the range.
    """

    def __init__(
        self, law: Adc, ranges_a: Sequence[float], lines: int, devices: Sequence[np.random.Generator]
    ) -> None:
        """devices: one of each array."""
        self._law = law
        self._ranges_a = np.array(ranges_a, np.float64)
        errors = [(device.standard_normal(lines), device.standard_normal(lines)) for device in devices]
        self.gain: FloatArray = 1.0 + law.gain_error_sd * np.array([gain for gain, _ in errors])
        self.offset: FloatArray = law.offset_error_sd * np.array([offset for _, offset in errors])
        self._top_code = 1.0 if law.bits is None else 2.0 ** (law.bits - 1) - 1

    @property
    def sensing(self) -> dict[str, float]:
        """The numbers of a reading in the largest range, for `kernels.rows`."""
        full_scale_a = float(self._ranges_a[-1])
        top_code = 0.0 if self._law.bits is None else self._top_code
        return {
            "full_scale_a": full_scale_a,
            "top_code": top_code,
            "sd_a": self._law.noise_relative * full_scale_a,
        }

    def convert(
        self,
        current_a: NDArray[np.floating],
        variance_a2: NDArray[np.float32] | None,
        arrays: IntArray,
        lines: IntArray | None,
        noise: Noise,
    ) -> NDArray[np.floating]:
        """Measured currents in A; `current_a` (..., batch, lines) is overwritten, and so is `variance_a2`.

        variance_a2: variance of the noise that each current carries already, or None. It and the converter's own are
        independent and normal, so one draw stands for both. arrays: (...). lines: of each, (..., lines); None for all.
        """
        gain, offset = self._of(arrays, lines)
        batch = current_a.reshape(arrays.size, *current_a.shape[-2:])
        carried = _NONE if variance_a2 is None else variance_a2.reshape(batch.shape)
        top_code = 0.0 if self._law.bits is None else self._top_code
        own_sd = self._law.noise_relative
        measured(batch, carried, gain.astype(batch.dtype), offset, self._ranges_a, own_sd, top_code, noise)
        return current_a

    def codes(
        self,
        current_a: NDArray[np.floating],
        variance_a2: NDArray[np.float32] | None,
        arrays: IntArray,
        lines: IntArray | None,
        full_scale: FullScale,
        noise: Noise,
    ) -> NDArray[np.int16]:
        """The same of one array, measured in one range and given as the converter gives it: a code for each current."""
        gain, offset = self._of(arrays, lines)
        batch = current_a.reshape(current_a.shape[-2:])
        carried = _NONE[0] if variance_a2 is None else variance_a2.reshape(batch.shape)
        offset_a = (full_scale.amperes_a * offset[0]).astype(batch.dtype)
        own_sd_a = self._law.noise_relative * full_scale.amperes_a
        amplify(batch, carried, gain[0].astype(batch.dtype))
        disturb(batch, carried, offset_a, own_sd_a**2, noise)
        batch *= full_scale.top_code / full_scale.amperes_a
        rounded(batch.reshape(-1), 1.0, full_scale.top_code)
        return current_a.astype(np.int16)

    def _of(self, arrays: IntArray, lines: IntArray | None) -> tuple[FloatArray, FloatArray]:
        """Gain and offset of some lines of some arrays, (arrays, lines)."""
        number = arrays.reshape(-1)
        if lines is None:
            return self.gain[number], self.offset[number]
        where = number[:, None], lines.reshape(number.size, -1)
        return self.gain[where], self.offset[where]
