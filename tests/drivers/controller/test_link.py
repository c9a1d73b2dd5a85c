"""The link's thread against a controller in Python: answers, urgency, losses, closing."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eapu_drivers.controller import messages
from eapu_drivers.controller.errors import LinkLost, RefusedError
from eapu_drivers.controller.link import Link, LinkTiming
from eapu_drivers.controller.messages import (
    GetLimits,
    Ground,
    LineDirection,
    Product,
    Refused,
    Status,
    Write,
    Written,
)
from eapu_drivers.controller.ports import SocketPort
from peer import WELCOME, Behaviour, Peer

from eapu_hil.hal import ProtocolError, TransportError

QUICK = LinkTiming(silence_s=0.4, reconnect_s=0.3, hello_s=1.0)


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def connect(peer: Peer) -> Iterator[Callable[..., Link]]:
    """Opens links that are closed after the test: `connect(timing)`."""
    with ExitStack() as stack:
        yield lambda timing=QUICK, open_port=peer.open_port: stack.enter_context(Link(open_port, timing))


def write(link: Link, cells: int = 12) -> Write:
    tail = np.zeros(cells, Write.TAIL)
    tail["g_target_S"] = 1e-6 * np.arange(cells)
    return Write(link.take_ids(cells), 0, 0, tail)


def product(link: Link, vectors: int) -> Product:
    bits = np.packbits(np.r_[np.ones(16, np.uint8), np.ones(8, np.uint8)])
    return Product(link.take_ids(), 0, LineDirection.FORWARD, 0, vectors, bits)


def test_every_write_of_a_batch_is_answered_and_executed_once(
    peer: Peer, connect: Callable[..., Link]
) -> None:
    link = connect()
    requests = [write(link) for _ in range(300)]
    futures = [link.submit(request) for request in requests]
    for request, future in zip(requests, futures, strict=True):
        answer = future.result(5)
        assert isinstance(answer, Written)
        assert answer.id == request.id
        np.testing.assert_allclose(answer.tail["g_after_S"], request.tail["g_target_S"], rtol=1e-6)
    assert set(peer.executed.values()) == {1}
    assert len(peer.executed) == 3600


def test_every_message_can_be_logged(connect: Callable[..., Link], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="eapu_drivers.controller.bus")
    link = connect()
    request = write(link)
    link.submit(request).result(5)
    sent = [text for text in caplog.messages if " <- Write " in text]
    assert sent
    assert sent[0].endswith(request.pack().hex(" "))
    assert any(" -> Written " in text for text in caplog.messages)


def test_a_good_line_needs_one_frame_a_request_and_few_more(connect: Callable[..., Link], peer: Peer) -> None:
    link = connect(LinkTiming())
    futures = [link.submit(write(link)) for _ in range(500)]
    wait(futures, 5)
    counters = link.counters
    assert counters.damaged == counters.naks_sent == 0
    assert counters.resent <= 25  # where the machine is so busy that answers take longer than they ever did
    assert 500 <= peer.heard["Write"] <= 500 + counters.resent
    assert counters.unanswered == counters.waiting == 0
    assert counters.last_frame == "Written"
    assert counters.round_trip_s > 0.0
    assert counters.window == 16


def test_the_window_is_what_the_controller_has_room_for(peer: Peer, connect: Callable[..., Link]) -> None:
    peer.behaviour.welcome = replace(WELCOME, rx_bytes=1024)  # less one frame: room for four writes
    link = connect()
    peer.behaviour.deaf = True
    for _ in range(50):
        link.submit(write(link))
    time.sleep(0.1)
    assert link.counters.in_flight == 4
    assert link.counters.waiting + link.counters.unanswered == 50


def test_ids_are_above_those_that_the_controller_has_seen(peer: Peer, connect: Callable[..., Link]) -> None:
    peer.executed[4711] = 1
    link = connect()
    assert link.take_ids(12) == 4712
    assert link.take_ids() == 4724


def test_products_come_back_whole(connect: Callable[..., Link]) -> None:
    link = connect()
    codes = np.random.default_rng(1).integers(-2047, 2048, (500, 16)).astype(np.int16)
    result = link.stream(product(link, 500), codes).result(5)
    assert result.shape == (500, 8)
    np.testing.assert_array_equal(result, np.repeat(codes[:, :1], 8, axis=1))


def test_a_refused_product_does_not_hold_up_the_next_request(
    peer: Peer, connect: Callable[..., Link]
) -> None:
    link = connect()
    peer.behaviour.refuse = messages.Reason.V_READ_MAX
    refused = link.stream(product(link, 2000), np.zeros((2000, 16), np.int16))
    after = link.submit(write(link))
    with pytest.raises(RefusedError, match=r"V_READ_MAX, index 3, asked 0.6, allowed 0.5"):
        refused.result(5)
    assert isinstance(after.result(5), Written)


@pytest.mark.parametrize("shape", [(500, 15), (499, 16), (0, 16)])
def test_codes_that_do_not_fit_their_product_are_a_mistake_of_the_caller(
    connect: Callable[..., Link], shape: tuple[int, int]
) -> None:
    link = connect()
    with pytest.raises(ValueError, match=r"codes of shape|needs vectors"):
        link.stream(product(link, 500 if shape[0] else 0), np.zeros(shape, np.int16))


def test_a_refusal_is_an_answer(peer: Peer, connect: Callable[..., Link]) -> None:
    link = connect()
    peer.behaviour.refuse = messages.Reason.FAULT
    request = product(link, 1)
    answer = link.submit(request).result(5)
    assert isinstance(answer, Refused)
    assert (answer.id, answer.reason) == (request.id, messages.Reason.FAULT)


def test_urgent_messages_overtake_and_only_sequenced_ones_are_submitted(
    peer: Peer, connect: Callable[..., Link]
) -> None:
    link = connect(LinkTiming())
    peer.behaviour.work_s = 0.002
    futures = [link.submit(write(link)) for _ in range(400)]
    number = link.take_ids()
    assert link.urgent(Ground(number)).id == number
    assert not futures[-1].done()
    with pytest.raises(ValueError, match="urgent"):
        link.submit(Status(link.take_ids()))


def test_an_urgent_message_is_repeated_and_then_given_up(peer: Peer, connect: Callable[..., Link]) -> None:
    link = connect()
    peer.behaviour.mute = True
    with pytest.raises(TransportError, match=r"peer: Ground was not answered within 0.4 s; last good frame"):
        link.urgent(Ground(link.take_ids()))
    assert peer.heard["Ground"] >= 3


def test_the_dead_man_is_fed_while_nothing_is_asked(peer: Peer, connect: Callable[..., Link]) -> None:
    link = connect(replace(QUICK, dead_man_s=0.1))
    time.sleep(0.3)
    assert 4 <= peer.heard["Status"] <= 14
    assert link.counters.reconnects == 0


def test_hello_is_repeated_until_it_is_answered(peer: Peer, connect: Callable[..., Link]) -> None:
    peer.behaviour.hellos_ignored = 2
    assert connect().welcome.serial == "P1"
    assert peer.heard["Hello"] == 3


def test_nothing_that_answers_is_said_within_the_time(peer: Peer) -> None:
    peer.behaviour.mute = True
    start_s = time.monotonic()
    with pytest.raises(TransportError, match=r"peer: no controller answers HELLO within 1 s .*cable"):
        Link(peer.open_port, QUICK)
    assert time.monotonic() - start_s < 5.0


def test_a_firmware_of_another_schema_is_refused_with_both_hashes(peer: Peer) -> None:
    peer.behaviour.welcome = replace(WELCOME, schema=0xDEADBEEF)
    with pytest.raises(ProtocolError) as caught:
        Link(peer.open_port, QUICK)
    text = str(caught.value)
    for part in ("deadbeef", f"{messages.SCHEMA:08x}", "feedc0de0123", "flash the firmware of this release"):
        assert part in text


@pytest.mark.parametrize("version", [messages.VERSION - 1, messages.VERSION + 1])
def test_a_firmware_of_another_version_is_refused_in_one_line(peer: Peer, version: int) -> None:
    peer.behaviour.welcome = replace(WELCOME, version=version)
    with pytest.raises(ProtocolError) as caught:
        Link(peer.open_port, QUICK)
    text = str(caught.value)
    assert "\n" not in text
    assert f"speaks protocol {version}," in text
    assert f"protocol {messages.VERSION}," in text
    assert text.endswith("flash the firmware of this release")


def test_a_pulled_plug_fails_what_was_under_way_and_nothing_is_sent_again(
    peer: Peer, connect: Callable[..., Link], caplog: pytest.LogCaptureFixture
) -> None:
    link = connect()
    assert isinstance(link.submit(write(link)).result(5), Written)
    peer.behaviour.work_s = 0.01
    futures = [link.submit(write(link)) for _ in range(100)]
    time.sleep(0.05)
    with caplog.at_level(logging.WARNING, "eapu_drivers.controller.link"):
        peer.hang_up()
        errors = [future.exception(5) for future in futures]
    lost = [error for error in errors if error is not None]
    assert len(lost) > 50
    assert all(isinstance(error, LinkLost) and error.reconnected and error.same_session for error in lost)
    assert "peer: lost" in str(lost[0])
    assert "last good frame Wr" in str(lost[0])
    assert "bytes_sent" in caplog.text
    peer.behaviour.work_s = 0.0
    time.sleep(0.1)
    executed = sum(peer.executed.values())
    assert isinstance(link.submit(write(link)).result(5), Written)
    assert sum(peer.executed.values()) == executed + 12
    assert set(peer.executed.values()) == {1}
    assert link.counters.reconnects == 1


def test_silence_is_a_loss_and_a_restarted_controller_is_another_session(
    peer: Peer, connect: Callable[..., Link]
) -> None:
    link = connect(replace(QUICK, reconnect_s=2.0))
    peer.behaviour.mute = True
    future = link.submit(write(link))
    time.sleep(0.2)
    peer.behaviour.welcome = replace(WELCOME, session=99)
    threading.Timer(0.35, lambda: setattr(peer.behaviour, "mute", False)).start()
    error = future.exception(5)
    assert isinstance(error, LinkLost)
    assert (error.reconnected, error.same_session) == (True, False)
    assert "no answer for 0.4 s" in str(error)
    assert "restarted" in str(error)


def test_a_line_that_stays_away_is_given_up_in_time(peer: Peer, connect: Callable[..., Link]) -> None:
    link = connect(LinkTiming())
    peer.behaviour.mute = True
    start_s = time.monotonic()
    error = link.submit(write(link)).exception(5)
    assert time.monotonic() - start_s < 3.0
    assert isinstance(error, LinkLost)
    assert not error.reconnected
    assert "not reconnected within 1 s" in str(error)
    with pytest.raises(LinkLost, match="not reconnected"):
        link.submit(write(link))
    with pytest.raises(LinkLost, match="not reconnected"):
        link.urgent(Ground(link.take_ids()))


def test_closing_is_quick_and_may_be_repeated(
    peer: Peer, connect: Callable[..., Link], caplog: pytest.LogCaptureFixture
) -> None:
    link = connect()
    peer.behaviour.work_s = 0.05
    futures = [link.submit(write(link)) for _ in range(30)]
    start_s = time.monotonic()
    with caplog.at_level(logging.INFO, "eapu_drivers.controller.link"):
        link.close()
        link.close()
    assert time.monotonic() - start_s < 1.4  # the 30 writes would take 1.5 s
    assert caplog.text.count("closed; frames_sent") == 1
    assert all(isinstance(future.exception(1), TransportError) for future in futures)
    with pytest.raises(TransportError, match="closed"):
        link.submit(write(link))


def test_closing_is_quick_after_a_loss_and_while_reconnecting(peer: Peer) -> None:
    for pause_s in (0.0, 1.0):
        link = Link(peer.open_port, QUICK)
        peer.behaviour.mute = True
        peer.hang_up()
        time.sleep(pause_s)
        start_s = time.monotonic()
        link.close()
        assert time.monotonic() - start_s < 2.0
        peer.behaviour.mute = False


def test_a_stuck_callback_holds_up_nobody(connect: Callable[..., Link]) -> None:
    link = connect()
    release, entered = threading.Event(), threading.Event()
    stuck = link.submit(write(link))
    stuck.add_done_callback(lambda _: (entered.set(), release.wait(10)))
    assert entered.wait(5)
    assert isinstance(link.submit(write(link)).result(1), Written)
    release.set()


def test_results_nobody_fetches_and_cancelled_requests_hold_up_nobody(
    peer: Peer, connect: Callable[..., Link]
) -> None:
    link = connect()
    peer.behaviour.work_s = 0.002
    futures = [link.submit(write(link)) for _ in range(100)]
    assert futures[-1].cancel()
    cancelled = futures.pop()
    assert isinstance(link.submit(write(link)).result(5), Written)
    assert all(future.done() for future in futures)
    assert cancelled.cancelled()
    assert len(peer.executed) == 100 * 12


def test_an_id_that_is_under_way_is_not_taken_twice(peer: Peer, connect: Callable[..., Link]) -> None:
    link = connect()
    peer.behaviour.work_s = 0.05
    request = write(link)
    first, second = link.submit(request), link.submit(request)
    assert isinstance(second.exception(5), ValueError)
    assert isinstance(first.result(5), Written)


def test_many_threads_share_a_link(connect: Callable[..., Link]) -> None:
    link = connect()
    done = []

    def ask() -> None:
        done.extend(link.submit(GetLimits(link.take_ids())).result(5).id for _ in range(100))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(done)) == 400


def test_a_port_that_takes_no_bytes_is_a_loss_and_does_not_hold_up_closing() -> None:
    class Full(SocketPort):
        full = False

        def write(self, data: bytes) -> int:
            return 0 if self.full else super().write(data)

    host = Peer(Behaviour())
    ports: list[Full] = []

    def open_port() -> Full:
        if ports:
            raise TransportError("peer: gone")
        ports.append(Full(host.open_line(), "peer"))
        return ports[0]

    with Link(open_port, QUICK) as link:
        ports[0].full = True
        error = link.submit(write(link)).exception(5)
    assert isinstance(error, LinkLost)
    assert "peer: gone" in str(error)


def test_a_program_that_forgets_to_close_ends_all_the_same() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from peer import Peer\n"
        "from eapu_drivers.controller.link import Link\n"
        "link = Link(Peer().open_port)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program, str(Path(__file__).parent)], check=True, timeout=10)
