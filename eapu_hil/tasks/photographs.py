"""Photographs that come inside the wheels of scikit-image and scikit-learn: nothing is downloaded.

`TRAINING` and `HELD_OUT` are disjoint; no network ever sees a held-out photograph in training.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eapu_hil.tasks.images import Image, missing_extra

TRAINING = ("astronaut", "coffee", "rocket", "motorcycle", "china", "brick", "gravel")
HELD_OUT = ("camera", "chelsea", "coins", "flower")


def load(names: tuple[str, ...]) -> list[tuple[str, Image]]:
    """(name, image) of each photograph, float32 in 0..1, grey (h, w) or colour (h, w, 3).

    Raises ConfigError if the packages that bring them are not installed.
    """
    return [(name, _photograph(name)) for name in names]


def _photograph(name: str) -> Image:
    try:
        from skimage import data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        missing_extra(error)
    photographs: Any = data
    if name in ("china", "flower"):
        pixels = load_sample_image(f"{name}.jpg")
    elif name == "motorcycle":
        pixels = photographs.stereo_motorcycle()[0]
    else:
        pixels = getattr(photographs, name)()
    return np.asarray(pixels, dtype=np.float32) / np.float32(255)
