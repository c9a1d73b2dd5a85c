"""The base of all messages of the controller's link; `messages.py`, made from the message table, holds them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Self

import numpy as np

from eapu_hil.hal import ProtocolError

_FIELD = re.compile(r"(\d*)([a-zA-Z])")


def records(*fields: tuple[str, str]) -> np.dtype[Any]:
    """The dtype of a tail of records."""
    return np.dtype(list(fields))


class Message:
    """A message of the link; its subclasses are frozen dataclasses.

    number, form: of its type, and of its fields before the tail as Python's struct has them; text and arrays have a
    count there. sequenced: it is numbered and sent again until acknowledged. A message with records has TAIL, their
    dtype, and a last field `tail`, an array of them.
    """

    NUMBER: ClassVar[int]
    SEQUENCED: ClassVar[bool]
    STRUCT: ClassVar[struct.Struct]
    TAIL: ClassVar[np.dtype[Any] | None] = None
    # Count and letter of each field, count 0 for a single value; empty where every field is one.
    _FORMS: ClassVar[tuple[tuple[int, str], ...]]

    def __init_subclass__(
        cls, *, number: int | None = None, form: str = "<", sequenced: bool = False, **rest: Any
    ) -> None:
        super().__init_subclass__(**rest)
        if number is not None:
            forms = [(int(count or 0), letter) for count, letter in _FIELD.findall(form)]
            cls.NUMBER, cls.SEQUENCED, cls.STRUCT = number, sequenced, struct.Struct(form)
            cls._FORMS = tuple(forms) if any(count for count, _ in forms) else ()

    def pack(self) -> bytes:
        """The payload of its frame."""
        content = list(self.__dict__.values())
        tail = b"" if self.TAIL is None else content.pop().astype(self.TAIL, copy=False).tobytes()
        return self.STRUCT.pack(*(self._spread(content) if self._FORMS else content)) + tail

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The inverse of `pack`. Raises ProtocolError for a payload of a wrong length."""
        over = len(payload) - cls.STRUCT.size
        if over < 0 or over % cls.TAIL.itemsize if cls.TAIL is not None else over:
            raise ProtocolError(f"{cls.__name__}: a payload of {len(payload)} bytes, not {cls._lengths()}")
        content = cls.STRUCT.unpack_from(payload)
        if cls._FORMS:
            content = tuple(cls._gather(iter(content)))
        if cls.TAIL is not None:
            content += (np.frombuffer(payload, cls.TAIL, offset=cls.STRUCT.size),)
        return cls(*content)

    @classmethod
    def _spread(cls, content: Iterable[Any]) -> Iterator[Any]:
        """The fields as struct packs them: text as bytes, arrays value by value."""
        for (count, letter), value in zip(cls._FORMS, content, strict=True):
            if letter == "s":
                yield value.encode("ascii", "replace")
            elif count:
                yield from value
            else:
                yield value

    @classmethod
    def _gather(cls, values: Iterator[Any]) -> Iterator[Any]:
        """The inverse of `_spread`; text without the zeros that fill it."""
        for count, letter in cls._FORMS:
            if letter == "s":
                yield next(values).partition(b"\0")[0].decode("ascii", "replace")
            elif count:
                yield tuple(islice(values, count))
            else:
                yield next(values)

    @classmethod
    def _lengths(cls) -> str:
        records = f" and a multiple of {cls.TAIL.itemsize}" if cls.TAIL is not None else ""
        return f"{cls.STRUCT.size}{records}"


@dataclass(frozen=True, eq=False)
class Exchange(Message):
    """A request or its answer: both carry the same id."""

    id: int
