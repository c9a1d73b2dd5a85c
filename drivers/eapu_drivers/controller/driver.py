"""Opens the arrays of a controller board: behind a serial port, or its firmware with the twin as front end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from socket import socket
from typing import Protocol

from eapu_drivers.controller.board import Board
from eapu_drivers.controller.config import ControllerConfig
from eapu_drivers.controller.crossbar import ControllerCrossbar
from eapu_drivers.controller.link import Link, LinkTiming
from eapu_drivers.controller.ports import Port, SerialPort, SocketPort
from eapu_drivers.controller.units import load_calibrations
from eapu_drivers.simulators import find_simulator
from eapu_hil.bench.config import SIMULATED
from eapu_hil.bench.driver import Driver
from eapu_hil.hal import ConfigError, Crossbar, TransportError

_TIMING = {
    "posix": LinkTiming(),
    # An emulated controller answers within a second or so, whatever the machine is busy with.
    "qemu": LinkTiming(resend_floor_s=0.25, silence_s=5.0, reconnect_s=1.0, hello_s=10.0, dead_man_s=5.0),
}


class SimulatedBoard(Protocol):
    """A running simulated board, as a simulator `controller` gives it.

    host: the host's end of the board's serial line.
    """

    host: socket

    def ending(self) -> str:
        """How the board ended, or that it has not; for messages."""
        ...


# kind (after `sim:`), bench and chip's directory; leaving the context ends the board
Simulator = Callable[[str, ControllerConfig, Path], AbstractContextManager[SimulatedBoard]]


@contextmanager
def open_arrays(config: ControllerConfig, chip_dir: Path) -> Iterator[list[Crossbar]]:
    """The arrays of the board at `config.port`: any pyserial URL, `sim:posix` or `sim:qemu`.

    Raises ConfigError when the board is not what the bench file describes, TransportError when none answers,
    ProtocolError when it has firmware of another release.
    """
    port = config.port
    with ExitStack() as stack:
        if config.simulated:
            kind = port.removeprefix(SIMULATED)
            timing = _TIMING[kind]
            start: Simulator = find_simulator("controller")
            simulated = stack.enter_context(start(kind, config, chip_dir))
            open_port: Callable[[], Port] = _once(simulated, port)
        else:
            timing = LinkTiming()
            open_port = partial(SerialPort, port)
        link = stack.enter_context(Link(open_port, timing))
        welcome = link.welcome
        shape = (welcome.rows, welcome.cols)
        if shape != config.shape or welcome.arrays < config.arrays:
            raise ConfigError(
                f"{config.where}: arrays, shape: the board at {port} has {welcome.arrays} of {shape[0]} x {shape[1]}; "
                f"asked are {config.arrays} of {config.shape[0]} x {config.shape[1]}"
            )
        calibrations = load_calibrations(chip_dir, config.arrays, shape)
        try:
            board = Board(link, port, config.limits.as_limits(), calibrations, timing.dead_man_s)
        except ConfigError as error:
            raise ConfigError(f"{config.where}: {error}") from error
        yield [
            ControllerCrossbar(board, number, calibration, config.recipe)
            for number, calibration in enumerate(calibrations)
        ]


def _once(simulated: SimulatedBoard, name: str) -> Callable[[], Port]:
    """A simulated board is plugged in once; when its line is lost it is gone."""
    lines = [simulated.host]

    def open_port() -> Port:
        if not lines:
            raise TransportError(f"{name}: {simulated.ending()}")
        return SocketPort(lines.pop(), name)

    return open_port


DRIVER = Driver(ControllerConfig, open_arrays)
