"""Hostile frames: at the firmware, under the address and undefined-behaviour sanitizers, and at the host's decoder."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
from eapu_drivers.controller.frames import Decoder, Frame, encode
from torture_counts import SILENT, TRACEBACK, Counts

FIRMWARE = Path(__file__).parents[2] / "firmware"
_SECONDS_A_ROUND = 20


def try_firmware(trials: int) -> Counts:
    """Lets the fuzzers of the firmware run until they have tried `trials` inputs, each one or more frames."""
    counts = Counts("hostile inputs at the firmware (ASan, UBSan)", trials)
    while counts.tried < trials:
        command = ["make", "-s", "-C", str(FIRMWARE), "fuzz", f"FUZZ_SECONDS={_SECONDS_A_ROUND}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = [int(number) for number in re.findall(r"fuzz_\w+: (\d+) inputs", done.stdout)]
        counts.add("nothing found", number=sum(found))
        if done.returncode != 0 or not found:
            counts.add(TRACEBACK, (done.stdout + done.stderr)[-2000:])
            break
    return counts


def try_decoder(trials: int, random: np.random.Generator) -> Counts:
    """Damages streams of frames on their way to the host: what the decoder hands on must have been sent."""
    counts = Counts("damaged frames at the host", trials)
    while counts.tried < trials:
        sent = [_frame(random) for _ in range(8)]
        stream = _damaged(b"".join(encode(*frame) for frame in sent), random)
        decoder, received = Decoder(), []
        for start in range(0, len(stream), 64):
            received += decoder.feed(stream[start : start + 64])
        wrong = [frame for frame in received if frame not in sent]
        counts.add("refused or whole", number=len(sent) - len(wrong))
        for frame in wrong:
            counts.add(SILENT, repr(frame))
    return counts


def _frame(random: np.random.Generator) -> Frame:
    number, seq, ack = (int(value) for value in random.integers(0, 256, 3))
    return Frame(number, seq, ack, random.bytes(int(random.integers(1, 200))))


def _damaged(stream: bytes, random: np.random.Generator) -> bytes:
    content = bytearray(stream)
    for _ in range(int(random.integers(1, 12))):
        at, what = int(random.integers(len(content))), int(random.integers(4))
        if what == 0:
            content[at] ^= 1 << int(random.integers(8))
        elif what == 1:
            del content[at : at + int(random.integers(1, 30))]
        elif what == 2:
            content[at:at] = random.bytes(int(random.integers(1, 30)))
        else:
            content[at:at] = content[max(0, at - 40) : at]
        content = content or bytearray(b"\0")
    return bytes(content)
