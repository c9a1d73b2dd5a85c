"""`make torture`: kills, damaged files, bad lines, hostile frames and requests, with a seed; prints how each ended.

Ends with 1 when anything wrong was done silently, or when a traceback was shown.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torture_counts import Counts
from torture_files import make_scene, try_files
from torture_frames import try_decoder, try_firmware
from torture_kills import try_kills
from torture_lines import try_lines
from torture_page import try_page
from torture_requests import try_requests


def main() -> int:
    """Runs every part; returns the exit code."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    for name, number, what in (
        ("kills", 200, "processes to kill"),
        ("pages", 30, "kills of the live page, the run beside it, or both"),
        ("lines", 50, "sessions with the controller over a bad network"),
        ("files", 2_000, "files to damage"),
        ("frames", 1_000_000, "hostile inputs at the firmware; a tenth as many frames at the host"),
        ("requests", 100_000, "hostile requests at the interlock"),
    ):
        parser.add_argument(f"--{name}", type=int, default=number, help=f"{what}; default: %(default)s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as directory:
        folder = Path(directory)
        parts: list[tuple[int, Callable[[np.random.Generator], list[Counts]]]] = [
            (args.requests, lambda random: [try_requests(args.requests, random)]),
            (args.frames, lambda random: [try_decoder(args.frames // 10, random)]),
            (args.frames, lambda _: [try_firmware(args.frames)]),
            (args.files, lambda random: [try_files(make_scene(folder), folder, args.files, random)]),
            (args.lines, lambda random: [try_lines(folder, args.lines, random)]),
            (args.kills, lambda random: try_kills(folder, args.kills, random)),
            (args.pages, lambda random: [try_page(folder, args.pages, random)]),
        ]
        faults = 0
        for number, (asked, part) in enumerate(parts):
            if not asked:
                continue
            start_s = time.monotonic()
            for counts in part(np.random.default_rng([args.seed, number])):
                sys.stdout.write("\n".join(counts.lines()) + f" ({time.monotonic() - start_s:.0f} s)\n")
                sys.stdout.flush()
                faults += counts.faults
    sys.stdout.write(f"seed {args.seed}: {faults} faults\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
