"""Measurements that turn a `Crossbar` into numbers in the chip's passport, one module each."""

from eapu_calibration.commissioning import commission, is_commissioned

__all__ = ["commission", "is_commissioned"]
