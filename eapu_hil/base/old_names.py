"""What names of version 0.1 are called now. `_s` then stood for siemens as well as seconds, `_us` for microsiemens.

Files of then are still read. Where a model says which keys there may be, it decides: a key that it has not is renamed
if it has the new one (`with_new_keys`). What was written without a model is renamed by the list of all names
(`with_new_names`), and files by `rename_old_file`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from eapu_hil.base.validation import part_models

_LOG = logging.getLogger(__name__)
_UNIT = re.compile(r"_(u?)s(?=2?(?:_per_[a-z]+)?$)")
_SNAPSHOT = re.compile(r"^(g_before|g_after)_s_(\d+)$")

# Names of 0.1 that held a conductance; all others that end so were times.
_RECIPE = "g_min_s g_max_s band_s gate_slope_s_per_v g_formed_s step_s"
_RULE = "threshold_us late_band_us"
_PRESET = """
    floor_s ceiling_s slope_s_per_v set_absolute_s reset_absolute_s g_fresh_s g_s variance_1s_s2 variance_per_decade_s2
    mean_1s_s mean_per_decade_s white_absolute_s g_stuck_high_s g_stuck_low_s
"""
_PASSPORT = """
    levels_s sigma_write_s sigma_relax_s mean_relax_s read_offset_s g_low_s g_reset_s cell_sd_s cycle_sd_s lowest_s
    edges_s step_sd_s up_g_s down_g_s set_g_s reset_g_s read_g_s disturbed_s error_mean_s error_sd_s up_error_s
    down_error_s g_first_s first_s sd_s mean_s g_mean_s white_sd_s total_sd_s g_high_s high_s low_s g_target_s
"""
_TORCH = "g_us"
_CONDUCTANCES = frozenset(f"{_RECIPE} {_RULE} {_PRESET} {_PASSPORT} {_TORCH}".split())
# Names that were times elsewhere, by the kind of measurement in which they were none.
_ONLY_IN = {"line_resistance": frozenset({"read_s", "product_s"})}


def new_name(old: str) -> str:
    """What a conductance of this name is called now: `g_min_S` of `g_min_s`. Other names stay."""
    return _UNIT.sub(r"_\1S", old, count=1)


def with_new_keys(
    model: type[BaseModel], data: Mapping[str, Any], allow_modules: Collection[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """`data`, which `model` is to validate, under the names of today, and the dotted keys that changed: old, new.

    Of an old and a new name for one thing the later in `data` counts. References to other files are left alone.
    """
    references: Collection[str] = getattr(model, "references", ())
    result: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    for key, value in data.items():
        name = key if key in model.model_fields else new_name(key)
        if name != key and name in model.model_fields:
            renamed[key] = name
        else:
            name = key
        if name in model.model_fields and name not in references and isinstance(value, Mapping):
            for part in part_models(model.model_fields[name], value, allow_modules):
                value, below = with_new_keys(part, value, allow_modules)
                renamed |= {f"{key}.{old}": f"{name}.{new}" for old, new in below.items()}
        result[name] = value
    return result, renamed


def with_new_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` of a file of 0.1 with the names of today, at every depth and in dotted keys."""
    renamed: dict[str, Any] = _renamed(content, _CONDUCTANCES)
    return renamed


def entry_of_today(
    kind: str, values: Mapping[str, Any], arrays: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values and arrays of a measurement that 0.1 made, as one that is made now has them."""
    conductances = _CONDUCTANCES | _ONLY_IN.get(kind, frozenset())
    new_values: dict[str, Any] = _renamed(values, conductances)
    new_arrays: dict[str, Any] = _renamed(arrays, conductances)
    recipe = new_values.get("recipe")
    if isinstance(recipe, dict) and "v_read_v" in recipe:  # it was also the full scale of products
        recipe.setdefault("v_in_max_v", recipe["v_read_v"])
    return new_values, new_arrays


def _renamed(content: Any, conductances: Collection[str]) -> Any:
    if isinstance(content, Mapping):
        return {_new_key(key, conductances): _renamed(value, conductances) for key, value in content.items()}
    if isinstance(content, list):
        return [_renamed(value, conductances) for value in content]
    return content


def _new_key(key: Any, conductances: Collection[str]) -> Any:
    if not isinstance(key, str):
        return key
    return ".".join(new_name(part) if part in conductances else part for part in key.split("."))


def name_of_snapshot(old: str) -> str:
    """What an array of a run's snapshots is called now: `g_before_S_0` of `g_before_s_0`. Other names stay."""
    return _SNAPSHOT.sub(r"\1_S_\2", old)


def rename_old_file(path: Path) -> None:
    """Gives a file of 0.1 the name that it has now, `path`, where that is not there yet.

    Only for who owns the directory: the state of a chip must not be renamed under another process. Raises OSError.
    """
    # Names as they are listed: where the file system ignores case, the old file seems to be there under the new name.
    names = [file.name for file in path.parent.iterdir()]
    old = path.name.replace("_S", "_s")
    if path.name not in names and old in names:
        path.with_name(old).replace(path)


@cache  # a file that is read many times, such as the bench of all runs of a table, is named once
def say_renamed(label: str, renamed: tuple[tuple[str, str], ...]) -> None:
    """Says what old keys are called now. label: the file. renamed: dotted keys, old and new."""
    pairs = ", ".join(f"{old} is now {new}" for old, new in renamed)
    _LOG.warning("%s: old keys are still read: %s", label, pairs)
