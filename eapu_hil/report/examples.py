"""The example images of runs, with captions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.report.figures import Example

Snapshots = Mapping[str, NDArray[Any]]


def gallery(snapshots: Snapshots) -> list[Example]:
    """The example images of a run; captions with the PSNR in dB (range 1) where a reference fits."""
    examples = []
    for index, name in enumerate(_names(snapshots)):
        shown = _shown(snapshots, index)
        if not shown:
            continue
        captions = {kind: kind + _psnr(image, shown, kind) for kind, image in shown.items()}
        first = next(iter(shown))
        captions[first] = f"{name}: {captions[first]}"
        examples.append(Example(name, shown, captions))
    return examples


def side_by_side(runs: Mapping[str, Snapshots]) -> list[Example]:
    """The images that all of these runs have: input, the output of each run, reference."""
    shared = [
        name
        for name in _names(next(iter(runs.values())))
        if all(name in _names(its) for its in runs.values())
    ]
    examples = []
    for name in shared:
        images = {run: _shown(its, _names(its).index(name)) for run, its in runs.items()}
        if not all("output" in its for its in images.values()):
            continue
        first = next(iter(images.values()))
        shown: dict[str, NDArray[Any]] = {"input": first["input"]} if "input" in first else {}
        captions = {"input": f"{name}: input{_psnr(first['input'], first, 'input')}"} if shown else {}
        for run, its in images.items():
            shown[f"output of {run}"] = its["output"]
            captions[f"output of {run}"] = run + _psnr(its["output"], its, "output")
        if "reference" in first:
            shown["reference"], captions["reference"] = first["reference"], "reference"
        examples.append(Example(name, shown, captions))
    return examples


def in_words(examples: list[Example]) -> str:
    """What is seen, with the numbers of the captions."""
    rows = ["; ".join(example.captions.values()) for example in examples]
    return f"{len(examples)} rows of images. " + ". ".join(rows)


def _names(snapshots: Snapshots) -> list[str]:
    return [str(name) for name in snapshots.get("gallery_names", np.array([]))]


def _shown(snapshots: Snapshots, index: int) -> dict[str, NDArray[Any]]:
    kinds = ("input", "output", "reference")
    return {
        kind: snapshots[key].squeeze() for kind in kinds if (key := f"gallery_{index}_{kind}") in snapshots
    }


def _psnr(image: NDArray[Any], shown: Mapping[str, NDArray[Any]], kind: str) -> str:
    reference = shown.get("reference")
    if kind == "reference" or reference is None or image.shape != reference.shape:
        return ""
    error = float(np.mean((image.astype(float) - reference) ** 2))
    return f", {-10 * np.log10(error):.2f} dB" if error > 0 else ""
