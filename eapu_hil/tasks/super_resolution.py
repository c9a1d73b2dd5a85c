"""Enlarging photographs twice: bicubic interpolation plus what a small sub-pixel network adds to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eapu_hil.base.sizes import Lines
from eapu_hil.network.layers import Conv2d, Float32Array, LayerSpec, PixelShuffle, ReLU
from eapu_hil.tasks import photographs
from eapu_hil.tasks.base import (
    EXAMPLES_SHOWN,
    DataConfig,
    Evaluation,
    Forward,
    Item,
    TaskModel,
    Triplet,
    load_split,
    squared_error,
)
from eapu_hil.tasks.images import (
    Image,
    centre_crop,
    from_ycbcr,
    luma,
    orient,
    psnr_db,
    random_patch,
    read_folder,
    require_packages,
    resize_bicubic,
    ssim,
    to_8_bit,
    to_ycbcr,
)

FACTOR = 2
_SHAVE = 2  # pixels cut off each edge before the PSNR, as published x2 figures do
_MIDDLE = np.float32(0.5)  # subtracted from the input, so that both signs of the drivers' range are used
_DETAIL = np.float32(0.1)  # what one unit of the network's output adds to the image
_QUICK_PIXELS = 128
_GALLERY_PIXELS = 192


class SuperResolutionConfig(TaskModel):
    """The `task` section of an experiment.

    channels: between the layers; 14 with a 3 x 3 kernel make 126 inputs, which fit the 128 rows of an array.
    kernel_first: edge of the first kernel, the others are 3 x 3.
    patch: edge of the training patches in pixels of the small image.
    data: train and evaluate on the images of a folder instead of the bundled photographs.
    """

    name: Literal["super_resolution"] = "super_resolution"
    channels: Lines = 14
    kernel_first: Literal[3, 5, 7] = 3
    patch: Annotated[int, Field(ge=8, le=4096)] = 24
    data: DataConfig | None = None

    def make(self) -> SuperResolution:
        """See `TaskModel.make`."""
        require_packages()
        return SuperResolution(self)


class SuperResolution:
    """x2 on luma; the metric is the mean PSNR over held-out photographs, its input that of bicubic."""

    name = "super_resolution"
    metric_name = "psnr_db"

    def __init__(self, config: SuperResolutionConfig) -> None:
        self._config = config
        if config.data is None:
            training = [image for _, image in photographs.load(photographs.TRAINING)]
            held_out = photographs.load(photographs.HELD_OUT)
        else:
            training, held_out = load_split(config.data.folder, smallest=FACTOR * config.patch)
        self._small: list[Image] = []
        self._detail: list[Image] = []  # what bicubic lacks
        for image in training:
            large, small, bicubic = _reduced(image)
            self._small.append(small)
            self._detail.append((large - bicubic) / _DETAIL)
        self._held_out = held_out

    def layers(self) -> list[LayerSpec]:
        channels = self._config.channels
        return [
            Conv2d(1, channels, self._config.kernel_first),
            ReLU(),
            Conv2d(channels, channels),
            ReLU(),
            Conv2d(channels, FACTOR**2, gain=0.1),  # starts near bicubic
            PixelShuffle(FACTOR),
        ]

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Float32Array, NDArray[Any]]:
        """Small patches (size, patch, patch, 1) minus 0.5; ten times what bicubic lacks, twice as large."""
        edge = self._config.patch
        x = np.empty((size, edge, edge), dtype=np.float32)
        y = np.empty((size, FACTOR * edge, FACTOR * edge), dtype=np.float32)
        for i in range(size):
            which, row, col, orientation = random_patch(self._small, edge, rng)
            x[i] = orient(self._small[which][row : row + edge, col : col + edge], orientation)
            top, left = FACTOR * row, FACTOR * col
            detail = self._detail[which][top : top + FACTOR * edge, left : left + FACTOR * edge]
            y[i] = orient(detail, orientation)
        return (x - _MIDDLE)[..., None], y[..., None]

    def loss(self, out: Float32Array, y: NDArray[Any]) -> tuple[float, Float32Array]:
        return squared_error(out, y)

    def evaluate(self, forward: Forward, quick: bool, folder: Path | None = None) -> Evaluation:
        """PSNR on luma of bicubic and of the network, both rounded to 8 bits, without 2 pixels of border."""
        images = self._held_out if folder is None else read_folder(folder, smallest=16)
        items: list[Item] = []
        examples: list[Triplet] = []
        for name, image in images:
            large, small, bicubic = _reduced(centre_crop(image, _QUICK_PIXELS) if quick else image)
            inner = slice(_SHAVE, -_SHAVE)
            reference, input_, output = (
                plane[inner, inner]
                for plane in (large, to_8_bit(bicubic), to_8_bit(_enlarged(forward, small, bicubic)))
            )
            similarity = None if quick else ssim(reference, output)
            items.append(Item(name, psnr_db(reference, input_), psnr_db(reference, output), similarity))
            if len(examples) < EXAMPLES_SHOWN:
                shown = (input_, output, reference)
                examples.append(Triplet(name, *(centre_crop(its, _QUICK_PIXELS) for its in shown)))
        return Evaluation.of(items, examples)

    def apply(self, forward: Forward, image: Image) -> Image:
        """The image twice as large: luma by the network, the colour of a colour image by bicubic."""
        shape = FACTOR * image.shape[0], FACTOR * image.shape[1]
        if image.ndim == 2:
            return np.clip(_enlarged(forward, image, resize_bicubic(image, shape)), 0, 1)
        small = to_ycbcr(image)
        planes = [resize_bicubic(small[:, :, c], shape) for c in range(3)]
        planes[0] = _enlarged(forward, small[:, :, 0], planes[0])
        return from_ycbcr(np.stack(planes, axis=2))

    def gallery(self, forward: Forward) -> list[Triplet]:
        triplets = []
        for name, image in self._held_out:
            large, small, bicubic = _reduced(centre_crop(image, _GALLERY_PIXELS))
            output = np.clip(_enlarged(forward, small, bicubic), 0, 1)
            triplets.append(Triplet(name, np.clip(bicubic, 0, 1), output, large))
        return triplets


def _reduced(image: Image) -> tuple[Image, Image, Image]:
    """Luma with even edges, the same at half the size, and that one enlarged again by bicubic.

    Luma and the small image are rounded to 8 bits, as images in files are.
    """
    height, width = (edge // FACTOR * FACTOR for edge in image.shape[:2])
    large = to_8_bit(luma(image[:height, :width]))
    small = to_8_bit(resize_bicubic(large, (height // FACTOR, width // FACTOR)))
    return large, small, resize_bicubic(small, (height, width))


def _enlarged(forward: Forward, small: Image, bicubic: Image) -> Image:
    detail = forward((small - _MIDDLE)[None, :, :, None])[0, :, :, 0]
    return bicubic + _DETAIL * detail
