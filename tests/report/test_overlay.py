"""Runs on one page: differences first, curves over each other, examples side by side; and pages that can be mailed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_report import SUMMARY, synthetic_run

from eapu_hil.cli.parser import main
from eapu_hil.hal import ConfigError
from eapu_hil.report.comparison_data import write_comparison
from eapu_hil.report.comparison_report import write_comparison_report
from eapu_hil.report.examples import side_by_side
from eapu_hil.report.figures import new_figure
from eapu_hil.report.overlay import write_overlay
from eapu_hil.report.run_report import write_report
from eapu_hil.report.rundata import RunData
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_snapshots


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """One that ended, one that did not, one without an array."""
    ended = synthetic_run(tmp_path / "runs" / "ended")
    crashed = synthetic_run(tmp_path / "runs" / "crashed", rule="bp", steps=130, finished=False)
    return [ended, crashed, synthetic_run(tmp_path / "runs" / "host", rule="digital")]


def test_what_differs_comes_first_and_everything_is_overlaid(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs[0])
    text = write_overlay(runs, tmp_path / "page").read_text()
    titles = re.findall("<h2>(.+?)</h2>", text)
    assert titles == [
        "Differences", "Results", "PSNR (dB)", "Loss", "Weights written per step (%)", "Pulses since the start",
        "Examples side by side",
    ]  # fmt: skip
    assert re.search(r">rule\.name</th><td>eapu</td><td>bp</td><td>digital</td>", text)
    assert ">optimizer.lr<" not in text  # it is the same
    assert "crashed has not ended: step 130 of 400 is the last one here." in text
    assert "Nothing is written to cells by host." in text
    assert 'href="../runs/ended/report.html"' in text  # it has a page
    assert 'href="../runs/crashed"' in text
    assert "Not shown, for want of images or of room: crashed." in text


def test_images_stand_side_by_side(runs: list[Path]) -> None:
    snapshots = {path.name: read_snapshots(path) for path in (runs[0], runs[2])}
    first = side_by_side(snapshots)[0]
    assert list(first.shown) == ["input", "output of ended", "output of host", "reference"]
    assert first.captions["output of ended"].startswith("ended, ")
    np.testing.assert_array_equal(first.shown["output of host"], snapshots["host"]["gallery_0_output"])
    assert side_by_side({**snapshots, "other": {"gallery_names": np.array(["else"])}}) == []


def test_runs_are_named_so_that_they_can_be_told_apart(runs: list[Path], tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "others" / "ended")
    text = write_overlay([runs[0], tmp_path / "others" / "ended"], tmp_path / "page").read_text()
    assert "runs/ended" in text
    assert "others/ended" in text
    assert "All runs have the same configuration." in text
    with pytest.raises(ConfigError, match="name each run once"):
        write_overlay([runs[0], runs[0]], tmp_path / "page")


def test_a_standalone_page_needs_no_other_file(runs: list[Path], tmp_path: Path) -> None:
    page = write_report(runs[0], standalone=True)
    text = page.read_text()
    assert page.name == "report-standalone.html"
    assert len(re.findall('<img src="data:image/svg', text)) == 6
    assert len(re.findall('srcset="data:image/svg', text)) == 6
    assert "href=" not in text
    assert "figures/" not in text
    assert "href=" not in write_overlay(runs, tmp_path / "page", standalone=True).read_text()


def test_the_first_and_the_last_evaluation_are_in_the_curve(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "a", {"name": "x", "experiment": {"rule": {"name": "eapu"}}}) as store:
        for step, value, quick in ((0, 0.1, False), (50, 0.7, True), (100, 0.9, False)):
            store.append_metrics(
                "evaluation", {"step": step, "name": "accuracy", "metric": value, "quick": quick}
            )
    curve = RunData.read(tmp_path / "a").metric_curve()
    assert curve.x.tolist() == [0, 50, 100]
    assert curve.y.tolist() == pytest.approx([10, 70, 90])
    assert curve.hollow is not None
    assert curve.hollow.tolist() == [True, False, True]


def test_two_counts_of_writes_are_named_for_what_they_count(tmp_path: Path) -> None:
    text = write_report(synthetic_run(tmp_path / "a")).read_text().replace("\u202f", " ")
    assert re.search(r"Cell writes</dt><dd>36 720</dd><small>with at least one pulse", text)
    assert "20 000 of the 20 000 requests needed pulses and are cell writes" in text
    assert ">all requests</th>" in text


def test_a_comparison_that_has_not_ended_says_what_is_missing(tmp_path: Path) -> None:
    planned = ["eapu", "bp", "digital"]
    synthetic_run(tmp_path / "eapu")
    synthetic_run(tmp_path / "bp", rule="bp", steps=60, finished=False)
    rules = {"eapu": {**SUMMARY, "rule": "eapu"}}
    write_comparison(tmp_path, {"rules": rules, "ratios": {}, "planned": planned})
    text = write_comparison_report(tmp_path).read_text()
    assert "Denoise under 3 rules" in text
    assert "Not begun: digital. The command that made it goes on with --out" in text
    assert "bp has not ended: step 60 of 400" in text
    shutil.rmtree(tmp_path / "bp")
    (tmp_path / "eapu").rename(tmp_path / "elsewhere")
    write_comparison(tmp_path, {"rules": {}, "ratios": {}, "planned": planned})
    with pytest.raises(ConfigError, match="none of its runs has begun; planned are eapu, bp, digital"):
        write_comparison_report(tmp_path)


def test_the_command_takes_several_runs(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(runs[0]), str(runs[2])]) == 0
    (page,) = (tmp_path / "runs").glob("*-report-*/report.html")
    assert "2 runs" in page.read_text()
    assert main(["report", str(runs[0]), "--out", "x"]) == 2
    assert "--out: only for the page of several runs" in capsys.readouterr().err
    assert main(["report", str(runs[0]), str(tmp_path)]) == 2
    assert "not a run directory" in capsys.readouterr().err


def test_powers_of_ten_are_drawn_and_names_are_taken_as_they_are(tmp_path: Path) -> None:
    with new_figure(tmp_path / "a.png", 3.0) as figure:
        axes = figure.subplots()
        axes.loglog([1, 1e4], [1, 10])
        axes.set_title("$name$")
    labels = [label for label in axes.get_xticklabels() if label.get_text()]
    assert labels
    assert all(label.get_parse_math() for label in labels)
    assert not axes.title.get_parse_math()
