"""A stop that comes between any two lines of what records a run leaves a run that is whole, and ends as a stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from eapu_hil.base.stopping import grounding_signals
from eapu_hil.training import resume, train
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.journal import Journal
from eapu_hil.training.records import WRITE_DTYPE
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_metrics, read_summary, read_writes

pytestmark = pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger has the place of the tracer")
FILES = ("run_store.py", "journal.py", "storage.py")  # in which the signal comes


@contextmanager
def signal_at_line(number: int) -> Iterator[list[int]]:
    """SIGTERM before line `number` that is executed in `FILES`, counted from 0; yields how many were, in a list."""
    seen = [0]

    def trace(frame: FrameType, what: str, _arg: object) -> Any:
        if not frame.f_code.co_filename.endswith(FILES):
            return None
        if what == "line":
            seen[0] += 1
            if seen[0] == number + 1:
                signal.raise_signal(signal.SIGTERM)
        return trace

    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(None)


def lines(run: Path) -> list[str]:
    return [line["kind"] for line in read_metrics(run, "step") + read_metrics(run, "event")]


@pytest.mark.parametrize("kind", ["metrics", "writes"])
def test_what_was_recorded_stays_whole(tmp_path: Path, kind: str) -> None:
    records = np.zeros(3, WRITE_DTYPE)
    records["target_S"] = records["before_S"] = records["after_S"] = 1e-5
    number, stopped = 0, True
    while stopped:
        run, stopped = tmp_path / str(number), False
        with RunStore.create(run, {"name": "a"}) as store:
            store.append_metrics("step", {"step": 1})
            try:
                with grounding_signals(), signal_at_line(number):
                    if kind == "metrics":
                        store.append_metrics("step", {"step": 2})
                    else:
                        store.append_writes(records)
            except SystemExit:
                stopped = True
            store.append_note("event", {"what": "grounded"})  # what a stopped run does first
            assert lines(run)[-1] == "event"
            store.finish({"exit_status": "stopped"})
        assert len(read_writes(run)) in (0, 3)
        assert read_summary(run) == {"exit_status": "stopped"}
        number += 1
    assert number > 10


def test_a_training_that_is_stopped_before_its_line_is_noted_ends_as_stopped(
    tmp_path: Path,
    make_experiment: Callable[..., ExperimentConfig],
    silent: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note = Journal.note_metrics

    def stopped(self: Journal, line: bytes) -> None:
        if b'"kind":"step","step":3' in line:
            signal.raise_signal(signal.SIGTERM)
        note(self, line)

    monkeypatch.setattr(Journal, "note_metrics", stopped)
    with grounding_signals(), pytest.raises(SystemExit) as caught:
        train(make_experiment(steps=6), tmp_path / "run", silent())
    monkeypatch.setattr(Journal, "note_metrics", note)
    assert caught.value.code == 143
    summary = read_summary(tmp_path / "run")
    assert summary is not None
    assert summary["exit_status"] == "stopped"
    assert resume(tmp_path / "run", silent())["exit_status"] == "success"
