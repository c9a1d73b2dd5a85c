"""Relaxation of written cells: how their conductance wanders with the logarithm of the time since the write."""

from __future__ import annotations

import numpy as np

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.twin.preset import Relaxation
from eapu_hil.twin.state import StateFiles


class RelaxingCells:
    """Relaxation as a random walk in the logarithm of the time since the write.

    The law of Var(t) = v1 + slope log10(t / 1 s) is a Wiener process in log10(t) that starts at
    t0 = 10^(-v1/slope) s, so its increments can be drawn exactly at any times. Its mean moves evenly up to 1 s
    and at the rate of the table from then on. A cell is brought up to date each
    time a tenth of a decade has passed: rarely enough that few cells differ from one product to the next.
    Law and state table: measured data of github akashlevy/RRAM-Relaxation-Master-Model (MIT).
    """

    STEP_DECADES = 0.25

    def __init__(self, law: Relaxation, count: int, files: StateFiles) -> None:
        self._law = law
        self._written_s: FloatArray = files.array("written_s", np.full(count, np.inf))
        self._g_written_s: FloatArray = files.zeros("g_written_s", (count,), np.float64)
        self._tail: FloatArray = files.array("tail", np.ones(count))
        self._log_age: FloatArray = files.array("log_age", np.full(count, np.inf))
        self._log_start = -np.asarray(law.variance_1s_s2) / np.asarray(law.variance_per_decade_s2)

    def restart(self, index: IntArray, g_s: FloatArray, now_s: float, rng: np.random.Generator) -> None:
        """The cells of `index` were just written to `g_s` (S)."""
        law = self._law
        if not law.enabled or index.size == 0:
            return
        self._written_s[index] = now_s
        self._g_written_s[index] = g_s
        self._log_age[index] = np.interp(g_s, law.g_s, self._log_start)
        # E[tail^2] = 1, so that the tails leave the variance law as it is.
        sd = law.tail_log_sd
        self._tail[index] = np.exp(sd * rng.standard_normal(index.size) - sd**2)

    def stop(self, index: IntArray) -> None:
        """The cells of `index` hold what they hold for ever."""
        self._written_s[index] = np.inf

    def advance(self, g_s: FloatArray, now_s: float, rng: np.random.Generator, exactly: bool) -> None:
        """Moves the conductances `g_s` (changed in place) to `now_s`: of the cells that are due, or of all."""
        law = self._law
        if not law.enabled:
            return
        age = now_s - self._written_s
        with np.errstate(divide="ignore", invalid="ignore"):
            log_age = np.log10(age)
        due = np.flatnonzero(log_age - self._log_age > (0.0 if exactly else self.STEP_DECADES))
        if due.size == 0:
            return
        decades = log_age[due] - self._log_age[due]
        written = self._g_written_s[due]
        variance = np.interp(written, law.g_s, law.variance_per_decade_s2) * decades
        mean = self._mean_s(written, log_age[due]) - self._mean_s(written, self._log_age[due])
        walk = np.sqrt(variance) * self._tail[due] * rng.standard_normal(due.size)
        g_s[due] = np.maximum(g_s[due] + mean + walk, law.g_s[0] / 4)
        self._log_age[due] = log_age[due]

    def _mean_s(self, written_s: FloatArray, log_age: FloatArray) -> FloatArray:
        """Mean change from the write to an age of 10^log_age s, S."""
        law = self._law
        early = np.minimum(1.0 - log_age / np.interp(written_s, law.g_s, self._log_start), 1.0)
        mean_s: FloatArray = np.interp(written_s, law.g_s, law.mean_1s_s) * early
        mean_s += np.interp(written_s, law.g_s, law.mean_per_decade_s) * np.maximum(log_age, 0.0)
        return mean_s
