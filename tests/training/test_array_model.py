"""A network on arrays: in place, written as the rule says, recorded before it is believed, told apart from the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_mock import MockerFixture

from eapu_hil.base.storage import StorageError
from eapu_hil.bench import Bench, open_bench
from eapu_hil.hal import Cells, CellStatus, ConfigError, HilError, Targets
from eapu_hil.network.layers import Float32Array
from eapu_hil.placement.layout import Layout
from eapu_hil.tasks import Task, make_task
from eapu_hil.training.array_model import ArrayModel
from eapu_hil.training.bench_account import BenchAccount
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.matrices import choose_layout, initial_matrices, require_fit
from eapu_hil.training.records import WriteCause
from eapu_hil.training.run_store import RunStore
from eapu_hil.training.runs import read_writes
from eapu_hil.training.write_log import WriteCounts

Make = Callable[..., ExperimentConfig]
BAND_S = 1.0e-6
CELLS = 2 * (64 * 6 + 6 * 10)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a chip that is ready for training is kept to be copied."""
    return tmp_path_factory.mktemp("chip") / "ready"


@pytest.fixture
def task() -> Task:
    return make_task({"name": "digits", "hidden": 6})


OpenModel = Callable[..., AbstractContextManager[tuple[ArrayModel, Bench]]]


@pytest.fixture
def open_model(ready: Path, tmp_path: Path, task: Task, make_experiment: Make) -> OpenModel:
    """Opens the ideal bench with a model on it: `open_model(store=..., backward="host")`; the chip stays as it is."""
    chip = tmp_path / "chip"

    @contextmanager
    def opened(store: RunStore | None = None, **changes: Any) -> Iterator[tuple[ArrayModel, Bench]]:
        config = make_experiment(bench={"preset": "ideal"}, **changes)
        if not ready.exists():
            with open_bench(config.bench, chip_dir=ready) as bench:
                # An ideal chip hits every target; rules need an error to be aware of.
                known = bench.chip.write_error()
                errors = {
                    "levels_S": known.levels_S,
                    "sigma_write_S": np.full(known.levels_S.size, 1e-6),
                    "sigma_relax_S": np.zeros(known.levels_S.size),
                    "relax_time_s": 1.0,
                }
                bench.chip.record("write_error", errors, {}, bench.arrays[0].clock_s())
        if not chip.exists():
            shutil.copytree(ready, chip)
        with open_bench(config.bench, chip_dir=chip) as bench:
            layout = choose_layout(task, bench)
            if store is not None:
                layout.save(store.files)
            yield ArrayModel(task, config, bench, layout, store), bench

    return opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.create(tmp_path / "run", {"name": "a"}) as store:
        yield store


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _matrices(model: ArrayModel) -> dict[str, Float32Array]:
    """What the products on the arrays say the weights are."""
    sizes = {layer.name: layer.weights.shape[0] for layer in model.network.weighted}
    products = {layer.name: layer.weights.forward for layer in model.network.weighted}
    return {name: products[name](np.eye(size, dtype=np.float32)) for name, size in sizes.items()}


def _gradients(model: ArrayModel, task: Task) -> list[tuple[Float32Array, Float32Array]]:
    x, y = task.batch(_rng(), 32)
    _, d = task.loss(model.network.forward(x), y)
    return [(d_weights.copy(), d_bias.copy()) for d_weights, d_bias in model.network.backward(d)]


def _weight_step(shape: tuple[int, int], range_S: float = 39e-6, weight_range: float = 2.5) -> float:
    """Weight of one siemens: the window holds `weight_range` standard deviations of the initialisation."""
    return float(weight_range * np.sqrt(2 / shape[0]) / range_S)


def test_the_initial_weights_are_on_the_arrays(open_model: OpenModel, task: Task) -> None:
    with open_model(seed=3) as (model, _):
        model.begin()
        for (name, wanted), found in zip(
            initial_matrices(task, 3).items(), _matrices(model).values(), strict=True
        ):
            band = 2 * BAND_S * _weight_step(wanted.shape)
            limit = 39e-6 * _weight_step(wanted.shape)
            np.testing.assert_allclose(found, np.clip(wanted, -limit, limit), atol=1.01 * band, err_msg=name)


def test_backward_on_the_array_and_on_the_host_agree(open_model: OpenModel, task: Task) -> None:
    """On ideal arrays both are the same products."""
    found = {}
    for backward in ("array", "host"):
        with open_model(backward=backward) as (model, _):
            model.begin()  # the second time everything is in place already
            found[backward] = _gradients(model, task)
    for (d_array, b_array), (d_host, b_host) in zip(found["array"], found["host"], strict=True):
        np.testing.assert_allclose(d_array, d_host, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(b_array, b_host, rtol=1e-3, atol=1e-5)
        assert np.abs(d_array).max() > 1e-3


def test_the_host_knows_what_was_written(open_model: OpenModel, task: Task) -> None:
    with open_model(backward="host", rule={"name": "bp"}) as (model, _):
        model.begin()
        model.update(1, {n: np.full_like(m, 0.1) for n, m in initial_matrices(task, 0).items()}, _rng())
        for layer, truth in zip(model.network.weighted, _matrices(model).values(), strict=True):
            n_out = layer.weights.shape[1]
            known = layer.weights.backward(np.eye(n_out, dtype=np.float32)).T
            np.testing.assert_allclose(known, truth, atol=1e-3)


def test_a_change_reaches_the_weights_it_is_wanted_of(open_model: OpenModel) -> None:
    with open_model(rule={"name": "bp"}, weight_range=10.0) as (model, _):
        model.begin()
        before = _matrices(model)
        step_S = 4e-6
        change = {name: np.zeros_like(matrix) for name, matrix in before.items()}
        change["dense1"][:32] = step_S * _weight_step((64, 6), weight_range=10.0)
        change["dense2"][:, ::2] = -step_S * _weight_step((6, 10), weight_range=10.0)
        applied = model.update(1, {name: its.copy() for name, its in change.items()}, _rng())
        assert applied.changed == {"dense1": 0.5, "dense2": 0.5}
        assert applied.writes == 32 * 6 + 6 * 5
        assert applied.pulses >= applied.writes
        for name, after in _matrices(model).items():
            scale = _weight_step(after.shape, weight_range=10.0)
            moved_S = (after - before[name]) / scale
            untouched = change[name] == 0
            np.testing.assert_allclose(moved_S[untouched], 0, atol=1e-9)
            np.testing.assert_allclose(
                moved_S[~untouched], change[name][~untouched] / scale, atol=1.01 * BAND_S
            )


def test_nothing_wanted_writes_nothing(open_model: OpenModel, task: Task, store: RunStore) -> None:
    nothing = {name: np.zeros_like(matrix) for name, matrix in initial_matrices(task, 0).items()}
    with open_model(store) as (model, bench):
        pulses = bench.ledger.snapshot().pulses.sum()
        applied = model.update(1, nothing, _rng())
        assert (applied.changed, applied.writes, applied.pulses) == ({"dense1": 0.0, "dense2": 0.0}, 0, 0)
        assert bench.ledger.snapshot().pulses.sum() == pulses
    assert read_writes(store.path).size == 0


def test_a_write_is_believed_only_when_it_is_on_record(
    open_model: OpenModel, task: Task, store: RunStore, mocker: MockerFixture
) -> None:
    with open_model(store, backward="host", rule={"name": "bp"}) as (model, _):
        model.begin()
        believed = [layer.weights.backward(np.eye(layer.weights.shape[1], dtype=np.float32))
                    for layer in model.network.weighted]  # fmt: skip
        mocker.patch.object(store, "append_writes", side_effect=StorageError("disk full"))
        wanted = {name: np.full_like(matrix, 0.2) for name, matrix in initial_matrices(task, 0).items()}
        with pytest.raises(StorageError):
            model.update(1, wanted, _rng())
        for layer, before in zip(model.network.weighted, believed, strict=True):
            now = layer.weights.backward(np.eye(layer.weights.shape[1], dtype=np.float32))
            np.testing.assert_array_equal(now, before)
    assert set(read_writes(store.path)["step"]) == {0}


def test_initial_weights_on_record_are_not_written_again(open_model: OpenModel, store: RunStore) -> None:
    with open_model(store) as (model, bench):
        model.begin()
        assert read_writes(store.path).size == CELLS
        pulses = bench.ledger.snapshot().pulses.sum()
        model.begin()
        assert bench.ledger.snapshot().pulses.sum() == pulses
    assert read_writes(store.path).size == CELLS
    with open_model() as (model, _):  # without a run there is no record to go by
        model.begin()


def test_the_accounts_of_the_rules_are_kept_and_put_back(open_model: OpenModel, task: Task) -> None:
    rule = {"name": "eapu_residual", "kappa": 100.0}  # nothing is ever written
    small = {name: np.full_like(matrix, 1e-3) for name, matrix in initial_matrices(task, 0).items()}
    with open_model(rule=rule) as (model, _):
        assert model.update(1, small, _rng()).writes == 0
        kept = model.state()
        assert set(kept) == {"dense1.acc", "dense2.acc"}
        np.testing.assert_allclose(kept["dense1.acc"], 1e-3 / _weight_step((64, 6)), rtol=1e-5)
        model.update(2, small, _rng())
        model.restore(kept)
        np.testing.assert_array_equal(model.state()["dense2.acc"], kept["dense2.acc"])
    with open_model() as (model, _), pytest.raises(HilError, match="rule 'eapu', which keeps no state"):
        model.restore(kept)


def test_what_happened_after_a_checkpoint_is_taken_from_the_records(
    open_model: OpenModel, task: Task, store: RunStore
) -> None:
    rng = _rng()
    with open_model(store, rule={"name": "eapu_residual", "kappa": 1.0}) as (model, _):
        model.begin()
        applied = {}
        for step in (1, 2, 3):
            if step == 2:
                kept = model.state()
            wanted = {
                name: rng.normal(0, 0.02, matrix.shape).astype(np.float32)
                for name, matrix in initial_matrices(task, 0).items()
            }
            applied[step] = model.update(step, wanted, _rng())
        store.append_metrics("step", {"step": 1})
        model.restore(kept)
        assert model.reconcile(1) == (3, {step: applied[step] for step in (2, 3)})
        model.restore(kept)
        store.append_metrics("step", {"step": 2})
        store.append_metrics("step", {"step": 5})  # steps that wrote nothing
        assert model.reconcile(1) == (5, {})
    with open_model() as (model, _), pytest.raises(RuntimeError, match="nothing to reconcile"):
        model.reconcile(0)


def test_a_refresh_writes_again_what_drifted_and_only_that(
    open_model: OpenModel, task: Task, store: RunStore
) -> None:
    with open_model(store, rule={"name": "eapu_residual", "kappa": 100.0}) as (model, bench):
        model.begin()
        small = {name: np.full_like(matrix, 1e-3) for name, matrix in initial_matrices(task, 0).items()}
        model.update(1, small, _rng())
        assert model.refresh(1).writes == 0
        first = read_writes(store.path)
        here = first[first["array"] == 1]
        cells = Cells(here["row"][:7].astype(np.int64), here["col"][:7].astype(np.int64))
        held_S = here["target_S"][:7].astype(np.float64)
        off_S = np.array([2.5e-6] * 3 + [5e-6] * 4)  # the write error is 1 uS
        bench.arrays[1].program(Targets(cells, held_S + np.where(held_S < 20e-6, off_S, -off_S)))
        # Somebody else's cell, as far as this run knows.
        used = BenchAccount(bench, Layout.read(store.files)).used()
        spare = Cells(*np.argwhere(~used[1])[:1].T)
        bench.arrays[1].program(Targets(spare, np.array([30e-6])))
        kept = model.state()

        applied = model.refresh(1)

        assert (applied.writes, applied.not_converged) == (4, 0)
        records = read_writes(store.path)[first.size :]
        assert set(records["step"]) == {1}
        assert (records["cause"] == WriteCause.REFRESH).all()
        assert not first["cause"].any()
        found = {(row, col) for row, col in zip(records["row"], records["col"], strict=True)}
        assert found == set(zip(cells.row[3:], cells.col[3:], strict=True))
        now_S = bench.arrays[1].read(cells, 0.2).g_S
        assert (np.abs(now_S[3:] - held_S[3:]) <= BAND_S).all()
        assert (np.abs(now_S[:3] - held_S[:3]) > 1.5 * BAND_S).all()
        assert model.refresh(1).writes == 0
        # No rule asked for that, so none is told of it after a crash.
        assert model.reconcile(0) == (1, {1: WriteCounts({"dense1": 0.0, "dense2": 0.0})})
        np.testing.assert_array_equal(model.state()["dense1.acc"], kept["dense1.acc"])


def test_a_step_asks_for_no_copy_of_the_ledger(
    open_model: OpenModel, task: Task, store: RunStore, mocker: MockerFixture
) -> None:
    levelling = {"threshold_growth": 1.0, "share_pairs": True, "move_rows": True}
    with open_model(store, wear_levelling=levelling) as (model, bench):
        model.begin()
        wanted = {
            name: _rng().normal(0, 0.02, matrix.shape).astype(np.float32)
            for name, matrix in initial_matrices(task, 0).items()
        }
        snapshot = mocker.spy(bench.ledger, "snapshot")
        assert model.update(1, wanted, _rng()).writes > 0
        model.refresh(1)
        model.level_wear(1)
        assert snapshot.call_count == 0


def test_a_cell_whose_write_failed_is_not_refreshed(open_model: OpenModel, store: RunStore) -> None:
    with open_model(store) as (model, _):
        model.begin()
        records = read_writes(store.path)[:5].copy()
        records["status"] = CellStatus.NOT_CONVERGED
        away_S = np.where(records["target_S"] > 20e-6, -10e-6, 10e-6)  # inside the window
        records["target_S"] += away_S.astype(np.float32)
        store.append_writes(records)
        assert model.refresh(1).writes == 0
        records["status"] = CellStatus.OK
        store.append_writes(records)
        assert model.refresh(1).writes == 5


def test_the_cells_in_use_are_told_apart_from_the_rest(open_model: OpenModel, store: RunStore) -> None:
    with open_model(store) as (model, bench):
        model.begin()
        account = BenchAccount(bench, Layout.read(store.files))
        used = account.used()
        assert used.shape == (3, 64, 16)
        assert used.sum() == CELLS
        writes = read_writes(store.path)
        assert used[writes["array"], writes["row"], writes["col"]].all()
        maps, counts = account.maps("after"), account.counts()
        for array in range(3):
            reading = bench.arrays[array].read(Cells.all((64, 16)), 0.2)
            np.testing.assert_allclose(maps[f"g_after_S_{array}"].ravel(), reading.g_S)
            np.testing.assert_array_equal(maps[f"pulses_{array}"], counts.pulses[array])
        assert account.clock_s() == bench.arrays[0].clock_s() > 0


def test_weights_keep_away_from_bad_cells(open_model: OpenModel, task: Task) -> None:
    """Enough columns are spare: those with a bad cell stay empty."""
    with open_model() as (_, bench):
        bad = {"row": np.array([5, 9]), "col": np.array([0, 3]), "status": np.full(2, 16, np.uint8)}
        bench.chip.record("bad_cells", {"array": 0}, bad, bench.arrays[0].clock_s())
        for tiles in choose_layout(task, bench).tiles.values():
            for tile in tiles:
                columns = set(tile.plus) | set(tile.minus)
                assert tile.array != 0 or not columns & {0, 3}


@pytest.mark.parametrize("change", [{"shape": [32, 8]}, {"arrays": 1}])
def test_a_network_that_does_not_fit_is_refused(make_experiment: Make, task: Task, change: Any) -> None:
    with pytest.raises(ConfigError, match="does not fit"):
        require_fit(task, make_experiment(bench=change))
    require_fit(task, make_experiment())
