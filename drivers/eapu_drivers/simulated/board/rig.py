"""The firmware in the loop: starts a controller's real firmware, with the twin as its analog front end.

Two processes stand for the board: the rig (`rigprocess.py`), which serves the front end, and its
child, the firmware. Both outlive a host that is killed, as a board does: the rig waits until the firmware has
grounded the lines. They never outlive it for long.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import eapu_hil
from eapu_drivers.controller.config import SIMULATIONS
from eapu_drivers.simulated.board.frontend import Scales
from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import TwinBenchConfig
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.twin.driver import preset_of

# After the host has gone, the firmware has this long to ground the lines: twice the longest dead-man time in use.
GROUNDED_WITHIN_s = 10.0
_ENDED_WITHIN_s = GROUNDED_WITHIN_s + 5.0
_FAILED_WITHIN_s = 3.0
_ENDING_s = 5.0  # longer than a rig takes to end its firmware
_EMULATOR = "qemu-system-arm"


class Rig:
    """A running simulated board; leaving the context ends it.

    host: the host's end of the controller's serial line. pids: of the firmware and of the rig.
    """

    def __init__(self, host: socket.socket, process: subprocess.Popen[bytes], firmware_pid: int) -> None:
        self.host = host
        self.pids = firmware_pid, process.pid
        self._process = process

    def ending(self) -> str:
        """How the board ended, or that it has not; for messages."""
        try:
            code = self._process.wait(_ENDING_s)
        except subprocess.TimeoutExpired:
            return "the simulated board still runs, but its line is closed"
        if code == 0:
            return "the simulated board has ended"
        return f"the simulated board's {'firmware' if code == FIRMWARE_DIED else 'rig'} has died"

    def close(self) -> None:
        """Ends rig and firmware; the lines are at 0 V afterwards."""
        self.host.close()
        _end(self._process, _ENDED_WITHIN_s)

    def __enter__(self) -> Rig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


FIRMWARE_DIED = 3  # exit code of the rig


@dataclass(frozen=True)
class RigConfig:
    """The configuration of a rig, as its parent sends it.

    command: of the firmware, with {host} and {afe} for its sockets. end_signal: what ends it. host_fd: its end of the
    host's line.
    """

    bench: TwinBenchConfig
    chip_dir: Path
    command: tuple[str, ...]
    end_signal: int
    host_fd: int

    def text(self) -> str:
        """One line of JSON."""
        content = {
            **vars(self),
            "bench": self.bench.model_dump(mode="json"),
            "chip_dir": str(self.chip_dir),
        }
        return json.dumps(content)

    @classmethod
    def of(cls, text: str) -> RigConfig:
        """The inverse of `text`."""
        content = json.loads(text)
        bench = load_model(TwinBenchConfig, content["bench"], (), "benches")
        content |= {"bench": bench, "chip_dir": Path(content["chip_dir"])}
        return cls(**content | {"command": tuple(content["command"])})


def start(kind: str, config: TwinBenchConfig, chip_dir: Path) -> Rig:
    """Builds the firmware where that is due and starts it on the twin of `config`, whose state lives in `chip_dir`.

    kind: "posix", the firmware as a program of this machine, or "qemu", its Cortex-M3 image in QEMU.
    Raises ConfigError for a bench that no controller can be, HilError when the firmware cannot be built or
    started: it says what to install.
    """
    Scales.of(preset_of(config), config)
    try:
        command = _command(kind, f"twin-seed{config.seed}"[:15])
    except ConfigError as error:
        raise ConfigError(f"{config.where}: {error}") from error
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            # In a session of its own: Ctrl-C at the terminal is for the host, which grounds the lines first.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "eapu_drivers.simulated.board.rigprocess"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
            # The program grounds its lines when it is told to end; the emulator would only say that it ends.
            end_signal = signal.SIGTERM if kind == "posix" else signal.SIGKILL
            told = RigConfig(config, chip_dir.absolute(), command, end_signal, theirs.fileno()).text()
        return Rig(ours, process, _firmware_pid(kind, process, told))
    except BaseException:
        ours.close()
        raise


def _firmware_pid(kind: str, process: subprocess.Popen[bytes], told: str) -> int:
    """Tells the rig what to run and waits until it does. A rig that fails has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(told.encode() + b"\n")
        process.stdin.flush()
        said = process.stdout.readline()
        answer = json.loads(said) if said else {"error": "it died at once"}
        if "error" in answer:
            raise HilError(f"sim:{kind}: {answer['error']}")
        return int(answer["firmware"])
    except BaseException:
        _end(process, _FAILED_WITHIN_s)
        raise


def _end(process: subprocess.Popen[bytes], within_s: float) -> None:
    """The end of its stdin tells a rig that the host has gone."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _command(kind: str, serial: str) -> tuple[str, ...]:
    """How to run the firmware; builds it first."""
    if os.name != "posix":
        raise ConfigError(f"port: sim:{kind} needs Linux or another POSIX system")
    if kind not in SIMULATIONS:
        raise ConfigError(f"port: sim:{kind}: no such simulation; allowed are {', '.join(SIMULATIONS)}")
    if kind == "posix":
        program = _built("posix", "eapu-firmware")
        return (str(program), "--host-fd", "{host}", "--afe-fd", "{afe}", "--serial", serial)
    emulator = shutil.which(_EMULATOR)
    if emulator is None:
        raise HilError(f"sim:qemu: {_EMULATOR} is missing: apt-get install qemu-system-arm")
    image = _built("mps2", "eapu-firmware.elf")
    machine = (emulator, "-M", "mps2-an385", "-kernel", str(image), "-display", "none", "-monitor", "none")
    lines = ("-chardev", "socket,id=host,fd={host}", "-serial", "chardev:host")
    return machine + lines + ("-chardev", "socket,id=afe,fd={afe}", "-serial", "chardev:afe")


def _built(port: str, program: str) -> Path:
    """The firmware of `port`, built by its Makefile, which leaves alone what is current."""
    sources = Path(eapu_hil.__file__).resolve().parents[1] / "firmware"
    if not (sources / "Makefile").is_file():
        raise HilError(
            f"a simulated controller is built from firmware/ of the repository, and {sources} is not there: "
            "run from a checkout (pip install --editable)"
        )
    if shutil.which("make") is None:
        raise HilError("a simulated controller is built with make, which is missing: apt-get install make")
    done = subprocess.run(
        ["make", "--silent", "-C", str(sources), port],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        raise HilError(f"make -C {sources} {port}: {lines[0] if lines else 'failed'}")
    return sources / "build" / port / program
