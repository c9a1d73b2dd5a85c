"""The unit at the end of a name: `_s` is seconds and nothing else; siemens are `_S`, microsiemens `_uS`.

Every name is looked at: fields of dataclasses and pydantic models, members of protocols, parameters, variables, keys
and columns in texts, keys of the packaged YAML files, fields of `writes.bin` and of the message table, the firmware.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from eapu_hil.training.records import WRITE_DTYPE

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [ROOT / "eapu_hil", ROOT / "drivers/eapu_drivers", ROOT / "calibration/eapu_calibration"]
MODULES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]
YAML_FILES = [path for package in PACKAGES for path in sorted(package.rglob("*.yaml"))]
FIRMWARE = [path for end in ("c", "h") for path in sorted((ROOT / "firmware").rglob(f"*.{end}"))]
SCRIPTS = [path for package in PACKAGES for path in sorted(package.rglob("*.lua"))]
PAGES = [path for pages in ("docs/*.md", "*.md", "*/README.md") for path in sorted(ROOT.glob(pages))]
PROTOCOL = ROOT / "firmware/protocol.yaml"
OLD_NAMES = "old_names"  # modules with this in their name know what files of earlier versions call things

# All that is measured in seconds, without leading underscores.
_TIMES = """
after_s again_s age_s amplified_s answer_s apart_s aperture_s asked_s batch_s began_s began_unix_s begun_s bench_s
bench_time_left_s bench_time_s changed_s clicked_s clock_first_s clock_s dead_man_s delay_s due_s duration_s dwell_s
each_s elapsed_s end_s epoch_s epoch_wait_s formed_at_s grounded_unix_s heard_s hello_s idle_s interval_s keepalive_s
lag_s last_drive_s last_frame_age_s last_ground_s last_s latest_s left_s looked_s many_s measure_after_s median_s mend_s
nak_again_s nak_wait_s needed_s next_s now_s open_s opened_s out_for_s patience_s product_time_s pulse_delay_s
pulse_max_s pulse_min_s pulse_overhead_s read_interval_s read_row_s read_time_s real_s reconnect_s relax_time_s
resend_floor_s resend_s reset_tau_s reset_width_s round_trip_s said_s set_tau_s set_width_s settle_s sign_s silence_s
since_s smoothed_s spent_s spread_s start_after_s start_s started_s status_s tau_max_s tau_min_s tau_s taus_s
time_left_s time_max_s time_s timeout_s timer_s times_s told_s took_s trigger_delay_s under_way_s unix_s
update_interval_s updated_s waits_s wall_before_s wall_each_s wall_s wall_time_left_s width_max_s width_s widths_s
within_s work_s written_at_s
"""
TIMES = frozenset(_TIMES.split())
# Constants that hold seconds: capitals, and the unit in its own letter case.
_CONSTANTS = """
AGAIN_s ANSWER_s APERTURE_MAX_s APERTURE_MIN_s ASKED_s ASKS_WITHIN_s AT_ONCE_s AUTO_DELAY_s BENCH_EVERY_s BESIDES_s
BLOCK_s BODY_WITHIN_s CLOSE_s CONNECT_s DEADLINE_s DEFAULT_TIMEOUT_s DELAY_MAX_s DYING_s ENDED_WITHIN_s ENDING_s
ENDS_WITHIN_s EVERY_s FAILED_WITHIN_s FRAME_s GROUNDED_WITHIN_s GUARD_WITHIN_s HELLO_AGAIN_s KEPT_s
LINE_EVERY_s LIST_s LOCK_WITHIN_s LOCK_s LOOKED_AT_s LOOK_s MESSAGE_MAX_s MESSAGE_s OFF_WITHIN_s OPEN_s OTHERS_END_s
OVERHEAD_s PATIENCE_s POINT_s POLL_s PREDECESSOR_WITHIN_s PULSE_MAX_s PULSE_MIN_s PULSE_MORE_s READING_s RELAY_s
REOPEN_s RESEND_MAX_s RETRY_s SAFE_s SETTLED_s SETTLE_s SILENCE_s SILENT_s SOURCE_TIME_s STARTS_WITHIN_s
TAKES_WITHIN_s TERMINATED_WITHIN_s TIME_MAX_s TRY_s WAIT_MAX_s WIDTH_MAX_s WITHIN_s WORTH_s
"""
CONSTANT_TIMES = frozenset(_CONSTANTS.split())
# Constants in capitals that would hold siemens; the packages have none.
CONSTANT_SIEMENS: frozenset[str] = frozenset()
CAPITALS = re.compile(r"[A-Z][A-Z0-9_]*_S")
# Times that share all but the unit with a conductance: allowed in these files only.
TIMES_IN = {
    "at_s": ("calibration_feed.py", "drift.py", "sliding_window.py", "stopping.py"),
    "before_s": ("drift.py", "story.py"),
    "floor_s": ("sliding_window.py",),
    "limit_s": ("ports.py", "session.py", "worker.py"),
    "product_s": (".yaml", "preset.py", "products.py"),
    "read_s": ("fit_relaxation.py",),
    "wanted_s": ("sliding_window.py",),
    "written_s": ("cells.py", "relaxing.py", "state.py", "status.py"),
}
# Ends in lower case s or us, also squared or per something.
SECONDS = re.compile(r"\w*_s(?:[23]|_per_\w+|_\d+)?")
MICROSECONDS = re.compile(r"\w*_us(?:[23]|_per_\w+|_\d+)?")
PIECE = re.compile(r"\w+")


def is_wrong(name: str, path: Path) -> bool:
    bare = name.strip("_")
    if bare in CONSTANT_TIMES:
        return False
    # messages.py is as C has it.
    if CAPITALS.fullmatch(bare) and path.suffix == ".py" and path.name != "messages.py":
        return bare not in CONSTANT_SIEMENS
    if MICROSECONDS.fullmatch(bare):
        return True
    if not SECONDS.fullmatch(bare) or bare in TIMES:
        return False
    return not any(part in TIMES_IN.get(bare, ()) for part in (path.name, path.suffix))


@cache
def names_in(module: Path) -> list[tuple[int, str]]:
    """Line and name of all that a module names, also within its texts (but not in those that explain)."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    explained = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found: list[tuple[int, str]] = []
    for node in nodes:
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.append((node.lineno, name))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.append((node.lineno, name))
            case ast.keyword(arg=str(name)):
                found.append((node.value.lineno, name))
            case ast.Constant(value=str(text)) if id(node) not in explained and OLD_NAMES not in module.name:
                for piece in PIECE.findall(text):
                    found.append((node.lineno, piece))
    return found


def keys_in(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from PIECE.findall(str(key))
            yield from keys_in(value)
    elif isinstance(content, list):
        for value in content:
            yield from keys_in(value)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_names_in_code_end_in_their_unit(package: Path) -> None:
    wrong = [
        f"{module.relative_to(ROOT)}:{line}: {name}"
        for module in MODULES
        if module.is_relative_to(package)
        for line, name in names_in(module)
        if is_wrong(name, module)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_keys_of_packaged_files_end_in_their_unit(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [key for key in keys_in(content) if is_wrong(key, path)] == []


def test_fields_of_writes_end_in_their_unit() -> None:
    assert WRITE_DTYPE.names is not None
    assert [name for name in WRITE_DTYPE.names if is_wrong(name, Path("writes.bin"))] == []


def test_fields_of_messages_end_in_their_unit() -> None:
    """Microseconds would be allowed here; there are none, and no microsiemens."""
    content = yaml.safe_load(PROTOCOL.read_text(encoding="utf-8"))
    assert [key for key in keys_in(content) if is_wrong(key, PROTOCOL)] == []


def test_names_in_the_firmware_and_scripts_end_in_their_unit() -> None:
    """Microseconds are at home here."""
    words = {
        (path, word)
        for path in FIRMWARE + SCRIPTS
        for word in PIECE.findall(path.read_text(encoding="utf-8"))
    }
    assert [f"{path}: {word}" for path, word in words if "_us" not in word and is_wrong(word, path)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_names_in_the_documentation_end_in_their_unit(path: Path) -> None:
    if path.name == "CHANGELOG.md":
        pytest.skip("says what names were before")
    assert [word for word in PIECE.findall(path.read_text(encoding="utf-8")) if is_wrong(word, path)] == []


@pytest.mark.parametrize(
    "name", ["g_min_s", "_g_s", "variance_s2", "slope_s_per_v", "threshold_us", "noise_us2"]
)
def test_a_conductance_with_the_unit_of_a_time_is_found(name: str) -> None:
    assert is_wrong(name, Path("some.py"))


@pytest.mark.parametrize(
    "name", ["g_min_S", "_g_S", "variance_S2", "slope_S_per_v", "threshold_uS", "width_s", "pass"]
)
def test_other_names_are_left_alone(name: str) -> None:
    assert not is_wrong(name, Path("some.py"))


def test_every_time_is_in_use() -> None:
    used = {name.strip("_") for module in MODULES for _, name in names_in(module)}
    assert TIMES | TIMES_IN.keys() | CONSTANT_TIMES <= used
