"""Super-resolution: the bicubic reference, batches and colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eapu_hil.network.layers import Float32Array
from eapu_hil.tasks import Task, make_task
from eapu_hil.tasks.images import luma, resize_bicubic, to_ycbcr


def add_nothing(x: Float32Array) -> Float32Array:
    batch, height, width, channels = x.shape
    return np.zeros((batch, 2 * height, 2 * width, channels), dtype=np.float32)


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task({"name": "super_resolution"})


def test_a_network_that_adds_nothing_is_bicubic(task: Task) -> None:
    for quick in (True, False):
        result = task.evaluate(add_nothing, quick=quick)
        assert len(result.examples) == 2
        assert result.input is not None
        assert result.value == pytest.approx(result.input, abs=1e-9)
        assert 25 < result.value < 40
    for triplet in task.gallery(add_nothing):
        np.testing.assert_array_equal(triplet.input, triplet.output)
        assert triplet.reference.shape == triplet.output.shape


def test_a_batch_holds_what_bicubic_lacks(task: Task) -> None:
    x, y = task.batch(np.random.default_rng(0), 4)
    assert x.shape == (4, 24, 24, 1)
    assert y.shape == (4, 48, 48, 1)
    for small, detail in zip(x[..., 0] + np.float32(0.5), y[..., 0], strict=True):
        large = resize_bicubic(small, (48, 48)) + 0.1 * detail
        again = resize_bicubic(large, (24, 24))
        # away from the edges of the patch, the large image shrinks to the small one again
        np.testing.assert_allclose(again[4:-4, 4:-4], small[4:-4, 4:-4], atol=3 / 255)


def test_detail_is_added_where_it_belongs(task: Task) -> None:
    """One unit of output in a corner of a 2 x 2 block lifts just that pixel by 0.1."""
    image = np.full((10, 12), 0.5, dtype=np.float32)

    def spot(x: Float32Array) -> Float32Array:
        out = add_nothing(x)
        out[0, 6, 9, 0] = 1.0
        return out

    enlarged = task.apply(spot, image)
    assert enlarged.shape == (20, 24)
    assert enlarged[6, 9] == pytest.approx(0.6)
    enlarged[6, 9] = 0.5
    np.testing.assert_allclose(enlarged, 0.5, atol=1e-6)


def test_colour_is_enlarged_by_luma_and_bicubic_chroma(task: Task) -> None:
    rows, cols = np.mgrid[0:16, 0:20].astype(np.float32) / 40
    image = np.stack([0.3 + rows, 0.6 - cols, 0.2 + 0.5 * rows], axis=2).astype(np.float32)

    def brighter(x: Float32Array) -> Float32Array:
        return add_nothing(x) + np.float32(0.5)

    plain, bright = task.apply(add_nothing, image), task.apply(brighter, image)
    assert plain.shape == (32, 40, 3)
    np.testing.assert_allclose(luma(bright) - luma(plain), 0.05, atol=1e-4)
    np.testing.assert_allclose(to_ycbcr(bright)[:, :, 1:], to_ycbcr(plain)[:, :, 1:], atol=1e-4)


def test_a_users_folder_trains_and_evaluates(task: Task, photo_folder: Path) -> None:
    own = make_task({"name": "super_resolution", "data": {"folder": str(photo_folder)}})
    assert [item.name for item in own.evaluate(add_nothing, quick=False).items] == ["picture_1.png"]
    assert own.batch(np.random.default_rng(0), 2)[0].shape == (2, 24, 24, 1)
    assert len(task.evaluate(add_nothing, quick=False, folder=photo_folder).items) == 3


def test_bicubic_on_set5_is_as_published(task: Task, images_dir: Path) -> None:
    result = task.evaluate(add_nothing, quick=False, folder=images_dir / "set5")
    assert result.value == pytest.approx(33.65, abs=0.01)
    expected = {"baby": 37.04, "bird": 36.80, "butterfly": 27.43, "head": 34.85, "woman": 32.14}
    assert {item.name.removesuffix(".bmp"): item.value for item in result.items} == pytest.approx(
        expected, abs=0.01
    )
