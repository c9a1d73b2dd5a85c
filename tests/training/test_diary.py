"""What a run writes for who watches it, and that it waits when it is asked to."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pytest_mock import MockerFixture
from tiny import BENCH, EXPERIMENT

from eapu_hil.hal import HilError, LimitError
from eapu_hil.tasks.base import Evaluation, Item, Triplet
from eapu_hil.training.bench_account import BenchAccount
from eapu_hil.training.diary import Diary, warnings_heard
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import EXAMPLES, EXAMPLES_FILE, PAUSE, read_metrics


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path / "run", {"name": "run", "experiment": {**EXPERIMENT, "bench": BENCH}})


@pytest.fixture
def account(mocker: MockerFixture) -> BenchAccount:
    account: BenchAccount = mocker.create_autospec(BenchAccount, instance=True)
    account.live_counts.return_value = {"energy_j": 1.5}  # type: ignore[attr-defined]
    return account


def texts(store: RunStore, what: str) -> list[str]:
    return [line["text"] for line in read_metrics(store.path, "event") if line["what"] == what]


def test_warnings_of_any_thread_stand_in_the_run(store: RunStore) -> None:
    with store, warnings_heard() as heard:
        diary, log = Diary(store, None, heard), logging.getLogger("some.driver")
        work = threading.Thread(target=lambda: log.warning("line lost", extra={"event": "reconnect"}))
        work.start()
        work.join()
        log.info("not worth it")
        log.warning("odd \x1b[2J answer of %s", "a board")
        diary.after_step(3)
        assert texts(store, "reconnect") == ["line lost"]
        assert texts(store, "log") == ["odd \\x1b[2J answer of a board"]
        assert {line["at_step"] for line in read_metrics(store.path, "event")} == {3}
    assert not any(type(handler).__name__ == "_Heard" for handler in logging.getLogger().handlers)


def test_the_bench_is_counted_once_a_second_at_most(store: RunStore, account: BenchAccount) -> None:
    with store, warnings_heard() as heard:
        diary = Diary(store, account, heard)
        for step in range(1, 50):
            diary.after_step(step)
        assert 1 <= len(read_metrics(store.path, "bench")) < 10


def test_a_pause_is_saved_and_grounded_and_ends_with_its_file(store: RunStore, account: BenchAccount) -> None:
    saved: list[int] = []
    with store, warnings_heard() as heard:
        diary = Diary(store, account, heard)
        diary.wait_while_paused(4, saved.append)
        assert not saved
        (store.path / PAUSE).touch()
        threading.Timer(0.3, (store.path / PAUSE).unlink).start()
        began_s = time.monotonic()
        diary.wait_while_paused(4, saved.append)
        assert time.monotonic() - began_s >= 0.2
        assert saved == [4]
        account.ground.assert_called_once_with()  # type: ignore[attr-defined]
        assert texts(store, "paused") == ["paused after step 4: saved, every line at 0 V"]
        assert texts(store, "continued") == ["continued after step 4"]


def test_a_stop_grounds_before_it_writes(store: RunStore, account: BenchAccount) -> None:
    with store, warnings_heard() as heard:
        diary = Diary(store, account, heard)
        diary.after_step(1)
        account.ground.side_effect = lambda: time.sleep(0.05)  # type: ignore[attr-defined]
        began_s = time.time()
        diary.stopped()
        [line] = [line for line in read_metrics(store.path, "event") if line["what"] == "grounded"]
        assert line["unix_s"] >= began_s + 0.05


def test_where_the_ground_fails_the_run_does_not_say_it_did(store: RunStore, account: BenchAccount) -> None:
    with store, warnings_heard() as heard:
        diary = Diary(store, account, heard)
        diary.after_step(1)
        account.ground.side_effect = HilError("array 0: the board is gone")  # type: ignore[attr-defined]
        diary.stopped()
        assert texts(store, "grounded") == []


@pytest.mark.parametrize(("error", "what"), [(LimitError("refused"), "limit"), (HilError("broken"), "fault")])
def test_what_ends_a_run_stands_in_it(store: RunStore, error: HilError, what: str) -> None:
    with store, warnings_heard() as heard:
        diary = Diary(store, None, heard)
        store.append_metrics("step", {"step": 1})
        diary.fault(error)
        assert texts(store, what) == [str(error)]


def test_a_run_that_holds_nothing_still_leaves_nothing_behind(store: RunStore) -> None:
    def fail() -> None:
        with store, warnings_heard() as heard:
            Diary(store, None, heard).fault(HilError("broken"))
            raise HilError("broken")

    with pytest.raises(HilError, match="broken"):
        fail()
    assert not store.path.exists()


def test_the_examples_of_the_last_evaluation_are_kept(store: RunStore) -> None:
    image = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    with store, warnings_heard() as heard:
        diary = Diary(store, None, heard)
        diary.show(1, Evaluation.of([Item("a", None, 1.0)]))
        assert not (store.path / EXAMPLES_FILE).exists()
        for step in (2, 3):
            evaluation = Evaluation.of([Item("a", None, 1.0)], [Triplet("cat", image, image / step, image)])
            diary.show(step, evaluation)
        found = store.files.read_npz(EXAMPLES_FILE, EXAMPLES)
        assert found is not None
        np.testing.assert_array_equal(found["0_output"], image / 3)
        assert (found["names"].tolist(), int(found["step"])) == (["cat"], 3)


def test_a_resumed_run_does_not_wait_for_an_old_pause(store: RunStore) -> None:
    with store:
        store.append_metrics("step", {"step": 1})
        (store.path / PAUSE).touch()
    with RunStore.open(store.path):
        assert not (store.path / PAUSE).exists()
