"""Every wait of the link ends, by the progress of its own requests, and says why."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from benchwork import CELLS, Bed, wait_until
from boards import MISSING, configure, free_board, writes
from eapu_drivers.controller import messages
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.frames import encode
from eapu_drivers.controller.link import Link, LinkLost, LinkTiming
from eapu_drivers.controller.messages import Done, Ground, Hello, Status, Wait, Written
from eapu_drivers.controller.ports import Port, SocketPort, open_within
from eapu_drivers.controller.requests import WorkTimes
from peer import Peer

from eapu_hil.hal import Polarity, Pulses, TransportError

TIMING = LinkTiming(silence_s=0.6, reconnect_s=0.4, hello_s=1.0, answer_s=1.0, dead_man_s=0.4)
needs_firmware = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


class Wire:
    """Between host and board. deaf: nothing goes up any more. inject: bytes that somebody else sends to the board."""

    def __init__(self, board: socket.socket) -> None:
        self.deaf = False
        self._board = board
        self.host, self._ours = socket.socketpair()
        threading.Thread(target=self._carry, daemon=True).start()

    def close(self) -> None:
        for line in (self.host, self._ours):
            line.close()

    def inject(self, data: bytes) -> None:
        self._board.sendall(data)

    def _carry(self) -> None:
        selector = selectors.DefaultSelector()
        for line in (self._ours, self._board):
            selector.register(line, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is self._board:
                        self._ours.sendall(data)
                    elif not self.deaf:
                        self._board.sendall(data)
        except (OSError, ValueError):
            return
        finally:
            selector.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    with free_board() as board:
        line = Wire(board.host)
        yield line
        line.close()


def once(wire: Wire) -> Callable[[], Port]:
    lines = [wire.host]

    def open_port() -> Port:
        if not lines:
            raise TransportError("wire: gone")
        return SocketPort(lines.pop(), "wire")

    return open_port


def again(wire: Wire) -> Callable[[], Port]:
    return lambda: SocketPort(wire.host.dup(), "wire")


@needs_firmware
def test_a_line_whose_sending_direction_died_is_lost_although_frames_come(wire: Wire) -> None:
    with Link(once(wire), TIMING) as link:
        configure(link)
        sent = [link.submit(request) for request in writes(link, 2400)]
        wire.deaf = True  # what is on its way comes back again and again: nobody acknowledges it
        start_s = time.monotonic()
        errors = [future.exception(10) for future in sent]
        assert time.monotonic() - start_s < 5.0
    lost = [error for error in errors if error is not None]
    assert lost
    assert all(isinstance(error, LinkLost) for error in lost)
    assert "the sending direction of the line is dead" in str(lost[0]) or "no answer for" in str(lost[0])


@needs_firmware
def test_a_foreign_hello_ends_what_it_took_and_the_link_takes_the_board_back(wire: Wire) -> None:
    with Link(again(wire), TIMING) as link:
        configure(link)
        hello = Hello(messages.VERSION, messages.SCHEMA, 0xBAD, 50, 1000)
        wire.inject(b"\0" + encode(Hello.NUMBER, 0, 0, hello.pack()))
        time.sleep(0.1)
        waiting = link.submit(next(writes(link, 12)))
        start_s = time.monotonic()
        error = waiting.exception(10)
        assert time.monotonic() - start_s < 5.0
        assert isinstance(error, LinkLost)
        assert error.reconnected
        assert "WRITE was not answered within 1 s; the controller says that it has nothing to do" in str(
            error
        )
        configure(link)
        assert isinstance(link.submit(next(writes(link, 12))).result(5), Written)


def test_work_that_was_asked_may_take_its_time(peer: Peer) -> None:
    with Link(peer.open_port, replace(TIMING, answer_s=0.3)) as link:
        assert isinstance(link.submit(Wait(link.take_ids(), 1)).result(5), Done)
    times, recipe = WorkTimes(), messages.Recipe.unpack(bytes(messages.Recipe.STRUCT.size))
    times.of(replace(recipe, slot=2, time_max_s=7.0))
    records = messages.Pulse.unpack(bytes(5) + 12 * bytes(messages.Pulse.TAIL.itemsize)).tail.copy()
    records["count"], records["width_ns"] = 1000, 1_000_000
    assert times.of(Wait(1, 2_500_000_000)) == 2.5
    assert times.of(messages.Write(1, 0, 2, records[:1])) == 7.0
    assert times.of(messages.Pulse(1, 0, records)) == pytest.approx(12 * 1000 * 2e-3)


@pytest.fixture
def peer() -> Peer:
    return Peer()


def test_a_busy_controller_that_never_answers_is_given_up_with_the_time_that_was_allowed(peer: Peer) -> None:
    with Link(peer.open_port, TIMING) as link:
        peer.behaviour.swallow, peer.behaviour.state = True, messages.BoardState.BUSY
        error = link.submit(Wait(link.take_ids(), 500_000_000)).exception(10)
    assert isinstance(error, LinkLost)
    assert "WAIT was not answered within 1.5 s; the work asked may take 0.5 s" in str(error)


def test_a_port_that_hangs_while_it_opens_is_given_up_and_closed_when_it_opens_after_all(peer: Peer) -> None:
    release, closed = threading.Event(), threading.Event()

    class Late(SocketPort):
        def close(self) -> None:
            super().close()
            closed.set()

    def hang() -> Port:
        release.wait(10)
        return Late(peer.open_line(), "late")

    with pytest.raises(TransportError, match=r"the port did not open within 0\.2 s"):
        Link(hang, replace(TIMING, open_s=0.2))
    release.set()
    assert closed.wait(5)
    with pytest.raises(TransportError, match="no such port"):
        open_within(1.0, lambda: (_ for _ in ()).throw(TransportError("no such port")))


@needs_firmware
class TestWayOut:
    def test_ground_needs_no_id_that_may_be_used_up(self, bed: Bed) -> None:
        used = bed.link.take_ids()
        bed.link.take_ids(2**32 - 1 - used)
        with pytest.raises(TransportError, match="ids of this boot are used up; reset the controller"):
            bed.link.take_ids()
        bed.array.ground()
        bed.board.require_sound()
        assert bed.lines().grounded
        assert bed.link.urgent(Ground(0)).grounded
        assert bed.link.urgent(Status(0)).id > 0

    def test_writing_with_no_ids_left_says_so_and_sends_nothing(self, bed: Bed) -> None:
        used = bed.link.take_ids()
        bed.link.take_ids(2**32 - 1 - used)
        with pytest.raises(TransportError, match="ids of this boot are used up") as caught:
            bed.array.pulse(Pulses.same(CELLS, Polarity.SET, 1.0, 1.0, 1e-7))
        assert "lost" not in str(caught.value)
        assert bed.lines().pulses == 0


def test_a_board_that_cannot_be_told_to_ground_is_left_to_its_dead_man(peer: Peer) -> None:
    link = Link(peer.open_port, TIMING)
    board = object.__new__(Board)  # not configured: only its way out is wanted
    board.link, board.name, board.dead_man_s, board._abandoned = link, "peer", 0.4, set()
    peer.behaviour.mute = True
    with pytest.raises(TransportError, match="puts its lines to 0 V by itself"):
        board.ground()
    wait_until(lambda: not link._thread.is_alive())
    heard = peer.heard["Status"]
    time.sleep(0.5)
    assert peer.heard["Status"] == heard
