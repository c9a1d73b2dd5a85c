"""Fit of the noise of a reading: white and 1/f, told apart by how the squared difference grows with the lag."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eapu_calibration.statistics import Estimate, Fits, bootstrap
from eapu_hil.bench.entries import Measurement
from eapu_hil.hal import FloatArray, HilError, IntArray
from eapu_hil.twin.preset import TwinPreset

CELLS_MIN = 50
RESTLESS_SDS = 2.0  # of the median of a level: telegraph noise of a few cells must not count as 1/f
WHITE_ABSOLUTE, WHITE = "read_noise.white_absolute_S", "read_noise.white_relative"
FLICKER = "read_noise.flicker_relative_per_decade"


def fit_read_noise(entry: Measurement, base: TwinPreset, rng: np.random.Generator) -> Fits:
    """Half the mean squared difference of readings `lag` apart = converter's + absolute^2 + G^2 (white^2 + 1/f).

    The 1/f part is flicker^2 times the sum of 1 - exp(-lag/tau) over the correlation times of the twin, one a decade;
    what is left of relaxation grows evenly with the lag, and is fitted along with it and dropped.
    Weighted least squares over cells and lags, intervals by bootstrap over the cells. base: gives the converter and
    the correlation times. entry: of kind `read_noise`. Raises HilError with fewer than 50 quiet cells, or where the
    lags do not reach over a decade.
    """
    arrays = entry.arrays
    g_uS = 1e6 * np.asarray(arrays["g_S"], dtype=np.float64)
    quiet = _quiet(g_uS, np.asarray(arrays["level"]), np.asarray(arrays["usable"], dtype=bool))
    lags = 2 ** np.arange(int(np.log2(g_uS.shape[0] / 4)) + 1)
    if quiet.sum() < CELLS_MIN or lags[-1] < 10:
        raise HilError(
            f"{int(quiet.sum())} quiet cells, lags up to {lags[-1]} readings; needed are {CELLS_MIN} cells and 10"
        )
    g_uS = g_uS[:, quiet]
    interval_s = float(np.median(np.diff(arrays["clock_s"])))
    half_squares = np.array([np.square(g_uS[lag:] - g_uS[:-lag]).mean(axis=0) / 2 for lag in lags])
    shape = _flicker_shape(lags * interval_s, base)
    converter_uS2 = _converter_uS2(entry, base)
    sample = np.vstack([g_uS.mean(axis=0), half_squares - converter_uS2])
    found = bootstrap(_Regression(shape, lags, converter_uS2), sample, rng)
    names = (WHITE_ABSOLUTE, WHITE, FLICKER)
    scales = (1e-6, 1.0, 1.0)
    return {
        name: Estimate(*(scale * np.asarray(ends)[number] for ends in (found.value, found.low, found.high)))
        for number, (name, scale) in enumerate(zip(names, scales, strict=True))
    }


def _quiet(g_uS: FloatArray, level: IntArray, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    sd = g_uS.std(axis=0)
    quiet = usable.copy()
    for number in np.unique(level):
        mine = level == number
        quiet[mine] &= sd[mine] < RESTLESS_SDS * np.median(sd[mine & usable])
    return quiet


def _flicker_shape(lag_s: NDArray[np.floating], base: TwinPreset) -> FloatArray:
    return np.asarray(-np.expm1(-lag_s[:, None] / base.read_noise.taus_s()).sum(axis=1))


def _converter_uS2(entry: Measurement, base: TwinPreset) -> float:
    """Noise and rounding of one conversion, as the base preset has the converter, uS^2."""
    adc = base.adc
    step_a = 0.0 if adc.bits is None else adc.read_full_scale_a / (2 ** (adc.bits - 1) - 1)
    variance_a2 = (adc.noise_relative * adc.read_full_scale_a) ** 2 + step_a**2 / 12
    return 1e12 * variance_a2 / float(entry.values["recipe"]["v_read_v"]) ** 2


class _Regression:
    """Absolute white (uS), relative white, 1/f a decade, rest of relaxation; from mean G and half squares by lag."""

    def __init__(self, shape: FloatArray, lags: IntArray, converter_uS2: float) -> None:
        self._shape, self._lags, self._converter_uS2 = shape, lags, converter_uS2

    def __call__(self, sample: FloatArray, axis: int = -1) -> FloatArray:
        g2 = np.square(sample[0])  # (..., n)
        rows = np.stack(
            [
                np.stack([np.ones_like(g2), g2, g2 * part, np.full_like(g2, lag / self._lags[-1])])
                for part, lag in zip(self._shape, self._lags, strict=True)
            ]
        )  # (lags, 4, ..., n)
        measured = sample[1:]
        # A squared difference is known in proportion to its own size, and the worse the fewer of its lag there are.
        size = self._converter_uS2 + np.mean(measured, axis=axis, keepdims=True) * g2 / np.mean(
            g2, axis=axis, keepdims=True
        )
        weight = 1.0 / (np.square(np.maximum(size, 1e-6)) * self._lags.reshape(-1, *[1] * g2.ndim))
        normal = np.einsum("ki...n,k...n,kj...n->...ij", rows, weight, rows)
        right = np.einsum("ki...n,k...n,k...n->...i", rows, weight, measured)
        squares = np.linalg.solve(normal, right[..., None])[..., 0]
        return np.asarray(np.sqrt(np.maximum(np.moveaxis(squares, -1, 0), 0.0)))
