"""An open bench: interlocked arrays, the chip's passport and its ledger."""

from eapu_hil.bench.opening import Bench, open_bench

__all__ = ["Bench", "open_bench"]
