"""The directory of a new run: one of several processes that want it makes it, and only that one takes it away again."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from eapu_hil.base.locks import InUseError, holder_of, own
from eapu_hil.base.storage import storage_errors
from eapu_hil.bench.passport import LOCK as CHIP_LOCK
from eapu_hil.hal import ConfigError
from eapu_hil.placement.layout import PLACEMENT
from eapu_hil.placement.row_moves import MOVES
from eapu_hil.training.journal import JOURNAL, METRICS, WRITES
from eapu_hil.training.runs import EXAMPLES_FILE, PAUSE

START, LOCK = "start.yaml", "run.lock"
ASKED_s = 0.2  # whoever lists runs holds the lock for an instant, see `holder_of`
_FILES = (
    START, METRICS, WRITES, JOURNAL, "snapshots.npz", PLACEMENT, MOVES, EXAMPLES_FILE, PAUSE, "summary.json",
)  # fmt: skip


def claim(run_dir: Path) -> bool:
    """Makes `run_dir` a run of this process; returns whether the directory is new. Of several that try, one succeeds.

    Whoever makes `checkpoints` has it. Raises ConfigError, with nothing changed, for all others.
    """
    checkpoints = run_dir / "checkpoints"
    with storage_errors(run_dir):
        try:
            run_dir.mkdir(parents=True)
            new = True
        except FileExistsError:
            new = False
            if not run_dir.is_dir() or any(run_dir.iterdir()):
                raise _taken(run_dir) from None
        try:
            checkpoints.mkdir()
        except FileExistsError:
            raise _taken(run_dir) from None
        except OSError:
            _remove_if_empty(run_dir, new)
            raise
    return new


def _taken(run_dir: Path) -> ConfigError:
    instead = ", or resume this run" if (run_dir / START).is_file() else ""
    return ConfigError(f"{run_dir}: already exists; name a new directory with --out{instead}")


def discard(run_dir: Path, new: bool) -> None:
    """Removes the files of a run that holds nothing, and nothing else. new: whether its directory came with it."""
    for name in _FILES:
        for path in (run_dir / name, run_dir / f"{name}.part"):
            with contextlib.suppress(OSError):
                path.unlink()
    shutil.rmtree(run_dir / "chip", ignore_errors=True)  # a chip that lives with the run
    # Last: whoever makes it anew owns the directory.
    shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
    _remove_if_empty(run_dir, new)


def remove_run(run_dir: Path) -> None:
    """Removes a run and all that lies in its directory, but nothing that a link leads to.

    start.yaml goes last: a run that was removed only in part is still listed, and can be removed again. Raises
    ConfigError where `run_dir` holds no run, InUseError where a process writes it or uses the chip in it, StorageError.
    """
    if not (run_dir / START).is_file():
        raise ConfigError(f"{run_dir}: not a run directory: it holds no {START}, so it is not removed")
    if run_dir.is_symlink():
        raise ConfigError(f"{run_dir}: a link to {run_dir.readlink()}; name the directory itself")
    run_dir = run_dir.resolve()  # `.` cannot be removed by that name
    with storage_errors(run_dir):
        with own(run_dir / LOCK, f"{run_dir}: this run goes on and is not removed", ASKED_s):
            _require_idle_chip(run_dir / "chip")
            for path in run_dir.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name not in (START, LOCK):
                    path.unlink()
            (run_dir / START).unlink()
        run_dir.rmdir()


def _require_idle_chip(chip: Path) -> None:
    """Raises InUseError where a process has the chip: what is counted of it must not go from under its user."""
    with contextlib.suppress(FileNotFoundError):
        process = holder_of(chip / CHIP_LOCK)
        if process is not None:
            raise InUseError(
                f"{chip}: at work (process {process}), so its run is not removed; stop that first"
            )


def _remove_if_empty(run_dir: Path, new: bool) -> None:
    if new:
        with contextlib.suppress(OSError):  # somebody has put something into it
            run_dir.rmdir()
