"""Files of measurements become entries of a passport, and these a twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from eapu_calibration.fit_twin import fit_twin
from eapu_calibration.gate_curve import GateCurveSettings, measure_gate_curve
from eapu_calibration.importing import import_file, load_import

from eapu_hil.base.loading import load_model
from eapu_hil.bench import Bench
from eapu_hil.bench.forming import form
from eapu_hil.bench.passport import Chip
from eapu_hil.cli.parser import main
from eapu_hil.hal import Cells, ConfigError
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.relaxing import RelaxingCells, log_start
from eapu_hil.twin.state import StateFiles

OpenTwin = Callable[..., Bench]
HEAD: dict[str, Any] = {
    "chip": {"model": "a lab's", "serial": "7"},
    "source": "a test",
    "file": "data.csv",
    "delimiter": "comma",
    "skip_lines": 1,
    "conductance_unit_S": 1e-6,
    "window": {"g_min_S": 1e-6, "g_max_S": 40e-6},
}
RELAXATION = {
    "relaxation": {
        "columns": {"cell": 0, "age_s": 2, "conductance": 1},
        "times_s": [0.01, 0.1, 1.0, 1000.0],
        "edges_S": [10e-6, 15e-6, 20e-6, 25e-6, 30e-6],
    }
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def relaxing_file(cells: int, **changed: float) -> None:
    """Readings of `cells` cells that relax by the law of the default preset, as a lab might have kept them."""
    law = load_model(TwinPreset, "rram_180nm", [], "presets").relaxation.model_copy(update=changed)
    rng = np.random.default_rng(4)
    g_S = rng.uniform(10e-6, 30e-6, cells)
    twin = RelaxingCells(law, g_S, StateFiles(Path("state")))
    twin.written_s[:] = 0.0
    twin.g_written_S[:] = g_S
    twin.log_age[:] = np.interp(g_S, law.g_S, log_start(law))
    lines = ["cell,uS,s"]

    def read(age_s: float) -> None:
        noisy_uS = 1e6 * g_S * (1.0 + 0.005 * rng.standard_normal(cells))
        lines.extend(f"{cell},{value:.4f},{age_s}" for cell, value in enumerate(noisy_uS))

    read(0.0)
    for age_s in (0.01, 0.1, 1.0, 970.0):
        twin.advance(g_S, age_s, rng, True)
        read(age_s)
    Path("data.csv").write_text("\n".join(lines))


def mapping(content: dict[str, Any], **changed: Any) -> Path:
    path = Path("import.yaml")
    path.write_text(yaml.safe_dump({**HEAD, **content, **changed}))
    return path


def test_relaxation_from_a_file_makes_a_twin(capsys: pytest.CaptureFixture[str]) -> None:
    relaxing_file(1500)
    assert main(["import", str(mapping(RELAXATION)), "--chip", "chip"]) == 0
    assert "relaxation" in capsys.readouterr().out
    chip = Chip.open(Path("chip"))
    entry = chip.latest("relaxation")
    assert entry is not None
    assert entry.values["source"] == "a test"
    assert len(entry.values["file_sha256"]) == 64
    assert sum(entry.values["cells"]) > 1490
    assert entry.values["age_s"] == pytest.approx([0.01, 0.1, 1.0, 970.0])
    base = load_model(TwinPreset, "rram_180nm", [], "presets")
    fit = fit_twin(chip, 0, base, np.random.default_rng(1))
    found = {one.key: one.estimate for one in fit.fitted}
    at_S = found["relaxation.g_S"].value
    assert at_S == pytest.approx([12.5e-6, 17.5e-6, 22.5e-6, 27.5e-6], abs=0.5e-6)
    for name in ("variance_per_decade_S2", "variance_1s_S2"):
        truth = np.interp(at_S, base.relaxation.g_S, getattr(base.relaxation, name))
        assert found[f"relaxation.{name}"].value == pytest.approx(truth, rel=0.4)
    assert max(fit.relaxation_ks.values()) < 0.06


def test_what_few_cells_do_not_settle_is_kept() -> None:
    """Sixty cells of one level at three times do not tell how much passes; the rest is fitted with the base's share."""
    relaxing_file(60, passing_share=0.0)
    few = {**RELAXATION["relaxation"], "times_s": [0.01, 1.0, 1000.0], "edges_S": [10e-6, 30e-6]}
    import_file(load_import(mapping({"relaxation": few})), Path("chip"), np.random.default_rng(0))
    base = load_model(TwinPreset, "rram_180nm", [], "presets")
    fit = fit_twin(Chip.open(Path("chip")), 0, base, np.random.default_rng(1))
    kept = {one.keys: one.reason for one in fit.kept}
    assert kept["relaxation.passing_share"] == "the measured changes do not determine it"
    assert fit.preset("mine", "of a test").relaxation.passing_share == base.relaxation.passing_share
    assert "relaxation.jump_decades" in {one.key for one in fit.fitted}


def test_a_gate_curve_from_a_file(open_twin: OpenTwin) -> None:
    """What a bench measured, written to a file and read again, gives the same transistor."""
    bench = open_twin((32, 16), **{"circuit.line_resistance_ohm": 0.0, "adc.gain_error_sd": 0.0})
    array = bench.arrays[0]
    cells = Cells.all(array.shape)
    form(array, cells, bench.recipe)
    settings = GateCurveSettings(cells=400, steps=12, repeats=4)
    found = measure_gate_curve(array, cells, bench.recipe, settings, np.random.default_rng(2), lambda _: None)
    good = np.flatnonzero(found.arrays["usable"])
    rows = [
        f"{cell},{gate_v:.4f},{1e6 * found.arrays['lowest_S'][repeat, step, cell]:.5f},"
        f"{1e6 * found.arrays['g_S'][repeat, step, cell]:.5f}"
        for cell in good
        for step, gate_v in enumerate(found.values["gate_v"])
        for repeat in range(4)
    ]
    Path("data.csv").write_text("cell,gate,before,after\n" + "\n".join(rows))
    columns = {"cell": 0, "gate_v": 1, "before": 2, "conductance": 3}
    path = mapping({"gate_curve": {"columns": columns}})
    import_file(load_import(path), Path("chip"), np.random.default_rng(0))
    base = load_model(TwinPreset, "rram_180nm", [], "presets")
    fit = fit_twin(Chip.open(Path("chip")), 0, base, np.random.default_rng(1))
    assert fit.value("gate.slope_S_per_v") == pytest.approx(40e-6, rel=0.03)
    assert fit.value("gate.threshold_v") == pytest.approx(0.7, abs=0.02)

    Path("data.csv").write_text("cell,gate,before,after\n" + "\n".join(rows[:-1]))
    with pytest.raises(ConfigError, match=r"data\.csv: between 3 and 4 SETs of a cell at one gate voltage"):
        import_file(load_import(path), Path("chip"), np.random.default_rng(0))


def test_a_second_file_is_a_second_entry() -> None:
    relaxing_file(200)
    wanted = load_import(mapping(RELAXATION))
    for number in (1, 2):
        assert import_file(wanted, Path("chip"), np.random.default_rng(0)).number == number


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "1,x,0.0",
            "data.csv:2: column 1: 'x' is no number",
        ),
        ("1,2.0\n2,3.0,0", "data.csv:3: 3 fields; line 2 has 2, separated by commas"),
        ("1,2.0,0\n\n# a line\n2,3,4\n\n1,x,2", "data.csv:7: column 1: 'x' is no number"),
        ("1,12.0,nan", "data.csv:2: column 2: nan is not finite"),
        ("1,12e-6,0\n2,13e-6,0\n", "are conductance_unit_S (1e-06) and window right?"),
        ("1,12.0,0.0", "0 cells begin between 10 and 15 uS"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(line: str, said: str) -> None:
    Path("data.csv").write_text(f"cell,uS,s\n{line}\n")
    with pytest.raises(ConfigError) as error:
        import_file(load_import(mapping(RELAXATION)), Path("chip"), np.random.default_rng(0))
    assert said in str(error.value)
    assert not Path("chip").exists()


def test_a_column_or_a_file_that_is_not_there_is_said_in_one_line() -> None:
    relaxing_file(50)
    columns = {"cell": 0, "age_s": 9, "conductance": 1}
    path = mapping({"relaxation": {**RELAXATION["relaxation"], "columns": columns}})
    with pytest.raises(ConfigError) as error:
        import_file(load_import(path), Path("chip"), np.random.default_rng(0))
    said = str(error.value)
    assert (
        "data.csv:2: has no column 9 (age_s), but 3, separated by commas; the columns 0 (cell), 9 (age_s), "
        "1 (conductance) are needed, counted from 0" in said
    )
    assert len(said) < 300
    assert "\n" not in said
    Path("data.csv").unlink()
    with pytest.raises(ConfigError, match=r"data\.csv: cannot be read: No such file"):
        import_file(load_import(path), Path("chip"), np.random.default_rng(0))


def test_a_mapping_needs_one_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(mapping({})), "--chip", "chip"]) == 2
    assert "one of relaxation, gate_curve must be there" in capsys.readouterr().err


def test_a_mapping_with_the_names_of_version_0_1_is_read() -> None:
    path = mapping(RELAXATION)
    text = path.read_text()
    now = load_import(path)
    for name in ("conductance_unit_S", "g_min_S", "g_max_S", "edges_S"):
        text = text.replace(name, name.replace("_S", "_s"))
    path.write_text(text)
    assert load_import(path) == now


def small_file(change: Callable[[list[str]], list[str]] = lambda rows: rows) -> str:
    """60 cells, each read at 0, 1 and 10 s: 20 uS and then a little less."""
    rng = np.random.default_rng(3)
    rows = [
        f"{cell},{age_s},{20 - age_s / 10 + rng.normal():.4f}" for cell in range(60) for age_s in (0, 1, 10)
    ]
    return "\n".join(["cell,age_s,g_uS", *change(rows)]) + "\n"


SMALL: dict[str, Any] = {
    "relaxation": {
        "columns": {"cell": 0, "age_s": 1, "conductance": 2},
        "times_s": [1.0, 10.0],
        "edges_S": [1e-6, 40e-6],
    }
}


def imported(text: str | bytes, **changed: Any) -> Any:
    Path("data.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    wanted = load_import(mapping({**SMALL, **changed.pop("content", {})}, **changed))
    return import_file(wanted, Path("chip"), np.random.default_rng(0))


@pytest.mark.parametrize(
    "text",
    [
        small_file(),
        small_file().partition("\n")[2],
        small_file().replace(",", ";").replace(".", ","),
        small_file().replace(",", "\t"),
        small_file().replace(",", "   "),
        small_file().encode("utf-16"),
        small_file().encode("utf-8-sig"),
        "% of the lab\n\n" + small_file(),
    ],
)
@pytest.mark.parametrize("skip_lines", [0, None])
def test_the_dialect_of_a_file_is_found(text: str | bytes, skip_lines: int | None) -> None:
    """skip_lines: None leaves the key out; a header is found in any case."""
    path = mapping(SMALL, delimiter=None, skip_lines=0)
    content = yaml.safe_load(path.read_text())
    if skip_lines is None:
        del content["skip_lines"], content["delimiter"]
    path.write_text(yaml.safe_dump(content))
    Path("data.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    entry = import_file(load_import(path), Path("chip"), np.random.default_rng(0))
    assert entry.values["cells"] == [60]
    assert entry.values["left_out"] == {}


def test_columns_may_be_named_by_the_header() -> None:
    columns = {"cell": "cell", "age_s": "age_s", "conductance": "g_uS"}
    named = {"relaxation": {**SMALL["relaxation"], "columns": columns}}
    assert imported(small_file(), content=named, skip_lines=0).values["cells"] == [60]
    columns["conductance"] = "g_us"
    with pytest.raises(ConfigError, match=r"data\.csv: no column 'g_us', did you mean 'g_uS'"):
        imported(small_file(), content=named, skip_lines=0)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("9.91E+37", "overflow"),
        ("-9.91E37", "overflow"),
        ("9.9e37", "overflow"),
        ("inf", "overflow"),
        ("-inf", "overflow"),
        ("nan", "not a number"),
        ("0", "0 or below"),
        ("-12.5", "0 or below"),
        ("400", "far outside the window of 1 to 40 uS"),
    ],
)
def test_what_is_no_conductance_is_left_out_and_counted(
    field: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(rows: list[str]) -> list[str]:
        return [f"0,10,{field}" if row.startswith("0,10,") else row for row in rows]

    entry = imported(small_file(spoil))
    assert entry.values["left_out"] == {reason: 1}
    assert entry.values["cells"] == [59]
    assert f"1 of 180 readings are left out ({reason}: 1), the first in line 4" in caplog.text
    assert np.nanmax(entry.arrays["g_S"]) < 40e-6


def test_a_cell_given_twice_is_refused_with_its_lines() -> None:
    with pytest.raises(
        ConfigError,
        match=r"cell 0 is given twice at the age of 0 s, in lines 2 and 182 \(and 179 more readings\)",
    ):
        imported(small_file(lambda rows: [*rows, *rows]))
    assert not Path("chip").exists()


def test_of_two_readings_near_a_time_the_nearest_counts() -> None:
    entry = imported(small_file(lambda rows: [*rows, "0,1.5,5.0", "0,0.6,6.0", "0,8,7.0"]))
    np.testing.assert_array_equal(entry.arrays["age_s"][:, 0], [1.0, 10.0])
    assert (entry.arrays["g_S"][:, 0] > 15e-6).all()


def test_cells_that_begin_outside_the_window_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    entry = imported(small_file(lambda rows: ["0,0,41" if row.startswith("0,0,") else row for row in rows]))
    assert entry.values["left_out"] == {"cells that begin outside the window": 1}
    assert entry.values["cells"] == [59]
    assert "1 cells left out: they begin outside the window" in caplog.text


def test_a_file_in_another_unit_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"180 of 180 readings are far outside the window of 1 to 40 uS; are cond"
    ):
        imported(small_file(), conductance_unit_S=1.0)


def test_a_gate_curve_leaves_out_the_cells_of_bad_readings() -> None:
    columns = {"cell": 0, "gate_v": 1, "before": 2, "conductance": 3}
    rows = [f"{c},{v},2,{10 + v}" for c in range(5) for v in (1.0, 1.5) for _ in range(3)]
    rows[4] = "0,1.5,2,9.91E37"
    Path("data.csv").write_text("\n".join(rows))
    path = mapping({"gate_curve": {"columns": columns}}, skip_lines=0)
    entry = import_file(load_import(path), Path("chip"), np.random.default_rng(0))
    assert entry.values["cells"] == 4
    assert entry.values["left_out"] == {"overflow": 1, "cells with such a reading": 1}


def test_a_file_of_another_chip_stays_out_of_the_passport() -> None:
    relaxing_file(400)
    wanted, rng = load_import(mapping(RELAXATION)), np.random.default_rng(0)
    import_file(wanted, Path("chip"), rng)
    for chip in ({"model": "a lab's", "serial": "8"}, {"model": "another lab's", "serial": "7"}):
        other = load_import(mapping({**RELAXATION, "chip": chip}))
        with pytest.raises(
            ConfigError, match=r"chip\.(serial|model): measured on .*; chip is the passport of "
        ):
            import_file(other, Path("chip"), rng)
    assert len(Chip.open(Path("chip")).history()) == 1


def test_a_twin_is_fitted_to_entries_of_its_own_chip() -> None:
    Chip.create(Path("chip"), "a lab's", "8", (9, 1), 1)
    values = {"array": 0, "chip": {"model": "a lab's", "serial": "7"}}
    Chip.open(Path("chip")).record("relaxation", values, {}, 0.0)
    base = load_model(TwinPreset, "rram_180nm", [], "presets")
    with pytest.raises(ConfigError, match=r"0001_relaxation\.yaml: chip\.serial: measured on '7'"):
        fit_twin(Chip.open(Path("chip")), 0, base, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("relaxation", "said"),
    [
        ({"times_s": [10.0, 1.0]}, "relaxation.times_s: must rise from value to value"),
        ({"times_s": [1.0, 1.0]}, "relaxation.times_s: must rise from value to value"),
        ({"edges_S": [40e-6, 1e-6]}, "relaxation.edges_S: must rise from value to value"),
        (
            {"columns": {"cell": 0, "age_s": 2, "conductance": 2}},
            "relaxation.columns: age_s and conductance name one column, 2; each has its own",
        ),
        (
            {"columns": {"cell": 0, "age_s": 1, "conductance": -1}},
            "relaxation.columns.conductance: must be greater than or equal to 0; given -1",
        ),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(relaxation: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        imported(small_file(), content={"relaxation": {**SMALL["relaxation"], **relaxation}})
    assert said in str(error.value)


def test_a_window_upside_down_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"window: g_max_S \(1e-06\) must be above g_min_S \(4e-05\)"):
        imported(small_file(), window={"g_min_S": 40e-6, "g_max_S": 1e-6})


def test_a_reading_counts_for_one_time_only() -> None:
    """At 1.2 s nothing was read: the reading at 1 s is that of the time 1 s."""
    near = {"relaxation": {**SMALL["relaxation"], "times_s": [1.0, 1.2, 10.0]}}
    with pytest.raises(
        ConfigError, match="0 cells begin between 1 and 40 uS and have a reading near each of"
    ):
        imported(small_file(), content=near)


def test_readings_before_age_0_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    entry = imported(small_file(lambda rows: [*rows, "0,-1,5.0"]))
    assert entry.values["left_out"] == {"before age 0": 1}
    assert "1 readings left out: their age is below 0 s" in caplog.text
    assert entry.arrays["first_S"][0, 0] > 15e-6


def test_a_cell_is_a_whole_number() -> None:
    with pytest.raises(ConfigError, match=r"data\.csv:4: column 'cell': cell 0\.5: expected a whole number"):
        imported(small_file(lambda rows: [*rows[:2], "0.5,10,20", *rows[3:]]), skip_lines=0)


def test_the_command_imports_a_gate_curve_and_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"cell": 0, "gate_v": 1, "before": 2, "conductance": 3}
    rows = [f"{c},{v},2,{10 + v + 0.1 * n}" for c in range(5) for v in (1.0, 1.5) for n in range(3)]
    Path("data.csv").write_text("\n".join(["cell,gate,before,after", *rows]))
    path = mapping({"gate_curve": {"columns": columns}})
    assert main(["import", str(path), "--chip", "chip"]) == 0
    assert Path("chip/figures/0001_gate_curve.png").is_file()
    said = "5 cells, 3 SETs of each at every one of 2 gate voltages, 1 to 1.5 V"
    assert said in " ".join(capsys.readouterr().out.split())
    for view in (["show", "chip"], ["show", "chip", "1"], ["diff", "chip", "1", "1"]):
        assert main(["passport", *view]) == 0
