"""The twin as a driver: opens the simulated arrays that a bench file asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eapu_hil.config import BenchConfig, load_model
from eapu_hil.hal import Crossbar, Identity
from eapu_hil.provenance import git_commit
from eapu_hil.twin.crossbar import TwinCrossbar
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.state import BenchClock, StateFiles


@contextmanager
def open_arrays(config: BenchConfig, chip_dir: Path) -> Iterator[list[Crossbar]]:
    """The arrays of a twin bench; their state lives in `chip_dir`/twin and one clock serves all.

    Raises ConfigError for an unknown preset or a wrong override.
    """
    preset = load_model(TwinPreset, config.preset or "rram_180nm", config.overrides, "presets")
    files = StateFiles(chip_dir / "twin")
    clock = BenchClock(files)
    git_hash = str(git_commit().get("commit") or "")
    arrays: list[Crossbar] = []
    for number in range(config.arrays):
        identity = Identity("eapu_hil twin", f"seed{config.seed}-array{number}", preset.name, git_hash)
        arrays.append(
            TwinCrossbar(
                preset,
                config.recipe,
                config.shape,
                config.limits.as_limits(),
                clock,
                StateFiles(chip_dir / "twin" / f"array{number}"),
                identity,
                [config.seed, number],
            )
        )
    yield arrays
