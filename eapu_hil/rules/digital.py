"""The reference: plain training with float weights on the host, without an array."""

from __future__ import annotations

from typing import ClassVar, Literal

from eapu_hil.base.colours import INK
from eapu_hil.rules.contract import RuleModel


class DigitalConfig(RuleModel):
    """Float weights on the host, no array."""

    trains_on: ClassVar[Literal["host"]] = "host"
    verified: ClassVar[bool] = False
    colour: ClassVar[str | None] = INK

    name: Literal["digital"] = "digital"
