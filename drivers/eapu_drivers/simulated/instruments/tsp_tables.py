"""The tables of a TSP instrument, as scripts see them: settings that are refused out of range, buffers, formats."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

PARAMETER_TOO_BIG = (1101, "Parameter too big")
PARAMETER_TOO_SMALL = (1102, "Parameter too small")
READINGS_MAX = 140_000  # of a buffer
_QUEUE_MAX = 100


class Errors:
    """The error queue."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, str]] = deque(maxlen=_QUEUE_MAX)

    def add(self, error: tuple[int, str]) -> None:
        """Puts an entry in."""
        self._entries.append(error)

    def take(self) -> tuple[int, str] | None:
        """Takes the oldest."""
        return self._entries.popleft() if self._entries else None

    def clear(self) -> None:
        """Empties it."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


class Setting:
    """An attribute of a `Table` that scripts may set: a number in a range, or one of some values."""

    def __init__(
        self,
        default: float,
        least: float | None = None,
        most: float | None = None,
        values: Iterable[float] | None = None,
    ) -> None:
        self._default, self._least, self._most = default, least, most
        self._values = None if values is None else tuple(values)

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, table: TspTable | None, owner: type | None = None) -> Any:
        return self if table is None else table._values.get(self._name, self._default)

    def __set__(self, table: TspTable, value: Any) -> None:
        number = float(value)
        if number != number or (self._values is not None and number not in self._values):
            table._errors.add((1100, f"Parameter out of range; {self._name}"))
        elif self._least is not None and number < self._least:
            table._errors.add(PARAMETER_TOO_SMALL)
        elif self._most is not None and number > self._most:
            table._errors.add(PARAMETER_TOO_BIG)
        else:
            table._values[self._name] = number
            table._changed(self._name)


class TspTable:
    """A table of the instrument, as a script sees it. A name that it does not have is a runtime error.

    Its methods and the tables in it are the same for ever; a reset changes values, not objects.
    """

    def __init__(self, errors: Errors) -> None:
        self._errors = errors
        self._values: dict[str, float] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        known = name.startswith("_") or isinstance(getattr(type(self), name, None), Setting | property)
        if not known:
            raise AttributeError(f"{name} cannot be set")
        super().__setattr__(name, value)

    def _changed(self, name: str) -> None:
        """After a setting was taken."""

    def _reset(self) -> None:
        self._values.clear()


class Named:
    """Fixed names, such as the tables of a library; nothing can be added."""

    def __init__(self, **content: Any) -> None:
        self.__dict__.update(content)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set")


class Numbered:
    """Things that scripts count from 1."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __getitem__(self, number: Any) -> Any:
        """Raises IndexError, also for 0 and below."""
        if not 1 <= float(number) <= len(self.items):
            raise IndexError(f"there is no number {number:g} of {len(self.items)}")
        return self.items[int(number) - 1]

    def __len__(self) -> int:
        return len(self.items)


class TspBuffer(TspTable):
    """A reading buffer. readings: for scripts, which count from 1."""

    appendmode = Setting(0, values=(0, 1))
    collectsourcevalues = Setting(0, values=(0, 1))
    collecttimestamps = Setting(0, values=(0, 1))

    def __init__(self, errors: Errors) -> None:
        super().__init__(errors)
        self._kept: list[float] = []
        self._readings = Numbered(self._kept)

    readings = property(lambda self: self._readings)
    n = property(lambda self: len(self._kept))

    def clear(self) -> None:
        """Forgets the readings."""
        self._kept.clear()

    def _take(self, values: Sequence[float], append: bool) -> None:
        if not append:
            self._kept.clear()
        if len(self._kept) + len(values) > READINGS_MAX:
            self._errors.add((4915, "Attempting to store past capacity of reading buffer"))
            return
        self._kept.extend(values)


class Format(TspTable):
    """The table `format`."""

    ASCII, REAL32, REAL64 = 1, 2, 3
    NORMAL, BIGENDIAN, LITTLEENDIAN = 0, 0, 1
    data = Setting(1, values=(1, 2, 3))
    asciiprecision = Setting(6, 1, 16)
    byteorder = Setting(1, values=(0, 1))

    def text(self, value: Any) -> str:
        """As `print` shows it."""
        if value is None:
            return "nil"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return f"{value:.{int(self.asciiprecision) - 1}e}"
        return value if isinstance(value, str) else "table"

    def buffer(self, values: Sequence[float]) -> bytes:
        """As `printbuffer` sends it."""
        if self.data == self.ASCII:
            return ", ".join(self.text(float(value)) for value in values).encode() + b"\n"
        order = "<" if self.byteorder == self.LITTLEENDIAN else ">"
        kind = "f" if self.data == self.REAL32 else "d"
        return b"#0" + struct.pack(f"{order}{len(values)}{kind}", *values) + b"\n"
