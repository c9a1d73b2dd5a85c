"""The table: its plan, runs side by side, results, claims, report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.base.old_names import say_renamed
from eapu_hil.bench.energy import EnergyModel
from eapu_hil.cli.parser import main
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.hal.recipe import Recipe
from eapu_hil.study.batch import run_all
from eapu_hil.study.claims import judge
from eapu_hil.study.figures import Point, RuleCurve
from eapu_hil.study.lifetime import EnduranceModel, runs_to_failure
from eapu_hil.study.plan import TablePlan, experiment_of, planned_runs
from eapu_hil.study.quality import OWN, losses, winners
from eapu_hil.study.report import write_table_report
from eapu_hil.study.results import Ablation, Results, Run, make_table, read_results
from eapu_hil.study.scenarios import as_run, full_arrays, slow_pulses
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import read_start

Make = Callable[..., ExperimentConfig]


def some_run(rule: str, seed: int = 1, task: str = "digits", point: int = 0, **changes: float) -> Run:
    """100 weights, 1000 steps, 10 products a weight and step; a write takes 1 nJ, a product of a cell 1 pJ."""
    ratio = {"eapu": 1e-3, "bp": 1.0, "digital": 0.0}[rule]
    writes = ratio * 100 * 1000
    values: dict[str, float | None] = {
        "metric": {"eapu": 0.95, "bp": 0.30, "digital": 0.97}[rule],
        "update_ratio": ratio,
        "update_ratio_last": ratio / 2,
        "writes": writes,
        "pulses": 3 * writes,
        "pulses_mean_cell": 3 * writes / 200,
        "pulses_p999_cell": 6 * writes / 200,
        "pulses_hottest_cell": 9 * writes / 200,
        "cells": 200,
        "cell_products": 2 * 2 * 100 * 1000 * 10,
        "product_cell_j": 0.1 * 4e6 * 1e-12,
        "bench_time_s": 1.0,
        "wall_s": 1.0,
        "weights": 100,
        "steps": 1000,
        "products_per_weight": 10,
    }
    for corner, factor in (("low", 0.1), ("typical", 1.0), ("high", 10.0)):
        values[f"write_j_{corner}"] = factor * writes * 1e-9
        values[f"product_j_{corner}"] = factor * 4e6 * 1e-12
    values |= changes
    if rule == "digital":
        values = {
            key: value if key in ("metric", "weights", "steps", "wall_s") else None
            for key, value in values.items()
        }
    return Run(task, rule, point, seed, values)


def results(*runs: Run) -> Results:
    return Results(
        dict.fromkeys((run.task for run in runs), "accuracy"), {"digital": "", "bp": "", "eapu": ""}, [*runs]
    )


class TestPlan:
    def test_the_packaged_plan_gives_every_rule_the_same_budget(self) -> None:
        plan = load_model(TablePlan, "table", (), "tables")
        assert {len(rule.search) for rule in plan.rules.values()} == {6}
        assert len(plan.tasks["digits"].seeds) == 5
        assert len(plan.tasks["denoise"].seeds) == len(plan.tasks["super_resolution"].seeds) == 3
        # What was chosen is one of what was tried.
        for rule in plan.rules.values():
            assert all(chosen in rule.search for chosen in rule.chosen.values())

    def test_every_run_of_the_packaged_plan_is_valid_and_has_its_own_place(self) -> None:
        plan = load_model(TablePlan, "table", (), "tables")
        runs = planned_runs(plan)
        assert len({run.name for run in runs}) == len(runs)
        first = next(run for run in runs if (run.task, run.rule) == ("digits", "eapu_fixed"))
        assert first.experiment.rule.name == "eapu"
        assert first.experiment.seed == 1
        long = next(run for run in runs if (run.task, run.rule) == ("digits_long", "eapu"))
        assert long.experiment.optimizer.lr == 3e-4

    def test_quick_is_one_seed_and_short(self) -> None:
        plan = load_model(TablePlan, "table", (), "tables")
        runs = planned_runs(plan.quick())
        assert {run.task for run in runs} == {"digits"}
        assert {run.experiment.steps for run in runs} == {200}
        assert len(runs) == len(plan.rules)

    def test_unknown_names_are_refused(self) -> None:
        task = {"experiment": "digits", "seeds": [1], "rules": ["magic"]}
        with pytest.raises(ConfigError, match=r"rules: unknown 'magic'; allowed are bp"):
            load_model(
                TablePlan, {"tasks": {"a": task}, "rules": {"bp": {"text": "", "set": {}}}}, (), "tables"
            )
        with pytest.raises(ConfigError, match="'magic': not in the plan"):
            load_model(TablePlan, "table", (), "tables").with_rules(["magic"])

    def test_a_repetition_says_what_it_lacks(self) -> None:
        task = {"experiment": "digits", "seeds": [1]}
        for half in ({"repeats": "a"}, {"lacks": "relaxation"}):
            plan = {"tasks": {"a": task, "b": {**task, **half}}, "rules": {}}
            with pytest.raises(ConfigError, match="repeats and lacks: give both or neither"):
                load_model(TablePlan, plan, (), "tables")

    def test_a_plan_with_names_of_version_0_1_is_read(self, caplog: pytest.LogCaptureFixture) -> None:
        rule = {
            "text": "",
            "set": {"rule": {"name": "eapu", "threshold_us": 1.0}, "bench.recipe.band_s": 2e-6},
            "chosen": {"digits": {"rule.threshold_us": 3.0}},
            "curve": [{"rule.late_band_us": 0.5}],
        }
        task = {"experiment": "digits", "seeds": [1, 2], "curve_seed": 1}
        plan = load_model(TablePlan, {"tasks": {"digits": task}, "rules": {"eapu": rule}}, (), "tables")
        say_renamed.cache_clear()
        made = [run.experiment for run in planned_runs(plan)]
        dumped = [one.rule.model_dump() for one in made]
        assert [one["threshold_uS"] for one in dumped] == [3.0, 3.0, 3.0]
        assert [one["late_band_uS"] for one in dumped] == [None, None, 0.5]
        assert {one.bench.recipe.band_S for one in made} == {2e-6}
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == len(set(said)) == 3

    def test_changes_reach_the_experiment_in_order(self) -> None:
        plan = load_model(TablePlan, "table", (), "tables")
        made = experiment_of(plan, "digits", "eapu", {"optimizer.lr": 0.5, "seed": 9, "steps": 3})
        assert (made.optimizer.lr, made.seed, made.steps) == (0.5, 9, 3)
        run = planned_runs(plan.quick(), "ideal", ["optimizer.lr=0.25"])[0]
        assert (run.experiment.bench.preset, run.experiment.optimizer.lr) == ("ideal", 0.25)

    def test_another_bench_is_pulsed_as_its_own_recipe_says(self, tmp_path: Path) -> None:
        """The plan's increments were found for its chip; on another their voltages could do harm."""
        plan = load_model(TablePlan, "table", (), "tables")
        own = load_model(Recipe, "rram_cmo_hfox", (), "recipes")
        bench = tmp_path / "other.yaml"
        bench.write_text(
            "{backend: twin, preset: rram_cmo_hfox, arrays: 4, shape: [128, 64], limits: {v_max_v: 3.5, "
            "v_gate_max_v: 5.0, i_max_a: 2.0e-3, width_max_s: 1.0e-3, pulses_per_cell_max: 1000}}"
        )
        runs = planned_runs(plan.on_any_bench(), str(bench))
        assert {run.experiment.bench.recipe.increment for run in runs} == {own.increment}
        assert all(run.task in ("digits", "denoise", "super_resolution", "digits_long") for run in runs)
        # The curve of mixed_precision is one of increments; that of eapu is not.
        assert {run.point for run in runs if run.rule == "mixed_precision"} == {0}
        assert {run.point for run in runs if run.rule == "eapu"} == {0, 1, 2, 3}


class TestBatch:
    def test_runs_are_made_once_and_divergence_is_a_result(
        self, tmp_path: Path, make_experiment: Make
    ) -> None:
        experiments = {
            "a_0.5": make_experiment(rule={"name": "digital"}, steps=3),
            "a_0.7": make_experiment(
                rule={"name": "digital"}, steps=40, optimizer={"name": "sgd", "lr": 1e30}
            ),
        }
        told: list[str] = []
        found = run_all(experiments, tmp_path, 2, lambda name, _: told.append(name))
        assert sorted(told) == ["a_0.5", "a_0.7"]
        assert found["a_0.5"].summary is not None
        assert found["a_0.5"].summary["steps"] == 3
        assert found["a_0.7"].summary is None
        assert "diverged" in found["a_0.7"].error
        started = read_start(tmp_path / "a_0.5")["id"]
        again = run_all(experiments, tmp_path, 1, lambda *_: None)
        assert again["a_0.7"] == found["a_0.7"]
        assert read_start(tmp_path / "a_0.5")["id"] == started
        with pytest.raises(ConfigError, match="another configuration"):
            run_all(
                {"a_0.5": experiments["a_0.5"].model_copy(update={"seed": 5})}, tmp_path, 1, lambda *_: None
            )

    def test_another_failure_stops_the_batch_and_says_where(
        self, tmp_path: Path, make_experiment: Make
    ) -> None:
        experiment = make_experiment(bench={"arrays": 1, "shape": [8, 8]})
        with pytest.raises(HilError, match=r"does not fit.*a_0\.5\.log"):
            run_all({"a_0.5": experiment}, tmp_path, 1, lambda *_: None)


class TestClaims:
    def test_verdicts_follow_the_worst_seed(self) -> None:
        good = [some_run(rule, seed) for rule in ("digital", "bp", "eapu") for seed in (1, 2, 3)]
        verdicts = [claim.verdict for claim in judge(results(*good))]
        assert verdicts[0] == "holds"  # 1 per mille
        assert verdicts[1] == "holds"  # 65 points
        assert verdicts[2] == "does not hold here"
        assert verdicts[3] == "holds"  # 1000 times
        assert verdicts[4].startswith("holds under")
        worse = [*good[:-3], *(some_run("eapu", seed, metric=0.89, update_ratio=1.0001e-3, pulses_p999_cell=3.01)
                               for seed in (1, 2, 3))]  # fmt: skip
        verdicts = [claim.verdict for claim in judge(results(*worse))]
        assert verdicts[0] == verdicts[1] == verdicts[3] == "does not hold here"

    def test_what_was_not_measured_is_said(self) -> None:
        found = judge(results(some_run("digital")))
        assert {claim.verdict for claim in found} == {"not measured"}

    def test_part_of_the_tasks(self) -> None:
        runs = [some_run("eapu", seed, task="a") for seed in (1, 2, 3)]
        runs += [some_run("eapu", seed, task="b", update_ratio=0.5) for seed in (1, 2, 3)]
        assert judge(results(*runs))[0].verdict == "holds under: a; not: b"

    def test_what_is_short_or_few_gets_no_verdict(self) -> None:
        few = [some_run(rule, seed, steps=300) for rule in ("digital", "bp", "eapu") for seed in (1, 2)]
        short = [some_run(rule, seed, steps=299) for rule in ("digital", "bp", "eapu") for seed in (1, 2, 3)]
        for runs in (few, short):
            assert {claim.verdict for claim in judge(results(*runs))} == {"too short to judge"}
        runs = [some_run("eapu", seed, task="a") for seed in (1, 2, 3)] + [some_run("eapu", task="b")]
        assert judge(results(*runs))[0].verdict == "holds under: a; too short to judge: b"

    def test_seeds_that_differ_by_more_than_the_distance_to_the_claim_give_no_verdict(self) -> None:
        ratios = {1: 0.7e-3, 2: 0.8e-3, 3: 1.3e-3}
        runs = [some_run("eapu", seed, update_ratio=ratio) for seed, ratio in ratios.items()]
        assert judge(results(*runs))[0].verdict == "too close to judge"


class TestDesigns:
    def test_energy_of_a_weight(self) -> None:
        # bp writes in every step, eapu in one of a thousand, 1 nJ each; two cells, forward and backward, 1 pJ each.
        its = as_run(some_run("bp"), some_run("eapu"), "typical")
        assert (its.write_j, its.costly_j, its.frugal_j, its.product_j) == pytest.approx(
            (1e-9, 1e-9, 1e-12, 4e-12)
        )
        assert as_run(some_run("bp"), some_run("eapu"), "low").costly_j == pytest.approx(1e-10)

    def test_ratio_by_reuse(self) -> None:
        its = as_run(some_run("bp"), some_run("eapu"), "typical")
        assert its.ratio(0) == pytest.approx(1000)
        assert its.ratio(1) == pytest.approx((1000 + 4) / (1 + 4))
        assert its.ratio(its.largest_reuse(50)) == pytest.approx(50)
        assert its.ratio(1, other_j=95e-12) == pytest.approx((1000 + 99) / (1 + 99))
        cheap = as_run(some_run("bp", writes=1e12), some_run("eapu"), "typical")
        assert cheap.largest_reuse(50) == 0.0

    def test_full_arrays_share_their_converters(self) -> None:
        bp, eapu = some_run("bp"), some_run("eapu")
        its, model = full_arrays(bp, eapu, "typical"), EnergyModel()
        # A tenth of the product's 1 pJ is in the cell.
        line_j = (model.adc_j + model.dac_j + model.tia_w * model.product_time_s) / 128
        assert its.product_j == pytest.approx(4 * (0.1e-12 + line_j))
        assert its.costly_j == as_run(bp, eapu, "typical").costly_j

    def test_costly_pulses_and_cheap_products(self) -> None:
        """1 nJ a write and 0.12 pJ a product; bp with every weight and eapu with one in a thousand: 60 at 128."""
        its = slow_pulses(some_run("bp"), some_run("eapu"), pulses_per_write=8.5)
        assert its.write_j == pytest.approx(8.5 * 117.2e-12)
        assert its.ratio(128) == pytest.approx((996.2 + 15.6) / (0.9962 + 15.6), rel=0.01)
        assert slow_pulses(some_run("bp"), some_run("eapu")).write_j == pytest.approx(3 * 117.2e-12)


class TestQuality:
    def test_losses_are_told_apart_seed_by_seed(self) -> None:
        reached = {"digits": 0.90, "still": 0.93, "exact": 0.95}
        runs = [some_run("digital", seed, metric=0.97) for seed in (1, 2, 3)]
        runs += [
            some_run("eapu", seed, task=task, metric=value + 0.01 * seed)
            for task, value in reached.items()
            for seed in (1, 2)
        ]
        ablations = {"still": Ablation("digits", "relaxation"), "exact": Ablation("digits", "errors")}
        its = losses(replace(results(*runs), ablations=ablations), "digits", "eapu")
        assert its is not None
        assert its.behind == pytest.approx([0.06, 0.05])
        assert list(its.parts) == ["relaxation", "errors", OWN]
        assert its.parts["relaxation"] == pytest.approx([0.03, 0.03])
        assert its.parts["errors"] == pytest.approx([0.02, 0.02])
        assert its.parts[OWN] == pytest.approx([0.01, 0.0])
        assert losses(results(*runs), "digits", "eapu") is None

    def test_winners_take_over_where_they_are_clearly_better(self) -> None:
        def curve(rule: str, *points: tuple[float, float]) -> RuleCurve:
            return RuleCurve(rule, [Point(pulses, quality, 1) for pulses, quality in points])

        curves = [
            curve("a", (10, 1.0), (20, 2.0), (50, 2.2)),
            curve("b", (30, 3.0), (9.5, 0.0)),
            curve("c", (40, 2.9), (60, 3.2)),
        ]
        found = winners(curves, noise=0.5)
        assert [(w.low, w.high, w.rule, w.point.quality) for w in found] == [
            (10, 20, "a", 1.0),  # b's stretch before is too short to speak of
            (20, 30, "a", 2.0),
            (30, float("inf"), "b", 3.0),  # c at 60 is within the noise
        ]
        assert [w.close for w in found] == [[], [], ["c"]]
        hardly = winners([*curves, curve("d", (1, -7.0))], noise=0.5)
        assert hardly == found
        assert (found[2].best_rule, found[2].best.quality) == ("c", 3.2)


def test_runs_to_failure() -> None:
    model = EnduranceModel(full_cycles=1e6, exponent=2.0, window_S=40e-6, step_S=4e-6)
    assert runs_to_failure(1000, model, "low") == pytest.approx(1000)
    assert runs_to_failure(1000, model, "typical") == pytest.approx(1e5)
    assert runs_to_failure(1000, model, "high") == pytest.approx(1e8)
    assert runs_to_failure(0, model, "low") == float("inf")


class TestCommand:
    def test_a_small_table(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["compare", "table", "--quick", "--rules", "digital,bp,eapu", "--set", "steps=4",
                     "--out", str(tmp_path / "t"), "--json"]  # fmt: skip
        assert main(arguments) == 0
        answer = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert answer["runs"] == 3
        page = (tmp_path / "t" / "report.html").read_text()
        assert "50 times less training energy" in page
        rows = list(csv.DictReader(io.StringIO((tmp_path / "t" / "table.csv").read_text())))
        assert [row["rule"] for row in rows] == ["digital", "bp", "eapu"]
        assert float(rows[1]["update_ratio"]) > 0.5
        assert rows[0]["pulses"] == ""
        claims = json.loads((tmp_path / "t" / "claims.json").read_text())["claims"]
        assert len(claims) == 5
        assert {claim["verdict"] for claim in claims} == {"too short to judge"}  # 4 steps, one seed
        # Again: nothing is trained, and the report can be made from what is there.
        logs = {path: path.stat().st_mtime for path in (tmp_path / "t").rglob("metrics.jsonl")}
        assert main(arguments) == 0
        assert {path: path.stat().st_mtime for path in logs} == logs
        assert main(["report", str(tmp_path / "t")]) == 0

    def test_a_table_that_is_stopped_is_reported_with_what_is_missing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plan = load_model(TablePlan, "table", (), "tables").quick().with_rules(["digital", "bp"])
        planned = planned_runs(plan, None, ["steps=4"])

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_table(planned, {"digital": "", "bp": ""}, {}, tmp_path, 1, stop)
        assert read_results(tmp_path).missing == [planned[1].name]
        assert main(["report", str(tmp_path), "--standalone"]) == 0
        page = (tmp_path / "report-standalone.html").read_text()
        assert (
            f"1 of 2 runs are missing: {planned[1].name}. The command that made it goes on with --out" in page
        )
        (tmp_path / "table.json").unlink()
        assert main(["report", str(tmp_path)]) == 2
        assert "holds no table.json; the same `table` command with --out" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["compare", "digits", "--quick"], "only for `table`"),
            (["compare", "table", "--jobs", "0"], "--jobs 0: must be at least 1"),
            (["compare", "table", "--rules", "eapu,magic"], "'magic'"),
        ],
    )
    def test_mistakes_are_one_line(
        self, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments) == 2
        assert said in capsys.readouterr().err

    def test_a_bench_that_some_rules_cannot_run_on_is_refused_before_anything_is_trained(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bench = tmp_path / "pcm.yaml"
        bench.write_text(
            "{backend: twin, preset: pcm, arrays: 4, shape: [128, 64], limits: {v_max_v: 3.5, v_gate_max_v: 5.0, "
            "i_max_a: 2.0e-3, width_max_s: 1.0e-3, pulses_per_cell_max: 1000}}"
        )
        arguments = ["compare", "table", "--quick", "--bench", str(bench), "--out", str(tmp_path / "t")]
        assert main([*arguments, "--rules", "digital,bp,manhattan,stellar"]) == 2
        error = capsys.readouterr().err
        assert "no `increment`" in error
        assert "manhattan, stellar cannot be trained here; --rules digital,bp leaves them out" in error
        assert not (tmp_path / "t").exists()

    def test_something_else_in_the_way(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        assert main(["compare", "table", "--quick", "--out", str(tmp_path)]) == 2
        assert "is no table" in capsys.readouterr().err


def test_curves_and_winners(tmp_path: Path) -> None:
    runs = [
        some_run("digital"),
        some_run("bp"),
        some_run("eapu"),
        some_run("eapu", point=1, metric=0.9, pulses=50.0),
        some_run("eapu", task="still", metric=0.96),
    ]
    content: dict[str, Any] = {
        "tasks": {"digits": "accuracy"},
        "rules": {"digital": "", "bp": "", "eapu": "rarely written"},
        "ablations": {"still": {"repeats": "digits", "lacks": "relaxation"}},
        "runs": [vars(run) for run in runs],
    }
    (tmp_path / "table.json").write_text(json.dumps(content))
    assert read_results(tmp_path).spread("digits", "eapu", "pulses", 1) is not None
    page = write_table_report(tmp_path).read_text()
    assert "Quality against pulses: digits" in page
    assert "From 50 to 300 pulses: eapu" in page  # 90 %
    assert "From 300 pulses on: eapu" in page  # 95 %
    assert "it is 2.00 % behind digital: 1.00 due to relaxation, 1.00 due to rule and window" in page
    assert "rarely written" in page
    assert "Causes of lost quality: digits" in page
    assert (tmp_path / "figures" / "quality_digits.png").stat().st_size > 10_000
    # An older table under the key of its time.
    content["worlds"] = content.pop("ablations")
    (tmp_path / "table.json").write_text(json.dumps(content))
    assert "Causes of lost quality" in write_table_report(tmp_path).read_text()
    # A table from before there were such repetitions can still be drawn.
    del content["worlds"]
    (tmp_path / "table.json").write_text(json.dumps(content))
    assert "Causes of lost quality" not in write_table_report(tmp_path).read_text()
