"""A trained network on a user's images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.filenames import require_file_name
from eapu_hil.base.storage import storage_errors
from eapu_hil.tasks.images import read_image, write_image
from eapu_hil.training.runs import read_start
from eapu_hil.training.trainer import trained_network


def apply_to_files(
    run_dir: Path,
    images: Sequence[Path],
    directory: Path,
    allow_modules: Collection[str] = (),
    *,
    exchanged: bool = False,
) -> list[Path]:
    """Applies the network of a run to image files, one new PNG each in `directory`; returns their paths.

    Raises ConfigError, before the bench is opened, for a file that is no image, for one that would be overwritten and
    for two images of one name; HilError as `trained_network`.
    """
    pictures = [read_image(path) for path in images]
    task_name = _task_name(run_dir)
    targets = [directory / f"{path.stem}_{task_name}.png" for path in images]
    for index, target in enumerate(targets):
        if target.exists():
            raise ConfigError(f"{target}: already exists; name another directory with --out")
        if target in targets[:index]:
            raise ConfigError(
                f"{images[index]}: a second image has the name {images[index].stem}; rename one"
            )
    with (
        trained_network(run_dir, allow_modules, exchanged=exchanged) as (task, network),
        storage_errors(directory),
    ):
        results = [task.apply(network.infer, picture) for picture in pictures]
        directory.mkdir(parents=True, exist_ok=True)
        for target, result in zip(targets, results, strict=True):
            write_image(target, result)
    return targets


def _task_name(run_dir: Path) -> str:
    """Of `module:Class` the class."""
    start = read_start(run_dir)
    experiment = start.get("experiment")
    task = experiment.get("task") if isinstance(experiment, Mapping) else None
    name = task.get("name") if isinstance(task, Mapping) else task
    return require_file_name(str(name or "output").rpartition(":")[2], f"{run_dir / 'start.yaml'}: task")
