"""From a bench file to an open bench: interlocked arrays, the chip's passport and its ledger."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from eapu_hil.base import plugins
from eapu_hil.base.loading import load_model
from eapu_hil.base.stopping import bench_signals
from eapu_hil.bench.array import BenchArray
from eapu_hil.bench.chip_id import PASSPORT, chip_id
from eapu_hil.bench.clocks import clock_of_session
from eapu_hil.bench.config import BenchConfig, TwinBenchConfig
from eapu_hil.bench.corrections import Corrections
from eapu_hil.bench.driver import find_driver
from eapu_hil.bench.forming_record import FormingRecord
from eapu_hil.bench.identity import compare, devices_of, require_serial
from eapu_hil.bench.interlock import Interlock, close_all
from eapu_hil.bench.ledger import Ledger
from eapu_hil.bench.passport import LOCK, Chip, own_chip
from eapu_hil.bench.plausible import require_plausible
from eapu_hil.bench.programmed import record_programmed
from eapu_hil.bench.usage import holds_something
from eapu_hil.bench.wide import BenchArrays
from eapu_hil.hal import BenchWide, ConfigError, Crossbar, Identity, Unattended
from eapu_hil.hal.recipe import Recipe

COMMISSIONING = "eapu_hil.commissioning"

_LOG = logging.getLogger(__name__)


class Commission(Protocol):
    """The signature of an entry point of `COMMISSIONING`."""

    def __call__(self, arrays: Sequence[BenchArray], chip: Chip, recipe: Recipe, seed: int) -> None:
        """Forms what was never formed and measures the write error of `recipe`; both go into the passport."""
        ...


@dataclass(frozen=True, eq=False)
class Bench:
    """An open bench. recipe: what a program request uses when it names none.

    arrays: by number; they also take requests over several of them at once.
    """

    config: BenchConfig
    arrays: BenchArrays
    chip: Chip
    ledger: Ledger
    recipe: Recipe

    def watched_by(self, at_work: Callable[[], None]) -> None:
        """Tells `at_work` whenever a request to an array begins or ends."""
        for array in self.arrays:
            array.interlock.at_work = at_work

    @property
    def unattended(self) -> Unattended | None:
        """What puts the lines to 0 V where this program dies; None where nothing would."""
        simulated = Unattended("the end of the simulation", 0.0) if self.config.simulated else None
        return self.arrays[0].unattended or simulated


@contextmanager
def open_bench(
    source: Path | str | Mapping[str, Any] | BenchConfig,
    overrides: Sequence[str] = (),
    chip_dir: Path | None = None,
    *,
    commission: bool = True,
    exchanged: bool = False,
) -> Iterator[Bench]:
    """Opens a bench; leaving the context grounds every array, whatever happened.

    In the main thread, signals that would end the process on the spot leave through the context too, with exit code
    128 and their number, unless the program handles them itself; Ctrl-Z is refused where a bench is no simulation.

    source: path of a bench file, name of a packaged one, or its content. overrides: `key.path=value`.
    chip_dir: directory of the chip's passport in place of the bench file's `chip`. Without either the chip
        lives as long as the session.
    commission: form and measure a twin's chip that never was. A real chip is never formed unasked.
    exchanged: the chip is the one of the passport and its board or instruments are others than before; the passport
        records it.
    Raises ConfigError for a wrong file, an unknown backend, limits that cannot be meant (`require_plausible`), or a
    chip that is not the bench's or is in use; HilError when the devices do not answer or an array cannot be grounded
    at the end.
    """
    config = load_model(BenchConfig, source, overrides, "benches")
    require_plausible(config)
    driver = find_driver(config.backend)
    with ExitStack() as stack:
        stack.enter_context(bench_signals(frozen_is_safe=config.simulated))
        directory = chip_dir or config.chip
        if directory is None:
            directory = (
                Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eapu-hil-chip-"))) / "chip"
            )
        stack.enter_context(own_chip(directory))
        stack.enter_context(_nothing_half_made(directory))
        found = _chip_of(directory, config)
        is_empty = all(path.name == LOCK for path in directory.iterdir())
        chip_id(directory)  # before the device makes files of its own
        devices = stack.enter_context(driver.open(config, directory))
        _require_as_configured(devices, config)
        known = found is not None and found.passport.ledger
        ledger = Ledger(directory / "ledger", config.arrays, config.shape, chip_id(directory), known=known)
        stack.callback(ledger.close)
        identities = [device.identity for device in devices]
        # A new one last: a chip is there when all of its files are.
        chip = found or _new_chip(directory, config, identities, fresh=config.simulated and is_empty)
        chip.upgrade(simulated=config.simulated)
        chip.record_ledger()
        compare(chip, identities, config.serial, exchanged=exchanged)
        closing = stack.enter_context(_Closing())
        arrays = _interlocked(devices, config, ledger, chip, closing.interlocks)
        chip.clock = clock_of_session(chip, arrays[0].clock_s(), simulated=config.simulated)
        bench = Bench(config, arrays, chip, ledger, config.recipe)
        with closing:  # of the stack too: an interrupt may cut one of the two short
            if commission and chip.latest("write_error") is None and not _holds_something(chip):
                prepare_for_training(bench)
            yield bench


def _chip_of(directory: Path, config: BenchConfig) -> Chip | None:
    """The chip in `directory`, None where there is none yet. Raises ConfigError where it is not the bench's."""
    if not (directory / PASSPORT).exists():
        return None
    chip = Chip.open(directory)
    chip.require(config.shape, config.arrays)
    require_serial(chip, config.serial)
    return chip


def _new_chip(directory: Path, config: BenchConfig, identities: Sequence[Identity], *, fresh: bool) -> Chip:
    return Chip.create(
        directory,
        identities[0].model,
        identities[0].serial,
        config.shape,
        config.arrays,
        devices=devices_of(identities),
        chip_serial=config.serial,
        simulated=config.simulated,
        fresh=fresh,
    )


def _interlocked(
    devices: Sequence[Crossbar], config: BenchConfig, ledger: Ledger, chip: Chip, interlocks: list[Interlock]
) -> BenchArrays:
    """The arrays as a bench hands them out. interlocks: takes each interlock as soon as it is made, to be closed."""
    limits = config.limits.as_limits()
    arrays = []
    known = zip(devices, ledger.arrays, Corrections.of_all(chip), strict=True)
    for number, (device, counters, corrections) in enumerate(known):
        interlock = Interlock(device, limits, f"array {number}")
        interlocks.append(interlock)
        arrays.append(
            BenchArray(
                device,
                interlock,
                config.recipe,
                counters,
                corrections,
                partial(record_programmed, chip, number),
                FormingRecord(chip, number),
            )
        )
    return BenchArrays(arrays, devices if isinstance(devices, BenchWide) else None)


@contextmanager
def _nothing_half_made(directory: Path) -> Iterator[None]:
    """Removes what was made in `directory` when no chip came of it: no device, no space, a wrong bench."""
    before = {path.name for path in directory.iterdir()}
    try:
        yield
    except BaseException as error:
        if PASSPORT not in before and not (directory / PASSPORT).exists():
            # Frames hold mapped files: perhaps no more can be opened.
            traceback.clear_frames(error.__traceback__)
            if error.__cause__ is not None:
                traceback.clear_frames(error.__cause__.__traceback__)
            with contextlib.suppress(OSError):  # the error that is on its way says what is wrong
                for path in [path for path in directory.iterdir() if path.name not in before]:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _holds_something(chip: Chip) -> bool:
    """Whether the write error is not to be measured unasked, which the log then says: it would overwrite cells."""
    if not holds_something(chip):
        return False
    _LOG.warning(
        "%s: the write error was never measured, and the cells hold what was programmed or trained; to measure it, "
        "which overwrites cells: eapu-hil calibrate BENCH write_error",
        chip.directory,
    )
    return True


class _Closing:
    """Grounds and closes the arrays whose interlocks were added, on every way out."""

    def __init__(self) -> None:
        self.interlocks: list[Interlock] = []

    def __enter__(self) -> _Closing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_all(self.interlocks, error)


def _require_as_configured(arrays: Sequence[Crossbar], config: BenchConfig) -> None:
    shapes = [array.shape for array in arrays]
    if shapes != [config.shape] * config.arrays:
        found = ", ".join(f"{rows} x {columns}" for rows, columns in shapes) or "none"
        raise ConfigError(
            f"{config.where}: arrays, shape: {config.arrays} arrays of {config.shape[0]} x {config.shape[1]} asked; "
            f"the backend has arrays of {found}"
        )
    asked = config.limits.as_limits()
    for array in arrays:
        for field in fields(asked):
            value, most = getattr(asked, field.name), getattr(array.limits, field.name)
            if value > most:
                raise ConfigError(
                    f"{config.where}: limits.{field.name}: {value} asked; the device allows at most {most}"
                )


def prepare_for_training(bench: Bench) -> None:
    """Forms a new chip of the twin, and measures its write error if that is not known for the bench's recipe.

    The measurement overwrites cells, so this is for a chip that is about to be programmed anew. A real chip is
    left alone: the log says what to do. Raises ConfigError where no installed package, or more than one, does that.
    """
    known = bench.chip.latest("write_error")
    if known is not None and _as_written(known.values.get("recipe", {})) == _as_written(
        bench.recipe.model_dump(mode="json")
    ):
        return
    directory = bench.chip.directory
    if not bench.config.simulated:
        _LOG.warning(
            "%s: the write error of this recipe is not known; measure it with: eapu-hil calibrate BENCH write_error "
            "(on a fresh chip: forming write_error)",
            directory,
        )
        return
    commission = _find_commission(bench.config)
    new = not bench.chip.of_kinds("forming")
    work = (
        "forming the cells of a new chip and measuring the write error"
        if new
        else "measuring the write error"
    )
    _LOG.info("%s: %s (about 10 s)", directory, work)
    seed = bench.config.seed if isinstance(bench.config, TwinBenchConfig) else 0
    commission(bench.arrays, bench.chip, bench.recipe, seed)


def _as_written(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a recipe that decides about writes: all but the voltage of products."""
    return {key: value for key, value in recipe.items() if key != "v_in_max_v"}


def _find_commission(config: BenchConfig) -> Commission:
    names = plugins.names(COMMISSIONING)
    if not names:
        raise ConfigError(
            f"{config.where}: chip: no installed package can form the cells of a new chip and measure its write error "
            f"(entry point {COMMISSIONING}); install the whole of eapu-hil, or open the bench with commission=False"
        )
    if len(names) > 1:
        raise ConfigError(
            f"{config.where}: chip: {' and '.join(map(repr, names))} all form and measure new chips (entry point "
            f"{COMMISSIONING}); uninstall all but one"
        )
    found: Commission = plugins.load(COMMISSIONING, names[0], "commissioning")
    return found
