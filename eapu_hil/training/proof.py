"""Whether the files of a run are whole, all there, and those of one and the same run at one moment."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eapu_hil.base.npz import DamagedError
from eapu_hil.base.seals import UnsealedError, read_sealed_json
from eapu_hil.base.storage import read_json
from eapu_hil.placement.layout import PLACEMENT
from eapu_hil.placement.row_moves import MOVES, read_moves
from eapu_hil.training.journal import (
    BACK,
    JOURNAL,
    METRICS,
    WRITES,
    State,
    advised,
    checksum_of_first,
    prove_grown,
    read_journal,
)
from eapu_hil.training.runs import (
    files_of,
    is_old,
    load_checkpoint,
    read_ending,
    read_snapshots,
    read_start,
    require_newest,
    run_id,
    times_written,
)
from eapu_hil.training.streams import Writes, metric_lines

_LOG = logging.getLogger(__name__)


def prove(run_dir: Path) -> None:
    """Raises HilError, which names the file, where one is missing, damaged, an earlier one, or of another run.

    A damaged checkpoint is named in the log, and the one before it stands for it. Of a run that an older version
    made nothing can be proven; the log says so. Also for a run that goes on meanwhile.
    """
    start = read_start(run_dir)
    if is_old(start):
        _LOG.info(
            "%s: an older version made this run: its files carry no checksums until it is resumed", run_dir
        )
        return
    read_journal(run_dir, run_id(start))  # whether start.yaml is that of this run
    ending = read_ending(run_dir, start)
    earlier = list(_earlier_states(run_dir, ending))  # before what they are compared with: it only grows
    state = read_journal(run_dir, run_id(start))
    for name, then in earlier:
        if any(getattr(state, key) < value for key, value in vars(then).items() if not key.endswith("_crc")):
            raise DamagedError(
                f"{run_dir / JOURNAL}: an earlier one lies in its place: {name} knows more; {BACK}"
            )
    require_newest(run_dir / "start.yaml", times_written(read_start(run_dir)), state.start)
    for name in (METRICS, WRITES):
        _prove_grown(run_dir, name, run_id(start), earlier)
    for _ in metric_lines(run_dir, start):
        pass
    Writes(run_dir, start)
    with advised():
        read_snapshots(run_dir)
        files = files_of(run_dir, start)
        require_newest(
            run_dir / PLACEMENT, int(files.read_json(PLACEMENT, "placement") is not None), state.placement
        )
        require_newest(run_dir / MOVES, len(read_moves(files)), state.moves)


def read_over_runs(path: Path, kind: str) -> dict[str, Any] | None:
    """A sealed file about the runs below its directory, None where there is none.

    One without a seal is taken where an older version made all of these runs. Raises DamagedError.
    """
    try:
        return read_sealed_json(path, kind, {})
    except FileNotFoundError:
        return None
    except UnsealedError:
        if any(not is_old(read_start(start.parent)) for start in path.parent.rglob("start.yaml")):
            raise
        _LOG.info("%s: an older version made it: it carries no checksum", path)
        return read_json(path)


def _earlier_states(
    run_dir: Path, ending: tuple[dict[str, Any], State | None] | None
) -> Iterator[tuple[str, State]]:
    if ending is not None and ending[1] is not None:
        yield "summary.json", ending[1]
    checkpoint = load_checkpoint(run_dir)
    if checkpoint is not None and checkpoint.state is not None:
        yield checkpoint.path.name, checkpoint.state


def _prove_grown(run_dir: Path, name: str, its_id: str, earlier: list[tuple[str, State]]) -> None:
    there, _ = prove_grown(run_dir, name, its_id)
    for witness, then in earlier:
        size, crc = then.grown(name)
        if there < size or checksum_of_first(run_dir / name, size) != crc:
            raise DamagedError(f"{run_dir / name}: damaged: it is not what {witness} saw; {BACK}")
        ended = witness == "summary.json" and (run_dir / witness).exists()  # it goes before a run goes on
        if ended and there > size:
            raise DamagedError(
                f"{run_dir / name}: damaged: {there - size} bytes were added after the run had ended; cut it "
                f"to {size} bytes, or remove {witness} if that is from an earlier end of this run"
            )
