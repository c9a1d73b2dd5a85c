"""Reports of runs as they are found: finished, crashed, without an array, compared."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from eapu_hil.base.quantities import count, duration, metric_style, share, with_prefix
from eapu_hil.base.storage import write_json
from eapu_hil.hal import CellStatus, ConfigError, HilError
from eapu_hil.report.comparison_data import write_comparison
from eapu_hil.report.comparison_report import write_comparison_report
from eapu_hil.report.run_report import write_report
from eapu_hil.training.records import WRITE_DTYPE
from eapu_hil.training.run_store import RunStore

BENCH = {"backend": "twin", "preset": "rram_180nm", "arrays": 2, "shape": [128, 64]}
SUMMARY: dict[str, Any] = {
    "task": "denoise",
    "rule": "eapu",
    "backend": "twin",
    "seed": 3,
    "steps": 400,
    "exit_status": "success",
    "weights": 2592,
    "cells": 5184,
    "metric": {"name": "psnr_db", "input": 20.17, "initial": 19.9, "final": 27.914, "best": 27.95},
    "update_ratio_mean": 0.0071,
    "update_ratio_last": 0.0043,
    "writes_total": 36720,
    "pulses_total": 91431,
    "verify_reads_total": 170233,
    "vmm_total": 25_600_000,
    "writes_per_cell": {"mean": 14.1, "p50": 9.0, "p999": 77.0, "max": 131},
    "energy_j": {
        "pulse": 3.1e-6,
        "verify": 4.4e-7,
        "vmm": 2.2e-5,
        "adc": 6.1e-4,
        "dac": 9.9e-5,
        "total": 7.3454e-4,
    },
    "energy_assumptions": {"adc_j": 20e-12, "dac_j": 4e-12, "line_capacitance_f": 180e-15},
    "bench_time_s": 3723.0,
    "wall_s": 131.0,
}


def synthetic_run(path: Path, *, rule: str = "eapu", steps: int = 400, finished: bool = True) -> Path:
    """A run directory as the trainer leaves it, filled with plausible numbers."""
    rng = np.random.default_rng(1)
    experiment = {
        "name": "denoise",
        "task": {"name": "denoise", "sigma": 25},
        "rule": {"name": rule},
        "optimizer": {"name": "adam", "lr": 1e-3},
        "bench": BENCH,
        "steps": 400,
        "batch": 16,
        "seed": 3,
    }
    identity = {"model": "twin", "serial": "chip-0", "firmware": "rram_180nm", "git_hash": ""}
    start = {"name": "denoise", "experiment": experiment, "identities": [identity, identity], "seed": 3}
    fast = {"eapu": 0.03, "bp": 1.0, "eapu_residual": 0.004, "digital": 1.0}[rule]
    with RunStore.create(path, start) as store:
        for step in range(1, steps + 1):
            decay = np.exp(-step / 90)
            layers = {
                name: float(rng.poisson(n * min(fast, fast * (0.1 + decay))) / n) if rule != "bp" else 1.0
                for name, n in (("head", 144), ("body", 2304), ("tail", 144))
            }
            store.append_metrics(
                "step",
                {
                    "step": step,
                    "loss": (0.004 + 0.02 * decay) * rng.lognormal(0, 0.25),
                    "update_ratio": float(np.mean(list(layers.values()))),
                    "update_ratio_layer": layers,
                    "clock_s": 9.0 * step,
                    "wall_s": 0.3,
                },
            )
            if step % 40 == 0:
                metric = 20.5 + 7 * (1 - decay) - (5 if rule == "bp" else 0) + rng.normal(0, 0.1)
                store.append_metrics(
                    "evaluation",
                    {"step": step, "name": "psnr_db", "metric": metric, "input": 20.17, "quick": True},
                )
        if rule != "digital":
            store.append_writes(_writes(rng, 20_000))
            store.save_snapshots(_maps(rng))
        if finished:
            items = [{"name": n, "input": 20.1, "value": v} for n, v in (("camera", 27.6), ("flower", 28.3))]
            last = {
                "step": steps,
                "name": "psnr_db",
                "metric": 27.914,
                "input": 20.17,
                "quick": False,
                "items": items,
            }
            store.append_metrics("evaluation", last)
            store.save_snapshots(_gallery(rng))
            store.finish({**SUMMARY, "rule": rule})
    return path


def _writes(rng: np.random.Generator, size: int) -> np.ndarray:
    writes = np.zeros(size, dtype=WRITE_DTYPE)
    writes["step"] = np.sort(rng.integers(1, 400, size))
    writes["target_S"] = rng.uniform(5e-6, 45e-6, size)
    failed = rng.random(size) < 0.006
    error = np.where(failed, rng.normal(0, 6e-6, size), rng.normal(0.05e-6, 0.5e-6, size).clip(-1e-6, 1e-6))
    writes["after_S"] = writes["target_S"] + error
    writes["status"] = np.where(failed, CellStatus.NOT_CONVERGED, CellStatus.OK)
    writes["array"] = rng.integers(0, 2, size)
    writes["pulses"] = rng.geometric(0.4, size)
    return writes


def _maps(rng: np.random.Generator) -> dict[str, np.ndarray]:
    maps = {}
    for k in range(2):
        before = rng.normal(25e-6, 7e-6, (128, 64)).clip(2e-6, 50e-6)
        before[:, 50:] = np.nan  # columns that hold no weights
        wear = rng.poisson(rng.gamma(1.2, 6.0, (128, 64)))
        maps |= {f"g_before_S_{k}": before, f"pulses_{k}": wear}
        maps[f"g_after_S_{k}"] = before + rng.standard_t(3, (128, 64)) * 2e-6
    return maps


def _gallery(rng: np.random.Generator) -> dict[str, np.ndarray]:
    data = pytest.importorskip("skimage.data")
    images: dict[str, np.ndarray] = {"gallery_names": np.array(["camera", "coins"])}
    for index, name in enumerate(("camera", "coins")):
        clean = getattr(data, name)()[:300, :384] / 255
        noise = rng.normal(0, 25 / 255, clean.shape)
        images[f"gallery_{index}_input"] = (clean + noise).astype(np.float32)
        images[f"gallery_{index}_output"] = (clean + noise / 2.5).astype(np.float32)
        images[f"gallery_{index}_reference"] = clean.astype(np.float32)
    return images


def _check_page(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    light = re.findall(r'<img src="figures/([a-z_0-9]+)\.svg" alt="([^"]+)"', text)
    dark = re.findall(r'srcset="figures/([a-z_0-9]+)_dark\.svg"', text)
    assert light
    assert [name for name, _ in light] == dark
    files = {f"{name}{end}" for name, _ in light for end in (".png", ".svg", "_dark.svg")}
    assert {path.name for path in (page.parent / "figures").iterdir()} == files
    for name, alt in light:
        content = (page.parent / "figures" / f"{name}.png").read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert content.startswith(b"\x89PNG")
        assert min(width, height) > 200
        assert len(alt) > 40
        assert re.search(r"\d", alt)
        for end in (".svg", "_dark.svg"):
            ElementTree.parse(page.parent / "figures" / f"{name}{end}")
    assert "{{" not in text
    assert "nan" not in text.lower().replace("nano", "")
    return text


def test_a_finished_run_is_reported_whole(tmp_path: Path) -> None:
    page = write_report(synthetic_run(tmp_path / "a"))
    assert page == tmp_path / "a" / "report.html"
    text = _check_page(page)
    assert len(re.findall("<img", text)) == 6
    for said in ("Denoise with eapu", "27.91 dB", "+7.74 dB over the input", "7.1 ‰", "1 h 2 min", "735 µJ"):
        assert said in text
    for said in ("camera", "not converged", "180 fF", "rram_180nm, 2 arrays of 128 x 64", "crashed"):
        assert (said in text) is (said != "crashed")


def test_a_crashed_run_says_so(tmp_path: Path) -> None:
    page = write_report(synthetic_run(tmp_path / "a", steps=130, finished=False))
    text = _check_page(page)
    assert "it crashed or is still running. It got to step 130 of 400" in text
    assert "eapu-hil resume" in text
    assert "gallery.png" not in text


def test_a_run_that_recorded_nothing_is_reported(tmp_path: Path) -> None:
    RunStore.create(tmp_path / "a", {"name": "x", "experiment": {"task": {"name": "denoise"}}}).close()
    text = write_report(tmp_path / "a").read_text()
    assert "crashed or is still running" in text


def test_the_digital_reference_has_no_array_part(tmp_path: Path) -> None:
    text = _check_page(write_report(synthetic_run(tmp_path / "a", rule="digital")))
    assert "no array" in text
    assert "write_error.png" not in text


def test_no_run_no_report(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run directory"):
        write_report(tmp_path)
    with pytest.raises(ConfigError, match=r"holds no comparison\.json"):
        write_comparison_report(tmp_path)


def test_a_comparison_is_one_table(tmp_path: Path) -> None:
    rules = ("digital", "eapu", "bp", "eapu_residual")
    for rule in rules:
        synthetic_run(tmp_path / rule, rule=rule)
    ratios = {
        "eapu/bp": {"writes_total": 0.0125, "pulses_total": None, "energy_j": 0.5, "metric_difference": 4.2}
    }
    summaries = {rule: {**SUMMARY, "rule": rule} for rule in rules}
    summaries["digital"] = {**SUMMARY, "rule": "digital", "energy_j": None, "writes_total": None}
    write_comparison(tmp_path, {"rules": summaries, "ratios": ratios})
    text = _check_page(write_comparison_report(tmp_path))
    for said in ("Denoise under 4 rules", "eapu : bp", "+4.20 dB", "0.0125", "eapu_residual"):
        assert said in text


def test_a_comparison_of_other_runs_is_not_drawn(tmp_path: Path) -> None:
    for rule in ("eapu", "bp"):
        synthetic_run(tmp_path / "c" / rule, rule=rule)
    write_comparison(tmp_path / "c", {"rules": {"eapu": SUMMARY, "bp": SUMMARY}, "ratios": {}})
    (tmp_path / "c" / "bp").rename(tmp_path / "right")
    synthetic_run(tmp_path / "c" / "bp", rule="bp")
    with pytest.raises(HilError, match="c/bp: another run was put in its place"):
        write_comparison_report(tmp_path / "c")
    path = tmp_path / "c" / "comparison.json"
    path.write_text(path.read_text().replace('"ratios": {}', '"ratios": {"a/b": {}}'))
    with pytest.raises(HilError, match=r"comparison\.json: damaged, or changed by hand"):
        write_comparison_report(tmp_path / "c")
    write_json(path, {"rules": {"eapu": SUMMARY}})
    with pytest.raises(HilError, match=r"comparison\.json: carries no seal"):
        write_comparison_report(tmp_path / "c")
    assert not (tmp_path / "c" / "report.html").exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00123, "1.23 mJ"),
        (0.0, "0 J"),
        (999.6, "1.00 kJ"),
        (-4.2e-13, "-420 fJ"),
        (12.0, "12.0 J"),
        (None, "\u2013"),
    ],
)
def test_prefixes(value: float | None, text: str) -> None:
    assert with_prefix(value, "J") == text


def test_other_quantities() -> None:
    assert [duration(s) for s in (0.5, 59.7, 75, 3723, 200_000)] == [
        "500 ms",
        "1 min 0 s",
        "1 min 15 s",
        "1 h 2 min",
        "2 d 7 h",
    ]
    assert [share(r) for r in (0.5, 0.0071, 0.0)] == ["50 %", "7.1 \u2030", "0 %"]
    assert count(1234567.0) == "1\u202f234\u202f567"
    assert metric_style("accuracy").text(0.953) == "95.30 %"
    assert metric_style("other").text(2.0) == "2.00"
