"""Shared by the tests of simulated instruments: a station, and a port for the `device` that each of them makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eapu_drivers.simulated.instruments.server import Device, Server
from stations import SmallStation


@pytest.fixture
def station(tmp_path: Path) -> SmallStation:
    return SmallStation(tmp_path)


@pytest.fixture
def server(station: SmallStation, device: Device) -> Iterator[Server]:
    with station.serving(device) as serving:
        yield serving
