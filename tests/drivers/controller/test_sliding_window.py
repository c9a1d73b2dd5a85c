"""The window's state machine: two of them in simulated time over a line that loses, damages and repeats frames."""

from __future__ import annotations

import heapq
import itertools
from random import Random

import pytest
from eapu_drivers.controller.frames import Decoder, Frame, encoded_size
from eapu_drivers.controller.messages import BY_NUMBER, Ack, Done, GetLimits, Nak
from eapu_drivers.controller.sliding_window import RoundTrip, SlidingWindow
from hypothesis import given, settings
from hypothesis import strategies as st

FLOOR_s = 0.025
TRAVEL_s = 0.002


def window(frames: int = 16, room_bytes: int = 4000) -> SlidingWindow:
    return SlidingWindow(frames, room_bytes, RoundTrip(FLOOR_s))


def decoded(wire: list[bytes]) -> list[Frame]:
    return Decoder().feed(b"".join(wire))


class Line:
    """Two windows, and between them a line that treats a `share` of the frames badly."""

    def __init__(self, seed: int, share: float, counts: tuple[int, int]) -> None:
        self.random = Random(seed)
        self.share = share
        self.now_s = 0.0
        self.ends = window(), window()
        self.decoders = Decoder(), Decoder()
        self.to_send = [list(range(count)) for count in counts]
        self.delivered: tuple[list[int], list[int]] = ([], [])
        self.frames = 0
        self._order = itertools.count()
        self._under_way: list[tuple[float, int, int, bytes]] = []

    def _launch(self, to: int, wire: bytes) -> None:
        self.frames += 1
        at_s, copies = self.now_s + TRAVEL_s, 1
        if self.random.random() < self.share:
            kind = self.random.choice(["corrupt", "drop", "duplicate", "late", "cut"])
            if kind == "corrupt":
                at = self.random.randrange(len(wire))
                wire = wire[:at] + bytes([wire[at] ^ self.random.randrange(1, 256)]) + wire[at + 1 :]
            elif kind == "drop":
                return
            elif kind == "duplicate":
                copies = 2
            elif kind == "late":  # overtaken by those that follow
                at_s += self.random.uniform(0.0, 5 * TRAVEL_s)
            else:
                wire = wire[: self.random.randrange(len(wire))]
        for _ in range(copies):
            heapq.heappush(self._under_way, (at_s, next(self._order), to, wire))

    def _let_go(self, end: int) -> None:
        here, waiting = self.ends[end], self.to_send[end]
        while waiting and here.fits(8):
            here.push(GetLimits.NUMBER, waiting.pop(0).to_bytes(8, "little"))
        for wire in here.output(self.now_s):
            self._launch(1 - end, wire)

    def _arrive(self, end: int, wire: bytes) -> None:
        before = self.decoders[end].damaged
        for frame in self.decoders[end].feed(wire):
            sequenced = BY_NUMBER[frame.number].SEQUENCED
            for fresh in self.ends[end].input(frame, sequenced, self.now_s):
                if sequenced:
                    self.delivered[end].append(int.from_bytes(fresh.payload, "little"))
        if self.decoders[end].damaged > before:
            self.ends[end].missing(self.now_s)

    def run(self, limit_s: float) -> None:
        """Until everything is acknowledged."""
        while True:
            for end in (0, 1):
                self._let_go(end)
            due = [end.due_s for end in self.ends if end.due_s is not None]
            arrival = [self._under_way[0][0]] if self._under_way else []
            if not due + arrival:
                return
            self.now_s = max(self.now_s, min(due + arrival))
            assert self.now_s < limit_s, "no progress"
            while self._under_way and self._under_way[0][0] <= self.now_s:
                _, _, end, wire = heapq.heappop(self._under_way)
                self._arrive(end, wire)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.01, 0.1, 0.4]),
    st.integers(0, 400),
    st.integers(0, 400),
)
def test_everything_is_delivered_once_and_in_order(seed: int, share: float, up: int, down: int) -> None:
    line = Line(seed, share, (up, down))
    line.run(limit_s=600.0)
    assert line.delivered == (list(range(down)), list(range(up)))
    assert [end.in_flight for end in line.ends] == [0, 0]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_old_numbers_never_count_again(seed: int) -> None:
    """Whatever the line repeats, up to half the numbers old, and whatever comes early: each counts once, in order."""
    random, here, count, turn = Random(seed), window(), 0, 0
    while count < 3 * 256:
        turn += 1
        ahead = random.choice((0, random.randint(1, 16), random.randint(17, 127), -random.randint(1, 128)))
        number = max(count + ahead, 0)
        frame = Frame(Done.NUMBER, number % 256, 0, number.to_bytes(12, "little"))
        came = [int.from_bytes(one.payload, "little") for one in here.input(frame, True, 0.001 * turn)]
        assert came == list(range(count, count + len(came)))
        count += len(came)
        assert here.expected == count % 256


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 16, 64]))
def test_old_acknowledgements_free_nothing(seed: int, frames: int) -> None:
    random, here, sent, base = Random(seed), window(frames, 10_000), 0, 0
    while base < 3 * 256:
        for _ in range(random.randint(0, frames)):
            if here.fits(4):
                here.push(GetLimits.NUMBER, bytes(4))
                sent += 1
        here.output(0.0)
        old = random.random() < 0.5
        base += 0 if old else random.randint(0, sent - base)
        ack = base - random.randint(1, 255 - frames) if old else base
        here.input(Frame(Ack.NUMBER, 0, ack % 256, b""), False, 0.0)
        assert (here.acknowledged, here.in_flight) == (base, sent - base)


def test_the_widest_window_is_half_the_numbers_at_most() -> None:
    wide = window(frames=255, room_bytes=10**6)
    while wide.fits(4):
        wide.push(GetLimits.NUMBER, bytes(4))
    assert 2 * wide.in_flight <= 256


def test_a_good_line_repeats_nothing_and_needs_few_frames_of_its_own() -> None:
    line = Line(1, 0.0, (1000, 1000))
    line.run(limit_s=60.0)
    assert [end.resent + end.timeouts + end.naks_sent for end in line.ends] == [0, 0]
    assert line.frames <= 1.1 * 2000  # most acknowledgements travel with messages


def test_one_frame_in_a_hundred_costs_less_than_a_third() -> None:
    good, bad = Line(1, 0.0, (5000, 5000)), Line(1, 0.01, (5000, 5000))
    good.run(limit_s=60.0)
    bad.run(limit_s=60.0)
    assert bad.now_s < 1.5 * good.now_s
    assert bad.frames < 1.25 * good.frames


def test_the_window_keeps_to_frames_and_bytes() -> None:
    few = window(frames=3)
    for _ in range(3):
        assert few.fits(240)
        few.push(GetLimits.NUMBER, bytes(240))
    assert not few.fits(0)
    small = window(room_bytes=2 * encoded_size(100))
    small.push(GetLimits.NUMBER, bytes(100))
    assert small.fits(100)
    assert not small.fits(101)


def test_an_answer_carries_the_acknowledgement() -> None:
    here = window()
    assert here.input(Frame(Done.NUMBER, 0, 0, bytes(12)), True, 0.0)
    here.push(GetLimits.NUMBER, bytes(4))
    (only,) = decoded(here.output(0.0))
    assert (only.number, only.seq, only.ack) == (GetLimits.NUMBER, 0, 1)


def test_without_an_answer_an_acknowledgement_goes_alone_and_once() -> None:
    here = window()
    here.input(Frame(Done.NUMBER, 0, 0, bytes(12)), True, 0.0)
    assert decoded(here.output(0.0)) == [Frame(Ack.NUMBER, 0, 1, b"")]
    assert here.output(0.0) == []


def test_a_repetition_is_acknowledged_but_not_delivered() -> None:
    here = window()
    first = Frame(Done.NUMBER, 0, 0, bytes(12))
    assert here.input(first, True, 0.0)
    here.output(0.0)
    assert not here.input(first, True, 0.01)
    assert decoded(here.output(0.01)) == [Frame(Ack.NUMBER, 0, 1, b"")]
    assert here.duplicates == 1


def done(seq: int) -> Frame:
    return Frame(Done.NUMBER, seq, 0, bytes([seq, *bytes(11)]))


def test_a_gap_is_complained_of_once_until_the_answer_is_overdue() -> None:
    here = window()
    early = Frame(Done.NUMBER, 3, 0, bytes(12))
    asked = []
    for now_s in (0.0, 0.001, 0.01, FLOOR_s + 0.001):
        assert not here.input(early, True, now_s)
        asked.append([frame.number for frame in decoded(here.output(now_s))])
    assert asked == [[Nak.NUMBER], [], [], [Nak.NUMBER]]


def test_a_complaint_that_is_lost_is_repeated_without_another_frame() -> None:
    here = window()
    early = [done(seq) for seq in (1, 2, 3)]
    for frame in early:
        assert here.input(frame, True, 0.0) == []
    here.output(0.0)
    assert here.due_s == FLOOR_s
    assert [frame.number for frame in decoded(here.output(FLOOR_s))] == [Nak.NUMBER]
    assert here.input(done(0), True, 1.5 * FLOOR_s) == [done(0), *early]
    assert here.due_s is None


def sent_through(here: SlidingWindow, count: int, now_s: float) -> list[Frame]:
    for number in range(count):
        here.push(GetLimits.NUMBER, bytes([number]))
    return decoded(here.output(now_s))


def nak(ack: int, missing: int, held: int = 0) -> Frame:
    return Frame(Nak.NUMBER, 0, ack, Nak(missing, held).pack())


def payloads(wire: list[bytes]) -> list[bytes]:
    return [frame.payload for frame in decoded(wire)]


@pytest.mark.parametrize(
    ("missing", "held", "again"),
    [(2, 0, [2]), (2, 0b1, [2]), (2, 0b101, [2, 4]), (3, 0b1, [3]), (5, 0b1101, [5, 7]), (1, 0b1, [])],
)
def test_a_complaint_brings_what_is_missing_again_and_nothing_else(
    missing: int, held: int, again: list[int]
) -> None:
    here = window()
    sent = sent_through(here, 10, 0.0)
    here.input(nak(2, missing, held), False, 0.003)
    assert payloads(here.output(0.003)) == [sent[number].payload for number in again]
    here.input(nak(2, missing, held), False, 0.004)  # the line has doubled it
    assert here.output(0.004) == []


def test_a_complaint_of_a_length_that_none_has_brings_nothing_again() -> None:
    here = window()
    sent_through(here, 3, 0.0)
    here.input(Frame(Nak.NUMBER, 0, 1, b"\0"), False, 0.001)
    assert here.output(0.001) == []


def test_a_repair_that_is_lost_goes_out_again_after_two_round_trips() -> None:
    here = window()
    for number in range(30):  # a steady line
        sent_through(here, 1, number)
        here.input(Frame(Ack.NUMBER, 0, 1 + number, b""), False, number + 0.002)
    sent = sent_through(here, 4, 40.0)
    here.input(nak(30, 30, 0b1), False, 40.002)
    assert payloads(here.output(40.002)) == [sent[0].payload]
    assert here.due_s == pytest.approx(40.006, abs=1e-3)
    assert payloads(here.output(40.007)) == [sent[0].payload]
    assert here.due_s is not None
    assert here.due_s > 40.007 + FLOOR_s
    assert here.timeouts == 0


def test_frames_before_their_turn_are_named_and_delivered_once_their_turn_comes() -> None:
    here = window()
    asked = []
    for seq, now_s in ((0, 0.0), (2, 0.001), (3, 0.002), (5, 0.003), (5, 0.004)):
        delivered = here.input(done(seq), True, now_s)
        assert delivered == ([done(0)] if seq == 0 else [])
        asked += [Nak.unpack(frame.payload) for frame in decoded(here.output(now_s)) if frame.payload]
    assert asked == [Nak(1, 0b1), Nak(1, 0b1011)]  # that 4 is missing too was news
    assert here.input(done(1), True, 0.005) == [done(1), done(2), done(3)]
    assert here.input(done(3), True, 0.006) == []
    assert here.input(done(4), True, 0.007) == [done(4), done(5)]
    (ack,) = decoded(here.output(0.008))
    assert (ack.number, ack.ack) == (Ack.NUMBER, 6)


def test_a_frame_far_before_its_turn_is_not_kept() -> None:
    here = window()
    assert here.input(done(17), True, 0.0) == []
    for seq in range(16):
        assert here.input(done(seq), True, 0.001) == [done(seq)]
    assert here.input(done(16), True, 0.002) == [done(16)]
    assert here.input(done(17), True, 0.003) == [done(17)]


def test_a_timeout_sends_the_oldest_alone_and_waits_twice_as_long() -> None:
    here = window()
    sent = sent_through(here, 5, 0.0)
    assert here.output(0.9 * FLOOR_s) == []
    assert decoded(here.output(1.1 * FLOOR_s)) == sent[:1]
    assert here.output(2.5 * FLOOR_s) == []
    assert decoded(here.output(3.2 * FLOOR_s)) == sent[:1]


def test_when_the_probe_was_missing_the_rest_follows() -> None:
    here = window()
    sent = sent_through(here, 5, 0.0)
    here.output(1.1 * FLOOR_s)
    here.input(Frame(Done.NUMBER, 0, 1, bytes(12)), True, 1.2 * FLOOR_s)
    assert [frame.payload for frame in decoded(here.output(1.2 * FLOOR_s))] == [
        frame.payload for frame in sent[1:]
    ]


def test_when_the_other_side_was_only_slow_the_rest_is_not_sent_again() -> None:
    here = window()
    sent_through(here, 5, 0.0)
    here.output(1.1 * FLOOR_s)
    here.input(Frame(Ack.NUMBER, 0, 0, b""), False, 1.2 * FLOOR_s)  # it has the probe already
    here.input(Frame(Done.NUMBER, 0, 1, bytes(12)), True, 1.3 * FLOOR_s)
    assert [frame.number for frame in decoded(here.output(1.3 * FLOOR_s))] == [Ack.NUMBER]


@pytest.mark.parametrize("ack", [4, 200, 255])
def test_an_acknowledgement_of_what_was_never_sent_is_ignored(ack: int) -> None:
    here = window()
    sent_through(here, 3, 0.0)
    here.input(Frame(Ack.NUMBER, 0, ack, b""), False, 0.001)
    assert here.in_flight == 3


def test_round_trips_are_smoothed_and_repeated_messages_are_not_measured() -> None:
    here = window()
    sent_through(here, 1, 0.0)
    here.input(Frame(Ack.NUMBER, 0, 1, b""), False, 0.08)
    assert here.round_trip.smoothed_s == pytest.approx(0.08)
    assert here.round_trip.resend_s == pytest.approx(0.08 + 4 * 0.04)
    sent_through(here, 1, 1.0)
    here.output(1.5)
    here.input(Frame(Ack.NUMBER, 0, 2, b""), False, 1.6)
    assert here.round_trip.smoothed_s == pytest.approx(0.08)


def test_patience_doubles_up_to_a_second_and_returns_with_progress() -> None:
    trip = RoundTrip(FLOOR_s)
    for _ in range(20):
        trip.timed_out()
    assert trip.resend_s == 1.0
    trip.progressed()
    assert trip.resend_s == FLOOR_s
