"""The list of runs: one line each, from start.yaml and the end of what the run has written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eapu_hil.base.storage import plain
from eapu_hil.bench.progress_file import PROGRESS
from eapu_hil.hal import HilError
from eapu_hil.live.places import Entry
from eapu_hil.training.runs import read_start

_END = 1 << 16  # bytes at the end of metrics.jsonl in which the last step and evaluation are looked for
_SUMMARY_MOST = 1 << 24


class Overviews:
    """What was read of each run, until its files change."""

    def __init__(self) -> None:
        self._starts: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}
        self._ends: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}

    def start(self, entry: Entry) -> dict[str, Any]:
        """start.yaml of a run; empty where it cannot be read."""
        if entry.kind != "train":
            return {}
        return _kept(self._starts, entry.path / "start.yaml", lambda: read_start(entry.path))

    def summary(self, entry: Entry) -> dict[str, Any] | None:
        """summary.json of a run, or how a calibration ended; None before its end."""
        if entry.kind == "calibrate":
            ended = self._end(entry.path / PROGRESS).get("ended")
            return None if ended is None else {"exit_status": ended["ended"], "error": ended.get("text")}
        path = entry.path / "summary.json"
        return _kept(self._ends, path, lambda: _json(path)) or None

    def line(self, entry: Entry) -> dict[str, Any]:
        """A calibration or a comparison in the list, without its state."""
        last = self._end(entry.path / PROGRESS).get("line", {}) if entry.kind == "calibrate" else {}
        names = last.get("measurements") or []
        at = names.index(last["measurement"]) if last.get("measurement") in names else None
        return {
            "id": entry.id,
            "name": entry.path.name,
            "kind": entry.kind,
            "step": at,
            "steps": len(names) or None,
        }

    def _end(self, path: Path) -> dict[str, Any]:
        return _kept(self._ends, path, lambda: last_lines(path))


def last_lines(path: Path) -> dict[str, Any]:
    """The last line of each kind within the last 64 KiB of a file of JSON lines; `ended` for one that says so."""
    found: dict[str, Any] = {}
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END))
        for text in file.read().split(b"\n"):
            try:
                line = json.loads(text)
                kind = "ended" if "ended" in line else line.get("kind", "line")
            except (ValueError, AttributeError, TypeError, RecursionError):
                continue
            found[str(kind)] = line
    return found


def name_of(value: object) -> str | None:
    """`eapu` from "eapu" or {"name": "eapu", ...}."""
    found = value.get("name") if isinstance(value, Mapping) else value
    return None if found is None else str(found)


def _kept(kept: dict[Path, tuple[tuple[int, int], dict[str, Any]]], path: Path, read: Any) -> dict[str, Any]:
    try:
        found = path.lstat()
        mark = found.st_mtime_ns, found.st_size
        if path not in kept or kept[path][0] != mark:
            kept[path] = mark, plain(read())
    except (OSError, HilError):
        kept.pop(path, None)
        return {}
    return kept[path][1]


def _json(path: Path) -> dict[str, Any]:
    if path.is_symlink() or path.stat().st_size > _SUMMARY_MOST:
        raise HilError(f"{path}: not a summary")
    try:
        return mapping(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise HilError(f"{path}: damaged: {error}") from error


def mapping(value: object) -> dict[str, Any]:
    """`value`, or an empty one where it is none."""
    return dict(value) if isinstance(value, Mapping) else {}
