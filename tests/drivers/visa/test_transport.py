"""Lines to instruments, through the real PyVISA stack and a TCP port."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pyvisa
from eapu_drivers.simulated.instruments.server import Mishap, Server
from eapu_drivers.visa.transport import BUS, VisaTransport
from pyvisa.constants import StatusCode
from pyvisa.resources import MessageBasedResource
from stations import SmallStation

from eapu_hil.hal import TransportError


class Echo:
    """Answers a question with itself; `slow?` in two parts would be the server's business."""

    def handle(self, message: str) -> bytes:
        return (message.replace("?", "!") + "\n").encode("latin-1") if "?" in message else b""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with SmallStation(tmp_path).serving(Echo()) as one:
        yield one


@pytest.fixture
def line(server: Server) -> Iterator[VisaTransport]:
    with VisaTransport(server.resource) as one:
        yield one


def test_a_question_and_its_answer(line: VisaTransport, server: Server) -> None:
    assert line.query("who?") == "who!"
    line.write("quiet")
    assert line.query("next?") == "next!"
    assert line.name == server.resource


def test_long_answers_arrive_whole(line: VisaTransport) -> None:
    long = "x" * 100_000 + "?"
    assert line.query(long) == long.replace("?", "!")


def test_many_short_messages_do_not_wait_for_each_other(line: VisaTransport) -> None:
    """Without TCP_NODELAY each pair would take 40 ms."""
    start_s = time.monotonic()
    for _ in range(50):
        line.write("one")
        line.query("two?")
    assert time.monotonic() - start_s < 1.0


def test_silence(line: VisaTransport, server: Server) -> None:
    server.mishaps.append(Mishap("drop"))
    start_s = time.monotonic()
    with pytest.raises(TransportError, match=r"no answer to 'who\?' within 0\.2 s"):
        line.query("who?", 0.2)
    assert time.monotonic() - start_s < 0.7


def test_an_answer_that_drips_has_the_same_end() -> None:
    """Each byte comes in time, the whole does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            client, _ = listener.accept()
            with client, suppress(OSError):
                client.recv(100)
                for _ in range(60):
                    client.sendall(b"1")
                    time.sleep(0.05)
                client.sendall(b"\n")

        thread = threading.Thread(target=drip)
        thread.start()
        start_s = time.monotonic()
        with VisaTransport(f"TCPIP0::127.0.0.1::{listener.getsockname()[1]}::SOCKET") as line:
            with pytest.raises(TransportError, match=r"no answer to 'who\?' within 0\.3 s"):
                line.query("who?", 0.3)
            assert time.monotonic() - start_s < 1.5
        thread.join()


def test_after_an_answer_that_made_no_sense(line: VisaTransport, server: Server) -> None:
    """What comes late is not taken for an answer to come: the line is opened anew."""
    server.mishaps.append(Mishap("repeat"))
    assert line.query("one?") == "one!"
    line.distrust()
    with pytest.raises(TransportError, match=r"'two\?' not sent: 'an earlier question' was never answered"):
        line.query("two?")
    line.clear()
    assert line.query("three?") == "three!"


def test_a_late_answer_is_not_taken_for_the_next_one(line: VisaTransport, server: Server) -> None:
    server.mishaps.append(Mishap("delay", delay_s=0.4))
    with pytest.raises(TransportError):
        line.query("late?", 0.2)
    with pytest.raises(TransportError, match=r"'next\?' not sent: 'late\?' was never answered"):
        line.query("next?", 0.2)
    line.write("off")  # ways out are still open
    line.clear()
    time.sleep(0.5)
    assert line.query("again?") == "again!"


def test_ctrl_c_while_an_answer_is_awaited(line: VisaTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way out works, and the answer that nobody read is not taken for another."""
    assert line._line is not None

    def interrupted() -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(line._line, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            line.query("first?")
    line.write("off")
    line.clear()
    assert line.query("second?") == "second!"


def test_half_an_answer_is_none(line: VisaTransport, server: Server) -> None:
    server.mishaps.append(Mishap("truncate"))
    with pytest.raises(TransportError, match="no answer"):
        line.query("who?", 0.2)


def test_a_line_that_is_cut(line: VisaTransport, server: Server) -> None:
    server.mishaps.append(Mishap("disconnect"))
    start_s = time.monotonic()
    with pytest.raises(TransportError, match=r"who\?"):
        line.query("who?", 0.3)
    assert time.monotonic() - start_s < 1.0
    line.clear()
    assert line.query("again?") == "again!"


def test_an_instrument_that_is_gone(line: VisaTransport, server: Server) -> None:
    server.close()
    with pytest.raises(TransportError, match=server.resource.replace(".", r"\.")):
        line.query("who?", 0.3)
    with pytest.raises(TransportError):
        line.write("off")


def test_after_closing(line: VisaTransport) -> None:
    line.close()
    line.close()
    with pytest.raises(TransportError, match=r"closed, so 'who\?' was not sent"):
        line.query("who?")


@pytest.mark.parametrize(
    "resource",
    ["TCPIP0::127.0.0.1::1::SOCKET", "nonsense", "GPIB9::99::INSTR"],
)
def test_what_cannot_be_opened_says_so_in_one_line(resource: str) -> None:
    with pytest.raises(TransportError) as caught, VisaTransport(resource) as line:
        line.query("*IDN?", 0.2)
    assert str(caught.value).startswith(resource)
    assert "\n" not in str(caught.value)


def test_an_answer_that_is_no_text(tmp_path: Path) -> None:
    class Binary:
        def handle(self, _: str) -> bytes:
            return b"\xff\xfe\n"

    with (
        SmallStation(tmp_path).serving(Binary()) as server,
        VisaTransport(server.resource) as line,
        pytest.raises(TransportError, match="bytes that are no text"),
    ):
        line.query("who?")


def test_two_threads_get_their_own_answers(line: VisaTransport) -> None:
    wrong: list[str] = []

    def ask(name: str) -> None:
        for k in range(200):
            answer = line.query(f"{name}{k}?")
            if answer != f"{name}{k}!":
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_bus_has_a_log_of_its_own(line: VisaTransport, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, BUS.name):
        line.query("who?")
    assert [record.getMessage().removeprefix(f"{line.name} ") for record in caplog.records] == [
        "<- who?",
        "-> who!",
    ]


def test_a_line_that_another_program_has_locked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise pyvisa.VisaIOError(StatusCode.error_resource_locked)

    monkeypatch.setattr(MessageBasedResource, "lock_excl", refused)
    with pytest.raises(TransportError, match="another program has locked it"):
        VisaTransport(server.resource)
