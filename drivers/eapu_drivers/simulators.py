"""Simulated hardware for the drivers: found by its name, so that no driver imports a simulator."""

from __future__ import annotations

from typing import Any

from eapu_hil.base import plugins

GROUP = "eapu_hil.simulators"


def find_simulator(name: str) -> Any:
    """The function that starts the simulated hardware `name`; the driver knows its arguments.

    Raises ConfigError if no installed package offers it, if two do, or if it cannot be imported.
    """
    return plugins.load(GROUP, name, "simulator")
