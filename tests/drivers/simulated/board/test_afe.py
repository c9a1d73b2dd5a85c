"""The twin as a front end: the same physics as the direct twin, in codes; the state of the lines; what is refused."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eapu_drivers.controller import messages as m
from eapu_drivers.controller.frames import Decoder, Frame, encode
from eapu_drivers.simulated.board.afe import AfeServer
from eapu_drivers.simulated.board.frontend import FrontEnd
from eapu_drivers.simulated.board.linerecord import LineRecord
from numpy.typing import NDArray

from eapu_hil.base.loading import load_model
from eapu_hil.bench import Bench, open_bench
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import Cells, ConfigError, Direction, FloatArray, Polarity, Pulses, Targets

SHAPE = (16, 8)
LIMITS = {
    "v_max_v": 3.5,
    "v_gate_max_v": 5.0,
    "i_max_a": 2e-3,
    "width_max_s": 1e-3,
    "pulses_per_cell_max": 1000,
    "v_read_max_v": 0.25,
}
ALL_LINES = np.packbits(np.ones(24, bool), bitorder="little")
ARM = m.AfeArm(i_max_na=2_000_000, width_max_ns=1_000_000, v_gate_max_uv=5_000_000)


class Board:
    """A front end spoken to in messages. chip: its directory."""

    def __init__(self, config: BenchConfig, chip: Path) -> None:
        self.chip = chip
        self.front_end = FrontEnd.open(config, chip)
        ours, self.line = socket.socketpair()
        self.server = AfeServer(self.front_end, ours)
        self._ours = ours
        self.info = self.ask(m.AfeOpen(), m.AfeInfo)

    def answer(self, request: m.Message) -> m.Message:
        return self.server.answer(request.NUMBER, request.pack())

    def ask(self, request: m.Message, kind: type[Any]) -> Any:
        answer = self.answer(request)
        assert isinstance(answer, kind), answer
        return answer

    def refusal(self, request: m.Message) -> str:
        text: str = self.ask(request, m.AfeFailed).text
        return text

    def record(self) -> LineRecord:
        return LineRecord.read(self.chip)

    def read_S(self, cells: Cells, code: int, array: int = 0) -> FloatArray:
        codes = self.ask(read(cells, code, array), m.AfeReadIs).tail
        full_scale_a = self.info.range_full_scale_a[self.info.read_range]
        v_v = code * 1e-6 * self.info.read_full_scale_uv / self.info.read_top
        return np.asarray(codes / self.info.adc_top * full_scale_a / v_v)

    def close(self) -> None:
        self._ours.close()
        self.line.close()


OpenBoard = Callable[..., Board]


def config_of(preset: str = "rram_180nm", shape: tuple[int, int] = SHAPE, **changes: Any) -> BenchConfig:
    arrays, seed = changes.pop("arrays", 1), changes.pop("seed", 0)
    source = {
        "backend": "twin",
        "preset": preset,
        "shape": list(shape),
        "limits": LIMITS,
        "overrides": changes,
    }
    return load_model(BenchConfig, {**source, "arrays": arrays, "seed": seed}, (), "benches")


@pytest.fixture
def open_board(tmp_path: Path) -> Iterator[OpenBoard]:
    """`open_board("ideal", **{"dac.bits": 8})`: a front end of one array of 16 x 8, on a chip of its own."""
    boards: list[Board] = []

    def make(*arguments: Any, chip: Path | None = None, **changes: Any) -> Board:
        boards.append(Board(config_of(*arguments, **changes), chip or tmp_path / f"chip{len(boards)}"))
        return boards[-1]

    yield make
    for board in boards:
        board.close()


def read(cells: Cells, code: int | NDArray[np.integer], array: int = 0) -> m.AfeRead:
    tail = np.zeros(len(cells), m.AfeRead.TAIL)
    tail["row"], tail["col"], tail["code"] = cells.row, cells.col, code
    return m.AfeRead(array, tail)


def pulse(cells: Cells, **fields: Any) -> m.AfePulse:
    tail = np.zeros(len(cells), m.AfePulse.TAIL)
    tail["row"], tail["col"] = cells.row, cells.col
    nominal = {
        "polarity": 1,
        "line_code": 13107,
        "gate_code": 8192,
        "width_ns": 1000,
    }  # 2 V, gate 1.5 V, 1 us
    for name, value in {**nominal, **fields}.items():
        tail[name] = value
    return m.AfePulse(0, tail)


def product(codes: NDArray[np.integer]) -> m.AfeProduct:
    return m.AfeProduct(codes.shape[0], codes.ravel().astype(np.int16))


@contextmanager
def formed_bench(chip: Path, preset: str = "rram_180nm") -> Iterator[Bench]:
    """The direct twin with a pattern written; a board then goes on with its chip."""
    with open_bench(config_of(preset), chip_dir=chip, commission=False) as bench:
        array, cells = bench.arrays[0], Cells.all(SHAPE)
        array.pulse(Pulses.same(cells, Polarity.FORM, 3.4, 1.4, 1e-5))
        array.program(Targets(cells, pattern_S()))
        array.wait(100.0)
        yield bench


def pattern_S() -> FloatArray:
    return np.random.default_rng(5).uniform(2e-6, 38e-6, SHAPE[0] * SHAPE[1])


class TestScales:
    def test_those_of_the_preset(self, open_board: OpenBoard) -> None:
        info = open_board().info
        assert (info.arrays, info.rows, info.cols) == (1, 16, 8)
        assert (info.read_full_scale_uv, info.read_top, info.adc_top) == (250_000, 511, 2047)
        assert info.range_full_scale_a[: info.ranges] == pytest.approx([1.6e-5, 4e-6, 2e-5, 1e-4, 5e-4])
        assert info.range_full_scale_a[info.read_range] == pytest.approx(1.6e-5)
        assert (info.v_max_uv, info.pulse_top, info.gate_top) == (5_000_000, 32767, 32767)

    def test_ideal_converters_have_16_bits_and_ranges_for_everything(self, open_board: OpenBoard) -> None:
        info = open_board("ideal").info
        assert (info.read_full_scale_uv, info.read_top, info.adc_top) == (1_000_000, 32767, 32767)
        ranges_a = np.array(info.range_full_scale_a)
        assert info.ranges == ranges_a.size == 8
        np.testing.assert_allclose(
            np.diff(np.log(ranges_a)), np.log(ranges_a[-1] / ranges_a[0]) / 7, rtol=1e-5
        )
        assert (
            ranges_a[info.read_range] > 150e-6 * 0.25
        )  # a cell that is stuck high, at the highest read voltage

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            (
                {"shape": (129, 8)},
                r"arrays, shape: 1 of 129 x 8; a controller has at most 4 arrays of 128 x 128",
            ),
            ({"arrays": 5}, r"arrays, shape: 5 of 16 x 8"),
            ({"dac.bits": 17}, r"dac\.bits: 17; .* 2 to 16 bits"),
            ({"adc.bits": 1}, r"adc\.bits: 1"),
            (
                {"adc.product_ranges_a": [1e-6 * k for k in range(1, 9)]},
                r"product_ranges_a: 8 ranges; .* at most 7",
            ),
        ],
    )
    def test_what_no_controller_can_be(self, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            FrontEnd.open(config_of(**changes), tmp_path)


class TestPhysics:
    """On the same chip, and as the direct twin does it: within noise, and without noise within the converters."""

    @pytest.mark.parametrize("preset", ["rram_180nm", "ideal"])
    def test_reads(self, open_board: OpenBoard, tmp_path: Path, preset: str) -> None:
        chip, cells = tmp_path / "chip", Cells.all(SHAPE)
        with formed_bench(chip, preset) as bench:
            expected_S = bench.arrays[0].read(cells, 0.2).g_S
        board = open_board(preset, chip=chip)
        code = round(0.2 * board.info.read_top / (1e-6 * board.info.read_full_scale_uv))
        difference_S = board.read_S(cells, code) - expected_S
        noise = 0.02 if preset == "rram_180nm" else 0.0
        assert np.abs(difference_S / (noise * expected_S + 0.15e-6)).max() < 4.0
        reverse_S = board.read_S(cells, -code)
        assert np.abs((reverse_S - expected_S) / (noise * expected_S + 0.15e-6)).max() < 4.0

    def test_reads_have_the_gain_of_their_column_once(self, open_board: OpenBoard, tmp_path: Path) -> None:
        chip, cells = tmp_path / "chip", Cells.all(SHAPE)
        quiet = {
            "adc.gain_error_sd": 0.1,
            "adc.offset_error_sd": 0.0,
            "adc.noise_relative": 0.0,
            **dict.fromkeys(("read_noise.enabled", "rtn.enabled", "relaxation.enabled"), False),
        }
        with formed_bench(chip):
            pass
        with open_bench(config_of(**quiet), chip_dir=chip, commission=False) as bench:
            expected_S = bench.arrays[0].read(cells, 0.2).g_S
        board = open_board(chip=chip, **quiet)
        code = round(0.2 * board.info.read_top / (1e-6 * board.info.read_full_scale_uv))
        assert np.abs(board.read_S(cells, code) - expected_S).max() < 0.15e-6

    @pytest.mark.parametrize("direction", list(Direction))
    def test_products(self, open_board: OpenBoard, tmp_path: Path, direction: Direction) -> None:
        chip = tmp_path / "chip"
        driven = SHAPE[0] if direction is Direction.FORWARD else SHAPE[1]
        codes = np.random.default_rng(2).integers(-400, 401, (5, driven))
        volts_v = codes * (0.25 / 511)
        with formed_bench(chip) as bench:
            expected_a = np.mean([bench.arrays[0].vmm(volts_v, direction) for _ in range(20)], axis=0)
        board = open_board(chip=chip)
        number = 0 if direction is Direction.FORWARD else 1
        board.ask(m.AfeSelect(0, number, 3, ALL_LINES), m.AfeDone)
        measured = [board.ask(product(codes), m.AfeProductIs).tail for _ in range(20)]
        currents_a = np.mean(measured, axis=0).reshape(expected_a.shape) * (1e-4 / 2047)
        # The slow noise of the cells is another after a restart, 1.1 % and telegraph noise on some.
        scale_a = np.sqrt(np.square(volts_v) @ np.square(np.full((volts_v.shape[1], 1), 0.02 * 38e-6)))
        assert np.abs((currents_a - expected_a) / (scale_a + 2e-8)).max() < 4.0

    def test_products_of_chosen_lines_are_exact_without_noise(
        self, open_board: OpenBoard, tmp_path: Path
    ) -> None:
        chip = tmp_path / "chip"
        with formed_bench(chip, "ideal"):
            pass
        g_S = np.load(chip / "twin" / "cells" / "g_S.npy").reshape(SHAPE)
        board = open_board("ideal", chip=chip)
        driven, measured = np.array([1, 3, 4, 15]), np.array([0, 7])
        lines = np.zeros(24, bool)
        lines[driven] = lines[16 + measured] = True
        codes = np.random.default_rng(3).integers(-6000, 6001, (3, 4))
        for number, full_scale_a in enumerate(board.info.range_full_scale_a[:4]):
            board.ask(m.AfeSelect(0, 0, number, np.packbits(lines, bitorder="little")), m.AfeDone)
            got = board.ask(product(codes), m.AfeProductIs).tail.reshape(3, 2)
            expected = (codes / 32767) @ g_S[np.ix_(driven, measured)] / full_scale_a * 32767
            np.testing.assert_allclose(got, np.clip(expected, -32767, 32767), atol=0.51)

    def test_pulses(self, open_board: OpenBoard, tmp_path: Path) -> None:
        """The same pulses do the same to an ideal chip, and time goes on as it does there."""
        cells = Cells.block(2, 4, 0, 8)
        with open_bench(config_of("ideal"), chip_dir=tmp_path / "direct", commission=False) as bench:
            array = bench.arrays[0]
            array.pulse(Pulses.same(cells, Polarity.SET, 1.7, 1.4, 2e-7))
            array.pulse(Pulses.same(cells[:5], Polarity.RESET, 1.6, 4.0, 1e-7))
            expected_S, elapsed_s = np.load(tmp_path / "direct/twin/cells/g_S.npy"), array.clock_s()
        board = open_board("ideal")
        board.ask(ARM, m.AfeDone)
        start_ns = board.info.time_ns
        up = {"line_code": round(1.7 / 5 * 32767), "gate_code": round(1.4 / 6 * 32767), "width_ns": 200}
        down = {"line_code": round(1.6 / 5 * 32767), "gate_code": round(4 / 6 * 32767), "width_ns": 100}
        board.ask(pulse(cells, **up), m.AfePulsed)
        answer = board.ask(pulse(cells[:5], polarity=-1, **down), m.AfePulsed)
        np.testing.assert_array_equal(answer.tail, 0)
        np.testing.assert_allclose(np.load(board.chip / "twin/cells/g_S.npy"), expected_S, rtol=1e-3)
        assert answer.time_ns - start_ns == pytest.approx(1e9 * elapsed_s, abs=1)

    def test_the_current_limit_is_the_one_armed(self, open_board: OpenBoard) -> None:
        board = open_board("ideal")
        cells = Cells.block(0, 1, 0, 2)
        gates = np.round(np.array([1.0, 1.7]) / 6 * 32767)  # 12 and 40 uS
        for limit_na, reached in ((50_000, [0, 1]), (2_000_000, [0, 0]), (10_000, [1, 1])):
            board.ask(m.AfeArm(limit_na, 10**6, 5_000_000), m.AfeDone)
            answer = board.ask(pulse(cells, line_code=16384, gate_code=gates), m.AfePulsed)
            np.testing.assert_array_equal(answer.tail, reached)

    def test_the_gate_limit_is_the_one_armed(self, open_board: OpenBoard) -> None:
        board = open_board("ideal")
        for limit_uv, most in ((5_000_000, 27306), (1_500_000, 8192), (1_000_000, 5461), (6_000_000, 32767)):
            board.ask(m.AfeArm(2_000_000, 10**6, limit_uv), m.AfeDone)
            board.ask(pulse(ONE, gate_code=most), m.AfePulsed)  # what the limit converts to is allowed
            said = f"pulse: gate code {most + 1}, armed for {most}"
            assert board.refusal(pulse(ONE, gate_code=most + 1)) == said

    def test_a_current_beyond_the_range_is_at_its_end(self, open_board: OpenBoard) -> None:
        faulty = {"faults.stuck_fraction": 0.5, "faults.stuck_high_share": 1.0}
        board = open_board(**faulty)
        codes = board.ask(read(Cells.all(SHAPE), 409), m.AfeReadIs).tail
        assert 0.2 < (codes == 2047).mean() < 0.8

    def test_cells_read_at_different_voltages(self, open_board: OpenBoard) -> None:
        board = open_board("ideal")
        cells = Cells(np.array([3, 3, 5]), np.array([2, 2, 2]))
        code = np.array([3000, 6000, -3000])
        got = board.ask(read(cells, code), m.AfeReadIs).tail
        np.testing.assert_allclose(got / code, got[0] / code[0], rtol=0.02)

    def test_cells_relax_while_time_is_skipped(self, open_board: OpenBoard) -> None:
        board = open_board("ideal", **{"relaxation.enabled": True})
        cells = Cells.all(SHAPE)
        board.ask(ARM, m.AfeDone)
        board.ask(pulse(cells), m.AfePulsed)
        before_S = np.load(board.chip / "twin/cells/g_S.npy")
        now_ns = board.ask(m.AfeGround(), m.AfeDone).time_ns
        assert board.ask(m.AfeSkip(now_ns + 10**13), m.AfeDone).time_ns == now_ns + 10**13
        after_S = np.load(board.chip / "twin/cells/g_S.npy")
        assert (after_S != before_S).mean() > 0.95
        assert board.ask(m.AfeSkip(5), m.AfeDone).time_ns == now_ns + 10**13  # long past


class TestLines:
    def test_they_stay_driven_until_they_are_grounded(self, open_board: OpenBoard) -> None:
        board = open_board(arrays=2)
        cells = Cells.block(0, 2, 0, 6)
        assert board.record().grounded  # after power-up
        board.ask(ARM, m.AfeDone)
        board.ask(m.AfeSelect(1, 1, 2, ALL_LINES), m.AfeDone)
        assert board.record().grounded
        drives = [
            (pulse(cells), m.AfePulsed, (0, 8192)),
            (read(cells, -300), m.AfeReadIs, (300, 32767)),
            (product(np.full((4, 8), -7)), m.AfeProductIs, (7, 32767)),
        ]
        for request, kind, lines in drives:
            before_s = time.monotonic()
            board.ask(request, kind)
            record = board.record()
            assert (record.line_code, record.gate_code) == lines
            assert not record.grounded
            assert not board.front_end.grounded
            assert before_s <= record.last_drive_s <= time.monotonic()
            board.ask(m.AfeGround(), m.AfeDone)
            record = board.record()
            assert record.grounded
            assert record.last_drive_s <= record.last_ground_s <= time.monotonic()
        assert (record.reads, record.pulse_requests, record.products, record.pulses) == (1, 1, 1, 12)

    def test_the_record_outlives_the_board(self, open_board: OpenBoard, tmp_path: Path) -> None:
        chip = tmp_path / "chip"
        board = open_board(chip=chip)
        board.ask(ARM, m.AfeDone)
        board.ask(pulse(Cells.block(0, 1, 0, 3)), m.AfePulsed)
        grounds = board.record().grounds
        board.close()
        assert not LineRecord.read(chip).grounded
        again = open_board(chip=chip)
        assert again.record().grounded  # its power came back
        assert (again.record().pulses, again.record().grounds) == (3, grounds + 1)


ONE = Cells.block(0, 1, 0, 1)
REFUSED = {
    "array 1, the board has 1": read(ONE, 100, array=1),
    "a cell outside 16 x 8": read(Cells(np.array([16]), np.array([0])), 100),
    "row driver: a code outside -511 to 511": read(ONE, 512),
    "no cells": read(ONE[:0], 0),
    "pulse: a cell twice": pulse(Cells(np.array([1, 2, 1]), np.array([3, 3, 3]))),
    "pulse: polarity not -1, 1 or 2": pulse(ONE, polarity=0),
    "pulse: width 1000001 ns, timer armed for 1000000 ns": pulse(ONE, width_ns=1_000_001),
    "pulse: width 0 ns, timer armed for 1000000 ns": pulse(ONE, width_ns=0),
    "pulse: gate code 27307, armed for 27306": pulse(ONE, gate_code=27307),
    "select: direction 2, range 0": m.AfeSelect(0, 2, 0, ALL_LINES),
    "select: direction 0, range 5": m.AfeSelect(0, 0, 5, ALL_LINES),
    "select: 2 bytes of lines": m.AfeSelect(0, 0, 0, ALL_LINES[:2]),
    "select: no line, or one that is not there": m.AfeSelect(0, 0, 0, np.zeros(3, np.uint8)),
    "product: 16 codes, 2 vectors of 16 lines": m.AfeProduct(2, np.zeros(16, np.int16)),
    "product: code 512 of a driver, its top is 511": product(np.full((1, 16), -512)),
}


@pytest.mark.parametrize("said", REFUSED)
def test_the_impossible_is_refused_and_nothing_happens(open_board: OpenBoard, said: str) -> None:
    board = open_board()
    board.ask(ARM, m.AfeDone)
    board.ask(m.AfeSelect(0, 0, 2, ALL_LINES), m.AfeDone)
    before, g_S = board.record(), np.load(board.chip / "twin/cells/g_S.npy")
    assert board.refusal(REFUSED[said]) == said[:64]
    assert board.record() == before
    np.testing.assert_array_equal(np.load(board.chip / "twin/cells/g_S.npy"), g_S)


def test_what_has_to_come_first(open_board: OpenBoard) -> None:
    board = open_board()
    assert board.refusal(pulse(ONE)) == "pulse: not armed"
    assert board.refusal(product(np.zeros((1, 16), int))) == "product: nothing selected"


def test_other_messages_and_wrong_lengths(open_board: OpenBoard) -> None:
    board = open_board()
    assert board.refusal(m.GetLimits(1)) == "no request 0x11"
    for number, payload in (
        (m.AfeRead.NUMBER, b"\0\0\0"),
        (m.AfeGround.NUMBER, b"\0"),
        (m.AfeSkip.NUMBER, b""),
    ):
        answer = board.server.answer(number, payload)
        assert isinstance(answer, m.AfeFailed)
        assert "bytes" in answer.text


def test_on_the_line(open_board: OpenBoard) -> None:
    """Frames in pieces and in heaps; damaged ones are left unanswered; a line that is closed ends the service."""
    board = open_board()
    served = threading.Thread(target=lambda: [None for _ in iter(board.server.serve, False)])
    served.start()
    decoder = Decoder(m.AFE_PAYLOAD_MAX)
    answers: list[Frame] = []
    request = read(Cells.all(SHAPE), 300)
    frame = encode(request.NUMBER, 0, 0, request.pack())
    board.line.settimeout(10)
    for part in (b"\0" + frame[:5], frame[5:] + b"rubbish\0", frame + encode(m.AfeGround.NUMBER, 0, 0, b"")):
        board.line.sendall(part)
    while len(answers) < 3:
        answers += decoder.feed(board.line.recv(65536))
    assert [answer.number for answer in answers] == [m.AfeReadIs.NUMBER, m.AfeReadIs.NUMBER, m.AfeDone.NUMBER]
    assert m.AfeReadIs.unpack(answers[0].payload).tail.size == 128
    board.line.close()
    served.join(10)
    assert not served.is_alive()
