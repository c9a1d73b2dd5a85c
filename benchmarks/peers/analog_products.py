"""A product of a 256 x 256 matrix with 1,024 vectors by aihwkit, with read noise and converters of 8 bits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from aihwkit.nn import AnalogLinear
from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from aihwkit.simulator.parameters import IOParameters
from aihwkit.simulator.parameters.enums import BoundManagementType, WeightNoiseType

SIZE, BATCH, BITS_8 = 256, 1024, 1 / 254


def analog_products() -> dict[str, Callable[[], object]]:
    """By name: the tile in C++, whose cells are noisy, and the one in PyTorch, which has the noise at its outputs."""
    converters = {"inp_res": BITS_8, "out_res": BITS_8, "bound_management": BoundManagementType.NONE}
    cells = IOParameters(
        w_noise=0.02, w_noise_type=WeightNoiseType.ADDITIVE_CONSTANT, out_noise=0.0, **converters
    )
    outputs = IOParameters(w_noise=0.0, out_noise=0.04, **converters)
    return {
        "aihwkit C++ tile": _product(InferenceRPUConfig(forward=cells)),
        "aihwkit torch tile": _product(TorchInferenceRPUConfig(forward=outputs)),
    }


def _product(config: object) -> Callable[[], object]:
    torch.manual_seed(1)
    layer = AnalogLinear(SIZE, SIZE, bias=False, rpu_config=config).eval()
    x = torch.rand(BATCH, SIZE) * 2 - 1

    def product() -> None:
        with torch.no_grad():
            layer(x)

    return product
