"""The reading buffers of a simulated Keithley 2450."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from eapu_drivers.simulated.instruments.scpi import (
    PARAMETER_NOT_ALLOWED,
    Act,
    ScpiError,
    choice,
    nothing,
    real,
    shown,
    unquoted,
)

BUFFER = '"defbuffer1"'
_DEFAULTS = ("defbuffer1", "defbuffer2")
_SIZE, _SIZE_MIN, _SIZE_MAX = 100_000, 10, 6_875_000
_NO_BUFFER = (-224, "Illegal parameter value; no such buffer")
_NO_READING = (-222, "Parameter data out of range; no such reading")
_NO_ROOM = (-225, "Out of memory; too many buffers")
_BUFFERS_MAX = 100
_STALE = (-230, "Data corrupt or stale")


@dataclass(frozen=True)
class BufferReading:
    """One entry. status: of the source. since_s: since the first of its buffer."""

    value: float
    unit: str
    source_v: float
    status: int
    time_s: float
    since_s: float


_TEXTS: dict[str, Callable[[BufferReading], str]] = {
    "DATE": lambda reading: _when(reading).strftime("%m/%d/%Y"),
    "FORMatted": lambda reading: f"{reading.value:+.5E} {reading.unit}",
    "FRACtional": lambda reading: shown(reading.time_s % 1.0),
    "READing": lambda reading: shown(reading.value),
    "RELative": lambda reading: shown(reading.since_s),
    "SEConds": lambda reading: str(int(reading.time_s)),
    "SOURce": lambda reading: shown(reading.source_v),
    "SOURFORMatted": lambda reading: f"{reading.source_v:+.5E} V",
    "SOURSTATus": lambda reading: str(reading.status),
    "SOURUNIT": lambda _: "Volt DC",
    "STATus": lambda _: "8",  # measured at the front terminals
    "TIME": lambda reading: _when(reading).strftime("%H:%M:%S"),
    "TSTamp": lambda reading: _when(reading).strftime("%m/%d/%Y %H:%M:%S.%f"),
    "UNIT": lambda reading: reading.unit,
}
_ELEMENTS = {choice(name, *_TEXTS): text for name, text in _TEXTS.items()}


class Buffers:
    """By name. measure: takes readings into one, as many as were asked for."""

    def __init__(self, measure: Callable[[str], None]) -> None:
        self._measure = measure
        self.reset()

    def reset(self) -> None:
        """*RST: the two that are always there, empty."""
        self._readings: dict[str, list[BufferReading]] = {name: [] for name in _DEFAULTS}
        self._sizes = dict.fromkeys(_DEFAULTS, _SIZE)

    def commands(self) -> dict[str, Act]:
        """Those that it answers."""
        return {
            ":TRACe:CLEar": lambda name=BUFFER: self[unquoted(name)].clear(),
            ":TRACe:ACTual?": lambda name=BUFFER: str(len(self[unquoted(name)])),
            ":TRACe:MAKE": self._make,
            ":TRACe:DELete": self._delete,
            ":TRACe:POINts": self._resize,
            ":TRACe:POINts?": self._size,
            ":TRACe:TRIGger": lambda name=BUFFER: nothing(self._read(name)),
            ":TRACe:DATA?": self._data,
            ":READ?": self._read,
            ":MEASure?": self._read,
            ":FETCh?": self._fetch,
        }

    def __getitem__(self, name: str) -> list[BufferReading]:
        """Raises ScpiError where there is none."""
        if name not in self._readings:
            raise ScpiError(_NO_BUFFER)
        return self._readings[name]

    def add(self, name: str, reading: BufferReading) -> None:
        """Into a buffer; where that is full, in place of the oldest."""
        readings = self[name]
        readings.append(reading)
        del readings[: max(len(readings) - self._sizes[name], 0)]

    def _make(self, name: str, size: str, _style: str = "STANdard") -> None:
        points = round(real(size, _SIZE_MIN, _SIZE_MAX))
        if unquoted(name) not in self._readings and len(self._readings) >= _BUFFERS_MAX:
            raise ScpiError(_NO_ROOM)
        self._readings[unquoted(name)], self._sizes[unquoted(name)] = [], points

    def _delete(self, name: str) -> None:
        if unquoted(name) in _DEFAULTS or unquoted(name) not in self._readings:
            raise ScpiError(_NO_BUFFER)
        del self._readings[unquoted(name)], self._sizes[unquoted(name)]

    def _resize(self, size: str, name: str = BUFFER) -> None:
        points = round(real(size, _SIZE_MIN, _SIZE_MAX))
        self[unquoted(name)].clear()
        self._sizes[unquoted(name)] = points

    def _size(self, name: str = BUFFER) -> str:
        if unquoted(name) not in self._sizes:
            raise ScpiError(_NO_BUFFER)
        return str(self._sizes[unquoted(name)])

    def _read(self, name: str = BUFFER, *elements: str) -> str:
        self._measure(unquoted(name))
        return self._fetch(name, *elements)

    def _fetch(self, name: str = BUFFER, *elements: str) -> str:
        readings = self[unquoted(name)]
        if not readings:
            raise ScpiError(_STALE)
        return _text(readings[-1], elements)

    def _data(self, start: str, end: str, name: str = BUFFER, *elements: str) -> str:
        readings = self[unquoted(name)]
        first, last = (round(real(text, 1, _SIZE_MAX)) for text in (start, end))
        if last > len(readings) or first > last:
            raise ScpiError(_NO_READING)
        return ",".join(_text(reading, elements) for reading in readings[first - 1 : last])


def _text(reading: BufferReading, elements: tuple[str, ...]) -> str:
    if len(elements) > len(_TEXTS):
        raise ScpiError(PARAMETER_NOT_ALLOWED)
    asked = [choice(element, *_TEXTS) for element in elements] or ["READ"]
    return ",".join(_ELEMENTS[name](reading) for name in asked)


def _when(reading: BufferReading) -> datetime:
    return datetime.fromtimestamp(reading.time_s, UTC)
