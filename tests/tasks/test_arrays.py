"""The task `arrays`: people's own files, whatever is wrong with them, and that a network learns from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from eapu_hil.hal import ConfigError
from eapu_hil.network.layers import (
    Conv2d,
    Dense,
    DigitalWeights,
    Flatten,
    Float32Array,
    MaxPool,
    ReLU,
    initial_matrix,
)
from eapu_hil.network.network import Network
from eapu_hil.tasks import Task, make_task
from eapu_hil.tasks.arrays import Arrays

Make = Callable[..., Arrays]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes the task: `make("train.csv", layers=[4, "relu", 2])`; files of `data` lie in `tmp_path`."""

    def made(train: str, layers: list[Any], data: dict[str, Any] | None = None, **keys: Any) -> Arrays:
        files = {"train": str(tmp_path / train), **(data or {})}
        if "test" in files:
            files["test"] = str(tmp_path / str(files["test"]))
        task = make_task({"name": "arrays", "data": files, "layers": layers, **keys})
        assert isinstance(task, Arrays)
        return task

    return made


def _csv(folder: Path, lines: list[str], name: str = "train.csv") -> None:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _npz(folder: Path, name: str = "train.npz", **arrays: Any) -> None:
    np.savez(folder / name, **arrays)


def _held_out(task: Task, quick: bool = False) -> Float32Array:
    """The inputs of an evaluation."""
    seen: list[Float32Array] = []

    def note(x: Float32Array) -> Float32Array:
        seen.append(x)
        out: Float32Array = np.zeros((len(x), 20), dtype=np.float32)
        return out

    task.evaluate(note, quick=quick)
    return seen[0]


def _learn(task: Task, steps: int = 400, lr: float = 0.1) -> float:
    rng = np.random.default_rng(0)
    network = Network(task.layers(), lambda _, spec: DigitalWeights(initial_matrix(spec, rng)))
    for step in range(steps):
        x, y = task.batch(np.random.default_rng([0, step]), 16)
        _, d = task.loss(network.forward(x), y)
        for layer, (d_matrix, d_bias) in zip(network.weighted, network.backward(d), strict=True):
            assert isinstance(layer.weights, DigitalWeights)
            layer.weights.matrix -= np.float32(lr) * d_matrix
            layer.bias -= np.float32(lr) * d_bias
    return task.evaluate(network.infer, quick=False).value


def _two_kinds(n: int = 60) -> list[str]:
    """Lines of a table of two classes that a line parts, with a header."""
    x = np.random.default_rng(0).normal(size=(n, 2))
    kinds = np.where(x[:, 0] + x[:, 1] > 0, "round", "flat")
    return [
        "width,length,kind",
        *(f"{10 + a:.4f},{300 + 50 * b:.4f},{k}" for (a, b), k in zip(x, kinds, strict=True)),
    ]


class TestClasses:
    def test_a_table_with_names_is_learned(self, tmp_path: Path, make: Make) -> None:
        _csv(tmp_path, _two_kinds())
        task = make("train.csv", [8, "relu", 2])
        assert (task.classes, task.metric_name) == (("flat", "round"), "accuracy")
        assert task.layers() == [Dense(2, 8), ReLU(), Dense(8, 2, gain=1.0)]
        assert _learn(task) > 0.9
        evaluation = task.evaluate(lambda x: np.eye(2, dtype=np.float32)[np.zeros(len(x), int)], quick=False)
        assert [(item.name, item.value) for item in evaluation.items] == [("flat", 1.0), ("round", 0.0)]

    def test_a_fifth_of_each_class_is_held_out_and_never_drawn(self, tmp_path: Path, make: Make) -> None:
        x = np.arange(60.0)
        _csv(tmp_path, [f"{value},{'abc'[i % 3] if i < 30 else 'a'}" for i, value in enumerate(x)])
        task = make("train.csv", [3], scale="none")
        held_out = _held_out(task)[:, 0]
        classes = [int(value) % 3 if value < 30 else 0 for value in held_out]
        assert np.bincount(classes).tolist() == [8, 2, 2]
        drawn, y = task.batch(np.random.default_rng(0), 2000)
        assert set(drawn[:, 0]) == set(x) - set(held_out)
        assert all(y == np.where(drawn[:, 0] < 30, drawn[:, 0] % 3, 0))
        np.testing.assert_array_equal(_held_out(make("train.csv", [3], scale="none"))[:, 0], held_out)
        assert len(_held_out(make("train.csv", [3], {"held_out": 0.5}))) == 30

    def test_training_data_set_the_scale_of_both(self, tmp_path: Path, make: Make) -> None:
        _csv(tmp_path, ["1,10,a", "3,30,b", "5,20,a"])
        _csv(tmp_path, ["7,20,b"], "test.csv")
        task = make("train.csv", [2], {"test": "test.csv"})
        x = np.unique(task.batch(np.random.default_rng(0), 100)[0], axis=0)
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(x.std(axis=0), 1, rtol=1e-6)
        np.testing.assert_allclose(_held_out(task), [[4 / np.sqrt(8 / 3), 0]], atol=1e-6)

    @pytest.mark.parametrize(
        ("labels", "classes"),
        [
            (["10", "9", "2.0", "9.0", "10", "2"], ("2", "9", "10")),
            (["b", "a", "10", "10", "b", "a"], ("10", "a", "b")),
            (["-1", "1", "-1", "1", "1", "-1"], ("-1", "1")),
        ],
    )
    def test_classes_are_sorted(
        self, tmp_path: Path, make: Make, labels: list[str], classes: tuple[str, ...]
    ) -> None:
        _csv(tmp_path, [f"{i},{label}" for i, label in enumerate(labels)])
        task = make("train.csv", [len(classes)])
        assert task.classes == classes
        assert task.record()["classes"] == list(classes)

    @pytest.mark.parametrize("dtype", ["U4", "S4", "i1", "f8", "bool"])
    def test_classes_of_arrays_are_text_or_whole_numbers(
        self, tmp_path: Path, make: Make, dtype: str
    ) -> None:
        y = np.array([0, 1, 0, 1, 1, 0]).astype(dtype)
        for shape in ((6,), (6, 1)):
            _npz(tmp_path, x=np.arange(6.0)[:, None], y=y.reshape(shape))
            assert make("train.npz", [2]).classes == ("0", "1")

    def test_the_label_may_stand_in_any_column(self, tmp_path: Path, make: Make) -> None:
        lines = [f"{i},{'ab'[i % 2]},{-i},2024-05-0{i}" for i in range(1, 7)]
        _csv(tmp_path, ["id,kind,x,day", *lines])
        task = make("train.csv", [2], {"target": "kind", "inputs": ["x"]}, scale="none")
        assert set(_held_out(task)[:, 0]) < {-1, -2, -3, -4, -5, -6}
        _csv(tmp_path, lines)
        task = make("train.csv", [2], {"target": 1, "inputs": [2, 0]}, scale="none")
        assert all(x == -y for x, y in _held_out(task))

    def test_a_test_file_may_have_its_columns_in_another_order(self, tmp_path: Path, make: Make) -> None:
        _csv(tmp_path, ["a,b,kind", "1,2,x", "3,4,y"])
        _csv(tmp_path, ["kind;b;more;a", "y;20;;10"], "test.csv")
        task = make("train.csv", [2], {"test": "test.csv"}, scale="none")
        assert _held_out(task).tolist() == [[10, 20]]

    def test_quick_takes_500_samples_always_the_same(self, tmp_path: Path, make: Make) -> None:
        _npz(tmp_path, x=np.arange(3000.0)[:, None], y=np.arange(3000) % 2)
        task = make("train.npz", [2])
        assert len(_held_out(task)) == 600
        quick = _held_out(task, quick=True)
        assert quick.shape == (500, 1)
        np.testing.assert_array_equal(_held_out(task, quick=True), quick)


class TestNumbers:
    def test_several_are_predicted_and_the_metric_is_r2(self, tmp_path: Path, make: Make) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(200, 3))
        y = np.stack([1000 + 50 * (x[:, 0] - x[:, 1]), 1e-3 * x[:, 2]], axis=1)
        rows = [",".join(f"{value:.8g}" for value in row) for row in np.hstack([y, x])]
        _csv(tmp_path, ["ohm,current,a,b,c", *rows])
        keys = {"data": {"target": ["ohm", "current"]}, "kind": "regression"}
        task = make("train.csv", [2], **keys)
        assert (task.metric_name, task.classes) == ("r2", ())
        assert task.record()["targets"] == ["ohm", "current"]
        assert _learn(task) > 0.99
        evaluation = task.evaluate(lambda x: np.zeros((len(x), 2), dtype=np.float32), quick=False)
        assert [item.name for item in evaluation.items] == ["ohm", "current"]
        assert evaluation.value == pytest.approx(0, abs=0.2)  # always the mean of the training data

    def test_r2_is_that_of_scikit_learn(self, tmp_path: Path, make: Make) -> None:
        metrics = pytest.importorskip("sklearn.metrics")
        rng = np.random.default_rng(0)
        y = rng.normal(size=(40, 2))
        _npz(tmp_path, x=rng.normal(size=(40, 1)), y=y)
        _npz(tmp_path, "test.npz", x=rng.normal(size=(30, 1)), y=y[:30])
        task = make("train.npz", [2], {"test": "test.npz"}, kind="regression", scale="none")
        out = rng.normal(size=(30, 2)).astype(np.float32)
        found = task.evaluate(lambda _: out, quick=False)
        assert found.value == pytest.approx(metrics.r2_score(y[:30], out), rel=1e-5)

    def test_numbers_of_arrays_may_be_one_column(self, tmp_path: Path, make: Make) -> None:
        _npz(tmp_path, spectra=np.random.default_rng(0).normal(size=(9, 4)), water=np.arange(9))
        task = make("train.npz", [1], {"inputs": "spectra", "target": "water"}, kind="regression")
        x, y = task.batch(np.random.default_rng(0), 5)
        assert (x.shape, y.shape, y.dtype) == ((5, 4), (5, 1), np.float32)
        assert task.record()["targets"] == ["water"]


class TestImages:
    def test_a_convolution_network_learns_images(self, tmp_path: Path, make: Make) -> None:
        rng = np.random.default_rng(0)
        y = rng.integers(2, size=120)
        x = rng.normal(size=(120, 6, 8)) * 0.3
        for image, is_row in zip(x, y, strict=True):  # a line across or a line down, anywhere
            if is_row:
                image[rng.integers(6)] += 1
            else:
                image[:, rng.integers(8)] += 1
        _npz(tmp_path, x=x, y=y)
        task = make("train.npz", [{"conv": 4}, "relu", {"pool": 2}, 2])
        assert task.layers() == [Conv2d(1, 4), ReLU(), MaxPool(2), Flatten(), Dense(48, 2, gain=1.0)]
        assert _learn(task, steps=300) > 0.9

    def test_channels_come_first_and_each_has_a_scale(self, tmp_path: Path, make: Make) -> None:
        x = np.arange(4 * 3 * 2 * 5, dtype=np.uint8).reshape(4, 3, 2, 5)
        _npz(tmp_path, x=x, y=[0, 1, 0, 1])
        task = make(
            "train.npz", [{"conv": 2, "kernel": 5}, "relu", {"conv": 4, "kernel": 1}, 2], scale="none"
        )
        assert task.layers()[:3] == [Conv2d(3, 2, 5), ReLU(), Conv2d(2, 4, 1, gain=1.0)]
        held_out = _held_out(task)
        assert held_out.shape == (2, 2, 5, 3)
        assert held_out[0, :, :, 1].tolist() in [image[1].tolist() for image in x]
        scaled = make("train.npz", [2]).batch(np.random.default_rng(0), 300)[0]
        assert scaled.shape == (300, 2, 5, 3)
        np.testing.assert_allclose(scaled.mean(axis=(0, 1, 2)), 0, atol=0.1)
        assert make("train.npz", [2]).layers() == [Flatten(), Dense(30, 2, gain=1.0)]


GOOD = {"x": np.arange(12.0).reshape(6, 2), "y": np.array([0, 1, 0, 1, 0, 1])}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.arange(6.0)}, r"npz: x has the shape \(6,\); expected \(n, features\)"),
        ({"x": np.zeros((6, 1, 1, 1, 1))}, "x has the shape"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "x has the shape"),
        ({"x": np.arange(10.0).reshape(5, 2)}, r"shapes \(5, 2\) and \(6,\); expected as many samples"),
        ({"y": np.float64(3)}, "expected as many samples"),
        ({"x": np.full((6, 2), 1j)}, "x holds complex128; expected numbers"),
        ({"x": np.full((6, 2), "a")}, "x holds <U1; expected numbers"),
        ({"x": np.where(GOOD["x"] == 5, np.nan, GOOD["x"])}, r"x\[2, 1\]: nan is not finite"),
        ({"x": np.where(GOOD["x"] == 5, 1e31, GOOD["x"])}, r"x\[2, 1\]: 1e\+31 is too large"),
        ({"x": np.where([[True, False]], GOOD["x"], 7)}, r"x\[:, 1\] is 7 in every sample; leave it out"),
        ({"x": np.array([[1, 2], 3], dtype=object)}, "cannot be read as .npz"),
        ({"y": np.eye(6)}, r"y has the shape \(6, 6\); expected one class a sample"),
        ({"y": np.array([0, 1, 0, 1, 0, 1.5])}, r"y\[5\]: 1.5 is no class; .* task.kind: regression"),
        ({"y": np.array([0, 1, 0, 1, 0, np.nan])}, r"y\[5\]: nan is not finite"),
        ({"y": np.array(["a", "b", "", "b", "a", "b"])}, r"y\[2\]: empty"),
        ({"y": np.zeros(6)}, "one class alone, '0'"),
        (
            {"y": np.array([0, 1, 0, 1, 0, 2**60 + 1])},
            r"y\[5\]: class 1152921504606846977 is too large to be told",
        ),
        ({"y": np.array([0, 1, 0, 1, 0, 2])}, "class '2' has one sample; at least 2"),
        (
            {"y": np.array([0, 1, 0, 1, 2, 2])},
            r"3 classes \(0, 1, 2\), but the last of task.layers has 2 units",
        ),
    ],
)
def test_faults_of_arrays(tmp_path: Path, make: Make, changes: dict[str, Any], message: str) -> None:
    _npz(tmp_path, **{**GOOD, **changes})
    with pytest.raises(ConfigError, match=r"train\.npz.*" + message.removeprefix("npz: ")) as caught:
        make("train.npz", [2])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "keys", "message"),
    [
        (["a,b,k", "1,2,x", "3,,y"], {}, r"csv:3: column 'b': empty; .*task\.data\.inputs"),
        (["a,b,k", "1,2,x", "3,red,y"], {}, r"csv:3: column 'b': 'red' is no number"),
        (["a,b,k", "1,2,x", "3,4,"], {}, r"csv:3: column 'k': empty"),
        (["a,b,k", "1,2,x", "3,4"], {}, r"csv:3: 2 fields; line 1 has 3"),
        (["a,b,k", "1,2,x", "3,inf,y"], {}, r"csv:3: column 'b': inf is not finite"),
        (["a,b,k", "1,2,x", "1,4,y", "1,5,x", "1,6,y"], {}, r"csv: column 'a' is 1 in every sample"),
        (["a,b,k", "1,2,x", "3,4,y"], {"data": {"target": "kind"}}, r"no column 'kind'"),
        (["a,b,k", "1,2,x", "3,4,y"], {"data": {"target": ["a", "k"]}}, r"2 columns; classes stand in one"),
        (
            ["a,b,k", "1,2,x", "3,4,y"],
            {"data": {"inputs": ["a", "k"]}},
            "column 'k' is both an input and the target",
        ),
        (["a,b,k", "1,2,x", "3,4,y"], {"data": {"inputs": ["a", 0]}}, "column 'a' is listed twice"),
        (["a,b,k", "1,2,x", "3,4,y"], {"data": {"target": 3}}, "no column 3"),
        ([",b,k", "1,2,x", "3,4,y"], {}, "column 0 has no name, as row numbers have none"),
        (["k", "x", "y"], {}, "no column is left to learn from"),
        (["a,k", "1,2.5", "3,4"], {}, r"csv:2: column 'k': 2.5 is no class"),
        (["a,k", "1,2", "3,4", "5,6"], {"kind": "regression", "layers": [1]}, "3 samples; at least 4"),
        (
            ["a,k", "1,2", "3,2", "5,2", "6,2"],
            {"kind": "regression", "layers": [1]},
            "held-out 'k' is 2 in every",
        ),
        (["a,k", "1,2", "3,x"], {"kind": "regression", "layers": [1]}, "csv:3: column 'k': 'x' is no number"),
        (["a,k", "1,2", "3,4", "2,5", "7,8"], {"kind": "regression"}, "1 numbers to predict, but .* 2 units"),
        (
            ["a,k", *(f"{i},{i}" for i in range(9)), *(f"{i},{i}" for i in range(9))],
            {},
            "9 classes .*regression",
        ),
    ],
)
def test_faults_of_tables(
    tmp_path: Path, make: Make, lines: list[str], keys: dict[str, Any], message: str
) -> None:
    _csv(tmp_path, lines)
    with pytest.raises(ConfigError, match=message) as caught:
        make("train.csv", **{"layers": [2], **keys})
    assert "train.csv" in str(caught.value)


def test_faults_of_test_files(tmp_path: Path, make: Make) -> None:
    _csv(tmp_path, ["a,b,k", "1,2,x", "3,4,y"])
    for lines, message in (
        (
            ["a,b,k", "1,2,x", "3,4,z"],
            r"test\.csv:3: column 'k': class 'z' is none of those in .*train\.csv: x, y",
        ),
        (["1,2,x"], r"test\.csv: has no header line, but .*train\.csv has one"),
        (["a,c,k", "1,2,x"], r"test\.csv: no column 'b'; it has a, c, k"),
    ):
        _csv(tmp_path, lines, "test.csv")
        with pytest.raises(ConfigError, match=message):
            make("train.csv", [2], {"test": "test.csv"})
    _npz(tmp_path, "test.npz", x=np.zeros((3, 5)), y=["x", "y", "x"])
    with pytest.raises(ConfigError, match=r"test\.npz: inputs of shape \(5,\) each; those of .* have \(2,\)"):
        make("train.csv", [2], {"test": "test.npz"})
    _csv(tmp_path, ["1,2", "3,4"])
    _npz(tmp_path, "test.npz", x=np.zeros((3, 1)), y=np.zeros((3, 2)))
    with pytest.raises(ConfigError, match=r"test\.npz: 2 numbers to predict; .* has 1"):
        make("train.csv", [1], {"test": "test.npz"}, kind="regression")


def test_files_that_are_none(tmp_path: Path, make: Make) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 torn")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    _npz(tmp_path, "encrypted.npz", **GOOD)
    content = (tmp_path / "encrypted.npz").read_bytes()
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of each member say that it is
        content = re.sub(
            re.escape(mark) + b"(.{%d})." % (place - 4),
            lambda m: m[0][:-1] + b"\x01",
            content,
            flags=re.DOTALL,
        )
    (tmp_path / "encrypted.npz").write_bytes(content)
    _npz(tmp_path, spectra=GOOD["x"], y=GOOD["y"])
    for name, message in (
        ("bad.npz", "cannot be read as .npz"),
        ("encrypted.npz", "cannot be read as .npz: .*encrypted"),
        ("one.npz", "cannot be read as .npz"),
        ("absent.npz", "cannot be read as .npz: No such file"),
        ("absent.csv", "cannot be read: No such file"),
        ("data.xlsx", r"allowed: \.npz \.csv \.tsv"),
        ("train.npz", r"no array 'x'; it holds spectra, y"),
    ):
        with pytest.raises(ConfigError, match=re.escape(str(tmp_path / name)) + ".*" + message) as caught:
            make(name, [2])
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"no array 'spectrs', did you mean 'spectra'\?"):
        make("train.npz", [2], {"inputs": "spectrs"})
    with pytest.raises(ConfigError, match=r"task\.data\.inputs: must be the name of one array; given 0"):
        make("train.npz", [2], {"inputs": 0})


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["relu", 2], "layer 0: relu needs a layer before it"),
        ([4, "relu"], "the last layer must be a dense one"),
        ([4, {"conv": 3}, 2], "layer 1: conv works on images and cannot follow a dense layer"),
        ([{"conv": 3}, 2], "layer 0: conv 3 works on images; the data are vectors of 2"),
        ([{"pool": 2}, 2], "layer 0: pool 2 works on images"),
        (["sigmoid", 2], "relu"),
        (
            [{"cnv": 3}, 2],
            "must be the units of a dense layer, relu, {conv: CHANNELS, kernel: 3} or {pool: 2}",
        ),
        ([{"conv": 3, "kernel": 2}, 2], "must be odd"),
        ([True, 2], "layers"),
        ([0], "layers"),
        ([], "layers"),
    ],
)
def test_layers_that_make_no_network(tmp_path: Path, make: Make, layers: list[Any], message: str) -> None:
    _npz(tmp_path, **GOOD)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        make("train.npz", layers)
    assert "\n" not in str(caught.value)


def test_images_that_are_too_small_to_pool(tmp_path: Path, make: Make) -> None:
    _npz(tmp_path, x=np.random.default_rng(0).normal(size=(4, 3, 5)), y=[0, 1, 0, 1])
    with pytest.raises(
        ConfigError, match="layer 1: pool 2 needs at least 2 x 2 pixels; here there are 1 x 2"
    ):
        make("train.npz", [{"pool": 2}, {"pool": 2}, 2])


def test_arrays_take_no_images(tmp_path: Path, make: Make) -> None:
    _npz(tmp_path, **GOOD)
    task = make("train.npz", [2])
    with pytest.raises(ConfigError, match="takes no folder"):
        task.evaluate(lambda x: x, quick=False, folder=tmp_path)
    with pytest.raises(ConfigError, match="predicts classes or numbers"):
        task.apply(lambda x: x, np.zeros((8, 8), dtype=np.float32))
    assert task.gallery(lambda x: x) == []
    with pytest.raises(ConfigError, match=r"task\.data.*held_out and test cannot both be given"):
        make("train.npz", [2], {"test": "train.npz", "held_out": 0.1})
    with pytest.raises(ConfigError, match=r"task\.data"):
        make("train.npz", [2], {"held_out": 1.0})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=1, max_dims=5, min_side=0, max_side=6),
    ),
    y=hnp.arrays(
        st.sampled_from([np.float64, np.int8, np.bool_, np.dtype("U2")]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
    ),
    kind=st.sampled_from(["classification", "regression"]),
)
def test_any_arrays_are_a_task_or_one_line_of_error(
    tmp_path: Path, make: Make, x: NDArray[Any], y: NDArray[Any], kind: str
) -> None:
    _npz(tmp_path, x=x, y=y)
    task, said = None, ""
    try:
        task = make("train.npz", [2], kind=kind)
    except ConfigError as error:
        said = str(error)
    if task is None:
        assert str(tmp_path / "train.npz") in said
        assert "\n" not in said
    else:
        assert task.batch(np.random.default_rng(0), 4)[0].shape == (4, *_held_out(task).shape[1:])
        assert np.isfinite(_held_out(task)).all()
