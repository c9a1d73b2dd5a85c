"""The errors of the link besides TransportError and ProtocolError."""

from __future__ import annotations

from eapu_drivers.controller.messages import Reason, Refused
from eapu_hil.hal import InstrumentError, TransportError


class LinkLost(TransportError):  # noqa: N818 (an event of the line, and reads as one)
    """The line to a controller broke while requests were under way. None of them is sent again.

    reconnected: whether the link works again. same_session: whether it is the same boot of the controller, so that
    it still remembers what it did.
    """

    def __init__(self, text: str, reconnected: bool, same_session: bool) -> None:
        super().__init__(text)
        self.reconnected = reconnected
        self.same_session = same_session


class RefusedError(InstrumentError):
    """The controller refused a request; `refused` says why."""

    def __init__(self, refused: Refused, command: str) -> None:
        names = {int(reason): reason.name for reason in Reason}
        name = names.get(refused.reason, f"reason {refused.reason}")
        text = f"{name}, index {refused.index}, asked {refused.asked:g}, allowed {refused.allowed:g}"
        super().__init__(refused.reason, text, command)
        self.refused = refused
