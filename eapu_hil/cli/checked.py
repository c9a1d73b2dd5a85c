"""What `eapu-hil check` has found out, for a person and as JSON."""

from __future__ import annotations

from typing import Any

from eapu_hil.bench.check import Checked
from eapu_hil.cli.terminal import Terminal
from eapu_hil.hal import DeviceProof, HilError, LineFault


def say_checked(found: Checked, terminal: Terminal) -> None:
    """Raises HilError where a line is not as it should be."""
    for number, (identity, shape) in enumerate(zip(found.identities, found.shapes, strict=True)):
        parts = (identity.model, identity.serial, identity.firmware, identity.git_hash)
        what = ", ".join(part for part in parts if part)
        terminal.say(f"array {number}: {what}, {shape[0]} x {shape[1]} cells")
    rows = [[str(proof.array), proof.limit, proof.asked, "refused"] for proof in found.proofs]
    terminal.table(["array", "limit", "asked of the host", "answer"], rows)
    terminal.say(f"the host refused all {len(rows)} requests; nothing of them was sent")
    _say_device_proofs(found.device_proofs, terminal)
    terminal.say("every line is grounded, the bench is closed")
    _report_faults(found.faults, terminal)


def checked_as_json(found: Checked) -> dict[str, Any]:
    """The same for the JSON object."""
    return {
        "line_faults": [
            None if faults is None else [vars(fault) for fault in faults] for faults in found.faults
        ],
        "arrays": [
            {**vars(i), "shape": shape} for i, shape in zip(found.identities, found.shapes, strict=True)
        ],
        "proofs": [vars(proof) for proof in found.proofs],
        "device_proofs": [
            None if proofs is None else [vars(proof) for proof in proofs] for proofs in found.device_proofs
        ],
        "grounded": True,
    }


def _say_device_proofs(found: list[list[DeviceProof] | None], terminal: Terminal) -> None:
    asked = [(str(number), proofs) for number, proofs in enumerate(found) if proofs is not None]
    rows = [[number, proof.limit, proof.asked, proof.answer] for number, proofs in asked for proof in proofs]
    if rows:
        terminal.table(["array", "limit", "asked of the device", "answer"], rows)
    silent = [str(number) for number, proofs in enumerate(found) if not proofs]
    if silent:
        which = "arrays " if len(silent) > 1 else "array "
        terminal.say(
            f"{which}{', '.join(silent)}: the device itself was not asked; it has no limits of its own, or does not "
            "tell them, so only the host refuses"
        )


def _report_faults(faults: list[list[LineFault] | None], terminal: Terminal) -> None:
    """Raises HilError where a line is not as it should be: such a bench is not to be used as it is."""
    tested = [(number, found) for number, found in enumerate(faults) if found is not None]
    wrong = [[str(number), fault.where, fault.problem] for number, found in tested for fault in found]
    if wrong:
        terminal.table(["array", "line", "problem"], wrong)
        first = f"array {wrong[0][0]}, {wrong[0][1]}: {wrong[0][2]}"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise HilError(f"{first}{more}; mend the contact, or list the position under instruments.map.bad")
    if tested:
        terminal.say("every line has contact, no position is shorted, no gate leaks")
