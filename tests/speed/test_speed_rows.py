"""The figures of `make bench`: every row is there, and one runs. How long anything takes is not looked at."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_every_row_has_its_function() -> None:
    rows = importlib.import_module("speed.__main__").ROWS
    for module, function in rows.values():
        assert callable(getattr(importlib.import_module(f"speed.{module}"), function))


def test_a_row_says_what_it_took_and_what_it_should(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.import_module("speed.start"), "ROUNDS", 1)
    importlib.import_module("speed.__main__").print_row("start")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("start    eapu-hil --help, user time, s")
    assert "<= 0.25" in first
    assert "eapu-hil read twin --block 0:8,0:8" in second


def test_an_unknown_row_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-P", "-m", "speed", "stepp"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(BENCHMARKS)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no row stepp; there are step, product" in done.stderr


def test_a_figure_without_its_peer_is_not_judged() -> None:
    figures = importlib.import_module("speed.figures")
    shown = str(figures.Figure("a step", "3 ms", figures.needs("aihwkit"), None, 0.65))
    assert "not measured" in shown
    assert "make peers" in shown


def test_the_authors_optimizer_is_adam_where_all_is_written_exactly() -> None:
    torch = pytest.importorskip("torch")
    eapu = importlib.import_module("peers.authors_eapu").AdamEaPU
    torch.manual_seed(1)
    start, grads = torch.randn(30, 20), torch.randn(5, 30, 20)
    weights = [start.clone().requires_grad_() for _ in range(2)]
    optimizers = [eapu([weights[0]], threshold_uS=0.0, sigma_uS=0.0), torch.optim.Adam([weights[1]], lr=1e-3)]
    for grad in grads:
        for parameter, optimizer in zip(weights, optimizers, strict=True):
            parameter.grad = grad.clone()
            optimizer.step()
    torch.testing.assert_close(weights[0], weights[1])


def test_the_authors_optimizer_writes_rarely_and_is_right_in_the_mean() -> None:
    torch = pytest.importorskip("torch")
    eapu = importlib.import_module("peers.authors_eapu").AdamEaPU
    torch.manual_seed(1)
    weights = torch.zeros(1000, 1000, requires_grad=True)
    optimizer = eapu([weights], lr=1e-3, threshold_uS=2.0, sigma_uS=2.0, r_wg=1 / 80)
    weights.grad = torch.ones_like(weights)  # Adam's first step is lr, 0.08 uS: written with probability 0.04
    optimizer.step()
    written = float((weights != 0).float().mean())
    assert abs(written - 0.04) < 1e-3
    assert abs(float(weights.detach().mean()) + 1e-3) < 5e-5
