"""EaPU around any optimizer of PyTorch: the optimizer computes its step, the rule decides what is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from eapu_hil.hal import ConfigError, HilError
from eapu_hil.rules import DIGITAL, EAPU
from eapu_hil.torch.device import PairDevice
from eapu_hil.torch.pair_bank import PairBank
from eapu_hil.torch.pairs import PairCells
from eapu_hil.torch.report import CellWrites, LayerReport, Report
from eapu_hil.torch.rule import RULES, RuleName, eapu_step
from eapu_hil.training.errors import DivergedError


class EaPU(Optimizer):
    """An optimizer whose steps are written to memristor pairs, after doi 10.1038/s41467-025-66240-7.

        optimizer = EaPU(torch.optim.AdamW(model.named_parameters(), lr=1e-3))

    Use it where the inner optimizer would be used; schedulers of the learning rate take it too. Tensors with more than
    one dimension live on pairs; biases and the weights of norms stay digital and follow the inner optimizer, whose
    moments are digital too. A group of parameters may name an `r_wg` of its own.

    sigma_uS: standard deviation of what a write leaves, uS. threshold_uS: None for `sigma_uS`.
    r_wg: weight per uS of differential conductance.
    rule: `eapu`; `bp` writes every change that is not 0; `digital` is the inner optimizer alone.
    device: the simulated pairs. cells: pairs of a bench for some parameters, which have their own errors and scale:
    `eapu_hil.torch.bench`.
    generator: on the device of the parameters; None for that device's default one.

    The pairs hold the truth; parameters are what was read of them last, after each step or by `read`. Changes that were
    made to them by others (loading a model) are refused at the next step until `program` writes them to the pairs.
    Raises ConfigError for weights that do not fit into the window of `device`.
    """

    def __init__(
        self,
        inner: Optimizer,
        *,
        sigma_uS: float = 2.0,
        r_wg: float = 1 / 80,
        threshold_uS: float | None = None,
        rule: RuleName = EAPU,
        device: PairDevice | None = None,
        cells: Mapping[Tensor, PairCells] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        threshold_uS = sigma_uS if threshold_uS is None else threshold_uS
        for name, value in (("sigma_uS", sigma_uS), ("threshold_uS", threshold_uS)):
            if not 0 <= value < math.inf:
                raise ConfigError(f"EaPU: {name} is {value}; expected a finite number of at least 0")
        if rule not in RULES:
            raise ConfigError(f"EaPU: rule is {rule!r}; expected one of {', '.join(RULES)}")
        self.inner = inner
        self._sigma_uS = sigma_uS
        self._threshold_uS = threshold_uS
        self._rule = rule
        self._generator = generator
        self._steps = 0
        super().__init__(inner.param_groups, inner.defaults)
        self.state = inner.state
        self._brought: dict[Tensor, PairCells] = {}
        self._pairs: dict[Tensor, PairCells] = {}
        self._banks: list[PairBank] = []
        if rule != DIGITAL:
            self._place(device or PairDevice(), cells or {}, r_wg)
        self._written = dict.fromkeys(self._pairs, 0)
        self._written_last = dict.fromkeys(self._pairs, 0)
        self._versions: list[int] = []
        self.read()

    def _place(self, device: PairDevice, cells: Mapping[Tensor, PairCells], r_wg: float) -> None:
        """Finds the cells of each parameter: those that were brought, or simulated ones; `_pairs` keeps the order."""
        alike: dict[tuple[torch.device, float], dict[Tensor, str]] = {}
        order: list[Tensor] = []
        for group in self.param_groups:
            scale = _checked_r_wg(group.get("r_wg", r_wg))
            for parameter, name in zip(group["params"], _names(group), strict=True):
                if parameter in cells:
                    self._brought[parameter] = cells[parameter]
                elif parameter.dim() > 1:
                    alike.setdefault((parameter.device, scale), {})[parameter] = name
                else:
                    continue
                order.append(parameter)
        found = dict(self._brought)
        for (_, scale), names in alike.items():
            self._banks.append(PairBank(device, list(names), list(names.values()), scale))
            found.update(zip(names, self._banks[-1].pairs, strict=True))
        self._pairs = {parameter: found[parameter] for parameter in order}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only for groups that the inner optimizer has at construction; raises ConfigError for others."""
        if not any(group is param_group for group in self.inner.param_groups):
            raise ConfigError(
                "EaPU: groups of parameters are added to the inner optimizer, before EaPU is made"
            )
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the inner optimizer, written to the pairs. Returns what `closure` returned.

        Raises HilError if a wanted change is not finite, or if a parameter was changed by others.
        """
        for (parameter, pairs), version in zip(self._pairs.items(), self._versions, strict=True):
            if parameter._version != version:
                raise HilError(f"{pairs.name}: changed outside the optimizer; call program() to write that")
        before = {parameter: parameter.detach().clone() for parameter in self._brought}
        for bank in self._banks:
            bank.remember()
        loss = self.inner.step(closure)
        self._steps += 1
        for bank in self._banks:
            threshold_uS = self._threshold_uS if self._rule == EAPU else 0.0
            counts = bank.write(threshold_uS, self._sigma_uS, self._steps, self._generator)
            self._count(bank.parameters, counts)
            bank.relax(self._steps, self._generator)
        for parameter, pairs in self._brought.items():
            dg_uS = (parameter.detach().float() - before[parameter].float()) / pairs.r_wg
            self._count([parameter], [self._write(pairs, dg_uS)])
            pairs.relax(self._steps, self._generator)
        for bank in self._banks:
            bank.show(self._generator)
        self._read_brought()
        return loss

    def _write(self, pairs: PairCells, dg_uS: Tensor) -> int:
        if not bool(torch.isfinite(dg_uS).all()):
            raise DivergedError(f"{pairs.name}: a wanted change is not finite")
        change_uS = dg_uS
        if self._rule == EAPU:
            change_uS = eapu_step(dg_uS, pairs.threshold_uS(dg_uS, self._threshold_uS), self._generator)
        return pairs.write(change_uS, self._sigma_uS, self._steps, self._generator)

    def _count(self, parameters: Sequence[Tensor], counts: Sequence[int]) -> None:
        for parameter, written in zip(parameters, counts, strict=True):
            self._written[parameter] += written
            self._written_last[parameter] = written

    @torch.no_grad()
    def read(self) -> None:
        """Sets the parameters to what a product sees now: the pairs, with a new draw of the read noise if any."""
        for bank in self._banks:
            bank.read(self._generator)
        self._read_brought()

    def _read_brought(self) -> None:
        for parameter, pairs in self._brought.items():
            parameter.copy_(pairs.read(self._generator))
        self._versions = [parameter._version for parameter in self._pairs]

    def program(self) -> None:
        """Sets the pairs to the parameters as they are, without noise and uncounted: after loading a model."""
        for parameter, pairs in self._pairs.items():
            pairs.program(parameter, self._steps)
        self.read()

    def pairs(self, parameter: Tensor) -> PairCells:
        """The cells of a parameter. Raises KeyError for one that is digital."""
        return self._pairs[parameter]

    def state_dict(self) -> dict[str, Any]:
        """That of the inner optimizer, with the pairs, counts and the generator below the key `eapu`."""
        own = {
            "rule": self._rule,
            "steps": self._steps,
            "pairs": [pairs.state() for pairs in self._pairs.values()],
            "written": list(self._written.values()),
            "written_last": list(self._written_last.values()),
            "generator": None if self._generator is None else self._generator.get_state(),
        }
        return {**self.inner.state_dict(), "eapu": own}

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Puts back what `state_dict` returned, and reads the parameters from the pairs.

        Raises HilError if it belongs to another rule or model.
        """
        rest = dict(state_dict)
        own = rest.pop("eapu", None)
        if own is None or own["rule"] != self._rule or len(own["pairs"]) != len(self._pairs):
            raise HilError(f"the checkpoint is not one of EaPU with rule {self._rule!r} and these parameters")
        self.inner.load_state_dict(rest)
        # The inner optimizer has made new ones.
        self.state, self.param_groups = self.inner.state, self.inner.param_groups
        for pairs, state in zip(self._pairs.values(), own["pairs"], strict=True):
            pairs.restore(state)
        self._steps = own["steps"]
        self._written = dict(zip(self._pairs, own["written"], strict=True))
        self._written_last = dict(zip(self._pairs, own["written_last"], strict=True))
        if self._generator is not None and own["generator"] is not None:
            self._generator.set_state(own["generator"])
        self.read()

    def report(self) -> Report:
        """Update ratios and writes per cell so far."""
        steps, layers = max(1, self._steps), []
        for parameter, pairs in self._pairs.items():
            layers.append(
                LayerReport(
                    pairs.name,
                    tuple(parameter.shape),
                    pairs.r_wg,
                    self._written[parameter] / parameter.numel() / steps,
                    self._written_last[parameter] / parameter.numel(),
                    CellWrites.of([pairs.writes]),
                )
            )
        weights = sum(parameter.numel() for parameter in self._pairs)
        total, last = sum(self._written.values()), sum(self._written_last.values())
        return Report(
            rule=self._rule,
            steps=self._steps,
            weights=weights,
            cells=2 * weights,
            writes_total=total,
            update_ratio_mean=total / weights / steps if weights else None,
            update_ratio_last=last / weights if weights else None,
            writes_per_cell=CellWrites.of([p.writes for p in self._pairs.values()]) if weights else None,
            layers=tuple(layers),
        )


def _checked_r_wg(r_wg: float) -> float:
    if not 0 < r_wg < math.inf:
        raise ConfigError(f"EaPU: r_wg is {r_wg}; expected a finite number above 0, weight per uS")
    return r_wg


def _names(group: Mapping[str, Any]) -> Sequence[str]:
    """Names of a group's parameters, if the inner optimizer was made with `named_parameters()`, else their shapes."""
    names: Sequence[str] = group.get("param_names", ())
    return names or [f"parameter {'x'.join(map(str, p.shape))}" for p in group["params"]]
