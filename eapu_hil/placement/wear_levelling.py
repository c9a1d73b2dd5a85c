"""Wear levelling, three ways. The threshold of a worn cell is raised: it is written more rarely, by more at a time.

    threshold of a weight  *  max(1, (n / mean n)^growth)          n: pulses so far of the more worn cell of its pair

A rule whose mean does not depend on its threshold, as EaPU's, loses nothing but variance by it: |dG| (th +
sigma^2 / th) grows with th (`eapu_hil.rules.eapu`). A change of a weight can be made by either cell of its pair: the
less worn one takes it, where it has room, instead of the one that lowers the pair; pairs then hold more conductance,
which takes more power and relaxes more; for rules that write with verify. And at checkpoints worn rows are moved to
spare ones (`eapu_hil.placement.row_moves`), with any rule that trains on the array. The hottest cells set the life
of a chip, and they are few.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeFloat

from eapu_hil.hal import FloatArray, IntArray
from eapu_hil.rules import WriteErrors
from eapu_hil.rules.contract import MINUS, NEITHER, PLUS

FACTOR_MAX = 10.0  # a weight that is hardly ever written does not learn
PAIR_MARGIN = 10  # pulses between the cells of a pair, from which on the less worn one is written


class WearLevelling(BaseModel):
    """threshold_growth: the exponent above; 0 changes nothing. share_pairs: whether the cells of a pair wear evenly.

    move_rows: whether worn rows are moved.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold_growth: NonNegativeFloat = 1.0
    share_pairs: bool = False
    move_rows: bool = False

    @property
    def goes_by_pulses(self) -> bool:
        """Whether a step has to know the pulses of all cells."""
        return self.threshold_growth > 0 or self.share_pairs

    def raised(self, errors: WriteErrors, pulses: IntArray) -> WriteErrors:
        """The write errors that a rule is told.

        pulses: shape (n_weights, 2), of both cells of each pair so far. Only rules whose threshold follows the
        write error are changed by it.
        """
        worn: FloatArray = np.maximum(pulses[:, 0], pulses[:, 1]).astype(np.float64)
        mean = float(worn.mean())
        if mean == 0:
            return errors
        factor = np.clip((worn / mean) ** self.threshold_growth, 1.0, FACTOR_MAX)
        return WriteErrors(errors.up_S * factor, errors.down_S * factor, errors.floor_S)

    def sides(self, pulses: IntArray) -> IntArray:
        """Which cell of each pair is to be written: the less worn one, or `NEITHER` where it makes no difference.

        pulses: as above. Shape (n_weights,).
        """
        ahead = pulses[:, PLUS] - pulses[:, MINUS]
        return np.where(np.abs(ahead) < PAIR_MARGIN, NEITHER, np.where(ahead > 0, MINUS, PLUS))
