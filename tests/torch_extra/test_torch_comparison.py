"""Models of the extra and the comparison of rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eapu_hil.hal import ConfigError

torch = pytest.importorskip("torch", reason="needs the extra torch: pip install 'eapu-hil[torch]'")
from eapu_hil.torch.comparison import (
    AdamW,
    Writing,
    compare_rules,
    save,
    table,
    torch_device,
    train_rule,
)
from eapu_hil.torch.models import CharModel, PreActResNet, VisionTransformer


class Parity:
    """Which of two classes: the sign of one input."""

    def make_model(self) -> torch.nn.Module:
        return torch.nn.Linear(5, 2)

    def loss(self, model: torch.nn.Module, rng: torch.Generator) -> torch.Tensor:
        x = torch.randn(32, 5, generator=rng)
        return torch.nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())

    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        return {"loss": float(self.loss(model, torch.Generator().manual_seed(99)))}


def test_the_next_character_depends_on_no_later_one() -> None:
    torch.manual_seed(0)
    model = CharModel(characters=20, context=12, width=16, heads=2)
    text = torch.randint(20, (3, 12))
    changed = text.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 20
    before, after = model(text), model(changed)
    assert before.shape == (3, 12, 20)
    assert torch.allclose(before[:, :7], after[:, :7], atol=1e-6)
    assert not torch.allclose(before[:, 7:], after[:, 7:], atol=1e-3)
    assert model(text[:, :5]).shape == (3, 5, 20)


def test_image_models_classify_and_all_their_weights_get_gradients() -> None:
    x = torch.randn(4, 1, 8, 8)
    for model in (PreActResNet(1, 10), VisionTransformer(1, 8, 10)):
        out = model(x)
        assert out.shape == (4, 10)
        out.square().sum().backward()
        assert all(
            p.grad is not None and float(p.grad.abs().max()) > 0 for p in model.parameters() if p.dim() > 1
        )
    with pytest.raises(ValueError, match="patches of 3"):
        VisionTransformer(1, 8, 10, patch=3)


def test_rules_are_compared_from_the_same_start_and_reported(tmp_path: Path) -> None:
    heard: list[tuple[str, int]] = []
    optimizers = {"digital": AdamW(0.05), "bp": AdamW(0.05), "eapu": AdamW(0.05, warmup_steps=0)}
    outcomes = compare_rules(
        Parity(),
        ["digital", "bp", "eapu"],
        optimizers,
        Writing(),
        steps=200,
        seed=1,
        on_step=lambda rule, step, _: heard.append((rule, step)),
    )
    assert heard == [(rule, step) for rule in ("digital", "bp", "eapu") for step in (100, 200)]
    assert outcomes[0].metrics["loss"] < 0.3
    assert outcomes[2].metrics["loss"] < 0.4
    lines = table(outcomes).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines] == ["rule", "digital", "bp", "eapu"]
    save(tmp_path / "out.json", outcomes, {"model": "parity"})
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["model"] == "parity"
    assert [outcome["metrics"] for outcome in content["outcomes"]] == [
        outcome.metrics for outcome in outcomes
    ]
    assert content["outcomes"][2]["report"]["layers"][0]["name"] == "weight"


def test_the_seed_decides_everything() -> None:
    def loss(seed: int) -> float:
        return train_rule(Parity(), "eapu", AdamW(0.05), Writing(), steps=30, seed=seed).metrics["loss"]

    state = torch.random.get_rng_state()
    assert loss(1) == loss(1) != loss(2)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_rate_rises_then_falls_to_nothing() -> None:
    adam = AdamW(1.0, warmup_steps=10)
    rates = [adam.rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] > 0.97
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    assert AdamW(1.0, final_fraction=0.2).rate(100, 100) == pytest.approx(0.2)
    assert AdamW(1.0, final_fraction=1.0).rate(250, 1000) == 1.0


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="--device no_such"):
        torch_device("no_such")
    with pytest.raises(ConfigError, match="'sgd'"):
        compare_rules(Parity(), ["sgd"], {}, Writing(), steps=1, seed=1, on_step=lambda *_: None)
