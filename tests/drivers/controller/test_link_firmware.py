"""The link against the real firmware, through good, bad and slow lines."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from concurrent.futures import Future

import numpy as np
import pytest
from boards import FREE, MISSING, SHAPE, build, configure, counting_board, free_board, writes
from eapu_drivers.controller.link import Link, LinkLost
from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import (
    BoardState,
    Ground,
    LineDirection,
    Product,
    Status,
    Write,
    Written,
)
from eapu_drivers.controller.ports import SerialPort, SocketPort
from proxy import Proxy

from eapu_hil.hal import TransportError

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def write_all(link: Link, count: int) -> list[tuple[Write, Future[Exchange]]]:
    configure(link)
    return [(request, link.submit(request)) for request in writes(link, count)]


def assert_one_result_each(sent: list[tuple[Write, Future[Exchange]]]) -> None:
    for request, future in sent:
        answer = future.result(20)
        assert isinstance(answer, Written), answer
        assert (answer.id, len(answer.tail)) == (request.id, len(request.tail))
        assert (answer.tail["pulses"] == 1).all()
        np.testing.assert_allclose(answer.tail["g_after_S"], request.tail["g_target_S"], atol=1e-7)


@pytest.mark.parametrize(("share", "count"), [(0.01, 12_000), (0.1, 2_400)])
def test_on_a_bad_line_every_write_has_one_result_and_happens_once(share: float, count: int) -> None:
    with counting_board() as (board, front_end):
        proxy = Proxy(board.host, seed=3, share=share)
        with Link(lambda: SocketPort(proxy.near, "bad line")) as link:
            sent = write_all(link, count)
            assert_one_result_each(sent)
            counters = link.counters
    asked = Counter(cell for request, _ in sent for cell in request.tail[["row", "col"]].tolist())
    assert front_end.pulses == asked
    assert sum(proxy.up.hit.values()) + sum(proxy.down.hit.values()) > 5
    assert counters.resent > 0
    assert counters.strays == 0


def test_urgent_messages_get_through_a_bad_line() -> None:
    with free_board() as board:
        proxy = Proxy(board.host, seed=5, share=0.3)
        with Link(lambda: SocketPort(proxy.near, "bad line")) as link:
            for _ in range(50):
                assert link.urgent(Status(link.take_ids())).state == BoardState.LINKED
            assert link.urgent(Ground(link.take_ids())).grounded


def test_a_slow_line_is_filled_with_results() -> None:
    baud = 1_000_000
    with free_board() as board:
        proxy = Proxy(board.host, baud=baud)
        with Link(lambda: SocketPort(proxy.near, "slow line")) as link:
            configure(link)
            before, start_s = proxy.down.by_type[Written.NUMBER], time.monotonic()
            sent = [(request, link.submit(request)) for request in writes(link, 6000)]
            assert_one_result_each(sent)
            seconds = time.monotonic() - start_s
    carried = proxy.down.by_type[Written.NUMBER] - before
    assert carried * 10 / seconds / baud > 0.6  # benchmarks/link.py has the figure; this machine may be busy


def test_a_product_costs_little_more_than_its_codes() -> None:
    rows, cols = SHAPE
    vectors = 1000
    bits = np.concatenate([np.packbits(np.ones(n, np.uint8), bitorder="little") for n in SHAPE])
    codes = np.random.default_rng(1).integers(-3000, 3000, (vectors, rows)).astype(np.int16)
    with free_board() as board:
        proxy = Proxy(board.host)
        with Link(lambda: SocketPort(proxy.near, "board")) as link:
            configure(link)
            begin = Product(link.take_ids(), 0, LineDirection.FORWARD, 0, vectors, bits)
            before = proxy.up.bytes + proxy.down.bytes
            result = link.stream(begin, codes).result(20)
            wire = proxy.up.bytes + proxy.down.bytes - before
            full_scale_a = link.welcome.range_full_scale_a[0]
    expected = codes.sum(axis=1) * (0.5 / 32767) * 1e-6 / full_scale_a * 32767
    assert result.shape == (vectors, cols)
    np.testing.assert_allclose(result, np.repeat(expected[:, None], cols, axis=1), atol=0.51)
    assert wire <= 1.15 * 2 * vectors * (rows + cols)


def test_a_firmware_that_dies_is_reported_in_time_with_port_and_last_frame() -> None:
    with free_board() as board:
        lines = [board.host]

        def open_port() -> SocketPort:
            if not lines:
                raise TransportError("board: the program has ended")
            return SocketPort(lines.pop(), "board")

        with Link(open_port) as link:
            assert_one_result_each(write_all(link, 1200))
            sent = [link.submit(request) for request in writes(link, 24_000)]
            board.process.kill()
            start_s = time.monotonic()
            errors = [future.exception(5) for future in sent]
            assert time.monotonic() - start_s < 3.0
    lost = [error for error in errors if error is not None]
    assert lost
    assert all(isinstance(error, LinkLost) and not error.reconnected for error in lost)
    assert re.match(
        r"board: lost .*last good frame W\w+, \d\.\d+ s ago; .*the program has ended", str(lost[0])
    )


def test_a_serial_line_that_is_opened_again_is_the_same_session() -> None:
    with subprocess.Popen([build(), "--pty", *FREE], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            name = process.stdout.readline().strip()
            sessions = []
            for _ in range(2):
                with Link(lambda: SerialPort(name)) as link:
                    assert_one_result_each(write_all(link, 768))  # ends with every cell low, as it began
                    sessions.append(link.welcome.session)
                    after = link.take_ids()
            assert sessions[0] == sessions[1]
            assert after > 2 * 768  # ids go on where the session before ended
        finally:
            process.terminate()
