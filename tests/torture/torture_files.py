"""Damaged and exchanged files: each must be refused, said, or make no difference.

One run is stopped in its midst and copied; in each copy one file of the run or of its chip is damaged, and the run goes
on. What comes of it is compared with what comes of the undamaged copy.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torture_commands import run as command
from torture_counts import SILENT, TRACEBACK, Counts

from eapu_hil.base.loading import load_model
from eapu_hil.training import resume, train
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.runs import read_metrics

STEPS, STOPPED_AT, OLDER_AT = 12, 9, 5
LIMITS = {
    "v_max_v": 3.5, "v_gate_max_v": 5.0, "i_max_a": 2.0e-3, "width_max_s": 1.0e-3, "pulses_per_cell_max": 1000,
    "v_read_max_v": 0.5,
}  # fmt: skip
EXPERIMENT = {
    "name": "torture",
    "bench": {"backend": "twin", "preset": "rram_180nm", "arrays": 2, "shape": [72, 64], "limits": LIMITS},
    "task": {"name": "digits"},
    "rule": {"name": "eapu"},
    "optimizer": {"name": "adam", "lr": 3.0e-3},
    "steps": STEPS, "batch": 16, "weight_range": 2.5,
    "evaluate_every": 6, "checkpoint_every": 4,
    "wear_levelling": {"threshold_growth": 0, "move_rows": True},
}  # fmt: skip

Damage = Callable[[Path, "Scene", np.random.Generator], bool]


class _StopAt:
    """A `Progress` that ends the training after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: object) -> None:  # noqa: ARG002 - the contract's
        if step == self._step:
            raise KeyboardInterrupt

    def on_evaluation(self, step: int, metrics: object) -> None: ...

    def on_end(self) -> None: ...


@dataclass(frozen=True)
class Scene:
    """run: stopped. older: the same run some steps earlier. other: another run, on another chip, at the same step."""

    run: Path
    older: Path
    other: Path

    @property
    def files(self) -> list[Path]:
        """The files of the run and its chip, relative to it."""
        found = (path.relative_to(self.run) for path in self.run.rglob("*") if path.is_file())
        return sorted(path for path in found if path.suffix != ".lock")

    @property
    def folders(self) -> list[Path]:
        """The directories in it."""
        return sorted(path.relative_to(self.run) for path in self.run.rglob("*") if path.is_dir())


def make_scene(folder: Path) -> Scene:
    """Trains the runs that are damaged in copies."""
    scene = Scene(folder / "run", folder / "older", folder / "other")
    _stopped(scene.run, 1, OLDER_AT)
    shutil.copytree(scene.run, scene.older)
    _resumed(scene.run, STOPPED_AT)
    _stopped(scene.other, 2, OLDER_AT)
    _resumed(scene.other, STOPPED_AT)
    return scene


def _stopped(run: Path, seed: int, step: int) -> None:
    experiment = load_model(ExperimentConfig, EXPERIMENT, [f"seed={seed}"], "experiments")
    try:
        train(experiment, run, _StopAt(step))
    except KeyboardInterrupt:
        return
    raise AssertionError("the training was not stopped")


def _resumed(run: Path, step: int) -> None:
    try:
        resume(run, _StopAt(step))
    except KeyboardInterrupt:
        return
    raise AssertionError("the training was not stopped")


def try_files(scene: Scene, folder: Path, trials: int, random: np.random.Generator) -> Counts:
    """Damages `trials` copies, one file each."""
    counts = Counts("damaged files", trials)
    right = _outcome(_copied(scene.run, folder))
    if right[0] != "done":
        raise AssertionError(f"the undamaged run did not go on: {right}")
    while counts.tried < trials:
        copy = _copied(scene.run, folder)
        damage = DAMAGES[int(random.integers(len(DAMAGES)))]
        names = scene.folders if damage is _without_folder else scene.files
        name = names[int(random.integers(len(names)))]
        if not damage(copy / name, scene, random):
            continue
        found = _outcome(copy)
        said = name.name in found[1] or name.parent.name in found[1]
        outcome = _judged(found, right, said=said)
        counts.add(outcome, f"{damage.__name__.strip('_')} {name}: {found[1][-300:]!r}")
    return counts


def _judged(found: tuple[str, str, str], right: tuple[str, str, str], *, said: bool) -> str:
    if found[0] in ("refused", TRACEBACK):
        return found[0]
    if found[2] == right[2]:
        return "no difference"
    return "said, went on" if said else SILENT


def _copied(run: Path, folder: Path) -> Path:
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy, symlinks=True)
    return copy


def _outcome(run: Path) -> tuple[str, str, str]:
    """How going on with a run ended, what was said, and what came of it."""
    ended = command(["resume", run])
    if ended.crash:
        return TRACEBACK, ended.crash, ""
    if ended.code != 0:
        return "refused", ended.errors, ""
    return "done", ended.errors, _content(run)


def _content(run: Path) -> str:
    """A digest of all that a run tells of: its lines, writes and summary, without what the machine's clock says."""
    total = hashlib.sha256((run / "writes.bin").read_bytes())
    for line in read_metrics(run):
        total.update(json.dumps(_without_wall(line), sort_keys=True).encode())
    summary = _without_wall(json.loads((run / "summary.json").read_text(encoding="utf-8")))
    total.update(json.dumps(summary, sort_keys=True).encode())
    return total.hexdigest()


def _without_wall(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ("wall_s", "seal", "time", "run_state")}


# Each damages one file and tells whether it changed anything.


def _gone(path: Path, _scene: Scene, _random: np.random.Generator) -> bool:
    path.unlink()
    return True


def _without_folder(path: Path, _scene: Scene, _random: np.random.Generator) -> bool:
    shutil.rmtree(path)
    return True


def _emptied(path: Path, _scene: Scene, _random: np.random.Generator) -> bool:
    changed = path.stat().st_size > 0
    path.write_bytes(b"")
    return changed


def _cut(path: Path, _scene: Scene, random: np.random.Generator) -> bool:
    content = path.read_bytes()
    if len(content) < 2:
        return False
    path.write_bytes(content[: int(random.integers(1, len(content)))])
    return True


def _flipped(path: Path, _scene: Scene, random: np.random.Generator) -> bool:
    content = bytearray(path.read_bytes())
    if not content:
        return False
    content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
    path.write_bytes(content)
    return True


def _digit_changed(path: Path, _scene: Scene, random: np.random.Generator) -> bool:
    content = bytearray(path.read_bytes())
    digits = [at for at, byte in enumerate(content) if chr(byte).isascii() and chr(byte).isdigit()]
    if path.suffix not in (".yaml", ".json", ".jsonl") or not digits:
        return False
    at = digits[int(random.integers(len(digits)))]
    content[at] = ord("0") + (content[at] - ord("0") + int(random.integers(1, 10))) % 10
    path.write_bytes(content)
    return True


def _zeroed(path: Path, _scene: Scene, random: np.random.Generator) -> bool:
    content = bytearray(path.read_bytes())
    if not content:
        return False
    start = int(random.integers(len(content)))
    end = min(len(content), start + int(random.integers(1, 4096)))
    changed = any(content[start:end])
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    return changed


def _longer(path: Path, _scene: Scene, random: np.random.Generator) -> bool:
    with path.open("ab") as file:
        file.write(random.bytes(int(random.integers(1, 200))))
    return True


def _doubled(path: Path, _scene: Scene, _random: np.random.Generator) -> bool:
    content = path.read_bytes()
    path.write_bytes(content + content)
    return bool(content)


def _line_gone(path: Path, _scene: Scene, random: np.random.Generator) -> bool:
    lines = path.read_bytes().splitlines(keepends=True)
    if path.suffix not in (".yaml", ".json", ".jsonl") or len(lines) < 2:
        return False
    del lines[int(random.integers(len(lines)))]
    path.write_bytes(b"".join(lines))
    return True


def _of_another(path: Path, scene: Scene, _random: np.random.Generator) -> bool:
    return _exchanged(path, scene.other)


def _older(path: Path, scene: Scene, _random: np.random.Generator) -> bool:
    return _exchanged(path, scene.older)


def _exchanged(path: Path, source: Path) -> bool:
    copy = next(parent for parent in path.parents if parent.name == "copy")
    instead = source / path.relative_to(copy)
    if not instead.is_file() or instead.read_bytes() == path.read_bytes():
        return False
    shutil.copyfile(instead, path)
    return True


def _another_of_its_kind(path: Path, _scene: Scene, random: np.random.Generator) -> bool:
    """A file of the same directory and type: another checkpoint, another array's counter."""
    around = [*path.parent.parent.glob(f"*/*{path.suffix}"), *path.parent.glob(f"*{path.suffix}")]
    alike = sorted({other for other in around if other.read_bytes() != path.read_bytes()})
    if not alike:
        return False
    shutil.copyfile(alike[int(random.integers(len(alike)))], path)
    return True


def _a_folder(path: Path, _scene: Scene, _random: np.random.Generator) -> bool:
    path.unlink()
    path.mkdir()
    return True


DAMAGES: tuple[Damage, ...] = (
    _gone, _without_folder, _emptied, _cut, _flipped, _digit_changed, _zeroed, _longer, _doubled, _line_gone,
    _of_another, _older, _another_of_its_kind, _a_folder,
)  # fmt: skip
