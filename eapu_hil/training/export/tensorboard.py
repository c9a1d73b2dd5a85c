"""Export to a directory for TensorBoard: curves, histograms of write errors, maps as pictures, settings as text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from eapu_hil.base.storage import plain
from eapu_hil.hal import ConfigError
from eapu_hil.training.export.content import Content, Table

try:
    from tensorboardX import SummaryWriter
except ImportError as error:
    raise ConfigError(f"export to tensorboard needs {error.name}: pip install 'eapu-hil[export]'") from error

_HISTOGRAMS = 50  # over all steps
# Edges of their bins, uS: fine around 0, where most errors are.
_HALF_uS = np.geomspace(0.01, 100.0, 60)
_EDGES_uS = np.concatenate([-_HALF_uS[::-1], [0.0], _HALF_uS])


def write_tensorboard(directory: Path, content: Content) -> None:
    """Fills the new `directory`. Raises OSError."""
    directory.mkdir()
    with SummaryWriter(str(directory)) as writer:
        for name, settings in content.settings.items():
            text = yaml.safe_dump(plain(settings), sort_keys=False, allow_unicode=True)
            writer.add_text(
                f"configuration/{name}", "".join(f"    {line}\n" for line in text.splitlines()), 0
            )
        began_s = _began_s(content)
        for table in content.tables:
            if table.name.startswith("metrics/") and table.dim == "step":
                _curves(writer, table, began_s)
            elif table.name == "writes" and table.length:
                _errors(writer, table)
            elif table.name == "arrays":
                _maps(writer, table)


def _began_s(content: Content) -> float:
    """The time of day at the start of the run; that of the export where it is not known."""
    try:
        return datetime.fromisoformat(str(content.about.get("time"))).timestamp()
    except ValueError:
        return datetime.now().timestamp()


def _curves(writer: SummaryWriter, table: Table, began_s: float) -> None:
    """A scalar of each number of each line. Its time of day: the start, and the time that the steps took."""
    kind, now_s = table.name.removeprefix("metrics/"), began_s
    names = [column.name for column in table.columns if column.dtype.kind == "f"]
    for block in table.blocks():
        for line, step in enumerate(block["step"].tolist()):
            now_s += float(np.nan_to_num(block["wall_s"][line])) if "wall_s" in block else 0.0
            quick = ".quick" if "quick" in block and block["quick"][line] == 1 else ""
            for name in names:
                value = float(block[name][line])
                if np.isfinite(value) and name != "quick":
                    writer.add_scalar(f"{kind}{quick}/{name}", value, step, walltime=now_s)


def _errors(writer: SummaryWriter, table: Table) -> None:
    """Histograms of the last reading minus the target in uS, each of a stretch of steps."""
    for last_step, counts, sums in _stretches(table):
        total = int(counts.sum())
        if total:
            filled = np.flatnonzero(counts)
            writer.add_histogram_raw(
                "writes/error_uS",
                min=float(_EDGES_uS[filled[0]]),
                max=float(_EDGES_uS[filled[-1] + 1]),
                num=total,
                sum=float(sums[0]),
                sum_squares=float(sums[1]),
                bucket_limits=_EDGES_uS[1:].tolist(),
                bucket_counts=counts.tolist(),
                global_step=last_step,
            )


def _stretches(table: Table) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """The last step of each stretch, with counts, sum and sum of squares of its errors."""
    length = max(1, -(-table.length // _HISTOGRAMS))
    counts, sums, seen, step = np.zeros(_EDGES_uS.size - 1, np.int64), np.zeros(2), 0, 0
    for block in table.blocks():
        error = 1e6 * (block["after_S"].astype(np.float64) - block["target_S"])
        start = 0
        while start < error.size:
            stop = min(error.size, start + length - seen)
            part = error[start:stop]
            part = np.clip(part[np.isfinite(part)], _EDGES_uS[0], _EDGES_uS[-1])
            counts += np.histogram(part, _EDGES_uS)[0]
            sums += part.sum(), (part**2).sum()
            seen, step, start = seen + stop - start, int(block["step"][stop - 1]), stop
            if seen == length:
                yield step, counts, sums
                counts, sums, seen = np.zeros_like(counts), np.zeros(2), 0
    yield step, counts, sums


def _maps(writer: SummaryWriter, table: Table) -> None:
    """Grey pictures of the maps; white is the highest value of any array."""
    ranges: dict[str, tuple[float, float]] = {}
    for block in table.blocks():
        for name, low, high in _ends(block):
            before = ranges.get(name, (low, high))
            ranges[name] = min(before[0], low), max(before[1], high)
    for block in table.blocks():
        for line, number in enumerate(block["array"].tolist()):
            for name, (low, high) in ranges.items():
                shown = (block[name][line].astype(np.float64) - low) / max(high - low, 1e-30)
                image = np.nan_to_num(np.clip(shown, 0.0, 1.0)).astype(np.float32)
                writer.add_image(f"{name}/array_{number}", image, 0, dataformats="HW")


def _ends(block: Any) -> Iterator[tuple[str, float, float]]:
    for name, values in block.items():
        if values.ndim == 3 and np.isfinite(values).any():
            low, high = np.nanpercentile(values, [0.2, 99.8])
            yield name, float(low), float(high)
