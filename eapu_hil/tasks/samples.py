"""Samples in people's own files, `.csv` or `.npz`: inputs and targets as they stand there, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from pydantic import Field, model_validator

from eapu_hil.base.errors import ConfigError, did_you_mean
from eapu_hil.base.filenames import require_regular
from eapu_hil.base.loading import FileModel
from eapu_hil.base.npz import DAMAGE, read_member
from eapu_hil.base.tables import LARGEST, Table, read_table

Column = str | int
Columns = Column | Annotated[tuple[Column, ...], Field(min_length=1)]


class DataFiles(FileModel):
    """The files with the samples; a file is `.npz`, or `.csv` or `.tsv` with one sample a line.

    train, test: files, relative to the file that these keys stand in. Without `test` a share of `train` is held out.
    held_out: that share; None with `test`, 0.2 without.
    inputs: CSV: the columns to learn from, by header or number from 0 (negative: from the end); None: all others.
        NPZ: the name of the array, None: `x`. Its shape is (n, features), or for images (n, h, w) or (n, c, h, w).
    target: CSV: the column to predict, or several for regression; None: the last. NPZ: the name of the array, None:
        `y`. Its shape is (n,), or (n, numbers to predict).
    """

    path_keys: ClassVar[tuple[str, ...]] = ("train", "test")

    train: Path
    test: Path | None = None
    held_out: Annotated[float, Field(gt=0, lt=1)] | None = None
    inputs: Columns | None = None
    target: Columns | None = None

    @model_validator(mode="after")
    def _one_kind_of_test(self) -> DataFiles:
        if self.test is not None and self.held_out is not None:
            raise ValueError(
                "held_out and test cannot both be given: held_out is the share of train to hold out when there is no "
                "test file"
            )
        return self


@dataclass(frozen=True, eq=False)
class Samples:
    """The content of a file.

    x: float64 (n, features), or images (n, height, width, channels).
    y: text (n,) of classes, or float64 (n, targets).
    target_names: of the columns of `y`.
    row: how messages call the target of a sample. feature: how they call a feature, or a channel of images.
    header: of a CSV file, if it has one.
    """

    path: Path
    x: NDArray[np.float64]
    y: NDArray[Any]
    target_names: tuple[str, ...]
    row: Callable[[int], str]
    feature: Callable[[int], str]
    header: tuple[str, ...] | None = None


def read_samples(path: Path, data: DataFiles, numbers: bool, like: Samples | None = None) -> Samples:
    """The samples of `path`.

    numbers: numbers are predicted, not classes. like: the training data, for a test file.
    Raises ConfigError, with file and place, for whatever cannot be used.
    """
    require_regular(path, str(path))
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        found = _of_table(path, data, numbers, like)
    elif suffix == ".npz":
        found = _of_npz(path, data, numbers)
    else:
        raise ConfigError(f"{path}: not a file of samples by its name; allowed: .npz .csv .tsv")
    if like is not None and found.x.shape[1:] != like.x.shape[1:]:
        raise ConfigError(
            f"{path}: inputs of shape {found.x.shape[1:]} each; those of {like.path} have {like.x.shape[1:]}"
        )
    if like is not None and found.y.shape[1:] != like.y.shape[1:]:
        raise ConfigError(f"{path}: {found.y.shape[1]} numbers to predict; {like.path} has {like.y.shape[1]}")
    return found


def _of_table(path: Path, data: DataFiles, numbers: bool, like: Samples | None) -> Samples:
    wanted, targets = _columns(data.inputs, ()), _columns(data.target, (-1,))
    names = [name for name in (*wanted, *targets) if isinstance(name, str)]
    table = read_table(path, names if like is None or like.header is None else like.header)
    if like is not None:
        table = _as_in_training(table, like)
    target = [table.column(name) for name in targets]
    if len(target) > 1 and not numbers:
        raise ConfigError(f"{path}: task.data.target: {len(target)} columns; classes stand in one")
    inputs = [table.column(name) for name in wanted] or [i for i in range(table.width) if i not in target]
    _check_inputs(table, inputs, target, bool(wanted))
    try:
        x = table.numbers(inputs)
    except ConfigError as error:
        raise ConfigError(f"{error}; task.data.inputs lists the columns to learn from") from error
    y = table.numbers(target) if numbers else np.array(table.texts(target[0]), dtype=str)
    target_names = tuple(table.names[i] if table.names is not None else f"column {i}" for i in target)
    return Samples(
        path,
        x,
        y,
        target_names,
        row=lambda i: table.where(i, target[0]),
        feature=lambda i: f"{path}: {table.label(inputs[i])}",
        header=table.names,
    )


def _columns(given: Columns | None, default: tuple[Column, ...]) -> tuple[Column, ...]:
    return default if given is None else given if isinstance(given, tuple) else (given,)


def _as_in_training(table: Table, like: Samples) -> Table:
    """A test file's table with the columns of the training file's, in the same order."""
    if (table.names is None) != (like.header is None):
        has, lacks = (like.path, table.path) if table.names is None else (table.path, like.path)
        raise ConfigError(f"{lacks}: has no header line, but {has} has one; both or none must have it")
    return table if like.header in (None, table.names) else table.arranged(like.header or ())


def _check_inputs(table: Table, inputs: list[int], target: list[int], asked_for: bool) -> None:
    for i in inputs:
        if i in target:
            raise ConfigError(f"{table.path}: {table.label(i)} is both an input and the target")
        if inputs.count(i) > 1:
            raise ConfigError(f"{table.path}: {table.label(i)} is listed twice in task.data.inputs")
        if table.names is not None and not table.names[i] and not asked_for:
            raise ConfigError(
                f"{table.path}: column {i} has no name, as row numbers have none; name it in the header, or list the "
                "columns to learn from in task.data.inputs"
            )
    if not inputs:
        raise ConfigError(f"{table.path}: no column is left to learn from")


def _of_npz(path: Path, data: DataFiles, numbers: bool) -> Samples:
    names = ["x" if data.inputs is None else data.inputs, "y" if data.target is None else data.target]
    for key, name in zip(("inputs", "target"), names, strict=True):
        if not isinstance(name, str):
            raise ConfigError(f"{path}: task.data.{key}: must be the name of one array; given {name!r}")
    x_name, y_name = map(str, names)
    x, y = _arrays(path, (x_name, y_name))
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise ConfigError(
            f"{path}: {x_name} has the shape {x.shape}; expected (n, features), or (n, h, w) or (n, c, h, w) for images"
        )
    if y.ndim == 0 or len(x) != len(y):
        raise ConfigError(
            f"{path}: {x_name} and {y_name} have the shapes {x.shape} and {y.shape}; expected as many samples"
        )
    x = _finite(path, x_name, x)
    if x.ndim > 2:
        x = x[..., None] if x.ndim == 3 else np.moveaxis(x, 1, -1)
    part = "[:, {}]" if x.ndim == 2 else ", channel {}"
    y = _numbers(path, y_name, y) if numbers else _labels(path, y_name, y)
    several = y.ndim == 2 and y.shape[1] > 1
    target_names = tuple(f"{y_name}[{i}]" for i in range(y.shape[1])) if several else (y_name,)
    return Samples(
        path,
        x,
        y,
        target_names,
        row=lambda i: f"{path}: {y_name}[{i}]",
        feature=lambda i: f"{path}: {x_name}{part.format(i)}",
    )


def _arrays(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    try:
        with path.open("rb") as content, _opened(content) as file:
            for name in names:
                if name not in file:
                    guess = did_you_mean(name, list(file))
                    raise ConfigError(
                        f"{path}: no array {name!r}{guess}; it holds {', '.join(file) or 'none'}"
                    )
            assert file.zip is not None  # it is open
            return [read_member(file.zip, f"{name}.npy") for name in names]
    except DAMAGE as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error).partition("\n")[0]
        raise ConfigError(f"{path}: cannot be read as .npz: {reason or type(error).__name__}") from error


def _opened(content: BinaryIO) -> NpzFile:
    file = np.load(content, allow_pickle=False)
    if not isinstance(file, NpzFile):
        raise ValueError("one array without a name, as np.save writes it; expected np.savez")
    return file


def _finite(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind not in "biuf":
        raise ConfigError(f"{path}: {name} holds {values.dtype}; expected numbers")
    wide = values.astype(np.float64)
    for place in np.argwhere(~(np.abs(wide) <= LARGEST))[:1]:
        value = wide[tuple(place)]
        fault = "is too large" if np.isfinite(value) else "is not finite"
        raise ConfigError(f"{path}: {name}[{', '.join(map(str, place))}]: {value} {fault}")
    return wide


def _numbers(path: Path, name: str, y: NDArray[Any]) -> NDArray[np.float64]:
    if y.ndim > 2 or 0 in y.shape:
        raise ConfigError(f"{path}: {name} has the shape {y.shape}; expected (n,) or (n, numbers to predict)")
    return _finite(path, name, y).reshape(len(y), -1)


def _labels(path: Path, name: str, y: NDArray[Any]) -> NDArray[np.str_]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ConfigError(f"{path}: {name} has the shape {y.shape}; expected one class a sample, (n,)")
    if y.dtype.kind in "US":
        text = y if y.dtype.kind == "U" else np.char.decode(y, "utf-8", "replace")
        text = np.char.strip(text)
        for (i,) in np.argwhere(text == "")[:1]:
            raise ConfigError(f"{path}: {name}[{i}]: empty")
        return text
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    if y.dtype.kind == "f":
        _finite(path, name, y)
    elif y.dtype.kind not in "iu":
        raise ConfigError(f"{path}: {name} holds {y.dtype}; expected whole numbers or text")
    return y.astype(str)
