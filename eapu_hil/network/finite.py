"""Numbers that are not finite: the sign of a training that diverged, wherever it shows first."""

from __future__ import annotations

from eapu_hil.base.errors import HilError


class NotFiniteError(HilError):
    """An input, a gradient or a wanted change is infinite or not a number. The message says what showed it."""
