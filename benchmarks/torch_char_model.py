"""A character-level language model on memristor pairs: digital, plain backpropagation and EaPU.

    python benchmarks/torch_char_model.py [--steps N] [--seed N] [--device cuda] [--rules digital,eapu] [--json FILE]
    ... --lr 5e-3 --beta1 0.95 --final-fraction 1 --r-wg 0.0125        (for all rules, in place of each one's own)

A transformer of two blocks, 64 wide, context 64 (eapu_hil.torch.models.CharModel) learns the sources of modules of the
Python standard library, as they are on this machine: the first nine tenths of each file are trained on, the last tenth
is held out. `loss` is nats a character on 512 held-out stretches. Needs the extra `torch` only.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import sysconfig
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eapu_hil.hal import HilError
from eapu_hil.torch.comparison import AdamW, Writing, compare_rules, save, table, torch_device
from eapu_hil.torch.models import CharModel

# In every Python from 3.11 to 3.14.
MODULES = (
    "argparse ast bdb calendar codecs configparser csv dataclasses datetime difflib dis doctest enum "
    "fractions ftplib functools gettext gzip heapq imaplib inspect ipaddress locale mailbox mimetypes "
    "ntpath optparse os pdb pickle pickletools platform plistlib posixpath pprint pydoc random shutil "
    "smtplib socket ssl statistics string subprocess tarfile tempfile textwrap threading tokenize trace "
    "traceback turtle typing uuid warnings wave weakref webbrowser"
)
CHARACTERS = 97  # the 95 that print in ASCII, the end of a line, and one for all others
BATCH, CONTEXT, HELD_OUT = 32, 64, 512

WRITING = Writing(r_wg=1 / 250)
# `digital` and `eapu`: the best of equally many tries for each, which was the same (docs/torch.md).
OPTIMIZERS = {"digital": AdamW(1e-2, 0.9, 0.99), "bp": AdamW(1e-2, 0.9, 0.99), "eapu": AdamW(1e-2, 0.9, 0.99)}


class Text:
    """The task: the next character of Python sources."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        folder = Path(sysconfig.get_paths()["stdlib"])
        texts = [(folder / f"{name}.py").read_text(encoding="utf-8") for name in MODULES.split()]
        self.sha256 = hashlib.sha256("".join(texts).encode()).hexdigest()
        cuts = [len(text) * 9 // 10 for text in texts]
        self.train = self._numbers("".join(text[:cut] for text, cut in zip(texts, cuts, strict=True)))
        self.held_out = self._numbers("".join(text[cut:] for text, cut in zip(texts, cuts, strict=True)))

    def make_model(self) -> nn.Module:
        return CharModel(CHARACTERS, CONTEXT).to(self._device)

    def loss(self, model: nn.Module, rng: torch.Generator) -> Tensor:
        start = torch.randint(len(self.train) - CONTEXT, (BATCH, 1), generator=rng).to(self._device)
        return self._loss(model, self.train[start + self._places()])

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Mean loss of stretches that are evenly spread over the held-out text."""
        start = torch.linspace(0, len(self.held_out) - CONTEXT - 1, HELD_OUT).long()[:, None].to(self._device)
        return {"loss": float(self._loss(model, self.held_out[start + self._places()]))}

    def _places(self) -> Tensor:
        return torch.arange(CONTEXT + 1, device=self._device)

    def _loss(self, model: nn.Module, stretches: Tensor) -> Tensor:
        return F.cross_entropy(model(stretches[:, :-1]).flatten(0, 1), stretches[:, 1:].flatten())

    def _numbers(self, text: str) -> Tensor:
        codes = [ord(c) - 32 if " " <= c <= "~" else 95 if c == "\n" else 96 for c in text]
        return torch.tensor(codes, device=self._device)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rules", default="digital,bp,eapu")
    parser.add_argument("--json", type=Path, default=Path("torch_char_model.json"))
    parser.add_argument("--lr", type=float)
    parser.add_argument("--beta1", type=float)
    parser.add_argument("--final-fraction", type=float)
    parser.add_argument("--r-wg", type=float)
    args = parser.parse_args()
    changes = {
        name: value
        for name in ("lr", "beta1", "final_fraction")
        if (value := getattr(args, name)) is not None
    }
    optimizers = {rule: replace(adam, **changes) for rule, adam in OPTIMIZERS.items()}
    writing = WRITING if args.r_wg is None else replace(WRITING, r_wg=args.r_wg)
    task = Text(torch_device(args.device))
    sys.stderr.write(f"{len(task.train)} characters to train on, {len(task.held_out)} held out\n")
    outcomes = compare_rules(
        task,
        args.rules.split(","),
        optimizers,
        writing,
        steps=args.steps,
        seed=args.seed,
        on_step=lambda rule, step, loss: sys.stderr.write(f"{rule} {step}/{args.steps} {loss:.3f}\r"),
    )
    print(table(outcomes))
    about = {"command": sys.argv, "text_sha256": task.sha256, "writing": asdict(writing), **vars(args)}
    save(args.json, outcomes, {**about, "json": str(args.json)})


if __name__ == "__main__":
    try:
        main()
    except HilError as error:
        sys.exit(str(error))
