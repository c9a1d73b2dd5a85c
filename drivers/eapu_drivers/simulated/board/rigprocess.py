"""The process that stands for a simulated board: parent of the firmware, server of its front end.

`rig.start` runs it as a program. What to run comes in on stdin, one line; the end of stdin is the end of the host. The
one line on stdout says who runs the firmware, or what went wrong.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eapu_drivers.simulated.board.afe import AfeServer
from eapu_drivers.simulated.board.frontend import FrontEnd
from eapu_drivers.simulated.board.rig import FIRMWARE_DIED, GROUNDED_WITHIN_s, RigConfig
from eapu_hil.base.errors import one_line
from eapu_hil.hal import HilError
from eapu_hil.twin.state import state_directory

_LOG = logging.getLogger(__name__)
_STDIN, _STDOUT = 0, 1
_PREDECESSOR_WITHIN_s = GROUNDED_WITHIN_s + 5.0
_TERMINATED_WITHIN_s = 2.0
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> int:
    """Runs a simulated board until its host or its firmware has gone; returns the exit code."""
    logging.basicConfig(format="eapu-hil rig: %(message)s")
    stopped, stop = socket.socketpair()
    stop.setblocking(False)
    signal.set_wakeup_fd(stop.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)  # wakes the loop, which ends in good order
    try:
        config = RigConfig.of(_line())
        with socket.socket(fileno=config.host_fd) as host, _own(state_directory(config.chip_dir)):
            return _run(config, host, stopped)
    except (HilError, OSError) as error:
        _say({"error": one_line(error)})
        return 1


def _run(config: RigConfig, host: socket.socket, stopped: socket.socket) -> int:
    front_end = FrontEnd.open(config.bench, config.chip_dir)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            fds = host.fileno(), theirs.fileno()
            command = [part.format(host=fds[0], afe=fds[1]) for part in config.command]
            firmware = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=fds, preexec_fn=_die_with_parent()
            )
        # From here on the firmware alone holds its end of the host's line: it is closed when the firmware dies.
        host.close()
        board = _Board(firmware, config.end_signal, front_end, AfeServer(front_end, ours), ours.fileno())
        try:
            _say({"firmware": firmware.pid})
            return board.run(stopped.fileno())
        finally:
            board.end()


class _Board:
    """The firmware and its front end, while they run."""

    def __init__(
        self,
        firmware: subprocess.Popen[bytes],
        end_signal: int,
        front_end: FrontEnd,
        server: AfeServer,
        afe_fd: int,
    ) -> None:
        self._firmware = firmware
        self._end_signal = end_signal
        self._front_end = front_end
        self._server = server
        self._afe_fd = afe_fd

    def run(self, stop_fd: int) -> int:
        """Serves until the firmware dies, the host goes and the lines are grounded, or `stop_fd` has something."""
        poll = select.poll()
        for fd in (self._afe_fd, _STDIN, stop_fd):
            poll.register(fd, select.POLLIN)
        end_s: float | None = None  # none: the host is there
        while True:
            left_s = None if end_s is None else end_s - time.monotonic()
            if left_s is not None and (self._front_end.grounded or left_s <= 0):
                return 0
            for fd, _ in poll.poll(None if left_s is None else 1e3 * left_s):
                if fd == stop_fd:
                    return 0
                if fd == _STDIN:
                    poll.unregister(_STDIN)
                    end_s = time.monotonic() + GROUNDED_WITHIN_s
                elif not self._server.serve():
                    return 0 if end_s is not None or self._ended_well() else FIRMWARE_DIED

    def _ended_well(self) -> bool:
        """Whether the firmware ended by itself, as it does when its host closes the line."""
        try:
            return self._firmware.wait(_TERMINATED_WITHIN_s) == 0
        except subprocess.TimeoutExpired:
            return False

    def end(self) -> None:
        """Ends the firmware, answering it as long as it grounds its lines; they are at 0 V afterwards."""
        self._firmware.send_signal(self._end_signal)
        poll = select.poll()
        poll.register(self._afe_fd, select.POLLIN)
        end_s = time.monotonic() + _TERMINATED_WITHIN_s
        while (left_s := end_s - time.monotonic()) > 0:
            if poll.poll(1e3 * left_s) and not self._server.serve():
                break
        self._firmware.kill()
        self._firmware.wait()
        # The drivers of a board whose controller does not run are held in reset, at 0 V.
        if not self._front_end.grounded:
            self._front_end.ground()


def _line() -> str:
    """The first line of stdin; what ends it is left there for `poll`."""
    text = b""
    while not text.endswith(b"\n"):
        byte = os.read(_STDIN, 1)
        if not byte:
            raise HilError("no configuration was sent to the simulated board")
        text += byte
    return text.decode()


def _say(answer: dict[str, object]) -> None:
    # Nobody listens when the host was killed meanwhile; the end of stdin will tell.
    with suppress(BrokenPipeError):
        os.write(_STDOUT, json.dumps(answer).encode() + b"\n")


@contextmanager
def _own(directory: Path) -> Iterator[None]:
    """Makes this the only rig on the chip; one whose host was killed may take a moment to end."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "rig.lock").open("a") as lock:
        end_s = time.monotonic() + _PREDECESSOR_WITHIN_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end_s:
                    raise HilError(f"{directory}: another simulated board still drives this chip") from None
                time.sleep(0.02)
        yield


def _die_with_parent() -> Callable[[], None] | None:
    """For the firmware's process: a rig that is killed takes it along. Linux only; elsewhere it lives on."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: little is safe to do after the fork
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
