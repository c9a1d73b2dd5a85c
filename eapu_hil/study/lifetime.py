"""How long a chip lasts: pulses until a cell fails, against the pulses that a run takes.

    N(dG) = N_full (window / |dG|)^k          pulses that a cell bears, by the change that each makes

N_full = 1e6 full-window cycles without failure were measured on a foundry cell; more than 1e11 weak pulses on
others (Zhao et al., IEDM 2018, doi 10.1109/IEDM.2018.8614664). k = 2.3 joins 1e6 over a 40 uS window with 1e9 at
2 uS; it is an assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

from eapu_hil.bench.energy import Corner


@dataclass(frozen=True)
class EnduranceModel:
    """Pulses that a cell bears. step_S: the change, S, that the mean pulse of a run is taken to make."""

    full_cycles: float = 1e6
    exponent: float = 2.3
    window_S: float = 39e-6
    step_S: float = 2e-6

    def pulses(self, corner: Corner) -> float:
        """low: every pulse wears like a full cycle. high: none more than the weak pulses of the source above."""
        if corner == "low":
            return self.full_cycles
        return 1e11 if corner == "high" else self.full_cycles * (self.window_S / self.step_S) ** self.exponent


def runs_to_failure(pulses_per_run: float, model: EnduranceModel, corner: Corner) -> float:
    """Runs until a cell that takes so many pulses in each has failed; infinite for one that takes none."""
    return model.pulses(corner) / pulses_per_run if pulses_per_run > 0 else float("inf")
