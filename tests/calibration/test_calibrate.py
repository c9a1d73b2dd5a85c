"""A plan on an array: what is measured, what is refused, and how it goes on after a stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from eapu_calibration.calibrate import calibrate
from eapu_calibration.commissioning import record_forming
from eapu_calibration.measurement import Progress
from eapu_calibration.plan import FORMING, Plan, chosen_names, load_plan

from eapu_hil.bench import Bench
from eapu_hil.bench.entries import Measurement
from eapu_hil.hal import Cells, CellStatus, ConfigError, HilError, TransportError

OpenTwin = Callable[..., Bench]
PLAN = {
    "measurements": {
        "write_error": {"cells": 200, "relax_time_s": 1.0},
        "read_noise": {"cells": 200, "levels": 2, "reads": 16, "settle_s": 1.0, "interval_s": 0.1},
        "product_accuracy": {"vectors": 8, "v_in_v": 0.2, "reads": 2, "settle_s": 1.0, "batch": 8},
    }
}


def nothing(_: float) -> None:
    pass


def silent(_: str) -> Progress:
    return nothing


def made(bench: Bench, *names: str, progress_of: Callable[[str], Progress] = silent) -> list[Measurement]:
    plan = load_plan(PLAN)
    chosen = chosen_names(plan, names)
    return calibrate(bench, 0, plan, chosen, seed=1, progress_of=progress_of)


@pytest.mark.parametrize("name", ["quick", "full"])
def test_packaged_plans_have_all_measurements(name: str) -> None:
    assert load_plan(name).names == [
        "iv",
        "gate_curve",
        "pulse_response",
        "write_verify",
        "write_error",
        "relaxation",
        "read_noise",
        "linearity",
        "line_resistance",
        "product_accuracy",
    ]


def test_a_wrong_plan_says_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "measurements: {relaxation: {cells: 9, levels: 2, times_s: [1, 0.1], batch: 3, batch_s: 1}}\n"
    )
    with pytest.raises(
        ConfigError, match=r"plan\.yaml: measurements\.relaxation\.times_s: .*the times must rise"
    ):
        load_plan(path)
    path.write_text("measurements: {}\n")
    with pytest.raises(ConfigError, match="at least one of iv, gate_curve, pulse_response"):
        load_plan(path)
    with pytest.raises(ConfigError, match=r"plan 'quik': not packaged, did you mean 'quick'"):
        load_plan("quik")


def test_forming_is_made_only_when_it_is_named() -> None:
    plan = Plan.model_validate(PLAN)
    assert chosen_names(plan, []) == ["write_error", "read_noise", "product_accuracy"]
    assert chosen_names(plan, ["read_noise", FORMING]) == [FORMING, "read_noise"]
    with pytest.raises(ConfigError, match=r"'drift': not in the plan; allowed are forming, write_error,"):
        chosen_names(plan, ["drift"])


def test_an_array_that_was_never_formed_is_left_alone(open_twin: OpenTwin) -> None:
    bench = open_twin((32, 16))
    with pytest.raises(HilError, match=r"array 0 was never formed under this passport; .* 'forming'"):
        made(bench)
    assert bench.chip.history() == []


def test_each_measurement_is_an_entry(open_twin: OpenTwin) -> None:
    bench = open_twin((32, 16))
    found = made(bench, FORMING, "write_error", "read_noise", "product_accuracy")
    assert [entry.kind for entry in found] == [FORMING, "write_error", "read_noise", "product_accuracy"]
    history = bench.chip.history()
    assert [entry.kind for entry in history] == ["calibration", *(entry.kind for entry in found)]
    for entry in history[2:]:
        assert entry.values["calibration"] == 1
        assert entry.values["array"] == 0
        assert entry.values["bench_time_s"] > 0
    assert bench.chip.write_error().sigma_S(20e-6) > 0  # what the trainer takes
    g_S = bench.arrays[0].read(Cells.all((32, 16)), bench.recipe.v_read_v).g_S
    assert np.median(g_S) < 2e-6  # cells that hold nothing draw no current
    again = made(bench, "read_noise")
    assert [entry.number for entry in again] == [7]
    assert len(bench.chip.history()) == 7


def test_a_stopped_calibration_goes_on(open_twin: OpenTwin) -> None:
    bench = open_twin((32, 16))

    def cut(name: str) -> Progress:
        if name == "read_noise":
            raise TransportError("the line is cut")
        return nothing

    names = (FORMING, "write_error", "read_noise", "product_accuracy")
    with pytest.raises(TransportError):
        made(bench, *names, progress_of=cut)
    assert [entry.kind for entry in bench.chip.history()] == ["calibration", FORMING, "write_error"]
    begun: list[str] = []

    def counted(name: str) -> Progress:
        begun.append(name)
        return nothing

    found = made(bench, progress_of=counted)  # the array is formed by now
    assert begun == ["read_noise", "product_accuracy"]
    assert [entry.values["calibration"] for entry in found] == [1, 1, 1]
    assert [entry.number for entry in found] == [3, 4, 5]
    assert made(bench)[0].number == 7  # that one was finished: this is a new one


def test_endurance_takes_the_cells_it_is_given_and_retires_those_that_fail(open_twin: OpenTwin) -> None:
    bench = open_twin(
        (24, 16), **{"endurance.cycles": 60.0, "endurance.log_sd": 0.3, "faults.stuck_fraction": 0.0}
    )
    named = [[row, 3] for row in range(12)]
    wanted = load_plan({"measurements": {"endurance": {"cells": named, "cycles": 1000}}})
    record_forming(0, bench.arrays[0], bench.chip, bench.recipe)
    before = bench.ledger.snapshot().pulses[0].copy()
    entry = calibrate(bench, 0, wanted, ["endurance"], seed=1, progress_of=silent)[0]
    assert entry.values["cycles"][0] == 1
    assert entry.values["cycles"][-1] == 1000
    lost = entry.values["cycles_to_failure"]
    assert all(cycles is not None and cycles < 500 for cycles in lost)
    assert np.median(lost) > 5  # a write may miss a new cell, too
    shares = [row["value"] for row in entry.values["failed"]]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    bad = bench.chip.bad_cells(0) != CellStatus.OK
    assert bad[:12, 3].all()
    assert bad.sum() == 12
    pulsed = bench.ledger.snapshot().pulses[0] - before
    elsewhere = np.ones((24, 16), bool)
    elsewhere[:12, 3] = False
    assert pulsed[elsewhere].max() < 60  # only what put them into the lowest state at the end
    assert pulsed[:12, 3].max() < 2 * 1000  # a cell that failed is left alone


def test_endurance_of_cells_that_are_not_there_or_bad(open_twin: OpenTwin) -> None:
    bench = open_twin((24, 16), **{"faults.stuck_fraction": 0.0})
    record_forming(0, bench.arrays[0], bench.chip, bench.recipe)
    bench.chip.record(
        "bad_cells",
        {"array": 0},
        {"row": np.array([1]), "col": np.array([2]), "status": np.array([CellStatus.STUCK], np.uint8)},
        0.0,
    )
    for cell, error in (([24, 0], ConfigError), ([1, 2], HilError)):
        wanted = load_plan({"measurements": {"endurance": {"cells": [cell], "cycles": 10}}})
        with pytest.raises(error, match=rf"endurance: cell \({cell[0]}, {cell[1]}\)"):
            calibrate(bench, 0, wanted, ["endurance"], seed=1, progress_of=silent)
    assert "endurance" not in load_plan("full").names


def test_relaxation_that_is_stopped_keeps_what_it_has(open_twin: OpenTwin) -> None:
    """Stopped while it waits for the last of four times: three are in the passport, and the next run measures anew."""
    bench = open_twin((24, 16))
    settings = {"cells": 200, "levels": 2, "times_s": [0.01, 0.1, 10.0, 1e4], "batch": 100, "batch_s": 1.0}
    wanted = load_plan({"measurements": {"relaxation": settings}})
    array = bench.arrays[0]
    record_forming(0, array, bench.chip, bench.recipe)

    class Stopping:
        """The array, until somebody presses Ctrl-C in the long wait."""

        def __getattr__(self, name: str) -> Any:
            return getattr(array, name)

        def without_record(self) -> Stopping:
            return self

        def wait(self, duration_s: float) -> None:
            if duration_s > 1e3:
                raise KeyboardInterrupt
            array.wait(duration_s)

    stopping = replace(bench, arrays=[cast("Any", Stopping())])
    with pytest.raises(KeyboardInterrupt):
        calibrate(stopping, 0, wanted, ["relaxation"], seed=1, progress_of=silent)
    entry = bench.chip.latest("relaxation")
    assert entry is not None
    assert entry.values["interrupted"]
    assert entry.values["times_s"] == [0.01, 0.1, 10.0]
    assert len(entry.values["tail_share"]) == 3
    assert entry.arrays["g_S"].shape == (3, 200)
    again = calibrate(bench, 0, wanted, ["relaxation"], seed=1, progress_of=silent)[0]
    assert again.number > entry.number
    assert not again.values["interrupted"]
    assert len(again.values["times_s"]) == 4


TINY = {
    "measurements": {
        "iv": {"cells": 300, "levels": 3, "read_parts": [0.5, 0.75, 1.0, 1.25], "reads": 2, "step_v": 0.2},
        "gate_curve": {"cells": 500, "steps": 6, "repeats": 2},
        "pulse_response": {"cells": 500, "pulses": 4},
        "write_verify": {"cells": 1000, "levels": 10},
        "write_error": {"cells": 2000, "relax_time_s": 0.1},
        "relaxation": {
            "cells": 2000,
            "levels": 10,
            "times_s": [0.01, 0.1, 1.0],
            "batch": 100,
            "batch_s": 0.5,
        },
        "read_noise": {"cells": 500, "levels": 5, "reads": 16, "settle_s": 1.0, "interval_s": 0.1},
        "linearity": {"v_in_v": 0.2, "steps": 5, "zeros": 16, "repeats": 2},
        "line_resistance": {"v_in_v": 0.2, "level": 0.25, "repeats": 2},
        "product_accuracy": {"vectors": 64, "v_in_v": 0.2, "reads": 4, "settle_s": 1.0, "batch": 32},
    }
}


def test_a_small_array_is_measured_with_fewer_levels(open_twin: OpenTwin) -> None:
    bench, plan = open_twin((8, 8)), load_plan(TINY)
    found = calibrate(bench, 0, plan, [FORMING, *plan.names], seed=0, progress_of=silent)
    assert [entry.kind for entry in found] == [FORMING, *plan.names]
    levels = {entry.kind: len(entry.values["levels_S"]) for entry in found if "levels_S" in entry.values}
    assert levels == {"iv": 3, "write_verify": 2, "write_error": 10, "relaxation": 2, "read_noise": 5}


@pytest.mark.parametrize(
    ("shape", "can"),
    [((1, 8), ["write_error", "linearity"]), ((1, 1), ["write_error", "linearity"]),
     ((8, 1), ["write_error", "linearity", "product_accuracy"])],
)  # fmt: skip
def test_what_an_array_is_too_small_for_is_refused_before_it_is_touched(
    open_twin: OpenTwin, shape: tuple[int, int], can: list[str]
) -> None:
    bench, plan = open_twin(shape), load_plan(TINY)
    for name in plan.names:
        if name in can:
            continue
        with pytest.raises(
            ConfigError, match=rf"array 0 has {shape[0]} x {shape[1]} cells: {name} needs \d+ "
        ):
            calibrate(bench, 0, plan, [FORMING, name], seed=0, progress_of=silent)
    assert bench.chip.history() == []
    assert bench.ledger.snapshot().verify_reads.sum() == 0
    with pytest.raises(ConfigError, match=rf"large enough for: forming {' '.join(can)}$"):
        calibrate(bench, 0, plan, [FORMING, *plan.names], seed=0, progress_of=silent)
    found = calibrate(bench, 0, plan, [FORMING, *can], seed=0, progress_of=silent)
    assert [entry.kind for entry in found] == [FORMING, *can]
