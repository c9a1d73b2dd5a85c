"""Where a result comes from: the commit of this project, the versions of its packages, a name for the run."""

from __future__ import annotations

import importlib.metadata
import platform
import secrets
import subprocess
from datetime import UTC, datetime
from pathlib import Path

_PACKAGES = ("eapu-hil", "numpy", "scipy", "pydantic", "scikit-image", "scikit-learn", "matplotlib")


def now_iso() -> str:
    """The local time with its offset, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def now_utc() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_run_id(name: str) -> str:
    """`<date>-<name>-<6 hex>`, new each time."""
    return f"{datetime.now().astimezone():%Y-%m-%d}-{name}-{secrets.token_hex(3)}"


def git_commit() -> dict[str, object]:
    """`{"commit": hash, "dirty": whether files differ from it}` of the checkout this package runs from.

    Both are None outside a checkout, also when the package is installed inside somebody else's repository.
    """
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run computes, as far as installed."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parent,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
