"""What the page reads of a run: lines, curves, cells, and where it may read at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from livework import made_run, step_line

from eapu_hil.hal import CellStatus
from eapu_hil.live.cells import CellMaps
from eapu_hil.live.curves import MOST_POINTS, Curves, Point, point_of
from eapu_hil.live.places import Place, UnknownError
from eapu_hil.live.story import EVENTS_KEPT, Story
from eapu_hil.live.tail import LineTail, RecordTail
from eapu_hil.training.records import WRITE_DTYPE


def lines_of(tail: LineTail) -> list[int]:
    return [line["n"] for _, lines in tail.batches() for line in lines]


def test_each_line_is_read_once_and_a_torn_one_when_it_is_whole(tmp_path: Path) -> None:
    path, tail = tmp_path / "lines", LineTail(tmp_path / "lines")
    assert lines_of(tail) == []
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n{"n":')
    assert lines_of(tail) == [1, 2]
    assert lines_of(tail) == []
    with path.open("ab") as file:
        file.write(b' 3}\nnonsense\n[1]\n{"n": 4}\n')
    assert lines_of(tail) == [3, 4]


def test_a_file_that_was_cut_is_read_anew(tmp_path: Path) -> None:
    path, tail = tmp_path / "lines", LineTail(tmp_path / "lines")
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n')
    assert lines_of(tail) == [1, 2]
    path.write_bytes(b'{"n": 7}\n')
    assert [(anew, lines) for anew, lines in tail.batches()] == [(True, [{"n": 7}])]


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b'{"n": 1}\n')
    (tmp_path / "lines").symlink_to(tmp_path / "secret")
    assert lines_of(LineTail(tmp_path / "lines")) == []


def test_records_come_whole(tmp_path: Path) -> None:
    path, tail = tmp_path / "writes.bin", RecordTail(tmp_path / "writes.bin", WRITE_DTYPE)
    records = np.zeros(3, WRITE_DTYPE)
    records["row"] = [1, 2, 3]
    content = records.tobytes()
    path.write_bytes(content[:-5])
    assert [part["row"].tolist() for _, part in tail.records()] == [[1, 2]]
    path.write_bytes(content)
    assert [part["row"].tolist() for _, part in tail.records()] == [[3]]


def test_a_night_of_steps_takes_a_bounded_number_of_points() -> None:
    curves = Curves()
    for step in range(1, 50_001):
        curves.add(Point(step, 1, {"loss": float(step), "writes": 2.0}, {"a": 0.5}))
    assert MOST_POINTS / 3 < len(curves.points) <= MOST_POINTS
    steps = [point.step for point in curves.points]
    assert steps == sorted(steps)
    assert steps[-1] > 49_900
    assert all(point.values["writes"] == pytest.approx(2.0) for point in curves.points)
    each = 50_000 / steps[-1] * len(steps)
    loss = [point.values["loss"] or 0.0 for point in curves.points]
    np.testing.assert_allclose(loss, steps, atol=2 * 50_000 / each)  # the mean of neighbours


def test_only_points_that_changed_are_sent_again() -> None:
    curves = Curves()
    for step in range(1, MOST_POINTS + 1):
        curves.add(Point(step, 1, {"loss": 1.0}))
    assert curves.generation == 0
    assert curves.columns(MOST_POINTS - 1)["step"] == [MOST_POINTS]
    curves.add(Point(MOST_POINTS + 1, 1, {"loss": 1.0}))
    assert curves.generation == 1


def test_steps_that_are_repeated_replace_those_before() -> None:
    curves = Curves()
    for step in (1, 2, 3, 4, 3, 4, 5):
        curves.add(point_of(step_line(step), None))
    assert [point.step for point in curves.points] == [1, 2, 3, 4, 5]
    assert curves.generation == 1


def test_an_evaluation_is_a_point_of_its_own_beside_its_step() -> None:
    story = Story()
    for line in (
        {"kind": "evaluation", "step": 0, "name": "accuracy", "metric": 0.1},
        {"kind": "step", **step_line(1)},
        {"kind": "evaluation", "step": 1, "name": "accuracy", "metric": 0.4},
    ):
        story.take(line)
    columns = story.curves.columns()
    assert columns["step"] == [0, 1, 1]
    assert columns["metric"] == [0.1, None, 0.4]
    assert columns["loss"] == [None, 1.0, None]
    assert columns["share"] == {"dense1": [None, 0.5, None]}


def test_a_story_survives_lines_of_any_shape_and_keeps_the_newest_events() -> None:
    story = Story()
    for line in (
        {},
        {"kind": "step"},
        {"kind": "step", "step": None},
        {"kind": "event", "what": 3},
        {"kind": []},
    ):
        story.take(line)
    for number in range(EVENTS_KEPT + 7):
        story.take({"kind": "event", "at_step": 1, "unix_s": 5.0, "what": "reconnect", "text": str(number)})
    assert story.counted == EVENTS_KEPT + 7
    assert [story.events[0]["text"], story.events[-1]["text"]] == ["7", str(EVENTS_KEPT + 6)]
    assert story.events[0]["kind"] == "reconnect"


def test_time_left_follows_the_pace() -> None:
    story = Story()
    for step in range(1, 11):
        story.take({"kind": "step", **step_line(step)})
    assert story.times(20) == {
        "wall_s": pytest.approx(2.5),
        "wall_time_left_s": pytest.approx(2.5),
        "bench_time_s": pytest.approx(4.5),
        "bench_time_left_s": pytest.approx(5.0),
    }


def test_energy_goes_on_over_a_resume() -> None:
    story = Story()
    for energy_j in (1.0, 3.0, 0.5, 0.75):
        story.take({"kind": "bench", "step": 1, "energy_j": energy_j})
    assert story.energy_j == pytest.approx(3.75)


def test_cells_are_as_the_last_write_left_them() -> None:
    cells = CellMaps(2, (4, 3), band_S=1e-6)
    cells.begin({"g_before_S_1": np.full((4, 3), 2e-6)})
    records = np.zeros(5, WRITE_DTYPE)
    records["array"] = [0, 0, 0, 1, 9]
    records["row"], records["col"] = [1, 1, 3, 0, 0], [2, 2, 0, 0, 0]
    records["target_S"] = 5e-6
    records["after_S"] = [4e-6, 5e-6, np.nan, 6e-6, 7e-6]
    records["pulses"] = [3, 4, 1, 2, 9]
    records["status"] = [0, 0, CellStatus.NOT_CONVERGED | CellStatus.STUCK, 0, 0]
    cells.take(records)
    g_S = np.frombuffer(cells.map(0, "g"), "<f4").reshape(4, 3)
    assert g_S[1, 2] == pytest.approx(5e-6)
    assert np.isnan(g_S[3, 0])
    assert np.frombuffer(cells.map(1, "g"), "<f4")[[0, 1]] == pytest.approx([6e-6, 2e-6])
    assert np.frombuffer(cells.map(0, "wear"), "<f4").reshape(4, 3)[[1, 3], [2, 0]].tolist() == [7.0, 1.0]
    assert cells.errors.sum() == 3
    assert cells.totals == {"writes": 4, "pulses": 10}  # requests that needed a pulse
    assert cells.statuses() == {"OK": 3, "NOT_CONVERGED": 1, "STUCK": 1}


@pytest.mark.parametrize(
    "asked",
    [
        "..",
        "../other",
        "a/../../other",
        "a//b",
        "/etc",
        "",
        ".",
        "a/.",
        "a\\..\\other",
        "a\0",
        "C:",
        "link",
        "nothing",
    ],
)
def test_nothing_outside_of_the_directory_is_found(tmp_path: Path, asked: str) -> None:
    for name in ("inside/a", "other"):
        with made_run(tmp_path / name):
            pass
    (tmp_path / "inside/link").symlink_to(tmp_path / "other")
    place = Place(tmp_path / "inside")
    assert [entry.id for entry in place.entries()] == ["a"]
    with pytest.raises(UnknownError):
        place.find(asked)


def test_a_file_of_a_run_that_leads_out_of_it_is_refused(tmp_path: Path) -> None:
    with made_run(tmp_path / "runs/a"):
        pass
    (tmp_path / "runs/a/figures").symlink_to(tmp_path)
    entry = Place(tmp_path / "runs").find("a")
    with pytest.raises(UnknownError):
        entry.file("figures", "secret.png")


def test_a_run_that_is_served_itself_goes_by_its_name(tmp_path: Path) -> None:
    place = Place(tmp_path / "mine")  # `train --live` starts the page before there is a run
    assert list(place.entries()) == []
    with made_run(tmp_path / "mine"):
        pass
    assert [entry.id for entry in place.entries()] == ["mine"]
    assert place.find("mine").path == tmp_path / "mine"


def test_messages_hold_no_number_that_json_does_not_know() -> None:
    from eapu_hil.live.feed import message

    text = message("state", {"a": float("nan"), "b": [float("inf"), 1.0], "c": {"d": float("-inf")}}).decode()
    assert json.loads(text.splitlines()[1].removeprefix("data: ")) == {
        "a": None,
        "b": [None, 1.0],
        "c": {"d": None},
    }
