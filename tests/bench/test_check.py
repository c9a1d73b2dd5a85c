"""What `check` proves and of whom, and which limits are not believed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_mock import MockerFixture

from eapu_hil.bench import open_bench
from eapu_hil.bench.check import check
from eapu_hil.cli.parser import main
from eapu_hil.hal import ConfigError, DeviceProof, HilError, LimitError
from eapu_hil.twin.crossbar import TwinCrossbar

LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 1e-3,
    "pulses_per_cell_max": 100,
}
BENCH: dict[str, Any] = {"backend": "twin", "preset": "ideal", "shape": [6, 4], "limits": LIMITS}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a bench file; dotted keys change it."""
    monkeypatch.chdir(tmp_path)

    def write_bench(**changes: Any) -> str:
        limits = {key: value for key, value in changes.items() if key in (*LIMITS, "v_read_max_v", "unusual")}
        rest = {key: value for key, value in changes.items() if key not in limits}
        (tmp_path / "lab.yaml").write_text(yaml.safe_dump({**BENCH, **rest, "limits": {**LIMITS, **limits}}))
        return "lab.yaml"

    return write_bench


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("v_max_v", 35, r"limits\.v_max_v: 35 V asked; usual is at most 10 V"),
        ("v_gate_max_v", 50, r"limits\.v_gate_max_v: 50 V asked; usual is at most 10 V"),
        ("i_max_a", 0.5, r"limits\.i_max_a: 0\.5 A asked; usual is at most 0\.01 A"),
        ("width_max_s", 1, r"limits\.width_max_s: 1 s asked; usual is at most 0\.1 s"),
        ("pulses_per_cell_max", 10**9, r"limits\.pulses_per_cell_max: 1e\+09 pulses asked"),
        ("v_read_max_v", 2, r"limits\.v_read_max_v: 2 V asked; usual is at most 1 V"),
        ("v_read_max_v", 1, r"limits\.v_read_max_v: 1 V asked, which writes: .* weakest pulse has 1 V"),
        (
            "temperature_c",
            300,
            r"temperature_c: 300 asked; usual is -80 to 150 \(degrees Celsius, not kelvin\)",
        ),
        ("temperature_c", -200, r"temperature_c: -200 asked"),
    ],
)
def test_an_unusual_limit_has_to_be_meant(
    write: Any, capsys: pytest.CaptureFixture[str], key: str, value: float, said: str
) -> None:
    bench = write(**{key: value})
    with (
        pytest.raises(
            ConfigError, match=rf"^lab\.yaml: {said}.*; if that is meant, write unusual: true under limits"
        ),
        open_bench(bench, commission=False),
    ):
        pass
    for command in ("check", "read"):
        assert main([command, bench]) == 2
        assert re.search(said, capsys.readouterr().err)
    assert main(["check", bench, "--yes"]) == 0
    assert main(["check", write(**{key: value, "unusual": True})]) == 0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        # In microsiemens all three would pass for siemens: all cells in band without a pulse, forming without an end.
        (
            "recipe.band_S=1.0",
            r"band_S \(1\.0\) must be at most half of the window, 1\.95e-05 \(in siemens\)",
        ),
        ("recipe.band_S=2.0e-5", r"band_S \(2e-05\) must be at most half"),
        ("recipe.form.g_formed_S=5.0", r"form\.g_formed_S of 5 S asked; a cell that is formed reads between"),
        ("recipe.form.g_formed_S=1.0e-12", r"form\.g_formed_S of 1e-12 S asked"),
        (
            "recipe.form.amplitude.step_v=1.0e-12",
            r"step_v \(1e-12\) makes 1\.4e\+12 steps; allowed are 10,000",
        ),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(write: Any, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(write(), [override])


def test_all_unusual_limits_are_named_at_once(write: Any) -> None:
    with pytest.raises(ConfigError, match=r"v_max_v: 35 .*; limits\.i_max_a: 0\.5 .*; temperature_c: 300"):
        check(write(v_max_v=35, i_max_a=0.5, temperature_c=300))


def test_a_limit_far_beyond_the_recipe_is_unusual(write: Any) -> None:
    form = {"gate_v": 1.4, "width_s": 1e-5, "g_formed_S": 5e-6}
    weak = {"start_v": 0.6, "step_v": 0.1, "stop_v": 0.9}
    recipe = {
        "g_min_S": 1e-6, "g_max_S": 4e-5, "band_S": 1e-6, "v_read_v": 0.2, "pulses_max": 60, "flips_max": 20,
        "pulses_at_cap_max": 5, "time_max_s": 10.0,
        "set": {"gate": weak, "gate_offset_v": 0.7, "gate_slope_S_per_v": 4e-5, "amplitude": weak, "width_s": 1e-7},
        "reset": {"gate_v": 4.0, "amplitude": weak, "width_s": 1e-7},
        "form": {**form, "amplitude": weak},
    }  # fmt: skip
    check(write(recipe=recipe))
    with pytest.raises(
        ConfigError, match=r"v_max_v: 9 V asked, 10 times the most .* \(set\.amplitude\.stop_v of 0\.9 V\)"
    ):
        check(write(recipe=recipe, v_max_v=9))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"v_read_max_v": 5}, r"limits\.v_read_max_v: 5 V asked; allowed is at most 3\.5 V \(limits\.v_max_v\)"),
        ({"v_max_v": 2.4}, r"recipe set\.amplitude\.stop_v of 2\.5 asked; allowed is at most 2\.4 \(limits\.v_max_v\)"),
        ({"v_gate_max_v": 3}, r"recipe reset\.gate_v of 4\.0 asked; .*limits\.v_gate_max_v"),
        ({"width_max_s": 1e-9}, r"recipe set\.width_s of .*limits\.width_max_s"),
        ({"pulses_per_cell_max": 5}, r"recipe pulses_max x epochs of 60 asked; .*limits\.pulses_per_cell_max"),
        ({"v_read_max_v": 0.1}, r"recipe v_read_v of 0\.2 asked; .*limits\.v_read_max_v"),
        ({"i_max_a": 5e-5}, r"recipe g_max_S of 4e-05 S asked, which draws 0\.0001 A at 2\.5 V; .*limits\.i_max_a"),
    ],
)  # fmt: skip
def test_limits_that_contradict_each_other_or_the_recipe_are_refused(
    write: Any, changes: Any, said: str
) -> None:
    for meant in (False, True):  # no word makes a contradiction right
        bench = write(**changes, unusual=meant)
        with pytest.raises(ConfigError, match=rf"^lab\.yaml: {said}"), open_bench(bench, commission=False):
            pass


def test_limits_of_an_experiments_recipe_count_too(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write(shape=[128, 64], arrays=4)
    Path("run.yaml").write_text(
        yaml.safe_dump({"name": "x", "bench": "lab.yaml", "task": {"name": "digits"}, "rule": {"name": "eapu"},
                        "optimizer": {"name": "sgd", "lr": 0.1}, "steps": 1, "batch": 1})
    )  # fmt: skip
    assert main(["train", "run.yaml", "--set", "bench.recipe.reset.gate_v=5.5", "--out", "r"]) == 2
    assert "lab.yaml: recipe reset.gate_v of 5.5 asked" in capsys.readouterr().err


def test_who_was_asked_is_said(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", write(arrays=2)]) == 0
    out = capsys.readouterr().out
    assert "the host refused all 20 requests" in out
    assert "arrays 0, 1: the device itself was not asked" in out


def test_the_device_is_asked_past_the_interlock(
    write: Any, capsys: pytest.CaptureFixture[str], mocker: MockerFixture
) -> None:
    proofs = [DeviceProof("v_max_v", "SET of 3.6 V", "refused: 3.6 V asked, limits.v_max_v")]
    mocker.patch.object(TwinCrossbar, "prove_limits", return_value=proofs, create=True)
    found = check(write())
    assert found.device_proofs == [proofs]
    assert main(["check", "lab.yaml"]) == 0
    out = capsys.readouterr().out
    assert "asked of the host" in out
    assert re.search(r"asked of the device.*SET of 3\.6 V +refused: 3\.6 V asked", out, re.DOTALL)
    assert "was not asked" not in out

    def fails(_: Any) -> list[DeviceProof]:
        raise HilError("v_max_v: the device took 3.6 V")

    mocker.patch.object(TwinCrossbar, "prove_limits", fails)
    assert main(["check", "lab.yaml"]) == 1
    assert "the device took 3.6 V" in capsys.readouterr().err


def test_a_refusal_for_another_reason_proves_nothing(write: Any, mocker: MockerFixture) -> None:
    mocker.patch("eapu_hil.bench.limits.LimitCheck.pulses", side_effect=LimitError("not today"))
    with pytest.raises(
        HilError, match=r"array 0: v_max_v: .* was refused, but for another reason: not today"
    ):
        check(write())
