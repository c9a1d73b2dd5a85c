"""The twin as a driver: opens the simulated arrays that a bench file asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eapu_hil.base.loading import load_model
from eapu_hil.base.provenance import git_commit
from eapu_hil.bench.config import DEFAULT_PRESET, TwinBenchConfig
from eapu_hil.bench.driver import Driver
from eapu_hil.hal import ConfigError, Identity
from eapu_hil.twin.array import TwinArray
from eapu_hil.twin.chip import TwinChip
from eapu_hil.twin.crossbar import TwinCrossbar
from eapu_hil.twin.preset import TwinPreset
from eapu_hil.twin.products import ChipProducts
from eapu_hil.twin.rehearsal import rehearse
from eapu_hil.twin.requests import ChipRequests
from eapu_hil.twin.state import BenchClock, TwinState
from eapu_hil.twin.wide import TwinArrays


@contextmanager
def open_arrays(config: TwinBenchConfig, chip_dir: Path) -> Iterator[TwinArrays]:
    """The arrays of a twin bench; their state lives in `chip_dir`/twin and one clock serves all.

    Raises ConfigError for an unknown preset or a wrong override.
    """
    state, chip = _opened(config, chip_dir)
    limits = config.limits.as_limits()
    git_hash = str(git_commit().get("commit") or "")
    requests = ChipRequests(chip, limits.i_max_a)
    opened: list[TwinCrossbar] = []
    for number in range(config.arrays):
        serial = f"seed{config.seed}-array{number}"
        identity = Identity("eapu_hil twin", serial, chip.preset.name, git_hash)
        opened.append(TwinCrossbar(requests, number, limits, config.recipe, identity))
    try:
        yield TwinArrays(requests, opened)
    finally:
        state.close()


def simulated_arrays(config: TwinBenchConfig, chip_dir: Path) -> tuple[BenchClock, list[TwinArray]]:
    """The physics behind a bench, with its clock; the state lives in `chip_dir`/twin.

    Raises ConfigError for an unknown preset or a wrong override, and where the state is not that of these cells.
    """
    rehearse(preset_of(config))
    _, chip = _opened(config, chip_dir)
    products = ChipProducts(chip)
    return chip.clock, [TwinArray(chip, number, products) for number in range(config.arrays)]


def _opened(config: TwinBenchConfig, chip_dir: Path) -> tuple[TwinState, TwinChip]:
    preset = preset_of(config)
    state = TwinState(chip_dir, preset.name, config.seed, config.arrays)
    files = state.files(), state.cells()
    chip = TwinChip(preset, config.shape, config.arrays, files, config.seed)
    state.complete()
    return state, chip


def preset_of(config: TwinBenchConfig) -> TwinPreset:
    """The twin's parameters that a bench asks for. Raises ConfigError for an unknown preset or a wrong override."""
    try:
        return load_model(TwinPreset, config.preset or DEFAULT_PRESET, config.overrides, "presets")
    except ConfigError as error:
        raise ConfigError(f"{config.where}: preset: {error}") from error


DRIVER = Driver(TwinBenchConfig, open_arrays)
