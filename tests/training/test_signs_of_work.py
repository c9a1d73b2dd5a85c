"""A run is seen to be at work also where its lines are far apart: frozen means frozen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.base.beat import Beat, EVERY_s
from eapu_hil.bench import open_bench
from eapu_hil.hal import Cells
from eapu_hil.tasks.digits import Digits
from eapu_hil.training import train
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.run_list import row_of

FILES = ("start.yaml", "metrics.jsonl", "writes.bin", "journal.bin")


def made_old(run: Path) -> None:
    for name in FILES:
        os.utime(run / name, (1.0, 1.0))


@pytest.mark.parametrize("rule", ["eapu", "digital"])
def test_a_long_evaluation_does_not_look_frozen(
    tmp_path: Path,
    make_experiment: Callable[..., ExperimentConfig],
    silent: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
) -> None:
    run, seen, evaluate = tmp_path / "run", [], Digits.evaluate
    monkeypatch.setattr("eapu_hil.base.beat.EVERY_s", 0.0)

    def slow(self: Digits, infer: Any, **more: Any) -> Any:
        def slowly(x: Any) -> Any:
            made_old(run)  # as if it had taken long
            seen.append(row_of(run).standing.state)
            answer = infer(x)
            seen.append(row_of(run).standing.state)
            return answer

        return evaluate(self, slowly, **more)

    monkeypatch.setattr(Digits, "evaluate", slow)
    train(make_experiment(steps=1, rule={"name": rule}), run, silent())
    assert set(seen[::2]) == {"frozen"}
    assert set(seen[1::2]) == {"running"}


def test_each_request_to_an_array_is_a_sign(
    tmp_path: Path, make_experiment: Callable[..., ExperimentConfig]
) -> None:
    told: list[bool] = []
    config = make_experiment()
    with open_bench(config.bench, chip_dir=tmp_path / "chip") as bench:
        bench.watched_by(lambda: told.append(True))
        bench.arrays[0].read(Cells.block(0, 1, 0, 1), 0.2)
        assert len(told) == 2


def test_a_file_is_touched_at_most_once_a_second_and_may_be_gone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    beat = Beat(path)
    beat()  # there is no file: nobody watches
    path.touch()
    os.utime(path, (1.0, 1.0))
    beat()
    assert EVERY_s >= 1.0
    assert path.stat().st_mtime == 1.0
