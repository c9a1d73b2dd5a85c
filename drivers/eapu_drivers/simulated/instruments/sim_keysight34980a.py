"""A simulated Keysight 34980A with a 34932A, two matrices of 4 x 16, in each of its eight slots.

Without the relays to the analog buses. That *RST opens the relays is assumed.
"""

from __future__ import annotations

from eapu_drivers.simulated.instruments.probe import Probe
from eapu_drivers.simulated.instruments.scpi import (
    CHANNELS_MAX,
    DATA_TYPE,
    OUT_OF_RANGE,
    ScpiDevice,
    ScpiError,
    bit,
    boolean,
)

IDENTITY = "Agilent Technologies,34980A,{serial},2.51-2.43-2.07-0.05"
MODULE = "Agilent Technologies,34932A,MY44000002,1.10"
_SLOTS, _ROWS, _COLUMNS = range(1, 9), range(1, 9), range(1, 17)
_RELAY_s = 4e-3  # to open or close one
# Bits of the standard event register: query, device, execution and command errors.
_EVENTS = {4: 1 << 2, 3: 1 << 3, 2: 1 << 4, 1: 1 << 5}


class SimulatedKeysight34980A(ScpiDevice):
    """Channels are numbers, `1101`: slot 1, row 1, column 01; rows 5 to 8 are those of a module's second matrix.

    moved: relays that were opened or closed so far.
    """

    def __init__(self, probe: Probe, serial: str = "MY44000001") -> None:
        self._probe = probe
        self._serial = serial
        self._closed: set[str] = set()
        self._events = 0
        self._overlaps = False
        self.moved = 0
        super().__init__(
            {
                "*IDN?": lambda: IDENTITY.format(serial=self._serial),
                "*RST": lambda: self._move(set()),
                "*CLS": self._clear,
                "*OPC?": lambda: "1",
                "*WAI": lambda: None,
                "*ESR?": self._take_events,
                ":SYSTem:ERRor[:NEXT]?": self._error,
                ":SYSTem:CTYPe?": lambda slot: self._module(slot),
                ":ROUTe:CLOSe": lambda *channels: self._move(self._closed | set(_known(channels))),
                ":ROUTe:CLOSe?": lambda *channels: self._states(channels, closed=True),
                ":ROUTe:CLOSe:EXCLusive": self._close_alone,
                ":ROUTe:OPEN": lambda *channels: self._move(self._closed - set(_known(channels))),
                ":ROUTe:OPEN?": lambda *channels: self._states(channels, closed=False),
                ":ROUTe:OPEN:ALL": self._open_all,
                ":ROUTe:MODule:BUSY?": lambda slot="ALL": bit(_slots(slot) == ""),
                ":ROUTe:MODule:WAIT?": lambda slot="ALL": bit(_slots(slot) != ""),
                ":ROUTe:OPERation:OVERlap[:ENABle]": self._set_overlaps,
                ":ROUTe:OPERation:OVERlap[:ENABle]?": lambda: bit(self._overlaps),
            },
            errors_max=20,
        )

    def add_error(self, error: tuple[int, str]) -> None:
        super().add_error(error)
        self._events |= _EVENTS.get(-error[0] // 100, 1 << 3)

    def _clear(self) -> None:
        self.clear_errors()
        self._events = 0

    def _take_events(self) -> str:
        events, self._events = self._events, 0
        return f"+{events}"

    def _error(self) -> str:
        code, text = self.take_error() or (0, "No error")
        return f'{code:+d},"{text}"'

    def _module(self, slot: str) -> str:
        if slot not in map(str, _SLOTS):
            raise ScpiError(OUT_OF_RANGE)
        return MODULE

    def _set_overlaps(self, value: str) -> None:
        self._overlaps = boolean(value)  # without a consequence: relays here are done at once

    def _close_alone(self, *channels: str) -> None:
        """Opens everything else on the modules of these channels."""
        asked = set(_known(channels))
        modules = {name[0] for name in asked}
        self._move({name for name in self._closed if name[0] not in modules} | asked)

    def _open_all(self, which: str = "ALL") -> None:
        slots = _slots(which)
        self._move({name for name in self._closed if name[0] not in slots})

    def _move(self, closed: set[str]) -> None:
        moving = len(self._closed ^ closed)
        self._probe.elapse(moving * _RELAY_s)
        self._closed = closed
        self._probe.close_crosspoints(closed)
        self.moved += moving

    def _states(self, channels: tuple[str, ...], closed: bool) -> str:
        return ",".join(bit((name in self._closed) == closed) for name in _known(channels))


def _slots(which: str) -> str:
    """`3`, `SLOT3` or `ALL` -> the slots."""
    if which.upper() == "ALL":
        return "".join(map(str, _SLOTS))
    slot = which.upper().removeprefix("SLOT")
    if slot not in map(str, _SLOTS):
        raise ScpiError(OUT_OF_RANGE)
    return slot


def _known(channels: tuple[str, ...]) -> list[str]:
    """The channels of `(@1101,1103:1105)`. A range leaves out what is missing between its ends."""
    if len(channels) != 1 or not (channels[0].startswith("(@") and channels[0].endswith(")")):
        raise ScpiError(DATA_TYPE)
    names = []
    for part in channels[0][2:-1].split(","):
        ends = [end.strip() for end in part.split(":")]
        if len(ends) > 2 or not all(end.isdecimal() for end in ends):
            raise ScpiError(DATA_TYPE)
        for end in ends:
            if not _exists(end):
                raise ScpiError((-222, f"Data out of range; channel {end}"))
        between = range(int(ends[0]), int(ends[-1]) + 1)
        names += [str(number) for number in between if _exists(str(number))]
        if len(names) > CHANNELS_MAX:
            raise ScpiError(OUT_OF_RANGE)
    return names


def _exists(name: str) -> bool:
    return len(name) == 4 and (int(name[0]) in _SLOTS and int(name[1]) in _ROWS and int(name[2:]) in _COLUMNS)
