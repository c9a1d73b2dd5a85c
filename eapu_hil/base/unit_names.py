"""The unit at the end of a name, as the project writes names: `time_s` is in s, `g_target_S` in S."""

from __future__ import annotations

# The longest ends first. Letter case tells seconds from siemens.
_UNITS = {
    "_S_per_v": "S V-1",
    "_S2": "S2",
    "_per_hz": "Hz-1",
    "_per_v2": "V-2",
    "_uS": "uS",
    "_ohm": "ohm",
    "_hz": "Hz",
    "_db": "dB",
    "_S": "S",
    "_s": "s",
    "_v2": "V2",
    "_v": "V",
    "_a": "A",
    "_j": "J",
    "_w": "W",
    "_f": "F",
    "_c": "degC",
}


def unit_of(name: str) -> str:
    """The unit in SI, as netCDF writes it; "" for a name without one. Of a dotted key the last part with one counts."""
    for part in reversed(name.split(".")):
        bare = part.partition("[")[0]
        for end, unit in _UNITS.items():
            if bare.endswith(end) and bare != end:
                return unit
    return ""
