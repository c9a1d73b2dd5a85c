"""Drivers, the entry points of the group `eapu_hil.drivers`: the keys of a bench file, and a function that opens it.

[project.entry-points."eapu_hil.drivers"]
lab = "lab_package.driver:DRIVER"

class LabBench(BenchConfig):          # the keys that every bench has, and those of this backend
    address: str

DRIVER = Driver(LabBench, open_arrays)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from eapu_hil.base import plugins
from eapu_hil.base.loading import FileModel
from eapu_hil.hal import ConfigError, Crossbar

GROUP = "eapu_hil.drivers"
Keys = TypeVar("Keys", bound=FileModel)


@dataclass(frozen=True)
class Driver(Generic[Keys]):
    """A backend.

    keys: the model of its bench files, a class derived from `BenchConfig` (`eapu_hil.bench.config`).
    open: from a bench file and the directory of the chip's passport to the arrays, as many and as large as the file
        says; a context manager, whose end closes the devices. The arrays are grounded before. A driver may keep files
        of its own in that directory. The sequence may be `BenchWide` (`eapu_hil.hal`) too.
    """

    keys: type[Keys]
    open: Callable[[Keys, Path], AbstractContextManager[Sequence[Crossbar]]]


def find_driver(backend: str) -> Driver[Any]:
    """The driver that a bench file calls `backend`.

    Raises ConfigError where no installed package has it, or two have, or what it names is no driver.
    """
    found = plugins.load(GROUP, backend, "driver")
    check_driver(backend, found)
    driver: Driver[Any] = found
    return driver


def check_driver(backend: str, found: object) -> None:
    """Raises ConfigError where what an entry point names is no driver."""
    if not isinstance(found, Driver):
        raise ConfigError(
            f"the driver {backend!r} cannot be used: its entry point names {type(found).__name__} {found!r}; "
            "it must name an eapu_hil.bench.driver.Driver"
        )


def installed_drivers() -> dict[str, Driver[Any]]:
    """The drivers that can be used, by the backend's name; a broken one is left out."""
    return {one.name: one.found for one in plugins.listing(GROUP, "driver", check_driver) if not one.fault}


def backends_with(key: str) -> list[str]:
    """The installed backends whose bench files have `key`, for an error message."""
    return [name for name, driver in installed_drivers().items() if key in driver.keys.model_fields]
