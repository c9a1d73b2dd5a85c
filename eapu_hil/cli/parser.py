"""`eapu-hil`: the command line.

Exit codes: 0 done, 1 failed, 2 bad usage or file, 3 refused by the interlock, 4 done but not with all cells.
"""

from __future__ import annotations

import errno
import importlib.metadata
import inspect
import logging
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from eapu_hil.base.errors import ConfigError, HilError, LimitError, one_line
from eapu_hil.base.libraries import allow_libraries
from eapu_hil.base.plugins import import_also_from, load, names, offers, package_of
from eapu_hil.base.printable import printable
from eapu_hil.base.stopping import grounding_signals
from eapu_hil.base.unimported import first_line_of
from eapu_hil.cli.streams import OutputError, mended_streams
from eapu_hil.cli.terminal import Terminal

GROUP = "eapu_hil.commands"
FAILED, USAGE, REFUSED, NOT_ALL, INTERRUPTED = 1, 2, 3, 4, 130
_LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. A signal ends it with SystemExit, lines grounded."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    closed = mended_streams()
    terminal = Terminal(as_json="--json" in given)
    try:
        if closed:
            raise ConfigError("stdout is closed, so nobody would see the result; send it to a file")
        chosen = next((text for text in given if not text.startswith("-")), None)
        args = make_parser(chosen).parse_args(given)
        terminal.log_to_stderr(getattr(args, "verbose", 0))
        if getattr(args, "allow_module", []):
            import_also_from(Path.cwd())  # where such a module may lie, as for `python -m`
        with grounding_signals(), allow_libraries(getattr(args, "allow_library", [])):
            content = args.command(args, terminal)
            terminal.result(content if terminal.complete else {**content, "exit_code": NOT_ALL})
    except HilError as error:
        return _failed(error, terminal)
    except OSError as error:
        return _failed(_of_the_system(error), terminal)
    except MemoryError:
        return _failed(HilError("the memory of this machine is not enough for what was asked"), terminal)
    except KeyboardInterrupt:
        _last_words(terminal, {"error": "stopped by Ctrl-C", "exit_code": INTERRUPTED})
        return INTERRUPTED
    except SystemExit as end:
        if end.code:  # of a signal; --help and --version have nothing to add
            _last_words(terminal, {"error": "stopped by a signal", "exit_code": end.code})
        raise
    return 0 if terminal.complete else NOT_ALL


def _last_words(terminal: Terminal, content: dict[str, Any]) -> None:
    with suppress(OutputError):  # the terminal may be what has ended it
        terminal.result(content)


def _failed(error: HilError, terminal: Terminal) -> int:
    code = USAGE if isinstance(error, ConfigError) else REFUSED if isinstance(error, LimitError) else FAILED
    text = printable(one_line(error))
    terminal.note(f"error: {text}")
    _last_words(terminal, {"error": text, "exit_code": code})
    return code


def _of_the_system(error: OSError) -> HilError:
    """An error of a path that nothing foresaw, or of a limit of the process."""
    _LOG.debug("", exc_info=error)
    text, where = error.strerror or str(error), str(error.filename or "the system")[:80]
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return HilError(f"{where}: {text}; raise the limit, as with: ulimit -n 1024")
    wrong_name = error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
    return (ConfigError if wrong_name else HilError)(f"{where}: {text}")


class _Parser(ArgumentParser):
    """Bad usage is an error like any other: one line, exit code 2. Every command takes --json and -v."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        # Without SUPPRESS the default of a command would overwrite what was given before its name.
        self.add_argument(
            "--json", action="store_true", default=SUPPRESS, help="print one JSON object last on stdout"
        )
        self.add_argument(
            "-v",
            "--verbose",
            action="count",
            default=SUPPRESS,
            help="log more to stderr; -vv also logs the messages to and from instruments",
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Raises ConfigError for what it does not know: the parser of a command says whose help to read."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def help_of(name: str) -> str:
    """The help line of a command, read from the docstring in its source: nothing is imported."""
    offered = [point for point in offers(GROUP) if point.name == name]
    if len(offered) > 1:
        return f"(cannot be used: {' and '.join(sorted(map(package_of, offered)))} both offer it)"
    return first_line_of(offered[0].value).rstrip(".") or f"(from {package_of(offered[0])})"


def make_parser(chosen: str | None) -> ArgumentParser:
    """The parser with the arguments of the command `chosen`; None: with all commands for the help, and no arguments.

    Raises ConfigError when there is no such command, or it cannot be imported.
    """
    parser, found = _empty_parser()
    if chosen is not None:
        _configure(found, chosen)
        return parser
    for name in names(GROUP):
        found.add_parser(name, help=help_of(name).replace("%", "%%"))
    return parser


def full_parser() -> ArgumentParser:
    """The parser with the arguments of every command; one that cannot be imported is logged and left out."""
    parser, found = _empty_parser()
    for name in names(GROUP):
        try:
            _configure(found, name)
        except ConfigError as error:
            _LOG.warning("%s", error)
    return parser


def _empty_parser() -> tuple[ArgumentParser, Any]:
    parser = _Parser(
        "eapu-hil", description="Train neural networks on a memristor crossbar, or on a simulation of it."
    )
    parser.add_argument("--version", action="version", version=importlib.metadata.version("eapu-hil"))
    return parser, parser.add_subparsers(title="commands", required=True, metavar="COMMAND")


def check_command(name: str, found: object) -> None:
    """Raises ConfigError where what an entry point names cannot be a command."""
    try:
        inspect.signature(found).bind(None)  # type: ignore[arg-type]  # TypeError also for what cannot be called
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name!r} is no command: expected a function that takes the command's ArgumentParser, found {found!r}"
        ) from error


def _configure(found: Any, name: str) -> None:
    configure = load(GROUP, name, "command")
    check_command(name, configure)
    text = (inspect.getdoc(configure) or "").replace("%", "%%")
    summary = text.partition("\n")[0].rstrip(".")
    configure(found.add_parser(name, help=summary, description=text))
