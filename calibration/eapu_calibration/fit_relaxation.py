"""Fit of the twin's relaxation to measured changes, by composite likelihood, all levels together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import expit, logit

from eapu_calibration.likelihood import Top
from eapu_calibration.relaxation_law import Changes, Shape, State
from eapu_hil.bench.entries import Measurement
from eapu_hil.hal import FloatArray, HilError
from eapu_hil.twin.preset import RelaxationPreset

_MICRO = 1e6
TIMES_MIN = 3
FLOOR_MARGIN = 2.0
_OWN = 6  # parameters of a level
_SHAPES = 2  # parameters that all levels have in common; two more where the noise of a reading is not known
_START = np.array([np.log(5.0), -1.0, np.log(0.1), 0.5])
_BOUNDS = ((-1.0, 4.0), (-4.0, 3.0), (-6.0, 2.0), (0.0, 2.0))
_PASSING, _POWER = 1, 3  # which of them is the passing share, and the power of the noise
_NOISE_AT_uS = 10.0
_STEP = 0.01  # of a parameter of order one
_OPEN_SD = 1.5  # of a logarithm: known to no better than a factor of 20


@dataclass(frozen=True, eq=False)
class RelaxationFit:
    """Conductance of each level (S), shape (levels,), and the estimates.

    level: of each, log variance at 1 s, log variance a decade, mean at 1 s, mean a decade (uS), logit of the
    share upwards, log of the ratio of the jumps.
    common: log jump_decades, logit passing_share; where it was not known, of the noise of a reading the log at
    10 uS (in uS) and the power of the conductance that it goes with. ks: distance of the measured changes to the law,
    by time.
    """

    g_S: FloatArray
    levels: list[Top]
    common: Top
    ks: dict[float, float]


def fit_relaxation(
    entry: Measurement, flicker_relative: float, tau_s: FloatArray, base: RelaxationPreset
) -> RelaxationFit:
    """Fits the twin's law to an entry of kind `relaxation`.

    flicker_relative: 1/f noise of a reading, sd a decade of the correlation times `tau_s`, of the conductance.
    base: gives `passing_per_decade`, in which the likelihood is too flat to estimate it as well, and `passing_share`
    where the changes do not settle that either (its sd is NaN then; so is that of the power of the noise where there is
    one level only). Intervals are those of a composite likelihood
    (Godambe's: scores of the cells between two curvatures). Raises HilError with fewer than 3 times, or where the
    values leave a parameter open.
    """
    levels, g_S, noise_known = _levels(entry, flicker_relative, tau_s, base.passing_per_decade)

    # Cells of the lowest state meet its floor, which cuts their tails off: they say nothing of what all have in common.
    free = g_S > FLOOR_MARGIN * float(entry.values["recipe"]["g_min_S"])
    if not free.any():
        raise HilError(f"no level lies above {FLOOR_MARGIN:g} times the lowest conductance")
    chosen = [level for level, is_free in zip(levels, free, strict=True) if is_free]
    start = _START[:_SHAPES] if noise_known else _START
    x = np.concatenate([*(_start(level) for level in chosen), start])
    bounds, held = list(_BOUNDS[: start.size]), []
    if len(chosen) == 1 and not noise_known:
        # One level has one noise: that it goes with a power of the conductance cannot be seen.
        bounds[_POWER], held = (start[_POWER], start[_POWER]), [_POWER]
    try:
        x = _climb(chosen, x, start.size, bounds)
        tops, common_top = _tops(chosen, x, start.size, held)
    except HilError:
        share = float(logit(np.clip(base.passing_share, 0.01, 0.99)))
        x[-start.size + _PASSING] = share
        bounds[_PASSING] = (share, share)
        x = _climb(chosen, x, start.size, bounds)
        tops, common_top = _tops(chosen, x, start.size, [_PASSING, *held])
    common = x[-start.size :]
    found = iter(tops)
    best = []
    for level, is_free in zip(levels, free, strict=True):
        if is_free:
            best.append(next(found))
        else:
            as_found = [(float(value), float(value)) for value in common]
            own = _climb([level], np.concatenate([_start(level), common]), start.size, as_found)[:_OWN]
            best.append(Top(own, np.full(_OWN, np.nan), _height(level, np.concatenate([own, common]))))
    laws = [_law(top.x, common, level) for level, top in zip(levels, best, strict=True)]
    ks = {float(10.0**at): _distance(levels, laws, number) for number, at in enumerate(levels[0].log_age)}
    return RelaxationFit(g_S, best, common_top, ks)


def _distance(levels: list[Changes], laws: list[tuple[State, Shape]], number: int) -> float:
    """Of the changes of all levels at time `number` to the law, by Kolmogorov and Smirnov."""
    change_uS = np.sort(np.concatenate([level.change_uS[number] for level in levels]))
    below = np.zeros(change_uS.size)
    for level, law in zip(levels, laws, strict=True):
        below += level.change_uS.shape[1] / change_uS.size * level.below(*law, number, change_uS)
    steps = np.arange(change_uS.size + 1) / change_uS.size
    return float(max(np.abs(below - steps[1:]).max(), np.abs(below - steps[:-1]).max()))


def _law(own: FloatArray, common: FloatArray, level: Changes) -> tuple[State, Shape]:
    shape = Shape(float(np.exp(common[0])), float(expit(common[1])), level.passing_per_decade)
    noise_uS2 = 0.0
    if common.size > _SHAPES:
        at_10_uS, power = common[_SHAPES:]
        noise_uS2 = float(np.exp(at_10_uS) * (level.at_uS / _NOISE_AT_uS) ** power) ** 2
    variance_1s, a_decade = map(float, np.exp(own[:2]))
    state = State(
        variance_1s,
        a_decade,
        float(own[2]),
        float(own[3]),
        float(expit(own[4])),
        float(np.exp(own[5])),
        noise_uS2,
    )
    return state, shape


def _start(level: Changes) -> FloatArray:
    variance = level.change_uS.var(axis=1)
    slope, at_1s = np.polyfit(level.log_age, variance, 1)
    mean_slope, mean_1s = np.polyfit(level.log_age, level.change_uS.mean(axis=1), 1)
    slope = max(slope, 0.05 * variance.max())
    return np.array([np.log(max(at_1s, 0.2 * variance.max())), np.log(slope), mean_1s, mean_slope, 0.0, 0.0])


def _heights(level: Changes, y: FloatArray) -> FloatArray:
    """Log likelihood of each cell. y: the level's own parameters and the common ones."""
    return level.log_likelihood(*_law(y[:_OWN], y[_OWN:], level))


def _height(level: Changes, y: FloatArray) -> float:
    return float(_heights(level, y).sum())


def _slope(level: Changes, y: FloatArray) -> FloatArray:
    """Derivatives of the level's likelihood by its own and the common parameters."""
    steps = _STEP * np.eye(y.size)
    return np.array([_height(level, y + step) - _height(level, y - step) for step in steps]) / (2 * _STEP)


def _climb(
    levels: list[Changes], x: FloatArray, common: int, common_bounds: Sequence[tuple[float, float]]
) -> FloatArray:
    """The top, from `x`: the levels' own parameters one after another, then the common ones within their bounds."""
    cells = sum(level.change_uS.shape[1] for level in levels)

    def height_and_slope(x: FloatArray) -> tuple[float, FloatArray]:
        height, slope = 0.0, np.zeros(x.size)
        for number, level in enumerate(levels):
            own = slice(number * _OWN, (number + 1) * _OWN)
            y = np.concatenate([x[own], x[-common:]])
            height += _height(level, y)
            found = _slope(level, y)
            slope[own] = found[:_OWN]
            slope[-common:] += found[_OWN:]
        return -height / cells, -slope / cells

    bounds = [(-12.0, 8.0), (-12.0, 8.0), (None, None), (None, None), (-4.0, 4.0), (-4.0, 4.0)] * len(levels)
    options = {"maxiter": 400, "ftol": 1e-10, "gtol": 1e-5}
    found = optimize.minimize(
        height_and_slope, x, jac=True, method="L-BFGS-B", bounds=[*bounds, *common_bounds], options=options
    )
    return np.asarray(found.x)


def _tops(levels: list[Changes], x: FloatArray, common: int, held: list[int]) -> tuple[list[Top], Top]:
    """The estimates with their sd: inverse curvature, scores of the cells, inverse curvature.

    held: which of the common ones were not free; their sd is NaN.
    """
    curvature, scores = np.zeros((2, x.size, x.size))
    for number, level in enumerate(levels):
        place = np.r_[number * _OWN : (number + 1) * _OWN, x.size - common : x.size]
        bent, scattered = _bend(level, x[place])
        curvature[np.ix_(place, place)] += bent
        scores[np.ix_(place, place)] += scattered
    free = np.setdiff1d(np.arange(x.size), x.size - common + np.asarray(held, dtype=np.int64))
    curvature, scores = curvature[np.ix_(free, free)], scores[np.ix_(free, free)]
    if not np.isfinite(curvature).all() or np.linalg.eigvalsh(curvature).min() <= 0:
        raise HilError(
            "the changes do not determine the law of relaxation; measure more cells per level, or at more times"
        )
    inverse = np.linalg.inv(curvature)
    sd = np.full(x.size, np.nan)
    sd[free] = np.sqrt(np.diag(inverse @ scores @ inverse))
    if np.nanmax(sd[-common:][:_SHAPES]) > _OPEN_SD:
        raise HilError(
            "the changes do not determine the share of the relaxation that passes; measure more cells per level, or "
            "at more times"
        )
    tops = []
    for number, level in enumerate(levels):
        own = slice(number * _OWN, (number + 1) * _OWN)
        tops.append(Top(x[own], sd[own], _height(level, np.concatenate([x[own], x[-common:]]))))
    return tops, Top(x[-common:], sd[-common:], sum(top.log_likelihood for top in tops))


def _bend(level: Changes, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Curvature of a level's likelihood, downwards, and the sum over its cells of the squared scores."""
    steps = 3 * _STEP * np.eye(y.size)
    bent = [_slope(level, y - step) - _slope(level, y + step) for step in steps]
    curvature = np.array(bent) / (6 * _STEP)
    cells = [_heights(level, y + step) - _heights(level, y - step) for step in steps]
    scores = np.array(cells) / (6 * _STEP)
    return (curvature + curvature.T) / 2, scores @ scores.T


def _levels(
    entry: Measurement, flicker_relative: float, tau_s: FloatArray, passing_per_decade: float
) -> tuple[list[Changes], FloatArray, bool]:
    """The changes by level, the conductance of each level (S), and whether the white noise of a reading is known."""
    arrays = entry.arrays
    usable = np.asarray(arrays["usable"], dtype=bool)
    first_uS, g_uS = _MICRO * arrays["first_S"], _MICRO * arrays["g_S"]
    log_age = np.log10(np.asarray(entry.values["age_s"], dtype=np.float64))
    if log_age.size < TIMES_MIN or log_age[-1] <= 0:
        raise HilError(
            f"relaxation was measured at {log_age.size} times; at least {TIMES_MIN} are needed, the last beyond 1 s"
        )
    noise_known = len(first_uS) > 1
    levels = []
    for number in range(len(entry.values["levels_S"])):
        chosen = usable & (arrays["level"] == number)
        at_uS = float(first_uS[-1, chosen].mean())
        noise_uS2 = _slow_uS2(log_age, flicker_relative * at_uS, tau_s)
        if noise_known:
            # The two readings follow each other at once: hardly any of the 1/f noise is in their difference.
            white_uS2 = float(np.square(first_uS[1, chosen] - first_uS[0, chosen]).mean() / 2)
            noise_uS2 += white_uS2 * (np.eye(log_age.size) + 1.0)  # the first reading is in every change
        levels.append(
            Changes(g_uS[:, chosen] - first_uS[-1, chosen], log_age, at_uS, noise_uS2, passing_per_decade)
        )
    return levels, np.asarray(entry.values["g_first_S"], dtype=np.float64), noise_known


def _slow_uS2(log_age: FloatArray, sd_uS: float, tau_s: FloatArray) -> FloatArray:
    """Covariance of the 1/f noise of the changes: sd_uS for each correlation time."""
    read_s = np.append(0.0, 10.0**log_age)
    apart_s = np.abs(np.subtract.outer(read_s, read_s))
    slow = sd_uS**2 * np.exp(-apart_s[..., None] / tau_s).sum(axis=-1)
    found: FloatArray = slow[1:, 1:] - slow[1:, :1] - slow[:1, 1:] + slow[0, 0]
    return found
