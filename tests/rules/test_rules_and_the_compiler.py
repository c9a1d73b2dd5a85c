"""The compiler of the rules' loops takes its time: only who chooses writes waits for it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
from eapu_hil.network.optimizer import Adam, AdamConfig, make_optimizer
from eapu_hil.rules.eapu import EapuConfig
from eapu_hil.rules.eapu_residual import EapuResidualConfig
adam = make_optimizer(AdamConfig(), (4, 3))
rules = [config.make((4, 3), None) for config in (EapuConfig(), EapuResidualConfig())]
print("numba" in sys.modules)
adam.step(np.ones((4, 3), np.float32), 0.1)
print("numba" in sys.modules)
"""


def test_rules_and_optimizers_are_made_without_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
