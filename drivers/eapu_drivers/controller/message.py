"""What every message of the controller's link is; `messages.py`, made from the message table, has them all."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from eapu_hil.hal import ProtocolError


def text(raw: bytes) -> str:
    """A field of characters, without the zeros that fill it."""
    return raw.partition(b"\0")[0].decode("ascii", "replace")


def records(*fields: tuple[str, str]) -> np.dtype[Any]:
    """The dtype of a tail of records."""
    return np.dtype(list(fields))


class Message:
    """A message of the link. Sequenced ones are numbered and sent again until acknowledged."""

    NUMBER: ClassVar[int]
    SEQUENCED: ClassVar[bool]
    STRUCT: ClassVar[struct.Struct]
    TAIL: ClassVar[np.dtype[Any] | None] = None

    def pack(self) -> bytes:
        """The payload of its frame."""
        raise NotImplementedError

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The inverse of `pack`. Raises ProtocolError for a payload of a wrong length."""
        raise NotImplementedError

    @classmethod
    def _values(cls, payload: bytes) -> tuple[Any, ...]:
        """The fields before the tail, after a check of the length."""
        over = len(payload) - cls.STRUCT.size
        if over < 0 or over % cls.TAIL.itemsize if cls.TAIL is not None else over:
            raise ProtocolError(f"{cls.__name__}: a payload of {len(payload)} bytes, not {cls._lengths()}")
        return cls.STRUCT.unpack_from(payload)

    @classmethod
    def _lengths(cls) -> str:
        records = f" and a multiple of {cls.TAIL.itemsize}" if cls.TAIL is not None else ""
        return f"{cls.STRUCT.size}{records}"


@dataclass(frozen=True, eq=False)
class Exchange(Message):
    """A request or its answer: both carry the same id."""

    id: int
