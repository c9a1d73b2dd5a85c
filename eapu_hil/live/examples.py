"""The example images of the last evaluation, as PNG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.base.npz import DamagedError
from eapu_hil.hal import ConfigError
from eapu_hil.live.places import Entry, UnknownError
from eapu_hil.training.runs import EXAMPLES, EXAMPLES_FILE, files_of, read_start

_PARTS = ("input", "output", "reference")
_EDGE_MAX = 4096


class Examples:
    """Those of one run."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._mark = 0
        self._arrays: dict[str, NDArray[Any]] = {}

    def shown(self, step: int | None) -> dict[str, Any] | None:
        """The message about them; None where the task has none. step: of the last evaluation."""
        if step is None or not self._read():
            return None
        names = [str(name) for name in self._arrays["names"]]
        its_step = int(self._arrays["step"])
        pictures = [(number, name, part) for number, name in enumerate(names) for part in _PARTS]
        base = f"/api/run/{self._entry.url}/picture/"
        return {
            "step": its_step,
            "images": [f"{base}{number}_{part}?step={its_step}" for number, _, part in pictures],
            "captions": [f"{name}: {part}" for _, name, part in pictures],
        }

    def png(self, name: str) -> bytes:
        """One of them. Raises UnknownError."""
        from PIL import Image

        image = self._arrays.get(name) if self._read() and name not in ("names", "step") else None
        if image is None or image.ndim != 2 or max(image.shape) > _EDGE_MAX:
            raise UnknownError("no such image of this run")
        grey = (np.clip(np.nan_to_num(image.astype(np.float32)), 0, 1) * 255 + 0.5).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "PNG")
        return file.getvalue()

    def _read(self) -> bool:
        path = self._entry.path / EXAMPLES_FILE
        try:
            mark = path.lstat().st_mtime_ns
            if mark != self._mark:
                files = files_of(self._entry.path, read_start(self._entry.path))
                self._arrays = files.read_npz(EXAMPLES_FILE, EXAMPLES) or {}
                self._mark = mark
        except (OSError, DamagedError, ConfigError):
            return False
        return "names" in self._arrays and "step" in self._arrays
