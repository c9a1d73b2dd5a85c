"""Image files and operations."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from eapu_hil.hal import ConfigError
from eapu_hil.tasks import photographs
from eapu_hil.tasks.images import (
    centre_crop,
    from_ycbcr,
    grey,
    luma,
    orient,
    random_patch,
    read_folder,
    read_image,
    resize_bicubic,
    to_8_bit,
    to_ycbcr,
    write_image,
)


def test_images_survive_a_file(tmp_path: Path) -> None:
    for name, shape in (("grey.png", (20, 30)), ("colour.png", (20, 30, 3))):
        image = to_8_bit(np.random.default_rng(0).random(shape, dtype=np.float32))
        write_image(tmp_path / name, image)
        np.testing.assert_allclose(read_image(tmp_path / name), image, atol=1e-6)


def test_16_bit_and_transparent_images_are_read(tmp_path: Path) -> None:
    from PIL import Image as Pil

    Pil.fromarray(np.full((4, 4), 65535, dtype=np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), np.ones((4, 4)))
    Pil.new("RGBA", (5, 4), (255, 0, 0, 10)).save(tmp_path / "clear.png")
    np.testing.assert_array_equal(read_image(tmp_path / "clear.png")[0, 0], [1, 0, 0])
    Pil.new("LA", (5, 4), (51, 10)).save(tmp_path / "grey.png")
    np.testing.assert_allclose(read_image(tmp_path / "grey.png"), np.full((4, 5), 0.2))


def tiff(path: Path, pixels: np.ndarray, **tags: int) -> Path:
    """A TIFF file of one channel without compression, with its own values of bits, sample format and photometric."""
    data = pixels.tobytes()
    height, width = pixels.shape
    default = {
        "bits": 8 * pixels.itemsize,
        "photometric": 1,
        "kind": {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind],
    }
    found = default | tags
    entries = [
        (256, width), (257, height), (258, found["bits"]), (259, 1), (262, found["photometric"]), (273, 8),
        (277, 1), (278, height), (279, len(data)), (339, found["kind"]),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in entries
    )
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + bytes(4))
    return path


RAMP = np.linspace(0, 1, 12).reshape(3, 4)


@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        (RAMP.astype(np.float32), {}),
        (1 - RAMP.astype(np.float32), {"photometric": 0}),
        ((65535 * RAMP).round().astype(np.uint16), {}),
        ((65535 * (1 - RAMP)).round().astype(np.uint16), {"photometric": 0}),
        ((255 * RAMP).round().astype(np.uint8), {}),
        ((255 * (1 - RAMP)).round().astype(np.uint8), {"photometric": 0}),
    ],
)
def test_a_tiff_is_read_by_its_own_scale(tmp_path: Path, pixels: np.ndarray, tags: dict[str, int]) -> None:
    np.testing.assert_allclose(read_image(tiff(tmp_path / "a.tif", pixels, **tags)), RAMP, atol=0.003)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (255 * RAMP.astype(np.float32), r"values from 0 to 255; expected 0 \(black\) to 1 \(white\)"),
        (RAMP.astype(np.float32) - 0.5, r"values from -0\.5 to 0\.5; expected 0"),
        (np.full((3, 4), np.nan, np.float32), "holds values that are not finite"),
        ((255 * RAMP).astype(np.int32), "signed integers of 32 bits, of which nothing says what is white"),
        ((65535 * RAMP).astype(np.uint32), "integers of 32 bits, of which nothing says what is white"),
        ((127 * RAMP).astype(np.int8), "signed integers of 8 bits, of which nothing says what is white"),
        ((32767 * RAMP).astype(np.int16), "signed integers of 16 bits, of which nothing says what is white"),
    ],
)
def test_a_tiff_without_a_scale_is_refused(tmp_path: Path, pixels: np.ndarray, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"a\.tif: {said}"):
        read_image(tiff(tmp_path / "a.tif", pixels))


def test_other_kinds_of_images_are_read_as_they_look(tmp_path: Path) -> None:
    from PIL import Image as Pil

    for mode, suffix in (("1", "png"), ("L", "png"), ("P", "png"), ("RGB", "jpg"), ("CMYK", "jpg"), ("CMYK", "tif"),
                         ("RGBA", "tif"), ("YCbCr", "jpg"), ("LA", "png"), ("I;16", "png")):  # fmt: skip
        path = tmp_path / f"a.{suffix}"
        white = Pil.new("RGB", (8, 16), (255, 255, 255)).convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            white = Pil.fromarray(np.full((16, 8), 65535, np.uint16))
        white.save(path)
        image = read_image(path)
        assert image.shape[:2] == (16, 8), mode
        np.testing.assert_allclose(image, 1.0, atol=0.01, err_msg=mode)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_a_rotation_is_applied_once(tmp_path: Path, suffix: str) -> None:
    from PIL import Image as Pil

    exif = Pil.Exif()
    exif[274] = 6  # the top is on the right
    Pil.fromarray(np.array([[0] * 16] * 8 + [[255] * 16] * 8, np.uint8)).crop((0, 0, 16, 12)).save(
        tmp_path / f"a.{suffix}", exif=exif
    )
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.shape == (16, 12)
    assert image[:, -1].mean() < 0.1  # the dark top came to the right
    assert image[:, 0].mean() > 0.9


def test_channels_of_16_bits_one_after_the_other_are_refused(tmp_path: Path) -> None:
    """Pillow reads such a TIFF with bytes of one channel in another, without a word."""
    edge, entries = 16, 10
    data = 8 + 2 + 12 * entries + 4
    bits, strips, counts, plane = data, data + 6, data + 18, 2 * edge * edge
    offsets = [data + 30 + number * plane for number in range(3)]
    tags = [(256, 3, 1, edge), (257, 3, 1, edge), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 3, strips), (277, 3, 1, 3), (278, 3, 1, edge), (279, 4, 3, counts), (284, 3, 1, 2)]
    head = struct.pack("<2sHIH", b"II", 42, 8, entries) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    values = struct.pack("<I3H3I3I", 0, 16, 16, 16, *offsets, *[plane] * 3)
    (tmp_path / "planar.tif").write_bytes(head + values + np.arange(3 * edge**2, dtype="<u2").tobytes())
    with pytest.raises(ConfigError, match=r"planar\.tif: its channels of 16 bits lie one after the other"):
        read_image(tmp_path / "planar.tif")


@pytest.mark.parametrize(
    ("pixels", "reach"),
    [
        (np.full((8, 8), 4095, np.uint16), "reach 4095, and white is 65535"),
        (np.full((8, 8), 0.001, np.float32), "reach 0.001, and white is 1"),
        (np.full((8, 8), 30000, np.uint16), ""),
    ],
)
def test_an_image_that_is_nearly_black_by_its_scale_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pixels: np.ndarray, reach: str
) -> None:
    """12 bits in a file of 16 would pass for black, with a good PSNR."""
    read_image(tiff(tmp_path / "dark.tif", pixels))
    assert (reach in caplog.text) if reach else not caplog.text


def test_several_pages_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from PIL import Image as Pil

    pages = [Pil.new("L", (9, 9), value) for value in (255, 0, 0)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), 1.0)
    assert "a.tif: holds 3 pages or frames; only the first is read" in caplog.text


@pytest.mark.parametrize("edge", [8000, 11000, 20000])  # below and above the limits of Pillow
def test_a_gigantic_image_is_refused_with_its_size(tmp_path: Path, edge: int) -> None:
    raw = zlib.compress(bytes(100))
    head = struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", raw), (b"IEND", b"")]
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    (tmp_path / "big.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(
        ConfigError, match=rf"big\.png: ({edge} x {edge}|{edge**2}) pixels; at most 50 million are read"
    ):
        read_image(tmp_path / "big.png")


def test_hidden_files_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((9, 9), np.float32))
    for name in ("._a.png", ".hidden.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7 not an image")
    assert [name for name, _ in read_folder(tmp_path, smallest=8)] == ["a.png"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(ConfigError, match="holds no image"):
        read_folder(tmp_path, smallest=8)


@pytest.mark.parametrize("content", [b"", b"not an image at all", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.png: not a readable image") as error:
        read_folder(tmp_path, smallest=8)
    assert "\n" not in str(error.value)


def test_a_truncated_photograph_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    write_image(path, np.random.default_rng(0).random((60, 60), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ConfigError, match=r"cut\.png: not a readable image"):
        read_image(path)


def test_a_folder_gives_its_images_in_order(photo_folder: Path) -> None:
    images = read_folder(photo_folder, smallest=16)
    assert [name for name, _ in images] == ["picture_0.png", "picture_1.png", "picture_2.png"]
    assert images[0][1].shape == (72, 81, 3)


def test_unusable_folders_are_refused(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        read_folder(photo_folder / "nowhere", smallest=8)
    with pytest.raises(ConfigError, match="holds no image"):
        read_folder(tmp_path_factory.mktemp("empty"), smallest=8)
    with pytest.raises(ConfigError, match=r"picture_0\.png: 81 x 72 pixels; expected at least 100 x 100"):
        read_folder(photo_folder, smallest=100)


def test_bicubic_keeps_flat_and_linear_images() -> None:
    rows, cols = np.mgrid[0:20, 0:24].astype(np.float32)
    np.testing.assert_allclose(resize_bicubic(np.full((20, 24), 0.3, np.float32), (10, 12)), 0.3, atol=1e-6)
    ramp = 0.02 * rows + 0.01 * cols
    half = resize_bicubic(ramp, (10, 12))
    expected = ramp.reshape(10, 2, 12, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(half[3:-3, 3:-3], expected[3:-3, 3:-3], atol=1e-5)


def test_ycbcr_comes_back_and_gives_luma() -> None:
    image = np.random.default_rng(0).random((8, 9, 3)).astype(np.float32)
    np.testing.assert_allclose(from_ycbcr(to_ycbcr(image)), image, atol=1e-4)
    white = np.ones((2, 2, 3), dtype=np.float32)
    np.testing.assert_allclose(luma(white), 235 / 255, rtol=1e-4)
    np.testing.assert_allclose(grey(white), 1.0, rtol=1e-5)
    assert luma(image[:, :, 0]) is not None
    np.testing.assert_array_equal(grey(image[:, :, 0]), image[:, :, 0])


def test_patches_cover_the_image_and_all_orientations() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    rng = np.random.default_rng(0)
    drawn = {random_patch([image], 3, rng) for _ in range(300)}
    assert drawn == {(0, 0, col, way) for col in (0, 1) for way in range(8)}
    assert len({orient(image[:, :3], way).tobytes() for way in range(8)}) == 8


def test_centre_crop_is_at_most_the_image() -> None:
    image = np.arange(20.0, dtype=np.float32).reshape(4, 5)
    np.testing.assert_array_equal(centre_crop(image, 2), image[1:3, 1:3])
    assert centre_crop(image, 9).shape == (4, 5)


def test_training_and_held_out_photographs_are_disjoint() -> None:
    assert not set(photographs.TRAINING) & set(photographs.HELD_OUT)
    loaded = photographs.load(photographs.TRAINING + photographs.HELD_OUT)
    assert len({image.tobytes() for _, image in loaded}) == len(loaded)
    for _, image in loaded:
        assert min(image.shape[:2]) >= 300
        assert image.dtype == np.float32
        assert 0.7 < image.max() <= 1.0


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ConfigError, match=r"skimage.*pip install 'eapu-hil\[train\]'"):
        photographs.load(("camera",))
