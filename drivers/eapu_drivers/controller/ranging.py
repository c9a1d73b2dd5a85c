"""In which range of the output converters products are measured."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from eapu_drivers.controller.units import Codes

MARGIN = 1.25  # the next batch may be this much larger than the last without a second measurement


class RangeMemory:
    """Chooses a range for a whole batch, and remembers it for the next one like it.

    A batch of an unknown kind is measured in the largest range and, when that is too coarse, once more in the one
    that fits. A batch that saturates is measured again in the next larger range.
    """

    def __init__(self, full_scales_a: Sequence[float], top: int) -> None:
        """full_scales_a: of each range, by its number; top: the code at full scale."""
        self._order = sorted(range(len(full_scales_a)), key=lambda number: full_scales_a[number])
        self._full_scales_a = [full_scales_a[number] for number in self._order]
        self._top = top
        self._known: dict[Hashable, int] = {}  # place in the rising order

    def measure(self, key: Hashable, once: Callable[[int], Codes]) -> tuple[Codes, float]:
        """The codes of a batch and the full scale, A, of the range that they were measured in.

        key: batches with equal keys have currents of about the same size. once: measures in a range.
        """
        last = len(self._order) - 1
        place = self._known.get(key, last)
        first = key not in self._known
        while True:
            codes = once(self._order[place])
            largest = int(np.abs(codes.astype(np.int32)).max(initial=0))
            if largest >= self._top and place < last:
                place, first = place + 1, False
                continue
            fitting = self._fitting(largest * self._full_scales_a[place] / self._top)
            if not first or fitting == place:
                break
            place, first = fitting, False
        if largest:  # a batch of zeros says nothing of the next
            self._known[key] = max(fitting, place - 1)
        return codes, self._full_scales_a[place]

    def _fitting(self, current_a: float) -> int:
        wide = [place for place, full_a in enumerate(self._full_scales_a) if full_a >= MARGIN * current_a]
        return wide[0] if wide else len(self._order) - 1
