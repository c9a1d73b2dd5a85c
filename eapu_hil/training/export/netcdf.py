"""Export to one file that is both HDF5 and netCDF 4: plain types, compressed, each table a group.

Every netCDF 4 file is HDF5. h5py and h5read take the groups as they are; xarray and netCDF find named dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eapu_hil.base.storage import plain
from eapu_hil.hal import ConfigError
from eapu_hil.training.export.content import TEXT, Column, Content, Table, Value, flattened

try:
    import h5netcdf
    import h5py
except ImportError as error:
    raise ConfigError(
        f"export to hdf5 and netcdf needs {error.name}: pip install 'eapu-hil[export]'"
    ) from error

_LINES_A_CHUNK = 1 << 14
_ATTRIBUTE_BYTES = 60_000  # HDF5 takes 64 KiB beside a group; the whole text is there too
_SQUEEZED: Mapping[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def write_netcdf(path: Path, content: Content) -> None:
    """Writes the new file `path`. Raises OSError."""
    with h5netcdf.File(path, "x") as file:
        _set(file, {"title": content.title, **content.about})
        for name, settings in content.settings.items():
            group = file.create_group(f"configuration/{name}")
            _set(group, flattened(settings))
            text = yaml.safe_dump(plain(settings), sort_keys=False, allow_unicode=True)
            group.create_variable("yaml", (), h5py.string_dtype(), data=np.array(text, object))
        for table in content.tables:
            if table.length:
                _write(file.create_group(table.name), table)


def _write(group: h5netcdf.Group, table: Table) -> None:
    _set(group, table.about)
    axes = [(table.dim, table.length)] if table.dim else []
    for column in table.columns:
        axes += zip(column.dims, column.shape, strict=True)
    for dim, size in axes:
        if dim not in group.dimensions:
            group.dimensions[dim] = size
    for column in table.columns:
        _create(group, table, column)
    done = 0
    for block in table.blocks():
        for name, values in block.items():
            group[name][slice(done, done + len(values)) if table.dim else ...] = values
        done += len(next(iter(block.values()), ()))


def _create(group: h5netcdf.Group, table: Table, column: Column) -> None:
    dims, chunks = column.dims, column.shape or None
    if table.dim:
        lines = 1 if column.shape else min(table.length, _LINES_A_CHUNK)
        dims, chunks = (table.dim, *dims), (lines, *column.shape)
    if column.dtype == TEXT:
        variable = group.create_variable(column.name, dims, h5py.string_dtype(), chunks=chunks)
    else:
        squeezed = _SQUEEZED if chunks else {}
        variable = group.create_variable(column.name, dims, column.dtype, chunks=chunks, **squeezed)
    _set(variable, column.attributes)


def _set(owner: Any, attributes: Mapping[str, Value]) -> None:
    for name, value in attributes.items():
        if not isinstance(value, str) or len(value.encode()) <= _ATTRIBUTE_BYTES:
            owner.attrs[name.replace("/", "_")] = value
