"""The firmware's own unit tests, and how much of core/ they reach."""

from __future__ import annotations

from collections.abc import Callable


def test_unit_tests_reach_nine_lines_in_ten(need: Callable[..., None], make: Callable[..., str]) -> None:
    need("host", "cmocka")
    printed = make("coverage")
    assert "core/controller.c" in printed
    assert "at least 90 % asked" in printed.splitlines()[-1]
