"""Crossbar layers: the same as torch's own without a bench, and trained on the packaged benches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from eapu_hil.bench import Bench, open_bench
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.network.layers import DigitalWeights, Float32Array

torch = pytest.importorskip("torch", reason="needs the extra torch: pip install 'eapu-hil[torch]'")
from eapu_hil.torch import BenchCells, CrossbarConv2d, CrossbarLinear, EaPU

SMALL = ["arrays=2", "shape=[32, 16]"]


@pytest.fixture(scope="module", params=["ideal", "twin"])
def named_bench(request: pytest.FixtureRequest) -> Iterator[tuple[str, Bench]]:
    with open_bench(request.param, SMALL) as bench:
        yield request.param, bench


def make_model() -> torch.nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torch.nn.Sequential(
            CrossbarConv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), CrossbarLinear(36, 3)
        )


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 1, 3, 3, generator=torch.Generator().manual_seed(seed))


class Noted(DigitalWeights):
    """Host weights that note how often each product was asked for."""

    def __init__(self, matrix: Float32Array) -> None:
        super().__init__(matrix)
        self.products: list[str] = []

    def forward(self, x: Float32Array) -> Float32Array:
        self.products.append("forward")
        return super().forward(x)

    def backward(self, d: Float32Array) -> Float32Array:
        self.products.append("backward")
        return super().backward(d)


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0), (1, 0), (3, 2)])
def test_a_convolution_is_that_of_torch(stride: int, padding: int) -> None:
    layer = CrossbarConv2d(2, 5, 3, stride, padding)
    x = torch.randn(4, 2, 8, 7)
    expected = torch.nn.functional.conv2d(x, layer.weight, layer.bias, stride, padding)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    layer.weights = DigitalWeights(layer.weight.detach().flatten(1).T.numpy())
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_a_linear_layer_takes_any_leading_dimensions() -> None:
    layer = CrossbarLinear(6, 4, bias=False)
    x = torch.randn(2, 3, 5, 6)
    assert torch.allclose(layer(x), x @ layer.weight.T, atol=1e-6)
    assert layer.matrix_shape == (6, 4)


def test_gradients_are_those_of_torch_and_products_those_of_the_weights() -> None:
    layer = CrossbarLinear(6, 4)
    x = torch.randn(5, 6, requires_grad=True)
    layer(x).square().sum().backward()
    expected = [x.grad.clone(), layer.weight.grad.clone(), layer.bias.grad.clone()]
    layer.zero_grad()
    x.grad = None
    weights = Noted(layer.weight.detach().T.numpy())
    layer.weights = weights
    layer(x).square().sum().backward()
    for a, b in zip([x.grad, layer.weight.grad, layer.bias.grad], expected, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert weights.products == ["forward", "backward"]
    layer(torch.randn(5, 6)).sum().backward()  # nobody needs the gradient of this input
    assert weights.products == ["forward", "backward", "forward"]


def test_products_are_those_of_the_weights_that_were_read(named_bench: tuple[str, Bench]) -> None:
    name, bench = named_bench
    model = make_model()
    wanted = [layer.weight.detach().clone() for layer in (model[0], model[3])]
    EaPU(torch.optim.SGD(model.parameters(), lr=0.0), cells=BenchCells(model, bench).pairs)
    close = {"ideal": 1e-4, "twin": 0.1}[name]
    for layer, before in zip((model[0], model[3]), wanted, strict=True):
        span = 2.0 * float(before.abs().max())
        error = (layer.weight.detach() - before).square().mean().sqrt() / span
        assert float(error) < 0.1  # written with write-verify, to within the band of 1 uS where all is ideal
        x = torch.randn(50, layer.matrix_shape[0])
        on_bench = layer.product(x).detach()
        assert layer.weights is not None
        exact = x @ layer.weight.detach().flatten(1).T
        assert float((on_bench - exact).std() / exact.std()) < close
        d = torch.randn(50, layer.matrix_shape[1])
        back = torch.from_numpy(layer.weights.backward(d.numpy()))
        exact = d @ layer.weight.detach().flatten(1)
        assert float((back - exact).std() / exact.std()) < close


def test_training_on_a_bench_learns_and_counts_what_it_writes(named_bench: tuple[str, Bench]) -> None:
    name, bench = named_bench
    model = make_model()
    cells = BenchCells(model, bench)
    optimizer = EaPU(torch.optim.Adam(model.parameters(), lr=5e-3), cells=cells.pairs)
    pulsed = sum(int(part.sum()) for part in bench.ledger.snapshot().pulses)
    losses = []
    for step in range(120):
        x = images(32, step)
        target = (x[:, 0, :, :].mean(dim=1)).sign()
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    report = optimizer.report()
    assert report.weights == 36 + 108
    assert report.writes_total == int(cells.writes.sum()) > 0
    # Cells that are written exactly have a threshold of 0: all their changes are written.
    assert (report.update_ratio_mean < 0.2) == (name == "twin")
    assert sum(int(part.sum()) for part in bench.ledger.snapshot().pulses) > pulsed
    for layer in (model[0], model[3]):
        assert torch.equal(layer.weight.detach(), cells.pairs[layer.weight].read(None))


def test_counts_belong_to_the_cells_that_were_written() -> None:
    with open_bench("ideal", SMALL) as bench:
        model = make_model()
        cells = BenchCells(model, bench)
        layer = model[3]
        pairs = cells.pairs[layer.weight]
        before = pairs.read(None)
        change_uS = torch.zeros(3, 36)
        change_uS[1, 7], change_uS[2, 0] = 6.0, -5.0
        assert pairs.write(change_uS, 0.0, 1, None) == 2
        assert int(pairs.writes.sum()) == 2
        assert torch.equal(pairs.writes.sum(dim=0), (change_uS != 0).int())
        assert int(cells.pairs[model[0].weight].writes.sum()) == 0
        moved_uS = (pairs.read(None) - before) / pairs.r_wg
        assert torch.allclose(moved_uS, change_uS, atol=0.02)


def test_a_checkpoint_keeps_the_counts_and_the_chip_keeps_the_weights() -> None:
    with open_bench("ideal", SMALL) as bench:
        model = make_model()
        optimizer = EaPU(torch.optim.Adam(model.parameters(), lr=5e-3), cells=BenchCells(model, bench).pairs)
        for step in range(5):
            optimizer.zero_grad()
            model(images(8, step)).square().mean().backward()
            optimizer.step()
        saved, held = optimizer.state_dict(), model[3].weight.detach().clone()
        report = optimizer.report()
        optimizer.load_state_dict(saved)
        assert optimizer.report() == report
        assert torch.allclose(model[3].weight.detach(), held, atol=1e-4)
        saved["eapu"]["pairs"][0] = {"writes": torch.zeros(1)}
        with pytest.raises(HilError, match="does not hold the counts"):
            optimizer.load_state_dict(saved)


def test_models_that_cannot_be_placed_are_refused() -> None:
    with open_bench("ideal", SMALL) as bench:
        with pytest.raises(ConfigError, match="no CrossbarLinear"):
            BenchCells(torch.nn.Linear(2, 2), bench)
        with pytest.raises(ConfigError, match="does not fit"):
            BenchCells(CrossbarLinear(400, 50), bench)
