"""The contract suite: tests that any array must pass. It needs pytest.

    from eapu_hil.bench import open_bench
    from eapu_hil.hal.testing import CrossbarContract

    @pytest.fixture(scope="module")
    def bench():
        with open_bench("my_bench.yaml") as bench:
            yield bench

    class TestMyArray(CrossbarContract):
        pass

The suite pulses cells: give it cells that are formed and that nobody needs. docs/adding-a-driver.md says more.
"""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("limits", "products", "time", "writing")))

from eapu_hil.hal.testing.suite import CrossbarContract  # noqa: E402 - its assertions are rewritten
from eapu_hil.hal.testing.under_test import BenchUnderTest  # noqa: E402 - the same

__all__ = ["BenchUnderTest", "CrossbarContract"]
