"""The twin as a driver: opens the arrays that a bench file asks for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eapu_hil import __version__
from eapu_hil.config import BenchConfig, load_model
from eapu_hil.hal import Crossbar, Identity
