"""How many threads there are decides how long a product takes, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from eapu_hil.base.threads import Workers, allowed_threads, one_thread_a_product


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("1", 1),
        (" 1 ", 1),
        ("1,4", 1),
        ("01", 1),
        ("100000", None),
        ("9" * 5000, None),
        ("0", None),
        ("-1", None),
        ("many", None),
        (",", None),
        ("", None),
    ],
)
def test_no_more_threads_than_the_user_and_the_cores_allow(
    asked: str, allowed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert allowed_threads() == (allowed or cores)


def test_linear_algebra_has_one_thread_inside_and_what_it_had_after() -> None:
    def threads() -> dict[str, int]:
        return {one["filepath"]: one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    with one_thread_a_product():
        assert before
        assert set(threads().values()) == {1}
    assert before.items() <= threads().items()


def test_a_library_that_is_loaded_later_has_one_thread_too() -> None:
    script = """
        from threadpoolctl import threadpool_info
        from eapu_hil.base.threads import one_thread_a_product
        with one_thread_a_product():
            import scipy.linalg
            print(*(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"))
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == {"1"}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_all_pieces_are_done_by_as_many_threads(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eapu_hil.base.threads.allowed_threads", lambda: count)
    seen, together = np.zeros(100, np.int64), threading.Barrier(count, timeout=30.0)

    def act(piece: slice) -> None:
        if piece.start < 10 * count:
            together.wait()  # as many at the same time
        seen[piece] += 1

    Workers().each(act, [slice(at, at + 10) for at in range(0, 100, 10)])
    np.testing.assert_array_equal(seen, 1)


@pytest.mark.parametrize("count", [1, 2])
def test_what_goes_wrong_in_a_thread_is_raised(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eapu_hil.base.threads.allowed_threads", lambda: count)

    def act(piece: slice) -> None:
        if piece.start:
            raise ValueError("no such piece")

    with pytest.raises(ValueError, match="no such piece"):
        Workers().each(act, [slice(0, 1), slice(1, 2)])
