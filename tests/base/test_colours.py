"""The colours are seen: by everybody, on white and on dark."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from eapu_hil.base.colours import DARK, DARK_CARD, GREY, INK, LIGHT_CARD, SERIES

_DARK_SERIES = tuple(DARK[colour] for colour in SERIES)
# How eyes see that lack one kind of cone: Machado, Oliveira and Fernandes 2009, doi 10.1109/TVCG.2009.113, severity 1.
_EYES = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])


def linear(colour: str) -> NDArray[np.float64]:
    """sRGB to linear light, 0 to 1."""
    whole = "".join(2 * digit for digit in colour[1:]) if len(colour) == 4 else colour[1:]
    value = np.array([int(whole[at : at + 2], 16) for at in (0, 2, 4)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """As WCAG 2.2 counts it, 1 to 21."""
    low, high = sorted(float(_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* of linear light."""
    value = _XYZ @ np.clip(light, 0, 1) / [0.9505, 1.0, 1.089]
    root = np.where(value > 0.008856, np.cbrt(value), 7.787 * value + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("eyes", _EYES)
@pytest.mark.parametrize("series", [SERIES, _DARK_SERIES], ids=["light", "dark"])
def test_curves_are_told_apart(series: tuple[str, ...], eyes: str) -> None:
    seen = {colour: lab(_EYES[eyes] @ linear(colour)) for colour in series}
    nearest = min((float(np.linalg.norm(seen[a] - seen[b])), a, b) for a, b in combinations(series, 2))
    assert nearest[0] > 19, nearest


@pytest.mark.parametrize(
    ("series", "card"),
    [((*SERIES, GREY, INK), LIGHT_CARD), ((*_DARK_SERIES, DARK[GREY], DARK[INK]), DARK_CARD)],
)
def test_curves_stand_out_from_what_they_lie_on(series: tuple[str, ...], card: str) -> None:
    assert min((contrast(colour, card), colour) for colour in series)[0] >= 3
    assert min(contrast(colour, card) for colour in series[-2:]) >= 4.5  # these write text


@pytest.mark.parametrize(
    ("package", "page", "texts", "marks"),
    [
        ("eapu_hil.live", "page/live.css", ("ink", "soft", "accent", "good", "warn"), ("edge", "focus")),
        ("eapu_hil.report", "templates/report.html", ("ink", "soft", "accent"), ("warn",)),
    ],
)
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_pages_can_be_read(
    package: str, page: str, texts: tuple[str, ...], marks: tuple[str, ...], theme: int
) -> None:
    roots = re.findall(r":root \{\s+(--ink.*?)\}", files(package).joinpath(page).read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", roots[theme]))
    grounds = [colours["page"], colours.get("panel") or colours["card"]]
    for ground in grounds:
        assert min((contrast(colours[name], ground), name) for name in texts)[0] >= 4.5
        assert min((contrast(colours[name], ground), name) for name in marks)[0] >= 3
    if "alarm" in colours:
        assert contrast(colours["alarm"], colours["alarm-ink"]) >= 4.5
