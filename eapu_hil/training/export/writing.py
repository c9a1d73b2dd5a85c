"""Writes an export: whole or not at all, with no package imported that its format does not need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.storage import beside, storage_errors
from eapu_hil.bench.chip_id import PASSPORT
from eapu_hil.training.export import FORMATS
from eapu_hil.training.export.content import Content


def export(directory: Path, to: str, out: Path | None = None) -> Path:
    """Writes what the run or chip in `directory` holds to `out`, a new file or a new directory; returns that.

    to: one of `FORMATS`. out: None for the name of the run or chip, in the current directory.
    Raises ConfigError when `directory` is neither, `out` exists, or a package is missing; HilError for damaged files.
    """
    writer = _writer(to)
    out = Path(f"{directory.absolute().name}{FORMATS[to]}") if out is None else out
    _require_new(out)
    if not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no directory {out.parent}")
    content = _content(directory)
    part = beside(out)
    with storage_errors(out):
        try:
            writer(part, content)
            _require_new(out)  # meanwhile somebody may have made it
            part.replace(out)
        finally:
            _remove(part)
    return out


def _require_new(out: Path) -> None:
    if os.path.lexists(out):
        raise ConfigError(f"{out}: already exists; name a new place with --out")


def _content(directory: Path) -> Content:
    if (directory / PASSPORT).is_file():
        from eapu_hil.training.export.chip_content import chip_content

        return chip_content(directory)
    if not (directory / "start.yaml").exists() and directory.is_dir():
        below = sorted(path.parent for path in directory.glob("*/start.yaml"))
        hint = f"; export a run of it, such as {below[0]}" if below else ""
        raise ConfigError(f"{directory}: neither a run nor a chip (no start.yaml, no {PASSPORT}){hint}")
    from eapu_hil.training.export.run_content import run_content

    return run_content(directory)


def _writer(to: str) -> Callable[[Path, Content], None]:
    """Imports no more than this format needs. Raises ConfigError where a package is missing."""
    if to == "csv":
        from eapu_hil.training.export.csv_files import write_csv_files

        return write_csv_files
    if to == "tensorboard":
        from eapu_hil.training.export.tensorboard import write_tensorboard

        return write_tensorboard
    from eapu_hil.training.export.netcdf import write_netcdf

    return write_netcdf


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
