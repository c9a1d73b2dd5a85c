"""Wear levelling by moving rows: what is chosen, that weights go along, and that a killed run finds them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eapu_hil.base.sealed_directory import SealedDirectory
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.placement import layout
from eapu_hil.placement.mapping import WeightTile
from eapu_hil.placement.row_moves import (
    WEAR_MARGIN,
    RowMove,
    as_if_moved,
    choose_moves,
    ever_occupied,
    moved,
    occupied,
    read_moves,
    save_moves,
)
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.records import WRITE_DTYPE, WriteCause
from eapu_hil.training.runs import files_of, read_metrics, read_snapshots, read_start, read_writes
from eapu_hil.training.trainer import resume, train, trained_network

Make = Callable[..., ExperimentConfig]
SHAPE = (1, 6, 4)


def _tile(rows: list[int], columns: tuple[int, int] = (0, 1)) -> WeightTile:
    plus, minus = columns
    return WeightTile(0, np.array(rows), np.array([plus]), np.array([minus]), 0, 0)


def test_the_most_worn_row_goes_to_the_least_worn_free_one() -> None:
    tiles = {"a": [_tile([0, 1, 2])], "b": [_tile([3], (2, 3))]}
    pulses = np.zeros(SHAPE, int)
    pulses[0, :, 0] = [100, 300, 30, 140, 0, 10]
    pulses[0, 4, 3] = 900  # of the other columns: of no account
    bad = np.zeros(SHAPE, bool)
    # 300 -> 0, 100 -> 10; 30 is less than twice 140 and some.
    assert choose_moves(7, tiles, pulses, bad) == [RowMove(7, "a", 0, 1, 4), RowMove(7, "a", 0, 0, 5)]
    bad[0, 4, 1] = True
    assert choose_moves(7, tiles, pulses, bad)[0] == RowMove(7, "a", 0, 1, 5)


def test_rows_that_another_tile_has_are_not_free() -> None:
    tiles = {"a": [_tile([0, 1])], "b": [_tile([2, 3, 4, 5])]}
    pulses = np.zeros(SHAPE, int)
    pulses[0, 0] = 1000
    assert choose_moves(1, tiles, pulses, np.zeros(SHAPE, bool)) == []


def test_a_row_is_free_for_others_only_after_its_move() -> None:
    tiles = {"a": [_tile([0])], "b": [_tile([1])]}
    pulses = [np.zeros(SHAPE[1:], int)]
    pulses[0][:, 0] = [300, 900, 0, 900, 900, 900]
    # Row 0, which a leaves, would be better for b than row 1; row 2 is a's now.
    bad = [np.zeros(SHAPE[1:], bool)]
    assert choose_moves(1, tiles, pulses, bad) == [RowMove(1, "a", 0, 0, 2)]


def test_a_move_must_gain_more_than_it_costs() -> None:
    pulses, bad = np.zeros(SHAPE, int), np.zeros(SHAPE, bool)
    pulses[0, 0] = WEAR_MARGIN - 1
    assert choose_moves(1, {"a": [_tile([0])]}, pulses, bad) == []
    pulses[0, 0] = WEAR_MARGIN
    assert len(choose_moves(1, {"a": [_tile([0])]}, pulses, bad)) == 1


@given(st.lists(st.lists(st.integers(0, 10**4), min_size=6, max_size=6), min_size=1, max_size=12))
def test_weights_never_share_a_cell_and_records_follow_them(growth: list[list[int]]) -> None:
    tiles = {"a": [_tile([0, 1])], "b": [_tile([5, 2])], "c": [_tile([0, 3], (2, 3))]}
    cells = occupied(tiles, SHAPE).sum()
    pulses, bad, moves = np.zeros(SHAPE, int), np.zeros(SHAPE, bool), []
    records = []
    for step, grown in enumerate(growth):
        pulses[0] += np.array(grown)[:, None]
        here = moved(tiles, moves)
        # Every step writes the plus cell of all weights, row of weights i with a target of i.
        for number, (tile,) in enumerate(here.values()):
            for line, row in enumerate(tile.rows):
                records.append((step, tile.plus[0], row, 10 * number + line))
        moves += choose_moves(step, here, pulses, bad)
        assert occupied(moved(tiles, moves), SHAPE).sum() == cells
    written = np.zeros(len(records), WRITE_DTYPE)
    for field, values in zip(("step", "col", "row", "target_S"), zip(*records, strict=True), strict=True):
        written[field] = values
    now = moved(tiles, moves)
    for record in as_if_moved(written, now, moves):
        number, line = divmod(int(record["target_S"]), 10)
        assert record["row"] == list(now.values())[number][0].rows[line]
    assert ever_occupied(tiles, moves, SHAPE)[occupied(now, SHAPE)].all()


def test_moves_come_back_from_the_disk(tmp_path: Path) -> None:
    files = SealedDirectory(tmp_path, {"run": "r"})
    assert read_moves(files) == []
    moves = [RowMove(3, "a", 0, 1, 2), RowMove(6, "a", 0, 2, 1)]
    save_moves(files, moves)
    assert read_moves(files) == moves
    files.write_json("moves.json", {"moves": [{"step": 1}]}, "moves")
    with pytest.raises(HilError, match="damaged"):
        read_moves(files)
    (tmp_path / "moves.json").write_text('{"moves": []}')
    with pytest.raises(HilError, match="carries no seal"):
        read_moves(files)


def _moves(run: Path) -> list[RowMove]:
    return read_moves(files_of(run, read_start(run)))


def _experiment(make_experiment: Make, **values: Any) -> ExperimentConfig:
    common = {"steps": 60, "evaluate_every": 60, "checkpoint_every": 20}
    wear = {"threshold_growth": 0.0, "move_rows": True}
    return make_experiment(**{**common, "wear_levelling": wear, "rule": {"name": "bp"}, **values})


def _hottest(run: Path, layer: str) -> int:
    """Most pulses of any cell that ever held a weight of `layer`."""
    placement = json.loads((run / "placement.json").read_text())
    tiles = {layer: [WeightTile.from_plain(tile) for tile in placement[layer]]}
    snapshots = read_snapshots(run)
    pulses = np.stack(
        [snapshots[f"pulses_{n}"] for n in range(sum(key.startswith("pulses_") for key in snapshots))]
    )
    moves = [move for move in _moves(run) if move.layer == layer]
    return int(pulses[ever_occupied(tiles, moves, pulses.shape)].max())


def test_in_training_rows_take_turns_and_the_network_stays(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any]
) -> None:
    on = train(_experiment(make_experiment), tmp_path / "on", silent())
    off = train(_experiment(make_experiment, wear_levelling=None), tmp_path / "off", silent())
    moves = _moves(tmp_path / "on")
    assert moves
    assert on["moved_writes_total"] > 0 == off["moved_writes_total"]
    # dense1 fills its columns; only dense2 has rows to go to.
    assert {move.layer for move in moves} == {"dense2"}
    assert _hottest(tmp_path / "on", "dense2") < 0.9 * _hottest(tmp_path / "off", "dense2")
    assert on["cells"] > off["cells"]
    lines = read_metrics(tmp_path / "on", "level")
    assert sum(line["writes"] for line in lines) == on["moved_writes_total"]
    records = read_writes(tmp_path / "on")
    assert set(records["step"][records["cause"] == WriteCause.MOVE]) == {line["step"] for line in lines}
    assert on["metric"]["final"] > off["metric"]["final"] - 0.1
    with trained_network(tmp_path / "on") as (task, network):
        assert task.evaluate(network.infer, quick=False).value > on["metric"]["final"] - 0.1


def test_a_run_that_was_killed_in_a_move_goes_on(
    tmp_path: Path, make_experiment: Make, silent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    residual = {"name": "eapu_residual", "kappa": 0.5}
    optimizer = {"name": "adam", "lr": 0.02}
    experiment = _experiment(make_experiment, rule=residual, optimizer=optimizer)

    def killed(*_: Any) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(layout, "save_moves", killed)
        with pytest.raises(SystemExit):
            train(experiment, tmp_path / "run", silent())
    assert _moves(tmp_path / "run") == []
    assert (read_writes(tmp_path / "run")["cause"] == WriteCause.MOVE).any()
    summary = resume(tmp_path / "run", silent())
    assert summary["exit_status"] == "success"
    assert _moves(tmp_path / "run")
    whole = train(experiment, tmp_path / "whole", silent())
    assert summary["metric"]["final"] > whole["metric"]["final"] - 0.15


@pytest.mark.parametrize("rule", ["digital", "offline_then_map", "hybrid"])
def test_rules_that_hardly_write_are_refused(rule: str, make_experiment: Make) -> None:
    with pytest.raises(ConfigError, match="move_rows: with rule"):
        _experiment(make_experiment, rule={"name": rule})
