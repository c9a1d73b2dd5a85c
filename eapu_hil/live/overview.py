"""The list of runs: one line each, from start.yaml and the end of what the run has written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eapu_hil.base.storage import plain
from eapu_hil.bench.progress_file import PROGRESS
from eapu_hil.hal import HilError
from eapu_hil.live.outcome import Outcome
from eapu_hil.live.places import Entry
from eapu_hil.training.run_facts import SUMMARY, ending_of, last_change, pause_asked
from eapu_hil.training.run_place import START
from eapu_hil.training.run_state import Ending, Standing, standing
from eapu_hil.training.runs import read_start, read_summary

_END = 1 << 16  # bytes at the end of metrics.jsonl in which the last step and evaluation are looked for


class Overviews:
    """What was read of each run, until its files change."""

    def __init__(self) -> None:
        self._starts: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}
        self._ends: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}
        self._endings: dict[Path, tuple[object, Ending | None]] = {}

    def start(self, entry: Entry) -> dict[str, Any]:
        """start.yaml of a run; empty where it cannot be read."""
        if entry.kind != "train":
            return {}
        return _kept(self._starts, entry.path / "start.yaml", lambda: read_start(entry.path))

    def standing(self, entry: Entry, stop: Outcome | None, *, paused: bool) -> Standing:
        """How it stands now. stop: the last one of it. paused: whether it waits, by its own account."""
        if entry.kind == "comparison":
            return Standing("done", None, None)
        train = entry.kind == "train"
        changed_s = last_change(entry.path) if train else _changed_s(entry.path / PROGRESS)
        since_s = max(0.0, time.time() - changed_s) if changed_s else None
        asked = train and pause_asked(entry.path)
        found = standing(entry.lock, since_s, self._ending(entry), paused=paused, pause_asked=asked)
        return with_stop(found, stop)

    def _ending(self, entry: Entry) -> Ending | None:
        """How a run or a calibration has ended; None before its end."""
        if entry.kind == "calibrate":
            ended = self._end(entry.path / PROGRESS).get("ended")
            return None if ended is None else Ending(str(ended["ended"]), str(ended.get("text") or ""))
        mark = [_mark(entry.path / name) for name in (START, SUMMARY)]
        if entry.path not in self._endings or self._endings[entry.path][0] != mark:
            self._endings[entry.path] = mark, ending_of(entry.path)
        return self._endings[entry.path][1]

    def summary(self, entry: Entry) -> dict[str, Any]:
        """summary.json of a run; empty before its end, and where it cannot be read."""
        if entry.kind != "train":
            return {}
        return _kept(self._ends, entry.path / SUMMARY, lambda: read_summary(entry.path) or {})

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
    mark = _mark(path)
    try:
        if mark is None:
            raise FileNotFoundError
        if path not in kept or kept[path][0] != mark:
            kept[path] = mark, plain(read())
    except (OSError, HilError):
        kept.pop(path, None)
        return {}
    return kept[path][1]


def with_stop(found: Standing, stop: Outcome | None) -> Standing:
    """The same of a run that was asked to stop, while the process that was asked is there."""
    asked = stop is not None and found.process is not None and stop.pid == found.process
    return replace(found, state="stopping", note=stop.text) if asked and stop is not None else found


def _mark(path: Path) -> tuple[int, int] | None:
    """Changes with the content of a file; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _changed_s(path: Path) -> float | None:
    try:
        return path.lstat().st_mtime
    except OSError:
        return None


def mapping(value: object) -> dict[str, Any]:
    """`value`, or an empty one where it is none."""
    return dict(value) if isinstance(value, Mapping) else {}
