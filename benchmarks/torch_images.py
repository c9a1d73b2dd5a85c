"""A residual network and a vision transformer on memristor pairs: digital, plain backpropagation and EaPU.

    python benchmarks/torch_images.py [--models resnet,vit] [--steps N] [--seed N] [--device cuda]

scikit-learn's 1,797 digits of 8 x 8 pixels, a quarter of each class held out, always the same one. Batches of 64 with
shifts by up to one pixel. Adam with a learning rate of 1e-3, the value of the reference simulations; pairs as in
`EaPU`'s defaults: threshold and write noise 2 uS, 80 uS for a weight of 1. Needs the extras `torch` and `train`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from eapu_hil.hal import HilError
from eapu_hil.torch.comparison import AdamW, Writing, compare_rules, save, table, torch_device
from eapu_hil.torch.models import PreActResNet, VisionTransformer

MODELS = {
    "resnet": lambda: PreActResNet(channels=1, classes=10),
    "vit": lambda: VisionTransformer(channels=1, size=8, classes=10),
}
BATCH = 64
OPTIMIZERS = dict.fromkeys(("digital", "bp", "eapu"), AdamW(lr=1e-3))
WRITING = Writing()


class DigitImages:
    """The task: which digit."""

    def __init__(self, model: str, device: torch.device) -> None:
        self._model, self._device = model, device
        pixels, labels = load_digits(return_X_y=True)
        images = torch.tensor(pixels / 16 - 0.3, dtype=torch.float32).view(-1, 1, 8, 8)
        train, held_out = train_test_split(
            range(len(labels)), test_size=0.25, stratify=labels, random_state=0
        )
        self._x, self._x_held_out = images[train].to(device), images[held_out].to(device)
        classes = torch.tensor(labels)
        self._y, self._y_held_out = classes[train].to(device), classes[held_out].to(device)

    def make_model(self) -> nn.Module:
        return MODELS[self._model]().to(self._device)

    def loss(self, model: nn.Module, rng: torch.Generator) -> Tensor:
        chosen = torch.randint(len(self._x), (BATCH,), generator=rng).to(self._device)
        down, right = torch.randint(-1, 2, (2,), generator=rng).tolist()
        edges = (max(-right, 0), max(right, 0), max(-down, 0), max(down, 0))
        padded = F.pad(self._x[chosen], edges, value=float(self._x.min()))
        shifted = padded[:, :, max(down, 0) : max(down, 0) + 8, max(right, 0) : max(right, 0) + 8]
        return F.cross_entropy(model(shifted), self._y[chosen])

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        out = model(self._x_held_out)
        right = (out.argmax(dim=1) == self._y_held_out).float()
        return {"accuracy": float(right.mean()), "loss": float(F.cross_entropy(out, self._y_held_out))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="resnet,vit")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rules", default="digital,bp,eapu")
    parser.add_argument(
        "--json", type=Path, default=Path("torch_images.json"), help="a name for each model: NAME_FILE"
    )
    args = parser.parse_args()
    device = torch_device(args.device)
    for name in args.models.split(","):
        outcomes = compare_rules(
            DigitImages(name, device),
            args.rules.split(","),
            OPTIMIZERS,
            WRITING,
            steps=args.steps,
            seed=args.seed,
            on_step=lambda rule, step, loss: sys.stderr.write(f"{rule} {step}/{args.steps} {loss:.3f}\r"),
        )
        print(f"{name}, {outcomes[-1].report.weights} weights on pairs")
        print(table(outcomes))
        about = {
            "command": sys.argv,
            "model": name,
            "writing": asdict(WRITING),
            **vars(args),
            "json": str(args.json),
        }
        save(args.json.with_name(f"{name}_{args.json.name}"), outcomes, about)


if __name__ == "__main__":
    try:
        main()
    except HilError as error:
        sys.exit(str(error))
