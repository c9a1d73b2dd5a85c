"""Image files and the operations on images that the tasks share.

Images are float32 in 0..1, grey (h, w) or colour (h, w, 3).
"""

from __future__ import annotations

import logging
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from eapu_hil.hal import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

Image = NDArray[np.float32]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LUMA_RANGE = 255.0
PIXELS_MAX = 50_000_000  # of one image
_AT_MOST = f"at most {PIXELS_MAX / 1e6:.0f} million are read: cut it into parts"
_BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339  # tags of TIFF
_NEARLY_BLACK = 0.1  # of white: an image that nowhere gets brighter has another white, most likely
# What Pillow raises for damaged files.
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, struct.error)
_SIGNED, _SEPARATE = 2, 2  # a sample format; a planar configuration: one channel after the other
_LOG = logging.getLogger(__name__)


def missing_extra(error: ImportError) -> NoReturn:
    """Raises the `ConfigError` that says how to install what only training on images needs."""
    package = (error.name or "").partition(".")[0]
    raise ConfigError(
        f"training on images needs the package {package}, which is not installed; "
        "run: pip install 'eapu-hil[train]'"
    ) from error


def require_packages() -> None:
    """Raises ConfigError where a package is missing that a task with images needs at any time of a run.

    A run asks for them at its start: after an hour of it, at the first evaluation, would be too late.
    """
    try:
        import PIL  # noqa: F401 - whether it is there
        import skimage.color
        import skimage.metrics  # noqa: F401 - whether it is there
    except ImportError as error:
        missing_extra(error)


def read_image(path: Path) -> Image:
    """The image in a file, by the scale of its kind: integers of 8 or 16 bits by their full scale, floats in 0..1.

    Transparency is dropped, EXIF rotation is applied. Of several pages the first is read, which is logged, and so is
    an image of more than 8 bits that is nearly black by that scale. Raises ConfigError, naming the file, if it cannot
    be read as an image, if its values have no such scale, or if it has more than `PIXELS_MAX` pixels.
    """
    try:
        from PIL import Image as Pil
        from PIL import ImageOps, UnidentifiedImageError
    except ImportError as error:
        missing_extra(error)
    try:
        # Opened here: of a path that it opens itself, Pillow 13.0 mixes up the pixels of rotated TIFFs.
        with path.open("rb") as content, _opened(content) as file:
            _check_size(path, *file.size)
            pages = getattr(file, "n_frames", 1)
            if pages > 1:
                _LOG.warning("%s: holds %d pages or frames; only the first is read", path, pages)
            scale = _scale(path, file)
            return _to_float(path, ImageOps.exif_transpose(file), scale)
    except Pil.DecompressionBombError as error:
        size = next(iter(re.findall(r"\d+", str(error))), "too many")
        raise ConfigError(f"{path}: {size} pixels; {_AT_MOST}") from error
    except _DAMAGE as error:
        system = error.strerror if isinstance(error, OSError) else None
        reason = system or (str(error).splitlines()[0] if str(error) else type(error).__name__)
        if isinstance(error, UnidentifiedImageError):  # its text names an object, not the file
            reason = "of no known kind"
        raise ConfigError(f"{path}: not a readable image ({reason}); allowed: {_allowed()}") from error


def _opened(content: BinaryIO) -> PilImage:
    from PIL import Image as Pil

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Pil.DecompressionBombWarning)  # `_check_size` sees to it
        return Pil.open(content)


def _check_size(path: Path, width: int, height: int) -> None:
    """Raises ConfigError before anything is unpacked: networks take the image whole."""
    if width * height > PIXELS_MAX:
        raise ConfigError(f"{path}: {width} x {height} pixels; {_AT_MOST}")


@dataclass(frozen=True)
class _Scale:
    """white: the value of white. inverted: 0 is white."""

    white: float
    inverted: bool


def _scale(path: Path, file: PilImage) -> _Scale | None:
    """The scale of an image of one channel with more than 8 bits; None for all others, which Pillow scales itself.

    Raises ConfigError for integers whose full scale nobody uses, 32 bits and those with a sign, and for channels of 16
    bits that lie one after the other, which Pillow mixes up.
    """
    tags: Mapping[int, Any] = getattr(file, "tag_v2", {})
    bits, kind = int((tags.get(_BITS) or (16,))[0]), int((tags.get(_SAMPLE_FORMAT) or (1,))[0])
    inverted = tags.get(_PHOTOMETRIC) == 0
    if tags.get(_PLANAR) == _SEPARATE and bits > 8 and len(file.getbands()) > 1:
        raise ConfigError(f"{path}: its channels of {bits} bits lie one after the other; interleave them")
    if file.mode == "F":
        return _Scale(1.0, inverted)
    if bits > 16 or kind == _SIGNED:
        sign = "signed " if kind == _SIGNED else ""
        raise ConfigError(
            f"{path}: {sign}integers of {bits} bits, of which nothing says what is white; save it with 8 or 16 bits, "
            "or as floats from 0 to 1"
        )
    return _Scale(2.0**bits - 1, inverted) if file.mode.startswith("I") else None


def _to_float(path: Path, image: PilImage, scale: _Scale | None) -> Image:
    if scale is None:
        grey = image.mode in ("1", "L", "LA")
        return np.asarray(image.convert("L" if grey else "RGB"), dtype=np.float32) / np.float32(255)
    pixels = np.asarray(image, dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise ConfigError(f"{path}: holds values that are not finite")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > scale.white:
        raise ConfigError(
            f"{path}: values from {low:g} to {high:g}; expected 0 (black) to {scale.white:g} (white): scale them"
        )
    if not scale.inverted and high < _NEARLY_BLACK * scale.white:
        said = "%s: nearly black: its values reach %g, and white is %g; if that is wrong, scale them"
        _LOG.warning(said, path, high, scale.white)
    found = pixels / np.float32(scale.white)
    return 1 - found if scale.inverted else found


def write_image(path: Path, image: Image) -> None:
    """Saves an image with 8 bits a channel in a new file; the suffix of `path` chooses the format."""
    try:
        from PIL import Image as Pil
    except ImportError as error:
        missing_extra(error)
    picture = Pil.fromarray((to_8_bit(image) * 255 + 0.5).astype(np.uint8))
    file = path.open("xb")
    try:
        with file:
            picture.save(file, Pil.registered_extensions()[path.suffix.lower()])
    except BaseException:
        path.unlink()
        raise


def _allowed() -> str:
    return " ".join(sorted(SUFFIXES))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def read_folder(folder: Path, smallest: int) -> list[tuple[str, Image]]:
    """All images of a folder, in the order of their names, as (file name, image).

    Files with other suffixes than those of images are left alone, and so are hidden ones (`._a.png` of a Mac).
    Raises ConfigError if the folder does not exist or holds no image, or if an image cannot be read or has an edge of
    fewer than `smallest` pixels.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; expected one with images ({_allowed()})")
    paths = sorted(path for path in folder.iterdir() if _is_image(path))
    if not paths:
        raise ConfigError(f"{folder}: holds no image; allowed: {_allowed()}")
    images = []
    for path in paths:
        image = read_image(path)
        if min(image.shape[:2]) < smallest:
            size = f"{image.shape[1]} x {image.shape[0]}"
            raise ConfigError(f"{path}: {size} pixels; expected at least {smallest} x {smallest}")
        images.append((path.name, image))
    return images


def grey(image: Image) -> Image:
    """Luminance in 0..1 of a colour image; a grey one as it is."""
    if image.ndim == 2:
        return image
    try:
        from skimage.color import rgb2gray
    except ImportError as error:
        missing_extra(error)
    return np.asarray(rgb2gray(image), dtype=np.float32)


def to_ycbcr(image: Image) -> Image:
    """RGB to YCbCr over 255 (ITU-R BT.601, Y in 16/255..235/255), (h, w, 3)."""
    try:
        from skimage.color import rgb2ycbcr
    except ImportError as error:
        missing_extra(error)
    return np.asarray(rgb2ycbcr(image) / LUMA_RANGE, dtype=np.float32)


def from_ycbcr(image: Image) -> Image:
    """The inverse of `to_ycbcr`, clipped to 0..1."""
    from skimage.color import ycbcr2rgb

    return np.asarray(np.clip(ycbcr2rgb(image.astype(np.float64) * LUMA_RANGE), 0, 1), dtype=np.float32)


def luma(image: Image) -> Image:
    """The channel that super-resolution works on: Y of a colour image, a grey one as it is."""
    return image if image.ndim == 2 else to_ycbcr(image)[:, :, 0]


def to_8_bit(image: Image) -> Image:
    """Clipped to 0..1 and rounded to what 8 bits can hold."""
    return (np.rint(np.clip(image, 0, 1) * 255) / 255).astype(np.float32)


def resize_bicubic(image: Image, shape: tuple[int, int]) -> Image:
    """Bicubic interpolation (a = -0.5) of a grey image to `shape`, antialiased when it shrinks.

    The kernel is that of MATLAB's imresize: x2 on Set5 gives the published 33.65 dB.
    """
    try:
        from PIL import Image as Pil
    except ImportError as error:
        missing_extra(error)
    height, width = shape
    resized = Pil.fromarray(np.ascontiguousarray(image, dtype=np.float32)).resize(
        (width, height), Pil.Resampling.BICUBIC
    )
    return np.asarray(resized, dtype=np.float32)


def random_patch(images: list[Image], size: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Which image, where (row, column of the corner) and in which of 8 orientations to cut a patch."""
    which = int(rng.integers(len(images)))
    height, width = images[which].shape
    return (
        which,
        int(rng.integers(height - size + 1)),
        int(rng.integers(width - size + 1)),
        int(rng.integers(8)),
    )


def orient(patch: Image, orientation: int) -> Image:
    """One of the 8 ways to turn and mirror a square patch."""
    turned = np.rot90(patch, orientation % 4)
    return turned[:, ::-1] if orientation >= 4 else turned


def centre_crop(image: Image, size: int) -> Image:
    """The middle of an image, at most `size` pixels in each direction."""
    height, width = min(size, image.shape[0]), min(size, image.shape[1])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def psnr_db(reference: Image, image: Image) -> float:
    """Peak signal-to-noise ratio in dB for a range of 0..1."""
    from skimage import metrics

    return float(_untyped(metrics).peak_signal_noise_ratio(*_double(reference, image), data_range=1.0))


def ssim(reference: Image, image: Image) -> float:
    """Structural similarity of two grey images (Wang et al. 2004, doi 10.1109/TIP.2003.819861)."""
    from skimage import metrics

    return float(_untyped(metrics).structural_similarity(*_double(reference, image), data_range=1.0))


def _untyped(module: Any) -> Any:
    """scikit-image ships without annotations for some of its functions."""
    return module


def _double(*images: Image) -> list[NDArray[np.float64]]:
    return [image.astype(np.float64) for image in images]
