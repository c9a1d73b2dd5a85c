"""Runs commands of `eapu-hil` in this process and tells how they ended."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eapu_hil.cli.parser import main


@dataclass(frozen=True)
class Ended:
    """How a command ended. crash: the traceback that a user would have seen, "" where there is none."""

    code: int
    out: str
    errors: str
    crash: str

    @property
    def answer(self) -> dict[str, Any]:
        """What --json printed."""
        last = self.out.strip().rpartition("\n")[2]
        found: dict[str, Any] = json.loads(last) if last.startswith("{") else {}
        return found


def run(arguments: Sequence[object]) -> Ended:
    """One command with --json. Nothing that it raises passes, but Ctrl-C."""
    out, errors = io.StringIO(), io.StringIO()
    code, crash = 1, ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = main([*map(str, arguments), "--json"])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:  # noqa: BLE001 - whatever a user would see as a traceback is what is looked for
            crash = traceback.format_exc()
        finally:
            logging.getLogger().handlers.clear()
    if "Traceback (most recent call last)" in errors.getvalue():
        crash = errors.getvalue()
    return Ended(code, out.getvalue(), errors.getvalue(), crash)
