"""Removing Gaussian noise from photographs: a small residual convolution network that estimates the noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from eapu_hil.base.sizes import Lines
from eapu_hil.network.layers import Conv2d, Float32Array, LayerSpec, ReLU
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
    grey,
    orient,
    psnr_db,
    random_patch,
    read_folder,
    require_packages,
    ssim,
)

_MIDDLE = np.float32(0.5)  # subtracted from the input, so that both signs of the drivers' range are used
_NOISE_SEED = 20251
_QUICK_PIXELS = 96
_GALLERY_PIXELS = 192


class DenoiseConfig(TaskModel):
    """The `task` section of an experiment.

    channels: between the layers; 14 with a 3 x 3 kernel make 126 inputs, which fit the 128 rows of an array.
    depth: number of convolutions. kernel_first: edge of the first kernel, the others are 3 x 3.
    noise_sigma: standard deviation of the noise for images in 0..1; the noisy image is not clipped.
    patch: edge of the training patches in pixels.
    data: train and evaluate on the images of a folder instead of the bundled photographs.
    """

    name: Literal["denoise"] = "denoise"
    channels: Lines = 14
    depth: Annotated[int, Field(ge=2, le=100)] = 3
    kernel_first: Literal[3, 5, 7] = 3
    noise_sigma: PositiveFloat = 25 / 255
    patch: Annotated[int, Field(ge=8, le=4096)] = 32
    data: DataConfig | None = None

    def make(self) -> Denoise:
        """See `TaskModel.make`."""
        require_packages()
        return Denoise(self)


class Denoise:
    """Grey photographs with Gaussian noise; the metric is the mean PSNR over the held-out ones."""

    name = "denoise"
    metric_name = "psnr_db"

    def __init__(self, config: DenoiseConfig) -> None:
        self._config = config
        if config.data is None:
            training = [image for _, image in photographs.load(photographs.TRAINING)]
            held_out = photographs.load(photographs.HELD_OUT)
        else:
            training, held_out = load_split(config.data.folder, smallest=config.patch)
        self._training = [grey(image) for image in training]
        self._held_out = [(name, grey(image)) for name, image in held_out]

    def layers(self) -> list[LayerSpec]:
        channels = self._config.channels
        specs: list[LayerSpec] = [Conv2d(1, channels, self._config.kernel_first), ReLU()]
        for _ in range(self._config.depth - 2):
            specs += [Conv2d(channels, channels), ReLU()]
        # starts near "no noise": noise is a tenth of the range of the image
        return [*specs, Conv2d(channels, 1, gain=0.1)]

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Float32Array, NDArray[Any]]:
        """Noisy patches (size, patch, patch, 1) minus 0.5, and their noise."""
        edge = self._config.patch
        clean = np.empty((size, edge, edge), dtype=np.float32)
        for i in range(size):
            which, row, col, orientation = random_patch(self._training, edge, rng)
            clean[i] = orient(self._training[which][row : row + edge, col : col + edge], orientation)
        noise = self._noise(clean.shape, rng)
        return (clean + noise - _MIDDLE)[..., None], noise[..., None]

    def loss(self, out: Float32Array, y: NDArray[Any]) -> tuple[float, Float32Array]:
        return squared_error(out, y)

    def evaluate(self, forward: Forward, quick: bool, folder: Path | None = None) -> Evaluation:
        """PSNR of noisy and of denoised images, the latter clipped to 0..1. Colour images count as grey."""
        images = self._held_out
        if folder is not None:
            images = [(name, grey(image)) for name, image in read_folder(folder, smallest=8)]
        items: list[Item] = []
        examples: list[Triplet] = []
        for name, image in images:
            clean = centre_crop(image, _QUICK_PIXELS) if quick else image
            noisy = self._noisy(clean)
            output = self._denoised(forward, noisy)
            value, similarity = psnr_db(clean, output), None if quick else ssim(clean, output)
            items.append(Item(name, psnr_db(clean, noisy), value, similarity))
            if len(examples) < EXAMPLES_SHOWN:
                shown = (np.clip(noisy, 0, 1), output, clean)
                examples.append(Triplet(name, *(centre_crop(its, _QUICK_PIXELS) for its in shown)))
        return Evaluation.of(items, examples)

    def apply(self, forward: Forward, image: Image) -> Image:
        """The image without the noise it already has; the channels of a colour image one by one."""
        if image.ndim == 2:
            return self._denoised(forward, image)
        return np.stack([self._denoised(forward, image[:, :, c]) for c in range(image.shape[2])], axis=2)

    def gallery(self, forward: Forward) -> list[Triplet]:
        triplets = []
        for name, image in self._held_out:
            clean = centre_crop(image, _GALLERY_PIXELS)
            noisy = self._noisy(clean)
            triplets.append(Triplet(name, np.clip(noisy, 0, 1), self._denoised(forward, noisy), clean))
        return triplets

    def _noisy(self, clean: Image) -> Image:
        return clean + self._noise(clean.shape, np.random.default_rng(_NOISE_SEED))

    def _noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float32Array:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(self._config.noise_sigma)

    def _denoised(self, forward: Forward, noisy: Image) -> Image:
        noise = forward((noisy - _MIDDLE)[None, :, :, None])[0, :, :, 0]
        denoised: Image = np.clip(noisy - noise, 0, 1)
        return denoised
