"""Killed processes: nothing that was done is lost, nothing is done twice, and lines end at 0 V.

Two kinds of victims. A training on the twin is killed at any moment, again and again, and goes on until it is done; a
`program` of all cells through the firmware of the controller is killed in its midst. The pulses that cells really got
are counted outside of what is tested: by the simulated front end of the board, and around the physics of the twin.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from eapu_drivers.simulated.board.linerecord import LineRecord
from torture_counts import SILENT, TRACEBACK, Counts
from torture_files import EXPERIMENT, LIMITS

from eapu_hil.base.loading import load_model
from eapu_hil.base.stopping import grounding_signals
from eapu_hil.bench import open_bench
from eapu_hil.hal import Cells, HilError, Targets
from eapu_hil.training import resume, train
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.records import WriteCause
from eapu_hil.training.runs import read_metrics, read_summary, read_writes
from eapu_hil.twin import chip as twin

# Imports once what every child needs; a child is then a fork of that process.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["torture_kills", "eapu_calibration", "sklearn.datasets", "sklearn.model_selection"]
)
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
STEPS, LONGEST_RUN_s, STUCK_s = 40, 3.0, 120.0
BOARD = {"backend": "controller", "port": "sim:posix", "preset": "ideal", "shape": [16, 16], "limits": LIMITS}


class _Silent:
    """A `Progress` that shows nothing."""

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: object) -> None: ...

    def on_evaluation(self, step: int, metrics: object) -> None: ...

    def on_end(self) -> None: ...


def _counted(tally: Path) -> None:
    """From now on the pulses of the twin are counted in `tally`, those of a stretch of write-verify at its end."""
    count = np.memmap(tally, np.int64, mode="r+", shape=(1,))
    rounds = twin.write_rounds

    def counted(*request: Any) -> Any:
        writing = request[4]
        before = int(writing.pulses.sum())
        found = rounds(*request)
        count[0] += int(writing.pulses.sum()) - before
        return found

    twin.write_rounds = counted


def _train(run: Path, tally: Path, log: Path) -> None:
    _counted(tally)
    with _logged(log), grounding_signals():
        if (run / "start.yaml").exists():
            resume(run, _Silent())
        else:
            shutil.rmtree(run, ignore_errors=True)
            experiment = load_model(ExperimentConfig, EXPERIMENT, [f"steps={STEPS}"], "experiments")
            train(experiment, run, _Silent())


def _program(chip: Path, seed: int, log: Path) -> None:
    with _logged(log), grounding_signals(), open_bench(BOARD, chip_dir=chip, commission=False) as bench:
        array, random = bench.arrays[0], np.random.default_rng(seed)
        while True:
            array.program(Targets(Cells.all(array.shape), random.uniform(5e-6, 30e-6, 256)))


@contextlib.contextmanager
def _logged(log: Path) -> Any:
    """What a person would see: one line of an error, or a traceback."""
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    except HilError as error:
        os.write(2, f"eapu-hil: error: {error}\n".encode())
        os._exit(1)
    except KeyboardInterrupt:
        os._exit(130)


def try_kills(folder: Path, trials: int, random: np.random.Generator) -> list[Counts]:
    """Kills `trials` processes, half of each kind."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:  # as `nohup` leaves it, to all children too
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    first = trials - trials // 2
    training = Counts("killed trainings (twin)", first)
    while training.tried < first:
        _kill_until_done(folder, training, first, random)
    board = Counts("killed writes (firmware)", trials // 2)
    chip = folder / "board_chip"
    while board.tried < trials // 2:
        _kill_a_write(chip, board, random)
    return [training, board]


def _killed(
    target: Callable[..., None], args: tuple[Any, ...], random: np.random.Generator, longest_s: float
) -> str:
    """Starts a process and kills it after a random while; the name of the signal, "" when it ended before."""
    child = FORKS.Process(target=target, args=args, daemon=True)
    child.start()
    child.join(float(random.uniform(0.05, longest_s)))
    which = SIGNALS[int(random.integers(len(SIGNALS)))]
    alive = child.is_alive()
    if alive and child.pid is not None:
        os.kill(child.pid, which)
    child.join(STUCK_s)
    if child.is_alive():
        child.kill()
        child.join()
        return "stuck after " + which.name
    return which.name if alive else ""


def _kill_until_done(folder: Path, counts: Counts, trials: int, random: np.random.Generator) -> None:
    """One run, killed again and again until it is done or `trials` are reached."""
    run, tally, log = folder / "killed_run", folder / "tally", folder / "log"
    shutil.rmtree(run, ignore_errors=True)
    np.zeros(1, np.int64).tofile(tally)
    while counts.tried < trials:
        log.write_text("", encoding="utf-8")  # a child may be killed before it makes its own
        killed = _killed(_train, (run, tally, log), random, LONGEST_RUN_s)
        if not (
            run / "start.yaml"
        ).exists():  # nothing was recorded, so that nothing is left, its new chip neither
            np.zeros(1, np.int64).tofile(tally)
        wrong = _wrong_in_run(run, int(np.fromfile(tally, np.int64)[0]), log)
        if killed.startswith("stuck"):
            wrong = killed
        done = (run / "summary.json").exists() and (read_summary(run) or {}).get("exit_status") == "success"
        if killed or wrong:
            counts.add(_outcome(wrong, killed), f"{killed}: {wrong}")
        if done or wrong:
            return


def _outcome(wrong: str, killed: str) -> str:
    if wrong:
        return TRACEBACK if "Traceback" in wrong else SILENT
    return f"whole after {killed}"


def _wrong_in_run(run: Path, pulsed: int, log: Path) -> str:
    """What is lost, torn or double in a run; "" where all is whole."""
    text = log.read_text(encoding="utf-8")
    if "Traceback" in text:
        return text[-1500:]
    if "error:" in text:
        return f"it did not go on: {text[-300:]}"
    if not (run / "start.yaml").exists():
        return ""
    try:
        steps = [line["step"] for line in read_metrics(run, "step")]
        writes = read_writes(run)
    except HilError as error:
        return str(error)
    if steps != list(range(1, len(steps) + 1)):
        return f"steps {steps}"
    asked = writes[writes["cause"] == WriteCause.UPDATE]
    cells = {tuple(record) for record in asked[["step", "array", "row", "col"]].tolist()}
    if len(cells) < len(asked):
        return f"{len(asked) - len(cells)} writes stand there twice"
    counted = _ledger_pulses(run / "chip")
    if counted < pulsed:
        return f"the ledger counts {counted} of {pulsed} pulses"
    recorded = int(writes["pulses"].sum())
    return f"{recorded} pulses recorded, {counted} in the ledger" if recorded > counted else ""


def _kill_a_write(chip: Path, counts: Counts, random: np.random.Generator) -> None:
    log = chip.with_name("board_log")
    log.write_text("", encoding="utf-8")  # a child may be killed before it makes its own
    killed = _killed(_program, (chip, int(random.integers(1 << 31)), log), random, LONGEST_RUN_s)
    wrong = _wrong_at_board(chip, log)
    if killed.startswith("stuck"):
        wrong = killed
    counts.add(_outcome(wrong, killed or "its own end"), f"{killed}: {wrong}")


def _wrong_at_board(chip: Path, log: Path) -> str:
    """What the lines saw that the ledger does not know, or a line that is still driven."""
    text = log.read_text(encoding="utf-8")
    if "Traceback" in text:
        return text[-1500:]
    if "error:" in text:
        return f"it did not start: {text[-300:]}"
    if not (chip / "twin" / "front_end.npy").exists():
        return ""
    deadline_s = time.monotonic() + STUCK_s
    while not (record := LineRecord.read(chip)).grounded:  # the dead man of the firmware needs its time
        if time.monotonic() > deadline_s:
            return "a line stays driven"
        time.sleep(0.05)
    counted = _ledger_pulses(chip)
    return f"the ledger counts {counted} of {record.pulses} pulses" if counted < record.pulses else ""


def _ledger_pulses(chip: Path) -> int:
    return sum(int(np.load(path).sum()) for path in sorted((chip / "ledger").glob("array*/pulses.npy")))
