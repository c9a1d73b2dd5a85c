"""Measurements that turn a `Crossbar` into numbers in the chip's passport, one module each."""
