"""Names from files and instruments on a terminal and in pages: shown as they are, steering nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from eapu_hil.base.printable import printable
from eapu_hil.cli.bars import BatchBar, TrainingBar, measurement_bars
from eapu_hil.cli.parser import main
from eapu_hil.cli.terminal import Terminal
from eapu_hil.report.figures import Curve, draw_curves
from eapu_hil.report.page import PageSection, PageTable, Tile, render

NAMES = [
    "[/b]",
    "[bold]x",
    "[link=http://x]y[/link]",
    ":smile:",
    "a\x1b[2Jb",
    "\x07\x9b31m",
    "\u202egnp.exe",
    "\r\r",
]


@pytest.mark.parametrize("name", NAMES)
def test_what_steers_a_terminal_is_shown(name: str) -> None:
    shown = printable(name)
    assert shown.isprintable()
    assert printable("plain\tµS\n") == "plain\tµS\n"


@pytest.mark.parametrize("name", NAMES)
def test_lines_tables_and_bars_take_every_name(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # stderr counts as a terminal: bars are drawn
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal(as_json=False)
    terminal.say(name)
    terminal.note(name)
    terminal.table([name], [[name]])
    terminal.log_to_stderr(0)
    logging.getLogger("eapu_hil.here").info("%s", name)
    with BatchBar(terminal, name, 2) as bar:
        bar.ended(name, name)
    training = TrainingBar(terminal, name)
    training.on_start(1)
    training.on_step(1, {"loss": 1.0})
    training.on_end()
    with measurement_bars(terminal) as begin:
        begin(name)(1.0)
    out, err = capsys.readouterr()
    assert printable(name) in out
    assert printable(name) in err
    if "\x1b" in name:
        assert "\x1b[2J" not in out + err


def test_errors_and_usage_show_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["check", "\x1b[2J.yaml"],
        ["list", "[/b]\x1b[2J"],
        ["train", "x.yaml", "--set", "\x1b[2J"],
    ):
        assert main(arguments) == 2
        assert "\x1b" not in capsys.readouterr().err


SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_pages_hold_names_as_text(tmp_path: Path) -> None:
    section = PageSection(
        SCRIPT,
        SCRIPT,
        SCRIPT,
        tables=[PageTable([[SCRIPT, SCRIPT]], [SCRIPT, SCRIPT])],
        details={SCRIPT: SCRIPT},
    )
    page = render(tmp_path, SCRIPT, SCRIPT, [SCRIPT], [Tile(SCRIPT, SCRIPT, SCRIPT)], [section]).read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "\"'>" not in page


@pytest.mark.parametrize("name", ["$", "$x$", r"$\frac$", "$$", "a_{b}^$", SCRIPT, *NAMES])
def test_figures_take_names_as_they_are(name: str, tmp_path: Path) -> None:
    x = np.arange(5.0)
    for suffix in ("png", "svg"):
        draw_curves(tmp_path / f"a.{suffix}", [Curve(name, x, x)], name, log=False)
    assert "<script>" not in (tmp_path / "a.svg").read_text()
