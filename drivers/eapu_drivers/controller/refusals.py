"""Messages about refusals and faults of a controller, in the words of the bench."""

from __future__ import annotations

from eapu_drivers.controller.messages import BoardState, Fault, Reason, Refused, StatusIs
from eapu_hil.hal import InstrumentError, LimitError

# What the bench file calls the limit behind a refusal, and its unit.
_LIMITS = {
    Reason.V_MAX: ("limits.v_max_v", " V"),
    Reason.V_GATE_MAX: ("limits.v_gate_max_v", " V"),
    Reason.I_MAX: ("limits.i_max_a", " A"),
    Reason.WIDTH_MAX: ("limits.width_max_s", " s"),
    Reason.PULSES_MAX: ("limits.pulses_per_cell_max", " pulses"),
    Reason.V_READ_MAX: ("limits.v_read_max_v", " V"),
    Reason.CONVERTER: ("the converter's range", " V"),
    Reason.BOARD_LIMIT: ("the limit of the board itself", ""),
}
_IMPOSSIBLE = {
    Reason.BAD_CELL: "outside the array, or twice in one request",
    Reason.BAD_VALUE: "an impossible value",
    Reason.TARGET: "a target outside the recipe's window",
}
_FAULTS = {
    Fault.DEAD_MAN: "it heard nothing from the host for too long and put its lines to 0 V",
    Fault.FRONT_END: "its front end failed",
    Fault.ON_TIME: "a line was driven for longer than a pulse may take",
    Fault.GUARD: "a drive beyond the limits was stopped at the last check",
}


def refusal(refused: Refused, place: str, command: str) -> LimitError | InstrumentError:
    """The exception for a refusal: a LimitError where a limit or the array forbids what was asked.

    place: the port, array and cell. command: the name of the request.
    """
    reason = Reason(refused.reason) if refused.reason in list(Reason) else None
    if reason in _LIMITS:
        limit, unit = _LIMITS[reason]
        return LimitError(
            f"{place}: {refused.asked:.6g}{unit} asked; allowed is at most {refused.allowed:.6g}{unit} "
            f"({limit}); refused by the board"
        )
    if reason in _IMPOSSIBLE:
        asked = f"{refused.asked:.6g} asked, " if refused.asked else ""
        return LimitError(f"{place}: {asked}{_IMPOSSIBLE[reason]}; refused by the board")
    text = f"refused: {reason.name}" if reason is not None else f"refused: reason {refused.reason}"
    return InstrumentError(refused.reason, f"{place}: {text}", command)


def fault(status: StatusIs) -> str:
    """Why a board is in FAULT, and what to do."""
    if status.state != BoardState.FAULT:
        return "the board is not in FAULT"
    known = Fault(status.fault) if status.fault in list(Fault) else None
    cause = _FAULTS.get(known, f"fault {status.fault}") if known is not None else f"fault {status.fault}"
    return f"the board is in FAULT: {cause}; open the bench again to clear it"
