"""Text from files, instruments and the file system, made fit for a terminal: what would steer it is shown instead."""

from __future__ import annotations

import re

# C0 without tab and newline, DEL, C1, marks and overrides of direction, lone surrogates
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """`text` with escapes, `\\x1b`, for characters that move the cursor, change colours or the order of letters."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)
