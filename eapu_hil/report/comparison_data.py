"""comparison.json: the summaries of some runs of one experiment, and which runs they are of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eapu_hil.base.filenames import require_file_name
from eapu_hil.base.npz import DamagedError
from eapu_hil.base.seals import write_sealed_json
from eapu_hil.base.storage import storage_errors
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.training.proof import read_over_runs
from eapu_hil.training.runs import read_start, run_id

COMPARISON = "comparison.json"


def write_comparison(directory: Path, comparison: Mapping[str, Any]) -> None:
    """comparison: `rules`, the summaries by name, and what was made of them; `planned`, the names of all runs.

    Raises StorageError.
    """
    runs = {name: run_id(read_start(directory / name)) for name in comparison["rules"]}
    with storage_errors(directory / COMPARISON):
        write_sealed_json(directory / COMPARISON, {**comparison, "runs": runs}, "comparison", {})


def read_comparison(directory: Path) -> dict[str, Any]:
    """What `write_comparison` wrote.

    Raises ConfigError when there is none, HilError when it is damaged or not that of these runs.
    """
    path = directory / COMPARISON
    try:
        content = read_over_runs(path, "comparison")
        if content is None:
            raise ConfigError(f"{directory}: holds no {COMPARISON}")
        for name in (*content["rules"], *content.get("planned", [])):
            require_file_name(name, f"{path}: rules")
        for name, its_id in content.get("runs", {}).items():
            found = run_id(read_start(directory / name))
            if found != its_id:
                raise HilError(
                    f"{directory / name}: another run was put in its place: id {found}, expected {its_id}; put it "
                    "back, or compare again with the same --out"
                )
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path}: damaged: {error!r}") from error
    return content
