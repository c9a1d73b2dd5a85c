"""A seed's run is the same with any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.trainer import train


class _Watch:
    """A `Progress` that notes the threads of linear algebra in each step."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def on_start(self, total_steps: int) -> None: ...

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.threads += [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None: ...

    def on_end(self) -> None: ...


def test_a_product_is_made_by_one_thread_however_many_are_allowed(
    tmp_path: Path, make_experiment: Callable[..., ExperimentConfig]
) -> None:
    watch = _Watch()
    with threadpool_limits(2, user_api="blas"):
        train(make_experiment(rule={"name": "digital"}, steps=2), tmp_path / "run", watch)
    assert set(watch.threads) == {1}
