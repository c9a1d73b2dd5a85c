"""The example images of runs, with captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapu_hil.report.figures import WIDTH_IN, new_figure

Snapshots = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Example:
    """One row of the gallery; images in [0, 1], (h, w) or (h, w, 3), by the name of their column."""

    name: str
    shown: Mapping[str, NDArray[np.floating[Any]]]
    captions: Mapping[str, str]


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


def draw_gallery(path: Path, examples: Sequence[Example]) -> None:
    """One row an example, one column a kind of image, the caption above each image."""
    kinds = list(dict.fromkeys(kind for example in examples for kind in example.shown))
    shapes = [next(iter(example.shown.values())).shape for example in examples]
    width = min(2.8, WIDTH_IN / len(kinds))
    heights = [width * min(shape[0] / shape[1], 1.5) for shape in shapes]
    with new_figure(path, sum(heights) + 0.27 * len(heights), layout="compressed") as figure:
        grid = figure.subplots(len(examples), len(kinds), squeeze=False, height_ratios=heights)
        for line, example in zip(grid, examples, strict=True):
            for axes, kind in zip(line, kinds, strict=True):
                axes.set_axis_off()
                if kind in example.shown:
                    image = np.clip(example.shown[kind], 0.0, 1.0)
                    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                    axes.set_title(example.captions[kind], fontsize=8.5, fontweight="normal", pad=3)


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
