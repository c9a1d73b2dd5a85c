"""Records of writes: what start.yaml says of them, and that those of older runs are read and gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from eapu_hil.hal import ConfigError
from eapu_hil.training.records import WRITE_DTYPE, WriteCause
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_start, read_writes


def _records() -> np.ndarray:
    records = np.zeros(4, WRITE_DTYPE)
    for name in WRITE_DTYPE.names or ():
        records[name] = np.arange(4)
    records["cause"] = [WriteCause.UPDATE, WriteCause.REFRESH, WriteCause.MOVE, WriteCause.UPDATE]
    return records


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with RunStore.create(tmp_path / "run", {"name": "a"}) as store:
        store.append_writes(_records())
    return tmp_path / "run"


def _say(run: Path, described: dict[str, Any] | None) -> None:
    """Has start.yaml describe the records so."""
    new = ("writes_format", "run_format")
    start = {key: value for key, value in read_start(run).items() if key not in new}
    (run / "journal.bin").unlink()
    start |= {} if described is None else {"writes_format": described}
    (run / "start.yaml").write_text(yaml.safe_dump(start))


def test_a_run_describes_its_records_for_other_programs(run: Path) -> None:
    described = yaml.safe_load((run / "start.yaml").read_text())["writes_format"]
    records = np.fromfile(run / "writes.bin", np.dtype([tuple(field) for field in described["fields"]]))
    np.testing.assert_array_equal(records, _records())


def test_a_run_from_before_that_is_read_and_gone_on_with(run: Path) -> None:
    _say(run, None)
    np.testing.assert_array_equal(read_writes(run), _records())
    with RunStore.open(run) as store:
        store.append_writes(_records()[:1])
    assert list(read_writes(run)["cause"]) == [0, 1, 2, 0, 0]


def test_records_in_another_order_are_read_but_no_longer_written(run: Path) -> None:
    fields = [("refresh", "<u2"), ("step", "<i4"), ("gone", "u1")]
    _say(run, {"version": 2, "fields": [list(field) for field in fields]})
    (run / "writes.bin").write_bytes(np.array([(2, 7, 9), (0, 8, 9)], fields).tobytes())
    found = read_writes(run)
    assert found.dtype == WRITE_DTYPE
    assert (list(found["cause"]), list(found["step"]), list(found["pulses"])) == ([2, 0], [7, 8], [0, 0])
    with pytest.raises(ConfigError, match="a format that is read but no longer written"):
        RunStore.open(run)


def test_records_of_a_newer_version_are_refused(run: Path) -> None:
    _say(run, {"version": 3, "fields": [["step", "<i4"]]})
    with pytest.raises(ConfigError, match=r"format 3, .* up to 2; install a newer eapu_hil"):
        read_writes(run)
