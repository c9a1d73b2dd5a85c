"""Relaxation of written cells: how their conductance wanders with the logarithm of the time since the write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.preset import RelaxationPreset
from eapu_hil.twin.state import StateFiles

Single = NDArray[np.float32]


class RelaxingCells:
    """RelaxationPreset as a walk by jumps in the logarithm of the time since the write, a part of which does not last.

    With u the decades since the walk began, the change is mean(u) + L(u) + P(u). L, which lasts, is a bilateral gamma
    process (arXiv 1907.09856): jumps up and jumps down of all sizes, many small ones for a large one, so
    that most cells stand still for a while. P, which passes, is zero at first; it is drawn anew at random moments, a
    Poisson process in u, each time from the law of such a process at that u. The increments can be drawn exactly at any
    times. The mean moves evenly up to 1 s and at the rate of the table from then on. A cell is brought up to date each
    time a quarter of a decade has passed: rarely enough that few cells differ from one product to the next.
    A write sets its cell's part of the account back (`kernels.cells`).
    Law and state table follow measured data: github akashlevy/RRAM-RelaxationPreset-Master-Model (MIT).
    """

    STEP_DECADES = 0.25

    def __init__(self, law: RelaxationPreset, g_S: FloatArray, files: StateFiles) -> None:
        count = g_S.size
        self._law = law
        self.written_s: FloatArray = files.array("written_s", np.full(count, np.inf))
        # Single precision is a 1e-4 of the noise of a reading.
        self.g_written_S: Single = files.zeros("g_written_S", (count,), np.float32)
        self.log_age: Single = files.array("log_age", np.full(count, np.inf, np.float32))
        moved_S = np.where(np.isfinite(self.written_s), g_S - self.g_written_S, 0.0).astype(np.float32)
        self.moved_S: Single = files.array("moved_S", moved_S)  # where no floor would stop it
        self.passing_S: Single = files.zeros("passing_S", (count,), np.float32)  # this much of it passes
        self._log_start = log_start(law)

    def advance(
        self,
        g_S: FloatArray,
        now_s: float,
        rng: np.random.Generator,
        exactly: bool,
        parts: Sequence[slice] = (slice(None),),
    ) -> None:
        """Moves the conductances `g_S` of `parts`, in place, to `now_s`: of the cells that are due, or of all."""
        law = self._law
        if not law.enabled:
            return
        found = [self._due(part, now_s, 0.0 if exactly else self.STEP_DECADES) for part in parts]
        due, after = (np.concatenate(one) for one in zip(*found, strict=True))
        if due.size == 0:
            return
        written_S, before = self.g_written_S[due], self.log_age[due]
        moved_S = self.moved_S[due] + self._mean_S(written_S, after) - self._mean_S(written_S, before)
        moved_S += self._jumps_S(written_S, after - before, 1.0 - law.passing_share, rng)
        if law.passing_share > 0:
            moved_S += self._passed_S(due, written_S, before, after, rng)
        self.moved_S[due] = moved_S
        g_S[due] = np.maximum(written_S + moved_S, law.g_S[0] / 4)
        self.log_age[due] = after

    def _due(self, part: slice, now_s: float, decades: float) -> tuple[IntArray, FloatArray]:
        """The cells of `part` whose age has grown by more than `decades`, and log10 of their ages (s)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            log_age = np.log10(now_s - self.written_s[part])
        chosen = np.flatnonzero(log_age - self.log_age[part] > decades)
        return chosen + (part.start or 0), log_age[chosen]

    def _jumps_S(
        self, written_S: FloatArray, decades: FloatArray, share: float, rng: np.random.Generator
    ) -> FloatArray:
        """Increments over `decades` of the walk that has `share` of the variance; their mean is zero."""
        law = self._law
        variance_S2 = share * np.interp(written_S, law.g_S, law.variance_per_decade_S2)
        if law.jump_decades == 0:
            return np.asarray(np.sqrt(variance_S2 * decades) * rng.standard_normal(written_S.size))
        up_share = np.interp(written_S, law.g_S, law.up_share)
        rarer = np.sqrt(np.interp(written_S, law.g_S, law.jump_ratio))
        moved_S = np.zeros(written_S.size)
        for sign, part, apart in ((1, up_share, rarer), (-1, 1.0 - up_share, 1.0 / rarer)):
            count = decades / (law.jump_decades * apart)
            size_S = np.sqrt(part * variance_S2 * law.jump_decades * apart)
            moved_S += sign * size_S * (rng.standard_gamma(count) - count)
        return moved_S

    def _passed_S(
        self,
        due: IntArray,
        written_S: FloatArray,
        before: FloatArray,
        after: FloatArray,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Changes of the passing part: of the cells that took another draw of it since."""
        # Decades since the last draw.
        since = rng.standard_exponential(due.size) / self._law.passing_per_decade
        change_S = np.zeros(due.size)
        drawn = np.flatnonzero(since < after - before)
        decades = after[drawn] - since[drawn] - np.interp(written_S[drawn], self._law.g_S, self._log_start)
        fresh_S = self._jumps_S(written_S[drawn], decades, self._law.passing_share, rng)
        change_S[drawn] = fresh_S - self.passing_S[due[drawn]]
        self.passing_S[due[drawn]] = fresh_S
        return change_S

    def _mean_S(self, written_S: FloatArray, log_age: FloatArray) -> FloatArray:
        """Mean change from the write to an age of 10^log_age s, S."""
        law = self._law
        early = np.minimum(1.0 - log_age / np.interp(written_S, law.g_S, self._log_start), 1.0)
        mean_S: FloatArray = np.interp(written_S, law.g_S, law.mean_1s_S) * early
        mean_S += np.interp(written_S, law.g_S, law.mean_per_decade_S) * np.maximum(log_age, 0.0)
        return mean_S


def log_start(law: RelaxationPreset) -> FloatArray:
    """log10 of the age (s) at which the walk begins, by state: from there its variance comes to that of the table.

    The passing part, drawn some time ago, lags behind the walk by `passing_share / passing_per_decade` decades.
    """
    lag = law.passing_share / law.passing_per_decade
    return np.asarray(
        -(np.asarray(law.variance_1s_S2) / np.asarray(law.variance_per_decade_S2) + lag), dtype=np.float64
    )
