"""What the ledger counts of the voltages of products, found once for all arrays that share them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Driven:
    """What drove the lines of a batch of products, (batch, lines).

    v2: of each line, the sum of V^2 over the batch. conversions: of the converters of the lines; a line that stays at
    0 V in the whole batch is grounded and takes none.
    """

    vectors: int
    v2: NDArray[np.floating]
    conversions: int

    @classmethod
    def of(cls, v_in_v: NDArray[np.floating]) -> Driven:
        """From the voltages, (batch, lines)."""
        v2 = np.einsum("bi,bi->i", v_in_v, v_in_v)
        return cls(len(v_in_v), v2, len(v_in_v) * int(np.count_nonzero(v2)))
