"""The commands about what is installed and what files may hold: list, schema, completion."""

from __future__ import annotations

import argparse
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from eapu_hil.base import plugins
from eapu_hil.base.errors import ConfigError, did_you_mean
from eapu_hil.base.packaged import packaged_files
from eapu_hil.base.unimported import first_line_of
from eapu_hil.cli.parser import check_command, full_parser
from eapu_hil.cli.terminal import Terminal

_SCHEMAS = "eapu_hil.schemas"
_FILES = ("experiments", "benches", "presets", "recipes", "plans", "tables")
# kind of plug-in, which is the end of its group's name -> what messages call one
_PLUG_INS = {
    "rules": "rule",
    "tasks": "task",
    "drivers": "driver",
    "source_meters": "source-measure unit",
    "switches": "switch matrix",
    "commands": "command",
}
_SHELLS = ("bash", "zsh", "fish")


def list_(parser: ArgumentParser) -> None:
    """List what is packaged and installed, such as experiments, benches, presets, rules, tasks and drivers."""
    parser.add_argument(
        "kind", nargs="?", metavar="KIND", help=f"one of {', '.join(kinds())}; default: all of them"
    )
    parser.set_defaults(command=_list)


def schema(parser: ArgumentParser) -> None:
    """Print the JSON schema of a kind of file, for editors."""
    parser.add_argument("kind", metavar="KIND", help=f"one of {', '.join(plugins.names(_SCHEMAS))}")
    parser.set_defaults(command=_schema)


def completion(parser: ArgumentParser) -> None:
    """Print the script that completes eapu-hil in a shell.

    For bash: eval "$(eapu-hil completion bash)" in ~/.bashrc. For zsh: eapu-hil completion zsh > _eapu-hil in a folder
    of $fpath. For fish: eapu-hil completion fish > ~/.config/fish/completions/eapu-hil.fish.
    """
    parser.add_argument("shell", choices=_SHELLS, help="the shell")
    parser.set_defaults(command=_completion)


def kinds() -> Mapping[str, Callable[[], list[dict[str, str]]]]:
    """The kinds of things that can be listed, each with its listing function."""
    files = {kind: partial(_packaged, kind) for kind in _FILES}
    plugged = {kind: partial(_installed, kind, what) for kind, what in _PLUG_INS.items()}
    return files | plugged


def _list(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    known = kinds()
    if args.kind is not None and args.kind not in known:
        guess = did_you_mean(args.kind, list(known))
        raise ConfigError(f"KIND {args.kind!r}: unknown{guess}; allowed are {', '.join(known)}")
    found = {kind: known[kind]() for kind in known if args.kind in (None, kind)}
    for kind, lines in found.items():
        terminal.table([kind, "from", ""], [[one["name"], one["package"], one["about"]] for one in lines])
        if args.kind is None:
            terminal.say("")
    return dict(found)


def _packaged(kind: str) -> list[dict[str, str]]:
    """The packaged files of a kind. about: the comment that a file begins with."""
    return [
        {"name": file.name, "package": file.package, "about": _comment(file.path), "path": str(file.path)}
        for file in packaged_files(kind)
    ]


def _comment(path: Path) -> str:
    """The first sentence of the comment at the head of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = " ".join(
        line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)
    )
    return comment.partition(". ")[0].rstrip(".")


def _installed(kind: str, what: str) -> list[dict[str, str]]:
    """The entry points of a kind. about: a description, or the reason why it cannot be used, as in `fault`."""
    from eapu_hil.bench.driver import check_driver
    from eapu_hil.rules.registry import check_rule
    from eapu_hil.tasks.registry import check_task

    # what is loaded is checked where there is a check of this room or one below; those of instruments are a driver's
    checks = {"rules": check_rule, "tasks": check_task, "drivers": check_driver, "commands": check_command}
    group = f"eapu_hil.{kind}"
    sources = {
        point.name: point.value if what == "command" else point.module for point in plugins.offers(group)
    }
    return [
        {
            "name": one.name,
            "package": one.package,
            "about": f"cannot be used: {one.fault}"
            if one.fault
            else first_line_of(sources[one.name]).rstrip("."),
            "fault": one.fault,
        }
        for one in plugins.listing(group, what, checks.get(kind))
    ]


def _schema(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    from pydantic import BaseModel

    model = plugins.load(_SCHEMAS, args.kind, "kind of file")
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ConfigError(f"{args.kind!r} is no kind of file: expected a pydantic model, found {model!r}")
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    terminal.say(json.dumps(found, indent=2))
    return found


def _completion(args: Namespace, terminal: Terminal) -> dict[str, Any]:
    import shtab

    parser = full_parser()
    _complete_paths(parser)
    script: str = shtab.complete(parser, args.shell)
    terminal.say(script)
    return {"shell": args.shell, "script": script}


def _complete_paths(parser: ArgumentParser) -> None:
    """Lets the shell complete files and directories where an argument is a path or may be one."""
    import shtab

    for action in parser._actions:  # argparse has no public way to them; shtab reads them there too
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _complete_paths(inner)
        elif action.type is Path or action.metavar in ("BENCH", "EXPERIMENT", "PLAN", "PRESET", "DIR"):
            action.complete = shtab.DIR if action.metavar == "DIR" else shtab.FILE  # type: ignore[attr-defined]  # shtab reads it
