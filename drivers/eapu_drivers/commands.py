"""The commands of the drivers: discover, sim."""

from __future__ import annotations

import tempfile
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapu_hil.base.errors import ConfigError
from eapu_hil.cli.terminal import Terminal

if TYPE_CHECKING:
    from eapu_drivers.visa.discover import FoundInstrument
    from eapu_hil.bench.config import TwinBenchConfig

# What runs a command is imported in there; see `eapu_hil.cli.arrays`.
_VISA = "::"  # in the names of VISA resources


def discover(parser: ArgumentParser) -> None:
    """Find controllers on serial ports and instruments on VISA resources."""
    parser.add_argument(
        "ports",
        nargs="*",
        metavar="PORT|RESOURCE",
        help="device, pyserial URL or VISA name; default: all serial ports and VISA resources of this machine",
    )
    parser.add_argument(
        "--visa",
        default="@py",
        metavar="LIBRARY",
        help="VISA library as PyVISA names it: @py, @ivi or a path; default: %(default)s",
    )
    parser.set_defaults(command=_discover)


def sim(parser: ArgumentParser) -> None:
    """Serve a simulated device, for any client, until Ctrl-C."""
    from eapu_drivers.visa.families import SOURCE_METER_GROUP, simulated_models

    devices = parser.add_subparsers(title="devices", required=True, metavar="DEVICE")
    text = "Serve a controller: its real firmware, with the twin in place of the arrays"
    controller = devices.add_parser("controller", help=text, description=f"{text}.")
    controller.add_argument(
        "--listen",
        required=True,
        metavar="HOST:PORT|pty",
        help="address to answer on; port 0 takes a free one",
    )
    controller.add_argument(
        "--qemu", action="store_true", help="run the Cortex-M3 image in QEMU, not a program of this machine"
    )
    controller.set_defaults(command=_sim_controller)
    meters = {}
    for kind, model in simulated_models(SOURCE_METER_GROUP).items():
        text = f"Serve a {model}, wired to the cell (0, 0) of the twin"
        meters[kind] = devices.add_parser(kind, help=text, description=f"{text}.")
        meters[kind].add_argument(
            "--listen",
            required=True,
            metavar="HOST:PORT",
            help="address to answer on; port 0 takes a free one",
        )
        meters[kind].set_defaults(command=_sim_source_meter, kind=kind)
    for device in (controller, *meters.values()):
        device.add_argument(
            "--bench",
            default="twin",
            metavar="BENCH",
            help="path or packaged name of the bench whose arrays are simulated; default: %(default)s",
        )
        device.add_argument(
            "--open-to-network",
            action="store_true",
            help="allow --listen at an address that other machines reach: anyone there can control the device",
        )


def _discover(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_drivers.controller.discover import find_controllers
    from eapu_drivers.visa.discover import find_instruments

    resources = [name for name in args.ports if _VISA in name]
    ports = [name for name in args.ports if _VISA not in name]
    found = [] if resources and not ports else find_controllers(ports or None)
    instruments = [] if ports and not resources else find_instruments(resources or None, args.visa)
    rows = []
    for one in found:
        what = ["", "", "", ""] if one.problem else [one.board, one.serial, one.git_hash, one.geometry]
        rows.append([one.port, *what, one.problem or one.state])
    if rows:
        terminal.table(["port", "controller", "serial", "firmware", "cells", "state"], rows)
    elif not args.ports:
        terminal.say("this machine has no serial port")
    _show_instruments(instruments, terminal, searched=not args.ports, visa=args.visa)
    return {"ports": [asdict(one) for one in found], "instruments": [asdict(one) for one in instruments]}


def _show_instruments(
    found: Sequence[FoundInstrument], terminal: Terminal, *, searched: bool, visa: str
) -> None:
    rows = []
    for one in found:
        driver = one.driver or "there is no driver for it"
        what = ["", "", ""] if one.problem else [f"{one.maker} {one.model}", one.serial, one.firmware]
        rows.append([one.resource, *what, one.problem or driver])
    if rows:
        terminal.table(["resource", "instrument", "serial", "firmware", "driver"], rows)
    elif searched:
        terminal.say(
            f"the VISA library {visa} lists no instrument; ask for one by its name (TCPIP0::HOST::5025::SOCKET)"
        )


def _sim_controller(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_drivers.simulated.board import rig, simulator

    config = _simulated_bench(args.bench)
    if args.listen != simulator.PTY:
        host, _ = simulator.host_and_port(args.listen, f" or {simulator.PTY}")
        _require_open(host, args, terminal)
    with (
        _chip(config) as chip_dir,
        simulator.listening(args.listen) as line,
        rig.start("qemu" if args.qemu else "posix", config, chip_dir) as board,
    ):
        rows, columns = config.shape
        terminal.say(
            f"a controller with {config.arrays} x {rows} x {columns} cells answers on {line.address}"
        )
        terminal.say(f"keys for a bench file:  backend: controller, port: {line.address}   (Ctrl-C ends it)")
        firmware, parent = board.pids
        terminal.result({"port": line.address, "firmware_pid": firmware, "rig_pid": parent})
        simulator.serve(board, line)
    return {}


def _sim_source_meter(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from eapu_drivers.simulated.board import simulator
    from eapu_drivers.simulated.instruments.station import open_source_meter

    config = _simulated_bench(args.bench)
    host, port = simulator.host_and_port(args.listen)
    _require_open(host, args, terminal)
    with _chip(config) as chip_dir, open_source_meter(args.kind, config, chip_dir, host, port) as server:
        terminal.say(f"a {args.kind} answers on {server.resource}, wired to the cell (0, 0) of {args.bench}")
        terminal.say("voltages act on the simulated cell in real time   (Ctrl-C ends it)")
        terminal.result({"resource": server.resource, "host": host, "port": server.port})
        threading.Event().wait()
    return {}


def _require_open(host: str, args: Namespace, terminal: Terminal) -> None:
    """Raises ConfigError for an address beyond this machine without --open-to-network; warns with it."""
    from eapu_drivers.simulated.board import simulator

    try:
        simulator.require_loopback(host, args.listen)
    except ConfigError:
        if not args.open_to_network:
            raise
        terminal.note(f"--listen {args.listen}: anyone on the network can control it")


def _simulated_bench(source: str) -> TwinBenchConfig:
    """The bench whose arrays a simulated device has. Raises ConfigError for one that is not simulated."""
    from eapu_hil.base.loading import load_model
    from eapu_hil.bench.config import TwinBenchConfig

    config = load_model(TwinBenchConfig, source, (), "benches")
    if not config.simulated:
        raise ConfigError(f"--bench {source}: its arrays are not simulated; give a bench of the twin")
    return config


@contextmanager
def _chip(config: TwinBenchConfig) -> Iterator[Path]:
    """The bench's chip, or one that lives as long as the simulation."""
    from eapu_hil.bench.passport import own_chip

    if config.chip is not None:
        with own_chip(config.chip):
            yield config.chip
        return
    with tempfile.TemporaryDirectory(prefix="eapu-hil-sim-") as directory:
        yield Path(directory)
