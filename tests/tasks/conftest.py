"""What the tests of tasks share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def images_dir() -> Path:
    """The folder with set5 and set12, which are not part of the repository."""
    root = os.environ.get("EAPU_HIL_DATA")
    folder = Path(root or "") / "images"
    if not root or not folder.is_dir():
        pytest.skip("EAPU_HIL_DATA does not name a folder with images/set5 and images/set12")
    return folder


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Three small colour pictures, smooth with edges, and a file that is none."""
    from eapu_hil.tasks.images import write_image

    rows, cols = np.mgrid[0:72, 0:81] / 80
    for i in range(3):
        red = (rows + cols * (i + 1)) % 1.0
        image = np.stack([red, 0.5 * red + 0.2, np.where(rows > cols, 0.8, 0.1)], axis=2).astype(np.float32)
        write_image(tmp_path / f"picture_{i}.png", image)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path
