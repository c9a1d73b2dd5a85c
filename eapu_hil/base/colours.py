"""The colours of all figures and pages: told apart by colour-blind eyes too, and strong enough on white and on dark.

They began as Okabe and Ito's (https://jfly.uni-koeln.de/color/), of which orange and sky blue are too pale for lines on
white, and blue is too dark for lines on dark. `tests/base/test_colours.py` measures both.
"""

from __future__ import annotations

INK, GREY = "#22272e", "#6b7480"
BLUE, VERMILLION, GREEN = "#0a50a8", "#9c3a06", "#058055"
PURPLE, ORANGE, SKY = "#e0489f", "#d27a02", "#2794f0"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)  # in the order in which curves take them
# What each of them is on a dark page.
DARK = {
    INK: "#e4e8ec",
    GREY: "#a3adb8",
    BLUE: "#3f93f0",
    VERMILLION: "#f56a22",
    GREEN: "#3ce0ac",
    PURPLE: "#d07aa6",
    ORANGE: "#e8d070",
    SKY: "#9cd8ee",
}
LIGHT_CARD, DARK_CARD = "#ffffff", "#1d2229"  # what figures lie on
