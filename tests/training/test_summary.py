"""What summary.json says: the keys others rely on, with sums that add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.digital_model import DigitalModel
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_metrics, read_summary, read_writes
from eapu_hil.training.summary import Ending, Origin, summarize
from eapu_hil.training.trainer import train

Make = Callable[..., ExperimentConfig]

TYPES: dict[str, type | tuple[type, ...]] = {
    "task": str,
    "rule": str,
    "backend": str,
    "seed": int,
    "steps": int,
    "exit_status": str,
    "weights": int,
    "metric": dict,
    "update_ratio_mean": float,
    "update_ratio_last": float,
    "bench_time_s": float,
    "wall_s": float,
}
OF_THE_BENCH: dict[str, type | tuple[type, ...]] = {
    "cells": int,
    "writes_total": int,
    "pulses_total": int,
    "verify_reads_total": int,
    "vmm_total": int,
    "writes_per_cell": dict,
    "energy_j": dict,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Filled by `run`."""
    return {"": tmp_path_factory.mktemp("runs")}


@pytest.fixture
def run(trained: dict[str, Path], make_experiment: Make, silent: Callable[..., Any]) -> Callable[[str], Path]:
    """The directory of a finished run of 25 steps under a rule; trained once."""

    def get(rule: str) -> Path:
        if rule not in trained:
            path = trained[""] / rule
            train(make_experiment(rule={"name": rule}, steps=25, seed=3), path, silent())
            trained[rule] = path
        return trained[rule]

    return get


def _summary(run: Path) -> dict[str, Any]:
    summary = read_summary(run)
    assert summary is not None
    return summary


@pytest.mark.parametrize("rule", ["eapu", "digital"])
def test_every_key_is_there_with_its_type(run: Callable[[str], Path], rule: str) -> None:
    summary = _summary(run(rule))
    assert {key: type(summary[key]) for key in TYPES} == TYPES
    assert (summary["task"], summary["rule"], summary["seed"]) == ("digits", rule, 3)
    assert (summary["steps"], summary["exit_status"]) == (25, "success")
    assert summary["weights"] == 64 * 6 + 6 * 10
    if rule == "digital":
        assert summary["backend"] == "digital"
        assert all(summary[key] is None for key in OF_THE_BENCH)
        return
    assert summary["backend"] == "twin"
    assert {key: type(summary[key]) for key in OF_THE_BENCH} == OF_THE_BENCH
    assert set(summary["writes_per_cell"]) == {"mean", "p50", "p999", "max"}
    assert set(summary["energy_j"]) == {"pulse", "verify", "vmm", "adc", "dac", "tia", "total"}


def test_the_energy_adds_up_and_every_part_has_its_share(run: Callable[[str], Path]) -> None:
    energy = dict(_summary(run("eapu"))["energy_j"])
    total = energy.pop("total")
    assert total == pytest.approx(sum(energy.values()))
    assert min(energy.values()) > 0


def test_the_counts_are_those_of_the_run(run: Callable[[str], Path]) -> None:
    summary, writes = _summary(run("eapu")), read_writes(run("eapu"))
    assert summary["pulses_total"] == writes["pulses"].sum()
    assert summary["writes_total"] == np.count_nonzero(writes["pulses"])
    assert summary["verify_reads_total"] > summary["pulses_total"]
    # a product for each image and tile: forward in training, and in two evaluations of 450; back only dense2's
    passes = 25 * 8 * (3 + 2) + 450 * 3 * (2 + 4)
    assert passes <= summary["vmm_total"] < 1.5 * passes  # a few more measure the lines' offsets
    # commissioning took its time before the run began
    lines = read_metrics(run("eapu"), "step")
    assert 0 < lines[-1]["clock_s"] - lines[0]["clock_s"] < summary["bench_time_s"] < lines[0]["clock_s"]
    assert sum(line["wall_s"] for line in lines) < summary["wall_s"]


def test_writes_per_cell_are_those_of_the_mapped_cells(run: Callable[[str], Path]) -> None:
    summary, writes = _summary(run("eapu")), read_writes(run("eapu"))
    assert summary["cells"] == 2 * summary["weights"]
    by_cell = np.unique(writes[writes["pulses"] > 0][["array", "row", "col"]], return_counts=True)[1]
    counts = np.concatenate([by_cell, np.zeros(summary["cells"] - by_cell.size)])
    per_cell = summary["writes_per_cell"]
    assert per_cell["mean"] == pytest.approx(summary["writes_total"] / summary["cells"])
    assert per_cell["p50"] == np.median(counts)
    assert per_cell["p999"] == pytest.approx(np.percentile(counts, 99.9))
    assert per_cell["max"] == counts.max()


def test_update_ratios_are_means_over_all_steps_and_over_the_last_tenth(run: Callable[[str], Path]) -> None:
    summary = _summary(run("eapu"))
    ratios = [line["update_ratio"] for line in read_metrics(run("eapu"), "step")]
    assert summary["update_ratio_mean"] == pytest.approx(np.mean(ratios))
    assert summary["update_ratio_last"] == pytest.approx(np.mean(ratios[-2:]))


class TestMetric:
    """`summarize` on metrics made by hand."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[RunStore]:
        with RunStore.create(tmp_path / "a", {"name": "a"}) as store:
            yield store

    def _metric(self, store: RunStore, make_experiment: Make) -> dict[str, Any]:
        config = make_experiment(rule={"name": "digital"})
        task = config.task.make()
        ending = Ending("stopped", 2.5, 1.0)
        network = DigitalModel(task, 0).network
        summary = summarize(config, task, network, None, Origin(None, 2.0), ending, store.path)
        assert (summary["exit_status"], summary["bench_time_s"], summary["wall_s"]) == ("stopped", 0.5, 1.0)
        found: dict[str, Any] = summary["metric"]
        return found

    def _evaluation(self, store: RunStore, step: int, value: float, *, quick: bool) -> None:
        line = {"step": step, "metric": value, "input": 20.0, "ssim": None, "quick": quick, "items": [step]}
        store.append_metrics("evaluation", line)

    def test_a_finished_run_is_judged_on_the_whole_held_out_set(
        self, store: RunStore, make_experiment: Make
    ) -> None:
        for step, value, quick in ((0, 21.0, False), (5, 29.0, True), (10, 28.0, False)):
            self._evaluation(store, step, value, quick=quick)
        metric = self._metric(store, make_experiment)
        assert (metric["initial"], metric["final"], metric["best"]) == (21.0, 28.0, 28.0)
        assert (metric["name"], metric["input"], metric["items"]) == ("accuracy", 20.0, [10])

    def test_a_stopped_one_on_what_it_got(self, store: RunStore, make_experiment: Make) -> None:
        for step, value, quick in ((0, 21.0, False), (5, 29.0, True), (10, 27.0, True)):
            self._evaluation(store, step, value, quick=quick)
        metric = self._metric(store, make_experiment)
        assert (metric["initial"], metric["final"], metric["best"]) == (21.0, 27.0, 29.0)

    def test_one_that_was_never_evaluated_has_no_metric(self, store: RunStore, make_experiment: Make) -> None:
        metric = self._metric(store, make_experiment)
        assert [metric[key] for key in ("input", "initial", "final", "best", "ssim")] == [None] * 5


def test_origins_survive_a_file() -> None:
    origin = Origin(None, 3.5)
    assert Origin.from_arrays(origin.as_arrays()).clock_s == 3.5
    assert Origin.from_arrays(origin.as_arrays()).counts is None
