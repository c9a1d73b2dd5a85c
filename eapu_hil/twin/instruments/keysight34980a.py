"""A simulated Keysight 34980A with a matrix module in each of its eight slots."""

from __future__ import annotations

from eapu_hil.twin.instruments.probe import Probe
from eapu_hil.twin.instruments.scpi import OUT_OF_RANGE, ScpiDevice, ScpiError, bit, channel_list

IDENTITY = "Agilent Technologies,34980A,{serial},2.51-2.43-2.07-0.05"
_SLOTS, _ROWS, _COLUMNS = range(1, 9), range(1, 9), range(1, 17)
_RELAY_S = 4e-3  # to open or close one


class Keysight34980A(ScpiDevice):
    """Channels are numbers, `1101`: slot 1, row 1, column 01. moved: relays that were opened or closed so far."""

    def __init__(self, probe: Probe, serial: str = "MY44000001") -> None:
        self._probe = probe
        self._serial = serial
        self._closed: set[str] = set()
        self.moved = 0
        super().__init__(
            {
                "*IDN?": lambda: IDENTITY.format(serial=self._serial),
                "*RST": lambda: self._move(set()),
                "*CLS": self.clear_errors,
                "*OPC?": lambda: "1",
                "*WAI": lambda: None,
                "*ESR?": lambda: "+0",
                ":SYSTem:ERRor[:NEXT]?": self._error,
                ":SYSTem:CTYPe?": lambda slot: self._type(slot),
                ":ROUTe:CLOSe": lambda channels: self._move(self._closed | self._known(channels)),
                ":ROUTe:CLOSe?": lambda channels: self._states(channels, closed=True),
                ":ROUTe:CLOSe:EXCLusive": lambda channels: self._move(self._known(channels)),
                ":ROUTe:OPEN": lambda channels: self._move(self._closed - self._known(channels)),
                ":ROUTe:OPEN?": lambda channels: self._states(channels, closed=False),
                ":ROUTe:OPEN:ALL": self._open_all,
            },
            errors_max=20,
        )

    def _error(self) -> str:
        code, text = self.take_error() or (0, "No error")
        return f'{code:+d},"{text}"'

    def _open_all(self, which: str = "ALL") -> None:
        if which.upper() not in ("ALL", *map(str, _SLOTS)):
            raise ScpiError(OUT_OF_RANGE)
        self._move({name for name in self._closed if which.upper() not in ("ALL", name[0])})

    def _type(self, slot: str) -> str:
        if slot not in map(str, _SLOTS):
            raise ScpiError(OUT_OF_RANGE)
        return "Agilent Technologies,34933A,MY44000002,1.10"

    def _known(self, channels: str) -> set[str]:
        names = channel_list(channels)
        for name in names:
            if len(name) != 4 or not (
                int(name[0]) in _SLOTS and int(name[1]) in _ROWS and int(name[2:]) in _COLUMNS
            ):
                raise ScpiError((-222, f"Data out of range; channel {name}"))
        return set(names)

    def _move(self, closed: set[str]) -> None:
        moving = len(self._closed ^ closed)
        self._closed = closed
        self._probe.elapse(moving * _RELAY_S)
        self._probe.close_crosspoints(closed)
        self.moved += moving

    def _states(self, channels: str, closed: bool) -> str:
        self._known(channels)
        return ",".join(bit((name in self._closed) == closed) for name in channel_list(channels))
