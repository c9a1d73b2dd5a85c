"""The page beside real runs: what it shows, stop and pause, and what becomes of crashes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from eapu_drivers.simulated.board.linerecord import LineRecord
from livework import (
    COMMAND,
    ENVIRONMENT,
    Page,
    events_of,
    made_run,
    page,
    step_line,
    training,
    until,
    wait_for_steps,
)
from tiny import BENCH

from eapu_hil.base.locks import own
from eapu_hil.bench import open_bench
from eapu_hil.training.run_store import LOCK
from eapu_hil.training.runs import PAUSE, read_metrics, read_summary

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
compiled = pytest.mark.skipif(
    not (shutil.which("make") and shutil.which("cc")), reason="needs make and cc: apt-get install make gcc"
)
Chip = Callable[[Path], Path]


def test_a_run_is_shown_while_it_goes_on_and_stopped(tmp_path: Path, ready_chip: Chip) -> None:
    run = tmp_path / "runs/mine"
    run.parent.mkdir()
    with (
        page(tmp_path / "runs") as shown,
        training(run, ready_chip(tmp_path / "chip")) as process,
        shown.stream("mine") as events,
    ):
        line = shown.state_of("mine")
        assert (line["state"], line["pid"], line["kind"], line["rule"]) == (
            "running",
            process.pid,
            "train",
            "eapu",
        )
        about = shown.get("/api/run/mine")
        assert about["arrays"] == [{"index": 0, "rows": 64, "cols": 32}]
        assert about["layers"] == [{"name": "dense1", "weights": 384}, {"name": "dense2", "weights": 60}]
        assert about["window_S"] == [pytest.approx(1e-6), pytest.approx(4e-5)]

        first = events.next("metrics")
        assert first["replace"]
        more = events.next("metrics")
        assert not more["replace"]
        assert more["columns"]["step"][0] > first["columns"]["step"][-1]
        assert set(more["columns"]["share"]) == {"dense1", "dense2"}
        state = events.next("state", lambda it: it["energy_j"])
        assert state["state"] == "running"
        assert state["bench_time_left_s"] > 0
        assert events.next("statuses", lambda it: it["OK"] > 0)
        counted = events.next("histogram", lambda it: sum(it["counts"]) > 0)
        assert len(counted["edges"]) == len(counted["counts"]) + 1
        events.next("map", lambda it: it["quantity"] == "wear" and it["version"] > 1)
        wear = np.frombuffer(shown.ask("GET", "/api/run/mine/map/0/wear").body, "<f4").reshape(64, 32)
        assert wear.sum() > 0
        g_S = np.frombuffer(shown.ask("GET", "/api/run/mine/map/0/g").body, "<f4")
        assert 0 < np.nanmin(g_S) < np.nanmax(g_S) < 1e-4

        clicked_s = time.time()
        answer = shown.post("/api/run/mine/stop")
        assert (answer.status, answer.json["signalled"], answer.json["pid"]) == (200, True, process.pid)
        stop = events.next("stop", lambda it: it["phase"] == "grounded")
        assert stop["by"] == "run"
        assert process.wait(60) == 128 + signal.SIGTERM
        [grounded] = events_of(run, "grounded")
        assert grounded["unix_s"] - clicked_s == pytest.approx(stop["after_s"], abs=0.1)
        events.next("state", lambda it: it["state"] == "stopped")
        with shown.stream("mine") as later:  # whoever comes later is told too
            assert later.next("stop")["phase"] == "grounded"
        again = shown.post("/api/run/mine/stop")
        assert again.status == 409
        assert "nothing to stop" in again.json["error"]


@compiled
def test_the_lines_of_a_board_are_at_0_v_after_a_stop_and_its_counters_are_shown(
    tmp_path: Path, ready_chip: Chip
) -> None:
    run, chip = tmp_path / "runs/mine", ready_chip(tmp_path / "chip")
    bench = {**BENCH, "backend": "controller", "port": "sim:posix", "preset": "ideal"}
    with (
        training(run, chip, bench, "--exchanged") as process,
        page(run.parent) as shown,
        shown.stream("mine") as events,
    ):
        link = events.next("link")
        assert link["frames_sent"] > 0
        assert link["round_trip_s"] > 0
        clicked_s = time.monotonic()
        shown.post("/api/run/mine/stop")
        assert events.next("stop", lambda it: it["phase"] == "grounded")["by"] == "run"
        process.wait(60)
    lines = LineRecord.read(chip)
    assert lines.grounded
    assert lines.last_ground_s > clicked_s
    assert read_summary(run)["exit_status"] == "stopped"  # type: ignore[index]


@compiled
def test_a_host_that_stands_still_is_killed_and_the_dead_man_grounds(
    tmp_path: Path, ready_chip: Chip
) -> None:
    run, chip = tmp_path / "runs/mine", ready_chip(tmp_path / "chip")
    bench = {**BENCH, "backend": "controller", "port": "sim:posix", "preset": "ideal"}
    with (
        training(run, chip, bench, "--exchanged") as process,
        page(run.parent) as shown,
        shown.stream("mine") as events,
    ):
        process.send_signal(signal.SIGSTOP)
        until(lambda: shown.state_of("mine")["state"] == "frozen", "the page sees that it stands still")
        shown.post("/api/run/mine/stop")
        assert "stands still" in events.next("stop", lambda it: it["phase"] == "killed")["text"]
        stop = events.next("stop", lambda it: it["phase"] == "grounded")
        assert stop["by"] == "the board's dead man"
        assert process.wait(60) == -signal.SIGKILL
        until(lambda: LineRecord.read(chip).grounded, "the dead man grounds")
        assert shown.state_of("mine")["state"] == "crashed"


def test_a_run_on_instruments_is_stopped(tmp_path: Path) -> None:
    run = tmp_path / "runs/mine"
    bench = {
        **BENCH, "backend": "smu", "resource": "sim:2600b", "shape": [8, 6], "recipe": "rram_180nm_ms",
        "limits": {**BENCH["limits"], "width_max_s": 2e-2},  # type: ignore[dict-item]
    }  # fmt: skip
    run.parent.mkdir()
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(60, 4)), y=np.arange(60) % 3)
    with open_bench({**bench, "chip": str(tmp_path / "chip")}):
        pass
    task = {"name": "arrays", "data": {"train": str(tmp_path / "data.npz")}, "layers": [3]}
    with training(run, tmp_path / "chip", bench, task=task) as process, page(run.parent) as shown:
        with shown.stream("mine") as events:
            shown.post("/api/run/mine/stop")
            assert events.next("stop", lambda it: it["phase"] == "grounded")["by"] == "run"
        assert process.wait(60) == 128 + signal.SIGTERM


def test_a_run_pauses_saved_and_goes_on(tmp_path: Path, ready_chip: Chip) -> None:
    run = tmp_path / "runs/mine"
    run.parent.mkdir()
    with (
        training(run, ready_chip(tmp_path / "chip")) as process,
        page(run.parent) as shown,
        shown.stream("mine") as events,
    ):
        assert shown.post("/api/run/mine/pause").status == 200
        state = events.next("state", lambda it: it["state"] == "paused")
        step = int(events_of(run, "paused")[0]["text"].split()[3].rstrip(":"))
        assert (run / f"checkpoints/step_{step:06d}.npz").exists()
        time.sleep(1.0)
        assert len(read_metrics(run, "step")) == state["step"] == step
        assert shown.post("/api/run/mine/continue").status == 200
        events.next("state", lambda it: it["state"] == "running" and it["step"] > step)
        # a run that is stopped while it waits ends, and a resumed one does not wait
        shown.post("/api/run/mine/pause")
        events.next("state", lambda it: it["state"] == "paused")
        shown.post("/api/run/mine/stop")
        assert process.wait(60) == 128 + signal.SIGTERM
        assert (run / PAUSE).exists()
        command = [*COMMAND, "resume", str(run), "--live"]
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as resumed:
            try:
                wait_for_steps(run, resumed, len(read_metrics(run, "step")) + 1)
            finally:
                resumed.terminate()
            assert resumed.stderr is not None
            said = resumed.stderr.read()
        assert not (run / PAUSE).exists()
        assert "live page: http://127.0.0.1:" in said


def test_nothing_is_lost_when_page_run_or_both_are_killed(tmp_path: Path, ready_chip: Chip) -> None:
    run = tmp_path / "runs/mine"
    run.parent.mkdir()
    with training(run, ready_chip(tmp_path / "chip")) as process:
        with page(run.parent) as shown, shown.stream("mine") as events:
            events.next("metrics")
            shown.process.kill()
        wait_for_steps(run, process, len(read_metrics(run, "step")) + 3)  # the run has not noticed
        with page(run.parent) as shown, shown.stream("mine") as events:
            events.next("state", lambda it: it["state"] == "running")
            process.kill()
            process.wait()
            state = events.next("state", lambda it: it["state"] == "crashed")
            assert state["pid"] is None
            assert "no process works on it" in state["note"]
            shown.process.kill()
    with page(run.parent) as shown:
        assert shown.state_of("mine")["state"] == "crashed"
        with shown.stream("mine") as events:
            told = events.next("metrics")["columns"]["step"]
    assert max(told) == max(line["step"] for line in read_metrics(run, "step"))


def test_a_run_without_lines_for_10_s_counts_as_frozen(tmp_path: Path) -> None:
    with made_run(tmp_path / "runs/mine") as store, page(tmp_path / "runs") as shown:
        assert shown.state_of("mine")["state"] == "running"
        for path in store.path.iterdir():
            os.utime(path, (time.time() - 11, time.time() - 11))
        line = until(
            lambda: (it := shown.state_of("mine"))["state"] == "frozen" and it, "it counts as frozen"
        )
        assert "no line for " in line["note"]


def test_only_the_process_that_holds_the_lock_is_signalled(tmp_path: Path) -> None:
    with made_run(tmp_path / "runs/mine"):
        pass
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "runs/mine" / LOCK).write_text(
            f"{bystander.pid}\n"
        )  # as a crash leaves it, its number used anew
        with page(tmp_path / "runs") as shown:
            assert shown.post("/api/run/mine/stop").status == 409
            assert shown.state_of("mine")["state"] == "crashed"
            # it has the file open, and somebody else the lock
            with (
                (tmp_path / "runs/mine" / LOCK).open() as file,
                subprocess.Popen(["sleep", "60"], stdin=file) as other,
            ):
                (tmp_path / "runs/mine" / LOCK).write_text(f"{other.pid}\n")
                assert shown.post("/api/run/mine/stop").status == 409
                assert other.poll() is None
                other.kill()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@contextmanager
def deaf(run: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock of a run and hears no SIGTERM."""
    code = (
        "import pathlib, signal, sys, time\nfrom eapu_hil.base.locks import own\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "with own(pathlib.Path(sys.argv[1]), 'run'):\n    print('owned', flush=True)\n    time.sleep(120)\n"
    )
    command = [sys.executable, "-P", "-c", code, str(run / LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_program_that_hears_no_signal_is_killed_past_the_deadline(tmp_path: Path) -> None:
    with made_run(tmp_path / "runs/mine"):
        pass
    with deaf(tmp_path / "runs/mine") as process, page(tmp_path / "runs") as shown:
        with shown.stream("mine") as events:
            shown.post("/api/run/mine/stop")
            assert (
                "it had not ended after 10 s"
                in events.next("stop", lambda it: it["phase"] == "killed")["text"]
            )
            # of such a bench nothing is on record that would ground it
            assert events.next("stop", lambda it: it["phase"] == "unknown")["by"] == ""
        assert process.wait(10) == -signal.SIGKILL


def test_a_process_that_dies_on_its_way_out_is_not_said_to_have_grounded(tmp_path: Path) -> None:
    """Killed by somebody else, for want of memory say: its lock file is still there."""
    with made_run(tmp_path / "runs/mine"):
        pass
    with (
        deaf(tmp_path / "runs/mine") as process,
        page(tmp_path / "runs") as shown,
        shown.stream("mine") as events,
    ):
        shown.post("/api/run/mine/stop")
        events.next("stop", lambda it: it["phase"] == "signalled")
        process.kill()
        said = events.next("stop", lambda it: it["phase"] != "signalled")
        assert (said["phase"], "before its way out" in said["text"]) == ("killed", True)
        assert events.next("stop", lambda it: it["phase"] != "killed")["phase"] == "unknown"


def test_all_runs_are_stopped_at_once(tmp_path: Path, ready_chip: Chip) -> None:
    (tmp_path / "runs").mkdir()
    with (
        training(tmp_path / "runs/a", ready_chip(tmp_path / "chip_a")) as first,
        training(tmp_path / "runs/b", ready_chip(tmp_path / "chip_b")) as second,
        made_run(tmp_path / "runs/c"),
        page(tmp_path / "runs") as shown,
    ):
        shutil.rmtree(tmp_path / "runs/c")  # this process held its lock
        answer = shown.post("/api/stop").json
        assert sorted(it["id"] for it in answer["stopped"]) == ["a", "b"]
        assert first.wait(60) == second.wait(60) == 128 + signal.SIGTERM


def test_a_stop_needs_no_script(tmp_path: Path, ready_chip: Chip) -> None:
    run = tmp_path / "runs/mine"
    run.parent.mkdir()
    with training(run, ready_chip(tmp_path / "chip")) as process, page(run.parent) as shown:
        answer = shown.ask("POST", "/run/mine", {"Origin": f"http://127.0.0.1:{shown.port}"})
        assert answer.status == 200
        assert b"SIGTERM was sent" in answer.body
        assert process.wait(60) == 128 + signal.SIGTERM


def test_the_page_ends_at_once_although_streams_are_open(tmp_path: Path) -> None:
    with made_run(tmp_path / "runs/mine"), page(tmp_path / "runs") as shown, shown.stream("mine") as events:
        events.next("state")
        began_s = time.monotonic()
        shown.process.terminate()
        shown.process.wait(30)
        assert time.monotonic() - began_s < 20  # without a limit it would never end


def test_example_images_are_those_of_the_last_evaluation(tmp_path: Path) -> None:
    images: dict[str, Any] = {"0_input": np.eye(4, dtype=np.float32)}
    images |= {"0_output": images["0_input"] * 0.5, "0_reference": images["0_input"]}
    images |= {"names": np.array(['<script>alert("x")</script>']), "step": np.array(7)}
    with made_run(tmp_path / "runs/a/b") as store, page(tmp_path / "runs") as shown:
        store.files.write_npz("examples.npz", images, "examples")
        store.append_metrics("evaluation", {"step": 7, "name": "psnr_db", "metric": 20.0})
        with shown.stream("a%2Fb") as events:
            told = events.next("examples")
        assert told["step"] == 7
        assert told["captions"][1] == '<script>alert("x")</script>: output'
        picture = shown.ask("GET", told["images"][1])
        assert picture.headers["content-type"] == "image/png"
        assert picture.body.startswith(b"\x89PNG")
        assert shown.ask("GET", "/api/run/a%2Fb/picture/names").status == 404


def test_a_calibration_is_shown_as_it_goes_on(tmp_path: Path) -> None:
    from eapu_hil.bench.progress_file import ProgressFile

    chip = tmp_path / "chips/demo"
    with open_bench(BENCH, chip_dir=chip) as bench, page(tmp_path / "chips") as shown:
        with ProgressFile(bench, 0, ["iv", "read_noise"]) as progress:
            tell = progress.following(lambda _: lambda _: None)("iv")
            tell(0.5)
            (chip / "figures").mkdir()
            (chip / "figures/0003_iv.png").write_bytes(b"\x89PNG of a figure")
            line = shown.state_of("demo")
            assert (line["kind"], line["state"], line["pid"]) == ("calibrate", "running", os.getpid())
            with shown.stream("demo") as events:
                told = events.next("calibration")
                assert (told["measurement"], told["finished"]) == ("iv", 0)
                assert shown.ask("GET", told["figure_url"]).body == b"\x89PNG of a figure"
                tell(1.0)
                assert events.next("calibration", lambda it: it["finished"] == 1)["done"] == 1.0
        (chip / "figures/0004_secret.png").symlink_to(tmp_path / "runs")
        assert shown.ask("GET", "/api/run/demo/picture/0004_secret.png").status == 404
    with page(tmp_path / "chips") as shown:
        assert shown.state_of("demo")["state"] == "done"


def test_calibrate_live_shows_the_measurement_that_runs(tmp_path: Path, ready_chip: Chip) -> None:
    chip = ready_chip(tmp_path / "chip")
    limits = {**BENCH["limits"], "pulses_per_cell_max": 10**6}  # type: ignore[dict-item]
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump({**BENCH, "chip": str(chip), "limits": limits}))
    command = [
        *COMMAND,
        "calibrate",
        str(tmp_path / "bench.yaml"),
        "gate_curve",
        "--plan",
        str(tmp_path / "plan.yaml"),
    ]
    settings = {"cells": 40, "steps": 4, "repeats": 20_000}  # long
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"measurements": {"gate_curve": settings}}))
    with subprocess.Popen(
        [*command, "--live"], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        try:
            assert process.stderr is not None
            found = None
            for line in process.stderr:
                if found := re.search(r"live page: http://127.0.0.1:(\d+)/", line):
                    break
            assert found, "it ended without a page"
            shown = Page(int(found[1]), process, None)
            until(lambda: (chip / "progress.jsonl").exists(), "the calibration begins")
            assert until(lambda: shown.state_of("chip"), "it is listed")["kind"] == "calibrate"
            with shown.stream("chip") as events:
                told = events.next("calibration", lambda it: it["measurement"] == "gate_curve")
                assert told["finished"] == 0
                first = events.next("map", lambda it: it["quantity"] == "wear")
                later = events.next(
                    "map", lambda it: it["quantity"] == "wear" and it["version"] > first["version"]
                )
                assert (later["rows"], later["cols"]) == (64, 32)
                wear = np.frombuffer(shown.ask("GET", "/api/run/chip/map/0/wear").body, "<f4")
                assert wear.size == 64 * 32
                assert wear.max() > 0
                g_S = np.frombuffer(shown.ask("GET", "/api/run/chip/map/0/g").body, "<f4")
                assert 0 < np.nanmax(g_S) < 1e-3
                shown.post("/api/run/chip/stop")
                assert events.next("stop", lambda it: it["phase"] == "grounded")["by"] == "run"
                events.next("state", lambda it: it["state"] == "stopped")
            assert process.wait(60) == 128 + signal.SIGTERM
        finally:
            process.kill()


def test_what_a_process_holds_is_told_to_it_alone(tmp_path: Path) -> None:
    from eapu_hil.base.locks import local_holder

    lock = tmp_path / "run.lock"
    assert local_holder(lock) is None
    with own(lock, "run"):
        assert local_holder(lock) == os.getpid()
    lock.write_text(f"{os.getpid()}\n")
    assert local_holder(lock) is None


def test_lines_that_are_many_are_shown_in_bounded_memory(tmp_path: Path) -> None:
    with made_run(tmp_path / "runs/mine") as store:
        path = store.path / "metrics.jsonl"
    line = '{"kind":"step","step":%d,"loss":0.5,"writes":3,"pulses":4,"update_ratio_layer":{"a":0.5},"wall_s":0.1}\n'
    path.write_text("".join(line % step for step in range(1, 50_001)))
    with page(tmp_path / "runs") as shown, shown.stream("mine") as events:
        events.next("state", lambda it: it["step"] == 50_000)
        resident = int(Path(f"/proc/{shown.process.pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
        assert resident < 150e6
        with shown.stream("mine") as later:
            assert len(later.next("metrics")["columns"]["step"]) <= 2000


def test_events_of_a_run_are_told_once_and_in_order(tmp_path: Path) -> None:
    with made_run(tmp_path / "runs/mine") as store, page(tmp_path / "runs") as shown:

        def happen(text: str) -> None:
            store.append_metrics(
                "event", {"at_step": 1, "unix_s": time.time(), "what": "limit", "text": text}
            )

        happen("first")
        with shown.stream("mine") as events:
            told = events.next("events")
            assert [it["text"] for it in told["items"]] == ["first"]
            assert told["replace"]
            happen("second")
            store.append_metrics("step", step_line(2))
            told = events.next("events")
            assert [(it["text"], it["kind"]) for it in told["items"]] == [("second", "limit")]
            assert not told["replace"]
