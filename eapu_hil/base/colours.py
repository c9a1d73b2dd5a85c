"""The colours of all figures: Okabe and Ito's, safe for colour-blind eyes."""

from __future__ import annotations

INK, GREY = "#22272e", "#6b7480"
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
