"""Twins to measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from eapu_hil.bench import Bench, open_bench
from eapu_hil.hal import Limits

OpenTwin = Callable[..., Bench]


@pytest.fixture
def open_twin(limits: Limits) -> Iterator[OpenTwin]:
    with ExitStack() as stack:

        def make(shape: tuple[int, int] = (64, 48), arrays: int = 1, **overrides: Any) -> Bench:
            source = {
                "backend": "twin",
                "shape": list(shape),
                "arrays": arrays,
                "overrides": {"faults.stuck_fraction": 0.0, **overrides},
                "limits": dict(vars(limits)),
            }
            return stack.enter_context(open_bench(source, commission=False))

        yield make
