"""Wanted changes, and pulses as (weight, cell, polarity, count)."""

from __future__ import annotations

import numpy as np

from eapu_hil.hal import Polarity
from eapu_hil.rules import BlindPulses, PulseTrain, WriteErrors
from eapu_hil.rules.contract import PLUS

US = 1e-6
STEP_S = 0.5 * US  # of one cell by one pulse; a pair moves by twice that
SET, RESET = int(Polarity.SET), int(Polarity.RESET)

Shown = list[tuple[int, str, int, int]]


def errors(n: int) -> WriteErrors:
    return WriteErrors.uniform(2 * US, n)


def steps_uS(*values: float) -> np.ndarray:
    """Wanted changes, given in uS."""
    return np.array(values, np.float32) * np.float32(US)


def shown(train: PulseTrain) -> Shown:
    """(weight, "+" or "-", polarity, count) of each pulse, in order."""
    side = ["+" if one == PLUS else "-" for one in train.side]
    return list(zip(train.index.tolist(), side, train.polarity.tolist(), train.count.tolist(), strict=True))


def pulses(answer: object) -> list[Shown]:
    """Train by train."""
    assert isinstance(answer, BlindPulses)
    return [shown(train) for train in answer.trains]
