"""The runs below a directory: what each is, how it stands, and whether a process writes it now.

Facts of runs whose files have not changed come from an index, a file in the user's cache directory. It is only a cache:
it may be removed, and what does not fit is read anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eapu_hil.base.storage import plain, write_aside
from eapu_hil.hal import ConfigError
from eapu_hil.training.run_facts import RunFacts, last_change, pause_asked, read_facts, signature
from eapu_hil.training.run_place import LOCK, START
from eapu_hil.training.run_state import Standing, standing

DEEPEST = 8  # levels below the directory: a table in a folder of tables keeps its runs in TABLE/runs/NAME
_INDEX_VERSION = 2
NO_DIRECTORY = (
    "there is no such directory; name one that holds runs (eapu-hil train makes runs/, where it is called)"
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRow:
    """One line of the list. name: the path below the directory, with slashes."""

    name: str
    path: Path
    facts: RunFacts
    standing: Standing


def list_runs(directory: Path) -> list[RunRow]:
    """All runs in `directory`, itself included, by name. Links to directories are not followed.

    Raises ConfigError where there is no such directory.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory}: {NO_DIRECTORY}")
    before = _read_index(directory)
    rows, entries = [], dict[str, Any]()
    for path in sorted(find_runs(directory)):
        name = path.relative_to(directory).as_posix() if path != directory else path.resolve().name
        its = signature(path)
        entry = before.get(name)
        facts = _kept(entry) if isinstance(entry, dict) and entry.get("signature") == its else None
        if facts is None:
            facts = read_facts(path)
            entry = {"signature": its, "facts": plain(asdict(facts))}
        entries[name] = entry
        rows.append(RunRow(name, path, facts, standing_of(path, facts)))
    if entries != before:
        _write_index(directory, entries)
    return rows


def row_of(run_dir: Path) -> RunRow:
    """The line of one run, without the index. Raises ConfigError where `run_dir` holds no run."""
    if not (run_dir / START).is_file():
        raise ConfigError(f"{run_dir}: not a run directory: it holds no {START}")
    facts = read_facts(run_dir)
    return RunRow(run_dir.resolve().name, run_dir, facts, standing_of(run_dir, facts))


def find_runs(directory: Path) -> Iterator[Path]:
    """The run directories in `directory`, itself included, down to `DEEPEST` levels."""
    waiting = [(str(directory), 0)]
    while waiting:
        here, depth = waiting.pop()
        if os.path.isfile(os.path.join(here, START)):  # noqa: PTH113, PTH118 - see `signature`
            yield Path(here)
            continue
        if depth == DEEPEST:
            continue
        try:
            with os.scandir(here) as entries:
                waiting += [
                    (entry.path, depth + 1)
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
                ]
        except OSError as error:
            _LOG.debug("%s: passed over: %s", here, error)


def standing_of(run_dir: Path, facts: RunFacts) -> Standing:
    """How the run with these facts stands now."""
    since_s = max(0.0, time.time() - last_change(run_dir))
    asked = pause_asked(run_dir)
    return standing(run_dir / LOCK, since_s, facts.ending, paused=facts.paused, pause_asked=asked)


def _index_of(directory: Path) -> Path:
    """The file that keeps the facts of the runs in `directory`. Raises RuntimeError where this user has no home."""
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home())
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(str(directory.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return cache / "eapu-hil" / f"runs-{digest}.json"


def _read_index(directory: Path) -> dict[str, Any]:
    try:
        content = json.loads(_index_of(directory).read_text(encoding="utf-8"))
        fits = content["version"] == _INDEX_VERSION and isinstance(content["runs"], dict)
        return content["runs"] if fits else {}
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, RecursionError) as error:
        _LOG.debug("no index of runs: %s", error)
        return {}


def _write_index(directory: Path, entries: dict[str, Any]) -> None:
    text = json.dumps({"version": _INDEX_VERSION, "runs": entries}, separators=(",", ":"))
    try:
        path = _index_of(directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, lambda file: file.write(text.encode()))
    except (OSError, RuntimeError) as error:  # the list is right without it, and slower the next time
        _LOG.debug("no index of runs: %s", error)


def _kept(entry: dict[str, Any]) -> RunFacts | None:
    try:
        return RunFacts(**entry["facts"])
    except (LookupError, TypeError):
        return None
