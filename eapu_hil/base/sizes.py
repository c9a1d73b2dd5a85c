"""Bounds of sizes that files ask for: what is larger is a mistake or an attack, and is refused before it is made."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

CELLS_MAX = 2**26  # of all arrays of a bench: a twin keeps some 250 bytes a cell
WEIGHTS_MAX = 2**27  # of a network
LINES_MAX = 2**16

Lines = Annotated[int, Field(gt=0, le=LINES_MAX)]
"""Rows, columns, arrays, units, channels."""
Samples = Annotated[int, Field(gt=0, le=2**16)]
"""What is handled at once: a batch, readings of a cell."""
Steps = Annotated[int, Field(gt=0, le=10**9)]
"""What is done one after the other."""
Edge = Annotated[int, Field(gt=0, le=2**12)]
"""Side of an image, or of a kernel, in pixels."""
