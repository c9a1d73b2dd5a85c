"""Numbers as people read them."""

from __future__ import annotations

import pytest

from eapu_hil.base.quantities import MISSING, share


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, MISSING),
        (float("nan"), MISSING),
        (0.0, "0 %"),
        (4.4e-23, "< 0.001 \u2030"),
        (1.38e-4, "0.138 \u2030"),
        (0.0537, "5.37 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_in_percent_or_per_mille(value: float | None, text: str) -> None:
    assert share(value) == text
