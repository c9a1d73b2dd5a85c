"""Simulated instruments around an array of the twin, for `resource: sim:...` and `eapu-hil sim`.

`probe.py` is the physics (sources, crosspoints, cells), `server.py` the line, one module a family the dialect.
"""
