"""From a bench file to an open bench: interlocked arrays, the chip's passport and its ledger."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Any

from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig
from eapu_hil.bench.interlock import InterlockedCrossbar, close_all
from eapu_hil.bench.ledger import Ledger
from eapu_hil.bench.passport import Chip, own_chip
from eapu_hil.hal import ConfigError, Crossbar, HilError
from eapu_hil.hal.recipe import Recipe

DRIVERS = "eapu_hil.drivers"
Driver = Callable[[BenchConfig, Path], AbstractContextManager[list[Crossbar]]]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Bench:
    """An open bench. recipe: what a program request uses when it names none."""

    config: BenchConfig
    arrays: list[InterlockedCrossbar]
    chip: Chip
    ledger: Ledger
    recipe: Recipe


@contextmanager
def open_bench(
    source: Path | str | Mapping[str, Any] | BenchConfig,
    overrides: Sequence[str] = (),
    chip_dir: Path | None = None,
    *,
    commission: bool = True,
) -> Iterator[Bench]:
    """Opens a bench; leaving the context grounds every array, whatever happened.

    source: path of a bench file, name of a packaged one, or its content. overrides: `key.path=value`.
    chip_dir: directory of the chip's passport in place of the bench file's `chip`. Without either the chip
        lives as long as the session.
    commission: form and measure a twin's chip that never was. A real chip is never formed unasked.
    Raises ConfigError for a wrong file, an unknown backend, or a chip that is not the bench's or is in use;
    HilError when the devices do not answer or an array cannot be grounded at the end.
    """
    config = load_model(BenchConfig, source, overrides, "benches")
    driver = _find_driver(config.backend)
    with ExitStack() as stack:
        directory = chip_dir or config.chip
        if directory is None:
            directory = (
                Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eapu-hil-chip-"))) / "chip"
            )
        stack.enter_context(own_chip(directory))
        chip = Chip.open(directory) if (directory / "passport.yaml").exists() else None
        if chip is not None:
            chip.require(config.shape, config.arrays)
        inner = stack.enter_context(driver(config, directory))
        _require_as_configured(inner, config)
        if chip is None:
            identity = inner[0].identity
            chip = Chip.create(directory, identity.model, identity.serial, config.shape, config.arrays)
        ledger = Ledger(directory / "ledger", config.arrays, config.shape)
        stack.callback(ledger.close)
        limits = config.limits.as_limits()
        closing = stack.enter_context(_Closing())
        for number, (array, counters) in enumerate(zip(inner, ledger.arrays, strict=True)):
            closing.arrays.append(
                InterlockedCrossbar(array, limits, config.recipe, counters, f"array {number}")
            )
            closing.arrays[number].read_offset_a = chip.read_offset_a(number)
        bench = Bench(config, closing.arrays, chip, ledger, config.recipe)
        if commission and chip.latest("write_error") is None:
            prepare_for_training(bench)
        yield bench


class _Closing:
    """Grounds and closes the arrays that were added, on every way out."""

    def __init__(self) -> None:
        self.arrays: list[InterlockedCrossbar] = []

    def __enter__(self) -> _Closing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_all(self.arrays, error)


def _find_driver(backend: str) -> Driver:
    installed = entry_points(group=DRIVERS)
    if backend not in installed.names:
        names = ", ".join(sorted(installed.names)) or "none"
        raise ConfigError(f"bench: backend: no driver named {backend!r}; installed are {names}")
    try:
        driver: Driver = installed[backend].load()
    except (ImportError, AttributeError) as error:
        raise HilError(f"bench: backend: the driver {backend!r} cannot be loaded: {error}") from error
    return driver


def _require_as_configured(arrays: Sequence[Crossbar], config: BenchConfig) -> None:
    shapes = [array.shape for array in arrays]
    if shapes != [config.shape] * config.arrays:
        found = ", ".join(f"{rows} x {columns}" for rows, columns in shapes) or "none"
        raise ConfigError(
            f"bench: arrays, shape: the backend has arrays of {found}; "
            f"asked are {config.arrays} of {config.shape[0]} x {config.shape[1]}"
        )
    asked = config.limits.as_limits()
    for array in arrays:
        for field in fields(asked):
            value, most = getattr(asked, field.name), getattr(array.limits, field.name)
            if value > most:
                raise ConfigError(
                    f"bench: limits.{field.name}: {value} asked; the device allows at most {most}"
                )


def prepare_for_training(bench: Bench) -> None:
    """Forms a twin's fresh chip, and measures its write error where that is not known for the bench's recipe.

    The measurement overwrites cells, so this is for a chip that is about to be programmed anew. A real chip is
    left alone: the log says what to do.
    """
    from eapu_calibration import commission, is_commissioned

    if is_commissioned(bench.chip, bench.recipe):
        return
    directory = bench.chip.directory
    if not bench.config.simulated:
        _LOG.warning("%s: not calibrated for this recipe: form the cells, measure the write error", directory)
        return
    _LOG.info("%s: forming what is fresh and measuring the write error", directory)
    commission(bench.arrays, bench.chip, bench.recipe, bench.config.seed)
