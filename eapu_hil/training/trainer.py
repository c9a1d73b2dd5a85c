"""Starts and resumes training runs, and opens trained networks for use."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eapu_hil.base.loading import Source, load_model
from eapu_hil.base.provenance import now_iso
from eapu_hil.base.storage import require_space
from eapu_hil.base.threads import one_thread_a_product
from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.chip_id import known_id
from eapu_hil.bench.opening import prepare_for_training
from eapu_hil.bench.usage import record_run, tell_of_others
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.network.network import Network
from eapu_hil.placement.layout import PLACEMENT, Layout
from eapu_hil.tasks import Task
from eapu_hil.training.array_model import ArrayModel
from eapu_hil.training.bench_account import BenchAccount
from eapu_hil.training.checkpoint_parts import fitting, under
from eapu_hil.training.config import ExperimentConfig
from eapu_hil.training.data_record import data_record, require_same_data
from eapu_hil.training.diary import Diary, warnings_heard
from eapu_hil.training.digital_model import DigitalModel
from eapu_hil.training.loop import TrainingLoop
from eapu_hil.training.mapped_model import MappedModel
from eapu_hil.training.matrices import choose_layout, matrix_shapes, require_fit
from eapu_hil.training.model import Model
from eapu_hil.training.progress import Progress, Unwatched
from eapu_hil.training.proof import prove
from eapu_hil.training.records import WRITE_DTYPE
from eapu_hil.training.run_changes import changed, recorded
from eapu_hil.training.run_store import CHECKPOINTS_KEPT, RunStore
from eapu_hil.training.runs import files_of, last_steps, load_checkpoint, newest_checkpoint, read_start


def train(
    experiment: Source,
    run_dir: Path | str,
    progress: Progress | None = None,
    allow_modules: Collection[str] = (),
    *,
    exchanged: bool = False,
) -> dict[str, Any]:
    """Trains in a new run directory and returns the summary.

    experiment: path of an experiment file, name of a packaged one, a mapping of its keys, or an `ExperimentConfig`.
    progress: who is told; nobody by default.
    allow_modules: modules that the experiment may name its rule and its task from. exchanged: see `open_bench`.
    Raises ConfigError, with nothing left behind, when the experiment cannot be run as it is, and DivergedError when
    training diverges.
    """
    config = _experiment(experiment, allow_modules)
    task = config.task.make()
    if config.rule.trains_on != "host":
        require_fit(task, config)
    start = {
        "name": config.name,
        "experiment": config.model_dump(mode="json"),
        "seed": config.seed,
        **data_record(task),
    }
    with RunStore.create(run_dir, start) as store:
        require_space(store.path, _room(config, task))
        return _run(config, task, store, progress, exchanged)


def resume(
    run_dir: Path | str,
    progress: Progress | None = None,
    allow_modules: Collection[str] = (),
    *,
    steps: int | None = None,
    changes: Sequence[str] = (),
    exchanged: bool = False,
) -> dict[str, Any]:
    """Goes on with a run after a stop or a crash, or beyond its end, and returns the summary.

    What was written after the last checkpoint has happened to the chip: those steps are not repeated, the cells
    are read anew, and rules that keep an account are told what was already asked for.
    progress: who is told; nobody by default. allow_modules: see `train`. exchanged: see `open_bench`.
    steps: the new total. What follows the share of the run that is done, as a falling learning rate or the band of
    `eapu`, follows the new total from here on. changes: `key.path=value` texts, see `run_changes.CHANGEABLE`.
    What is changed is recorded in start.yaml. Raises ConfigError when there is nothing to resume, when as many steps
    were taken already, when something may not change, or when the rule maps its weights at a share of the run; HilError
    when what a finished step left behind is damaged.
    """
    run_dir = Path(run_dir)
    before = _experiment_of(run_dir, allow_modules)
    longer = steps is not None and steps > before.steps
    config = changed(before, steps, changes, run_dir, allow_modules)
    task = config.task.make()
    require_same_data(task, run_dir, read_start(run_dir))
    with RunStore.open(run_dir, finished=longer) as store:
        require_space(store.path, _room(config, task))
        change = recorded(store.start, before, config, run_dir)
        if change:
            store.amend_start(change)
        return _run(config, task, store, progress, exchanged)


@contextmanager
def trained_network(
    run_dir: Path | str, allow_modules: Collection[str] = (), *, exchanged: bool = False
) -> Iterator[tuple[Task, Network]]:
    """The network of a run, as its chip holds it now, with its task: for evaluating and applying it.

    allow_modules: see `train`. exchanged: see `open_bench`. Raises HilError when the run stopped before its first
    checkpoint.
    """
    run_dir = Path(run_dir)
    prove(run_dir)
    config = _experiment_of(run_dir, allow_modules)
    task, start = config.task.make(), read_start(run_dir)
    require_same_data(task, run_dir, start)
    checkpoint = load_checkpoint(run_dir)
    if checkpoint is None:
        raise HilError(f"{run_dir}: no checkpoint; this run stopped before its first step")
    if checkpoint.step < newest_checkpoint(run_dir):
        raise HilError(
            f"{run_dir}/checkpoints: the last checkpoint that is whole is {checkpoint.path.name}, which is older than "
            f"the weights; bring back that of step {newest_checkpoint(run_dir)}, or eapu-hil resume {run_dir} goes on "
            f"from step {checkpoint.step}"
        )
    with one_thread_a_product(), _open_bench(config, run_dir, start, exchanged) as bench:
        model: Model = DigitalModel(task, config.seed)
        if bench is not None:
            layout = _read_layout(config, task, bench, run_dir)
            model = _on_arrays(config, task, bench, layout)
        with fitting(checkpoint):
            model.restore(under(checkpoint.arrays, "model."))
            for layer in model.network.weighted:
                layer.bias[...] = checkpoint.arrays[f"bias.{layer.name}"]
        yield task, model.network


def _run(
    config: ExperimentConfig, task: Task, store: RunStore, progress: Progress | None, exchanged: bool
) -> dict[str, Any]:
    with (
        one_thread_a_product(),
        warnings_heard() as heard,
        _open_bench(config, store.path, store.start, exchanged) as bench,
    ):
        store.amend_start(_session(store.start, bench))
        model: Model = DigitalModel(task, config.seed)
        account = None
        if bench is not None:
            bench.watched_by(store.at_work)
            layout = _layout(config, task, bench, store)
            model, account = _on_arrays(config, task, bench, layout, store), BenchAccount(bench, layout)
            record_run(bench.chip, store.start["id"], bench.arrays[0].clock_s())
        diary = Diary(store, account, heard)
        return TrainingLoop(config, task, model, account, store, diary).run(progress or Unwatched())


def _room(config: ExperimentConfig, task: Task) -> int:
    """Bytes that a run takes at least: its chip and maps, the checkpoints, the initial writes, the report."""
    weights = sum(rows * columns for rows, columns in matrix_shapes(task, config.rule).values())
    cells = 0 if config.rule.trains_on == "host" else config.bench.arrays * math.prod(config.bench.shape)
    return (
        2_000_000 + 200 * cells + 32 * (CHECKPOINTS_KEPT + 1) * weights + 4 * WRITE_DTYPE.itemsize * weights
    )


def _session(start: Mapping[str, Any], bench: Bench | None) -> dict[str, Any]:
    """What start.yaml keeps of a session. `identities` are those of the first one, `sessions` all of them."""
    identities = [vars(array.identity) for array in bench.arrays] if bench is not None else []
    session: dict[str, Any] = {"time": now_iso(), "identities": identities}
    kept = {
        "identities": start.get("identities", identities),
        "sessions": [*start.get("sessions", []), session],
    }
    if bench is None:
        return kept
    session["clock"] = bench.chip.clock
    session["unattended"] = None if bench.unattended is None else vars(bench.unattended)
    return {**kept, "chip": bench.chip.id}


@contextmanager
def _open_bench(
    config: ExperimentConfig, run_dir: Path, start: Mapping[str, Any], exchanged: bool
) -> Iterator[Bench | None]:
    """The experiment's bench; None for the digital reference. Without a chip of its own it gets one of the run's.

    Raises ConfigError where the chip is not the one that the run began on.
    """
    if config.rule.trains_on == "host":
        yield None
        return
    bench_config = config.bench
    if config.recipe is not None:
        bench_config = bench_config.model_copy(update={"recipe": config.recipe})
    directory = bench_config.chip or run_dir / "chip"
    mine, there = start.get("chip"), known_id(directory)
    if mine is not None and mine != there:
        what = "another chip is there" if there else "there is no chip"
        raise ConfigError(f"{directory}: {what}: {run_dir} is a run on chip {mine}; put its directory back")
    # A new run prepares its chip itself (`_layout`); the cells of one that holds a run are never measured anew.
    with open_bench(bench_config, chip_dir=directory, commission=False, exchanged=exchanged) as bench:
        if "identities" in start:  # a run that began earlier
            tell_of_others(bench.chip, str(start.get("id")))
        yield bench


def _layout(config: ExperimentConfig, task: Task, bench: Bench, store: RunStore) -> Layout:
    """Where the weights of the run lie. Chosen once, before the first one is written."""
    if not (store.path / PLACEMENT).exists() and last_steps(store.path).writes is None:
        prepare_for_training(bench)
        choose_layout(task, bench, config.rule).save(store.files)
        store.note(placement=1)
    return _read_layout(config, task, bench, store.path)


def _read_layout(config: ExperimentConfig, task: Task, bench: Bench, run_dir: Path) -> Layout:
    layout = Layout.read(files_of(run_dir, read_start(run_dir)))
    cells = (len(bench.arrays), *bench.arrays[0].shape)
    layout.require_on(cells, matrix_shapes(task, config.rule), run_dir)
    return layout


def _on_arrays(
    config: ExperimentConfig, task: Task, bench: Bench, layout: Layout, store: RunStore | None = None
) -> Model:
    model = ArrayModel(task, config, bench, layout, store)
    return MappedModel(task, config, model) if _is_mapped(config) else model


def _is_mapped(config: ExperimentConfig) -> bool:
    """Whether the weights go to the arrays at a share of the run."""
    return config.rule.trains_on == "host_then_array"


def _experiment(source: Source, allow_modules: Collection[str]) -> ExperimentConfig:
    if isinstance(source, ExperimentConfig):
        return source
    return load_model(ExperimentConfig, source, (), "experiments", allow_modules=allow_modules)


def _experiment_of(run_dir: Path, allow_modules: Collection[str]) -> ExperimentConfig:
    start, path = read_start(run_dir), run_dir / "start.yaml"
    if "experiment" not in start:
        raise ConfigError(f"{path}: damaged: it holds no experiment")
    try:
        return _experiment(start["experiment"], allow_modules)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
