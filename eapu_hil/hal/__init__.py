"""The contract between a bench and everything that uses one, with the errors that its requests raise."""

from eapu_hil.base.errors import (
    ConfigError,
    HilError,
    InstrumentError,
    LimitError,
    ProtocolError,
    TransportError,
    UnsupportedError,
)
from eapu_hil.hal.abilities import (
    BenchWide,
    ContactTest,
    DeviceProof,
    LineFault,
    ProductRequest,
    ProvesLimits,
)
from eapu_hil.hal.crossbar import (
    Cells,
    CellStatus,
    Crossbar,
    Direction,
    Identity,
    Limits,
    Polarity,
    PulseOutcome,
    Pulses,
    Reading,
    StatusArray,
    Targets,
    WriteOutcome,
)
from eapu_hil.hal.vectors import FloatArray, IntArray
from eapu_hil.hal.wear import AccountsForWear, WearAccount

__all__ = [
    "AccountsForWear",
    "BenchWide",
    "CellStatus",
    "Cells",
    "ConfigError",
    "ContactTest",
    "Crossbar",
    "DeviceProof",
    "Direction",
    "FloatArray",
    "HilError",
    "Identity",
    "InstrumentError",
    "IntArray",
    "LimitError",
    "Limits",
    "LineFault",
    "Polarity",
    "ProductRequest",
    "ProtocolError",
    "ProvesLimits",
    "PulseOutcome",
    "Pulses",
    "Reading",
    "StatusArray",
    "Targets",
    "TransportError",
    "UnsupportedError",
    "WearAccount",
    "WriteOutcome",
]
