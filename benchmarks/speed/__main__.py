"""Every figure of speed: `python -m speed [ROW ...]`, with benchmarks/ on PYTHONPATH; `make bench` does that.

Each row runs in a process of its own, one thread unless it says otherwise, and may be run alone. A figure whose peer is
missing says so: `make peers` installs them. Ends with 1 where a row could not be measured, not where a goal is missed.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys

from speed.timing import machine, with_threads

ROWS = {
    "step": ("training", "layer_step"),
    "product": ("products", "products"),
    "denoise": ("training", "denoise_step"),
    "demo": ("training", "demo"),
    "digits": ("training", "digits_step"),
    "write": ("writing", "writing"),
    "wires": ("wires", "after_writes"),
    "large": ("wires", "large"),
    "rule": ("rule", "rules"),
    "link": ("line", "line"),
    "start": ("start", "start"),
    "ledger": ("accounts", "ledger"),
    "memory": ("accounts", "memory"),
    "table": ("table", "table"),
}  # row: module and function


def print_row(name: str) -> None:
    """Measures the figures of a row and prints each in a line."""
    module, function = ROWS[name]
    for figure in getattr(importlib.import_module(f"speed.{module}"), function)():
        print(f"{name:8s} {figure}", flush=True)


def main() -> int:
    """Exit code 1 where a row failed; what it said stands on stderr."""
    parser = argparse.ArgumentParser(prog="speed", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all by default")
    rows = parser.parse_args().rows or list(ROWS)
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    print(machine())
    print(
        f"{'row':8s} {'work':62s} {'time':>16s} {'ratio':>7s} {'goal':>8s} {'verdict':12s} against",
        flush=True,
    )
    failed = []
    for row in rows:
        script = f"from speed.__main__ import print_row; print_row({row!r})"
        if subprocess.run([sys.executable, "-P", "-c", script], env=with_threads(1), check=False).returncode:
            failed.append(row)
    if failed:
        print(f"not measured: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
