"""The rules that others speak of by name: the one that claims are made for, what it is measured against, the reference.

This module imports no rule: the help of a command names them too.
"""

from __future__ import annotations

from typing import Final, Literal

EAPU: Final = "eapu"
BP: Final = "bp"
DIGITAL: Final = "digital"
SpokenOf = Literal["eapu", "bp", "digital"]
# What is compared where nobody asks for anything else.
COMPARED = (DIGITAL, BP, EAPU, "eapu_residual")
