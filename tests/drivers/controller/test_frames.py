"""Frames: round trips, and damage that never yields a frame that was not sent."""

from __future__ import annotations

import zlib

import pytest
from cobs import cobs
from eapu_drivers.controller.frames import Decoder, Frame, encode, encoded_size
from eapu_drivers.controller.messages import AFE_PAYLOAD_MAX, PAYLOAD_MAX
from hypothesis import given
from hypothesis import strategies as st

byte = st.integers(0, 255)
frames = st.builds(Frame, byte, byte, byte, st.binary(max_size=PAYLOAD_MAX))


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_what_is_encoded_comes_out_again_however_the_bytes_are_cut(
    sent: list[Frame], cuts: list[int]
) -> None:
    wire = b"".join(encode(*frame) for frame in sent)
    decoder, received, at = Decoder(), [], 0
    while at < len(wire):
        for cut in cuts:
            received += decoder.feed(wire[at : at + cut])
            at += cut
    assert received == sent
    assert decoder.damaged == 0


def test_the_layout_is_that_of_the_message_table() -> None:
    wire = encode(0x22, 7, 9, b"abc")
    assert wire.endswith(b"\0")
    content = cobs.decode(wire[:-1])
    assert content[:6] == bytes([0x22, 7, 9]) + b"abc"
    assert content[6:] == zlib.crc32(content[:6]).to_bytes(4, "little")


@given(st.binary(max_size=AFE_PAYLOAD_MAX))
def test_no_frame_is_longer_than_announced(payload: bytes) -> None:
    assert len(encode(1, 2, 3, payload)) <= encoded_size(len(payload))


def test_a_full_frame_costs_nine_bytes() -> None:
    assert len(encode(0x24, 1, 1, bytes(range(1, 241)))) == PAYLOAD_MAX + 9


@given(frames, st.data())
def test_a_damaged_frame_is_never_taken_for_another(frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(encode(*frame))
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    decoder = Decoder()
    received = decoder.feed(bytes(wire) + b"\0")
    # damage that undoes itself leaves the frame as it was; anything else must not come out
    assert [got for got in received if got != frame] == []


@given(st.binary(max_size=700), st.lists(frames, min_size=1, max_size=4))
def test_after_any_noise_the_next_frames_are_found(noise: bytes, sent: list[Frame]) -> None:
    decoder = Decoder()
    received = decoder.feed(noise + b"\0" + b"".join(encode(*frame) for frame in sent))
    assert received[-len(sent) :] == sent


@given(frames, st.data())
def test_a_lost_piece_is_counted_once(frame: Frame, data: st.DataObject) -> None:
    wire = encode(*frame)
    start = data.draw(st.integers(0, len(wire) - 2))
    end = data.draw(st.integers(start + 1, len(wire) - 1))
    decoder = Decoder()
    left = wire[:start] + wire[end:]
    assert decoder.feed(left) == []
    assert decoder.damaged == (0 if left == b"\0" else 1)
    assert decoder.feed(wire) == [frame]


@pytest.mark.parametrize("step", [1, 100, 5000])
def test_an_endless_piece_takes_no_memory_and_is_counted_once(step: int) -> None:
    decoder = Decoder()
    for _ in range(5000 // step):
        assert decoder.feed(b"\x01" * step) == []
    assert decoder.damaged == 0
    assert decoder.feed(b"\0" + encode(5, 0, 0, b"")) == [Frame(5, 0, 0, b"")]
    assert decoder.damaged == 1


def test_zeros_between_frames_are_nothing() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\0\0" + encode(2, 0, 0, b"") + b"\0\0\0") == [Frame(2, 0, 0, b"")]
    assert decoder.damaged == 0
