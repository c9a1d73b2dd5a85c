"""Exports a run or a chip to files of other tools (`eapu_hil.training.export.writing`)."""

from __future__ import annotations

# What an export is called that is given no name: that of the run or chip, and this.
FORMATS = {"hdf5": ".h5", "netcdf": ".nc", "csv": "-csv", "tensorboard": "-tensorboard"}
