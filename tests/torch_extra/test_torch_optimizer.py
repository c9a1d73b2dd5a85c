"""The wrapper: stands in for its inner optimizer, keeps the pairs as the truth, counts what is written."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest

from eapu_hil.hal import ConfigError, HilError

torch = pytest.importorskip("torch", reason="needs the extra torch: pip install 'eapu-hil[torch]'")
from eapu_hil.torch import EaPU, PairDevice, Relaxation

R_WG = 1 / 80
WIDE = PairDevice(0.0, math.inf)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_model(seed: int = 0) -> torch.nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Linear(6, 20), torch.nn.LayerNorm(20), torch.nn.ReLU(), torch.nn.Linear(20, 3)
        )


def adam(model: torch.nn.Module, lr: float = 1e-2) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.named_parameters(), lr=lr)


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> float:
    """Fits a fixed linear map; returns the last loss."""
    target = torch.linspace(-1, 1, 18).view(6, 3)
    for step in range(first, first + steps):
        x = torch.randn(64, 6, generator=generator(1000 + step))
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), x @ target)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def weights_of(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_digital_is_the_inner_optimizer_alone() -> None:
    plain, wrapped = make_model(), make_model()
    train(plain, adam(plain), 5)
    optimizer = EaPU(adam(wrapped), rule="digital")
    train(wrapped, optimizer, 5)
    for a, b in zip(weights_of(plain), weights_of(wrapped), strict=True):
        assert torch.equal(a, b)
    report = optimizer.report()
    assert (report.steps, report.weights, report.update_ratio_mean, report.layers) == (5, 0, None, ())


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
        lambda p: torch.optim.NAdam(p, lr=1e-2),
    ],
)
@pytest.mark.parametrize("rule", ["eapu", "bp"])
def test_exact_writes_of_every_change_are_the_inner_optimizer(
    make: Callable[[object], torch.optim.Optimizer], rule: str
) -> None:
    plain, wrapped = make_model(), make_model()
    train(plain, make(plain.parameters()), 20)
    optimizer = EaPU(make(wrapped.parameters()), rule=rule, sigma_uS=0.0, device=WIDE)
    train(wrapped, optimizer, 20)
    for a, b in zip(weights_of(plain), weights_of(wrapped), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    assert 0.9 < optimizer.report().update_ratio_mean <= 1.0


def test_eapu_learns_where_plain_backpropagation_does_not() -> None:
    losses = {}
    for rule in ("digital", "eapu", "bp"):
        model = make_model()
        optimizer = EaPU(adam(model, 2e-3), rule=rule, r_wg=R_WG, generator=generator())
        losses[rule] = train(model, optimizer, 600)
        if rule != "digital":
            report = optimizer.report()
            assert report.writes_total == sum(
                int(optimizer.pairs(p).writes.sum()) for p in model.parameters() if p.dim() > 1
            )
            assert report.update_ratio_mean == pytest.approx(report.writes_total / 600 / 180)
            assert [layer.name for layer in report.layers] == ["0.weight", "3.weight"]
            assert (report.update_ratio_mean < 0.1) == (rule == "eapu")
    assert losses["eapu"] < 0.1
    assert losses["bp"] > 5 * losses["eapu"]


def test_biases_and_norms_follow_the_inner_optimizer_without_noise() -> None:
    plain, wrapped = make_model(), make_model()
    train(plain, adam(plain), 1)
    train(wrapped, EaPU(adam(wrapped), sigma_uS=5.0, generator=generator()), 1)
    for a, b in zip(weights_of(plain), weights_of(wrapped), strict=True):
        assert torch.allclose(a, b, atol=1e-5) == (a.dim() == 1)


def test_weights_are_what_the_pairs_hold_and_move_in_steps_of_the_threshold() -> None:
    model = make_model()
    before = weights_of(model)
    optimizer = EaPU(
        adam(model, 1e-3), sigma_uS=0.0, threshold_uS=2.0, r_wg=R_WG, device=WIDE, generator=generator()
    )
    train(model, optimizer, 1)
    for parameter, old in zip(model.parameters(), before, strict=True):
        if parameter.dim() > 1:
            assert torch.equal(parameter.detach(), optimizer.pairs(parameter).read(None))
            steps = (parameter.detach() - old) / (2.0 * R_WG)
            assert torch.allclose(steps, steps.round(), atol=1e-4)
            assert 0 < torch.count_nonzero(steps.round()) < steps.numel()


def test_the_first_adam_step_writes_lr_over_threshold_of_the_weights() -> None:
    """Adam's first step is lr for every weight, so the update ratio is lr / r_wg / th."""
    weight = torch.nn.Parameter(torch.zeros(400, 500))
    optimizer = EaPU(torch.optim.Adam([weight], lr=1e-3), r_wg=R_WG, generator=generator())
    weight.grad = torch.randn(400, 500, generator=generator())
    optimizer.step()
    p = 1e-3 / R_WG / 2.0
    ratio = optimizer.report().update_ratio_mean
    assert ratio == optimizer.report().update_ratio_last
    assert abs(ratio - p) < 5 * math.sqrt(p * (1 - p) / 200_000)


def test_schedulers_set_the_rate_of_the_inner_optimizer() -> None:
    model = make_model()
    optimizer = EaPU(adam(model, 1e-2), generator=generator())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    for _ in range(4):
        train(model, optimizer, 1)
        scheduler.step()
    assert optimizer.inner.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)
    assert optimizer.report().update_ratio_mean > 0


def test_a_group_may_have_its_own_r_wg() -> None:
    model = make_model()
    groups = [{"params": list(model[0].parameters()), "r_wg": 0.5}, {"params": list(model[3].parameters())}]
    optimizer = EaPU(torch.optim.SGD(groups, lr=0.1), r_wg=0.02)
    assert [layer.r_wg for layer in optimizer.report().layers] == [0.5, 0.02]


@pytest.mark.parametrize("rule", ["eapu", "bp"])
def test_a_resumed_training_goes_on_as_if_it_never_stopped(rule: str) -> None:
    device = PairDevice(relaxation=Relaxation(seconds_per_step=10.0))
    runs = []
    for stop in (False, True):
        model = make_model()
        optimizer = EaPU(adam(model), rule=rule, device=device, generator=generator())
        train(model, optimizer, 8)
        if stop:
            saved, parameters = copy.deepcopy((optimizer.state_dict(), model.state_dict()))
            train(model, optimizer, 3)  # must not reach what was saved
            model = make_model(seed=9)
            model.load_state_dict(parameters)
            optimizer = EaPU(adam(model), rule=rule, device=device, generator=generator(77))
            optimizer.load_state_dict(saved)
        train(model, optimizer, 8, first=8)
        runs.append((weights_of(model), optimizer.report()))
    assert runs[0][1] == runs[1][1]
    for a, b in zip(runs[0][0], runs[1][0], strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_another_rule_or_model_is_refused() -> None:
    model = make_model()
    optimizer = EaPU(adam(model))
    for foreign in (adam(model).state_dict(), EaPU(adam(model), rule="bp").state_dict()):
        with pytest.raises(HilError, match="rule 'eapu'"):
            optimizer.load_state_dict(foreign)


def test_changes_by_others_are_refused_until_they_are_programmed() -> None:
    model, other = make_model(), make_model(seed=3)
    optimizer = EaPU(adam(model))
    model.load_state_dict(other.state_dict())
    with pytest.raises(HilError, match=r"0\.weight: changed outside"):
        train(model, optimizer, 1)
    optimizer.program()
    for a, b in zip(weights_of(model), weights_of(other), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    train(model, optimizer, 1)


def test_read_draws_new_noise_around_the_same_cells() -> None:
    model = make_model()
    optimizer = EaPU(adam(model), device=PairDevice(read_noise_uS=0.5), generator=generator())
    first = model[0].weight.detach().clone()
    optimizer.read()
    assert not torch.equal(first, model[0].weight.detach())
    train(model, optimizer, 2)  # reading is not a change by others


def test_a_diverged_step_is_refused() -> None:
    model = make_model()
    optimizer = EaPU(adam(model))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    with pytest.raises(HilError, match="diverged"):
        optimizer.step()


def test_a_closure_is_evaluated_with_gradients() -> None:
    model = make_model()
    optimizer = EaPU(adam(model))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(2, 6)).square().mean()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) > 0
    assert optimizer.report().steps == 1


@pytest.mark.parametrize(
    "keys",
    [{"sigma_uS": -1.0}, {"threshold_uS": math.nan}, {"r_wg": 0.0}, {"rule": "sgd"}, {"sigma_uS": math.inf}],
)
def test_impossible_settings_are_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(keys))):
        EaPU(adam(make_model()), **keys)


def test_groups_cannot_be_added_later() -> None:
    optimizer = EaPU(adam(make_model()))
    with pytest.raises(ConfigError, match="inner optimizer"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(2, 2))]})


def test_half_precision_parameters_are_kept_in_full_on_the_pairs() -> None:
    """Steps far below the resolution of bfloat16 reach the pairs as writes of threshold size."""
    weight = torch.nn.Parameter(torch.full((200, 200), 1.0, dtype=torch.bfloat16))
    optimizer = EaPU(torch.optim.SGD([weight], lr=1.0), sigma_uS=0.5, r_wg=R_WG, generator=generator())
    weight.grad = torch.full_like(weight, 0.0078)
    optimizer.step()
    assert weight.dtype == torch.bfloat16
    assert float(optimizer.pairs(weight).read(None).mean()) == pytest.approx(1.0 - 0.0078, abs=4e-4)


def test_each_of_many_parameters_is_written_with_its_own_probability() -> None:
    """Shapes, scales and precisions differ; the expectation and the share written are those of each one."""
    shapes, rates = [(300, 100), (40, 7, 10), (5000, 2), (64, 64)], [0.002, 0.02, 0.2, 0.7]
    kinds = [torch.float32, torch.float32, torch.float64, torch.bfloat16]
    scales = [R_WG, R_WG, R_WG, 2 * R_WG]
    weights = [torch.nn.Parameter(torch.zeros(s, dtype=k)) for s, k in zip(shapes, kinds, strict=True)]
    groups = [{"params": [w], "r_wg": scale} for w, scale in zip(weights, scales, strict=True)]
    optimizer = EaPU(torch.optim.SGD(groups, lr=1.0), sigma_uS=2.0, generator=generator())
    for weight, rate, scale in zip(weights, rates, scales, strict=True):
        weight.grad = torch.full_like(weight, -rate * 2.0 * scale)
        optimizer.pairs(weight).g_uS.fill_(50.0)  # far from both ends of the window
    optimizer.step()
    for weight, rate, scale, layer in zip(weights, rates, scales, optimizer.report().layers, strict=True):
        n = weight.numel()
        assert abs(layer.update_ratio_last - rate) < 5 * math.sqrt(rate * (1 - rate) / n) + 2e-3 * rate
        g_uS = optimizer.pairs(weight).read(None) / scale
        variance = rate * (2.0**2 + 2.0**2) - (2.0 * rate) ** 2
        assert abs(float(g_uS.mean()) - 2.0 * rate) < 5 * math.sqrt(variance / n) + 4e-3 * rate
        assert layer.update_ratio_last * n == pytest.approx(int(optimizer.pairs(weight).writes.sum()))


def test_a_diverged_step_names_the_tensor_and_writes_nothing() -> None:
    model = make_model()
    optimizer = EaPU(torch.optim.SGD(model.named_parameters(), lr=1.0), generator=generator())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model[3].weight.grad[1, 2] = math.inf
    with pytest.raises(HilError, match=r"3\.weight: a wanted change is not finite"):
        optimizer.step()
    assert optimizer.report().writes_total == 0


def test_a_step_shows_what_the_cells_hold_whoever_moved_them() -> None:
    model = make_model()
    optimizer = EaPU(adam(model), generator=generator())
    train(model, optimizer, 2)
    optimizer.pairs(model[0].weight).g_uS[0] += 1.0
    train(model, optimizer, 1)
    model[3].weight.data.clamp_(-1e-3, 1e-3)  # torch does not count this as a change
    train(model, optimizer, 1)
    for layer in (model[0], model[3]):
        assert torch.equal(layer.weight.detach(), optimizer.pairs(layer.weight).read(None))
    assert float(model[3].weight.detach().abs().max()) > 1e-2
