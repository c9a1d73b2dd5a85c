"""One array of a controller board as a `Crossbar`. Volts, amperes and siemens outside, codes inside."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from eapu_drivers.controller import messages
from eapu_drivers.controller.blocks import Block, blocks_of
from eapu_drivers.controller.board import Board
from eapu_drivers.controller.errors import RefusedError
from eapu_drivers.controller.message import Exchange
from eapu_drivers.controller.messages import CODES_MAX, LineDirection, LineKind
from eapu_drivers.controller.proofs import Prover
from eapu_drivers.controller.ranging import RangeMemory
from eapu_drivers.controller.sending import Sender
from eapu_drivers.controller.units import (
    Calibration,
    counts,
    microvolts,
    nanoseconds,
    to_amperes,
    to_codes,
    to_volts,
)
from eapu_hil.hal import (
    Cells,
    CellStatus,
    DeviceProof,
    Direction,
    FloatArray,
    Identity,
    IntArray,
    LimitError,
    Limits,
    LinkCounts,
    PulseOutcome,
    Pulses,
    Reading,
    Targets,
    Unattended,
    WearAccount,
    WriteOutcome,
)
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.writeverify import repeat_epochs


class ControllerCrossbar:
    """Array `number` of `board`. recipe: what a program request uses when it names none.

    All requests raise LimitError or InstrumentError when the board refuses, TransportError when it is out of
    reach; `pulse` and `program` then raise `UnfinishedError`, and nothing is sent twice.
    """

    def __init__(self, board: Board, number: int, calibration: Calibration, recipe: Recipe) -> None:
        self.unattended = Unattended("the board's dead man", board.dead_man_s)
        self._board = board
        self._number = number
        self._lines = calibration.lines
        self._recipe = recipe
        welcome = board.link.welcome
        self._shape = (welcome.rows, welcome.cols)
        self._driver_v, self._driver_top = welcome.read_full_scale_uv / 1e6, welcome.read_top
        self._adc_top = welcome.adc_top
        full_scales_a = welcome.range_full_scale_a[: welcome.ranges]
        self._read_range_a = full_scales_a[welcome.read_range]
        self._sender = Sender(board, number)
        self._ranges = RangeMemory(full_scales_a, self._adc_top)
        self._identity = Identity(
            f"{welcome.board} controller",
            f"{welcome.serial}-array{number}",
            f"protocol {welcome.version}, {welcome.git_hash}",
            welcome.git_hash,
        )

    def account_to(self, account: WearAccount) -> None:
        """See `AccountsForWear`."""
        self._sender.wear.account = account

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def limits(self) -> Limits:
        """Those of the bench file, which the board holds and enforces too."""
        return self._board.limits

    def clock_s(self) -> float:
        """Bench time: the twin's where it is simulated, else UTC at the start plus the board's ticks."""
        return self._board.clock_s()

    def link_counts(self) -> LinkCounts:
        """See `CountsLink`."""
        counters = self._board.link.counters
        return LinkCounts(**{field.name: getattr(counters, field.name) for field in fields(LinkCounts)})

    def wait(self, duration_s: float) -> None:
        """The board waits, so that requests of other arrays wait too."""
        self._board.prepare()
        duration_ns = round(duration_s * 1e9)
        self._board.ask(messages.Wait(self._board.link.take_ids(), duration_ns), messages.Done)

    def read(self, cells: Cells, v_read_v: float) -> Reading:
        self._board.prepare()
        codes = np.zeros(self._shape, np.int16)
        self._require_inside(cells)
        v_read_uv = int(microvolts(v_read_v, f"{self.name}: a read"))
        futures: list[tuple[Block, messages.Read, Future[Exchange]]] = []
        try:
            for block in blocks_of(cells, CODES_MAX):
                request = messages.Read(
                    self._board.link.take_ids(),
                    self._number,
                    v_read_uv,
                    block.row,
                    block.col,
                    block.rows,
                    block.cols,
                )
                futures.append((block, request, self._board.link.submit(request)))
            for block, request, future in futures:
                answer = self._board.expect(
                    self._board.result(future), request, messages.ReadIs, lambda _: f"array {self._number}"
                )
                codes[block.row : block.row + block.rows, block.col : block.col + block.cols] = (
                    answer.tail.reshape(block.rows, block.cols)
                )
        except BaseException:
            self._board.abandon([future for _, _, future in futures])
            raise
        return self._reading(codes[cells.row, cells.col], cells, v_read_uv / 1e6)

    def _reading(self, codes: NDArray[np.int16], cells: Cells, v_read_v: float) -> Reading:
        drivers, converters = self._lines[LineKind.ROW_DAC], self._lines[LineKind.COL_ADC]
        asked_v = np.full(self._shape[0], v_read_v)
        driven = to_codes(asked_v, self._driver_v, self._driver_top, drivers)
        v_rows_v = to_volts(driven, self._driver_v, self._driver_top, drivers)
        currents_a = to_amperes(codes, self._read_range_a, self._adc_top, converters.take(cells.col))
        saturated = np.abs(codes.astype(np.int32)) >= self._adc_top
        status = np.where(saturated, CellStatus.SATURATED, CellStatus.OK).astype(np.uint8)
        return Reading(currents_a / v_rows_v[cells.row], status)

    def vmm(
        self,
        v_in_v: NDArray[np.floating],
        direction: Direction,
        lines_in: IntArray | None = None,
        lines_out: IntArray | None = None,
    ) -> FloatArray:
        """Products, as the contract has them; a batch may be measured twice to find its range."""
        self._board.prepare()
        forward = direction is Direction.FORWARD
        count_in, count_out = self._shape if forward else self._shape[::-1]
        asked = np.arange(count_in) if lines_in is None else np.asarray(lines_in)
        order = np.argsort(asked, kind="stable")
        driven = asked[order]
        wanted = np.arange(count_out) if lines_out is None else np.asarray(lines_out)
        measured, place = np.unique(wanted, return_inverse=True)
        if not (v_in_v.shape[0] and driven.size and measured.size):
            return np.zeros((v_in_v.shape[0], wanted.size))
        kinds = (LineKind.ROW_DAC, LineKind.COL_ADC) if forward else (LineKind.COL_DAC, LineKind.ROW_ADC)
        bits = np.concatenate((_bits(driven, count_in), _bits(measured, count_out)))
        drivers, converters = self._lines[kinds[0]].take(driven), self._lines[kinds[1]].take(measured)
        codes = to_codes(v_in_v[:, order], self._driver_v, self._driver_top, drivers)
        number = LineDirection.FORWARD if forward else LineDirection.TRANSPOSED
        request = (number, int(v_in_v.shape[0]), bits)
        found, full_scale_a = self._ranges.measure(
            (forward, bits.tobytes()),
            lambda range_: self._product(request, range_, codes).reshape(-1, measured.size),
        )
        return to_amperes(found, full_scale_a, self._adc_top, converters)[:, place]

    def _product(
        self, request: tuple[LineDirection, int, NDArray[np.uint8]], range_: int, codes: NDArray[np.int16]
    ) -> NDArray[np.int16]:
        direction, vectors, bits = request
        begin = messages.Product(self._board.link.take_ids(), self._number, direction, range_, vectors, bits)
        future = self._board.link.stream(begin, codes)
        try:
            return self._board.result(future)
        except RefusedError as error:
            what = f"array {self._number}: {direction.name.lower()} product, line"
            raise self._board.refusal(error.refused, "PRODUCT", lambda index: f"{what} {index}") from error
        except BaseException:
            self._board.abandon([future])
            raise

    def pulse(self, pulses: Pulses) -> PulseOutcome:
        self._board.prepare()
        self._require_inside(pulses.cells)
        records = np.empty(len(pulses.cells), messages.Pulse.TAIL)
        records["row"], records["col"] = pulses.cells.row, pulses.cells.col
        if not np.isin(pulses.polarity, (-1, 1, 2)).all():
            raise LimitError(
                f"{self.name}: polarities {np.unique(pulses.polarity)} asked; allowed are -1, 1, 2"
            )
        records["polarity"] = pulses.polarity
        records["amplitude_uv"] = microvolts(pulses.amplitude_v, f"{self.name}: an amplitude")
        records["gate_uv"] = microvolts(pulses.gate_v, f"{self.name}: a gate")
        records["width_ns"] = nanoseconds(pulses.width_s, f"{self.name}: a width")
        records["count"] = counts(pulses.count, f"{self.name}: a count")
        answers = self._sender.send(
            pulses.cells,
            records,
            pulses.count,
            lambda id_, part: messages.Pulse(id_, self._number, part),
            messages.Pulsed,
            lambda touched: self.read(touched, self._recipe.v_read_v).g_S,
        )
        return PulseOutcome(answers["status"].copy())

    def program(self, targets: Targets, recipe: Recipe | None = None) -> WriteOutcome:
        """Write-verify on the board, twelve cells side by side; epochs and their waits are the host's."""
        return repeat_epochs(self.wait, targets, recipe or self._recipe, self._one_epoch)

    def _one_epoch(self, targets: Targets, recipe: Recipe) -> WriteOutcome:
        self._board.prepare()
        cells = targets.cells
        self._require_inside(cells)
        slot = self._board.slot(recipe) if len(cells) else 0
        records = np.empty(len(cells), messages.Write.TAIL)
        records["row"], records["col"] = cells.row, cells.col
        records["g_target_S"] = targets.g_target_S
        answers = self._sender.send(
            cells,
            records,
            np.full(len(cells), recipe.pulses_max),
            lambda id_, part: messages.Write(id_, self._number, slot, part),
            messages.Written,
            lambda touched: self.read(touched, recipe.v_read_v).g_S,
        )
        return WriteOutcome(
            answers["g_before_S"].astype(np.float64),
            answers["g_after_S"].astype(np.float64),
            answers["pulses"].astype(np.int64),
            answers["reads"].astype(np.int64),
            answers["energy_j"].astype(np.float64),
            answers["status"].copy(),
        )

    def prove_limits(self) -> list[DeviceProof]:
        """See `ProvesLimits`: the board is sent requests just beyond each limit, which its firmware has to refuse."""
        self._board.prepare()
        try:
            return Prover(self._board, self._number, self._sender.wear, self.name).prove(self._recipe)
        except BaseException:
            self.ground()
            raise

    def ground(self) -> None:
        """Every line of the board to 0 V, also those of its other arrays; ends whatever runs."""
        try:
            self._board.ground()
        finally:
            self._sender.wear.look()

    @property
    def name(self) -> str:
        """How messages call this array."""
        return self._sender.name

    def _require_inside(self, cells: Cells) -> None:
        """A message cannot carry every number."""
        rows, columns = self._shape
        outside = (cells.row < 0) | (cells.row >= rows) | (cells.col < 0) | (cells.col >= columns)
        if outside.any():
            first = int(np.argmax(outside))
            raise LimitError(
                f"{self.name}: cell ({cells.row[first]}, {cells.col[first]}) asked; "
                f"allowed are {rows} rows and {columns} columns"
            )


def _bits(lines: IntArray, count: int) -> NDArray[np.uint8]:
    """A bit for each of `count` lines, the lowest first, padded to bytes; `lines` rise."""
    if lines[0] < 0 or lines[-1] >= count or (np.diff(lines) == 0).any():
        raise LimitError(f"lines {lines[0]} to {lines[-1]} asked; allowed are 0 to {count - 1}, each once")
    chosen = np.zeros(count, np.uint8)
    chosen[lines] = 1
    return np.packbits(chosen, bitorder="little")
