from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from eapu_drivers.controller.messages import LineKind
from eapu_drivers.controller.units import (
    Calibration,
    LineCalibration,
    counts,
    load_calibrations,
    microvolts,
    nanoamperes,
    nanoseconds,
    to_amperes,
    to_codes,
    to_volts,
)
from hypothesis import given
from hypothesis import strategies as st

from eapu_hil.bench.passport import Chip
from eapu_hil.hal import ConfigError, LimitError

GAIN = st.floats(0.5, 2.0, width=32)
OFFSET = st.floats(-0.0625, 0.0625, width=32)
FULL_SCALE = st.sampled_from([0.25, 1.0, 5.0])
TOP = st.sampled_from([127, 511, 2047, 32767])


def one_line(gain: float, offset: float) -> LineCalibration:
    return LineCalibration(np.array([gain]), np.array([offset]))


class TestVolts:
    @given(st.floats(-1.0, 1.0), FULL_SCALE, TOP, GAIN, OFFSET)
    def test_a_code_lies_within_half_a_step(
        self, part: float, full_scale_v: float, top: int, gain: float, offset: float
    ) -> None:
        lines = one_line(gain, offset)
        asked_v = np.array([part * full_scale_v * gain + offset])
        codes = to_codes(asked_v, full_scale_v, top, lines)
        assert codes.dtype == np.int16
        error_v = to_volts(codes, full_scale_v, top, lines) - asked_v
        assert abs(error_v[0]) <= full_scale_v / top * gain * (0.5 + 1e-6)

    @given(st.integers(-32767, 32767), FULL_SCALE, TOP, GAIN, OFFSET)
    def test_codes_survive_the_way_there_and_back(
        self, code: int, full_scale_v: float, top: int, gain: float, offset: float
    ) -> None:
        codes = np.array([max(-top, min(top, code))], np.int16)
        lines = one_line(gain, offset)
        back = to_codes(to_volts(codes, full_scale_v, top, lines), full_scale_v, top, lines)
        np.testing.assert_array_equal(back, codes)

    @given(st.floats(-0.25, 0.25), st.floats(-0.25, 0.25), GAIN, OFFSET)
    def test_more_volts_are_never_a_lower_code(
        self, a_v: float, b_v: float, gain: float, offset: float
    ) -> None:
        codes = to_codes(np.array([[min(a_v, b_v)], [max(a_v, b_v)]]), 1.0, 511, one_line(gain, offset))
        assert codes[0, 0] <= codes[1, 0]

    @pytest.mark.parametrize("asked_v", [0.2506, -0.2506, np.nan, np.inf, 1e9])
    def test_what_the_converter_cannot_give_is_refused(self, asked_v: float) -> None:
        with pytest.raises(LimitError, match=r"line driver; allowed is at most 0\.25 V"):
            to_codes(np.array([asked_v]), 0.25, 511, LineCalibration.nominal(1))

    def test_each_line_has_its_own(self) -> None:
        lines = LineCalibration(np.array([1.0, 2.0]), np.array([0.0, 0.1]))
        np.testing.assert_array_equal(to_codes(np.array([[0.5, 0.5]]), 1.0, 100, lines), [[50, 20]])


class TestAmperes:
    @given(st.integers(-2047, 2047), st.floats(1e-6, 1e-3), GAIN, OFFSET)
    def test_the_law_of_the_converter(
        self, code: int, full_scale_a: float, gain: float, offset: float
    ) -> None:
        found_a = to_amperes(np.array([[code]], np.int16), full_scale_a, 2047, one_line(gain, offset))
        expected_a = full_scale_a * (code / 2047 * gain + offset)
        assert found_a[0, 0] == pytest.approx(expected_a, rel=1e-12, abs=1e-18)


class TestRounding:
    @given(st.floats(-2000, 2000))
    def test_microvolts(self, asked_v: float) -> None:
        found = microvolts(asked_v, "a voltage")
        assert found.dtype == np.int32
        assert abs(int(found) * 1e-6 - asked_v) <= 0.5001e-6

    @given(st.floats(0, 4), st.floats(0, 4))
    def test_a_request_within_a_limit_stays_within_it(self, a: float, b: float) -> None:
        """The board compares rounded numbers: rounding must not push a request past its limit."""
        less, more = min(a, b), max(a, b)
        for rounded in (microvolts, nanoamperes, nanoseconds):
            assert int(rounded(less, "x")) <= int(rounded(more, "x"))

    @pytest.mark.parametrize(
        ("rounded", "asked"),
        [
            (microvolts, np.nan),
            (microvolts, 3000.0),
            (microvolts, -np.inf),
            (nanoseconds, -1e-9),
            (nanoseconds, 5.0),
            (nanoamperes, np.inf),
            (counts, 65536),
            (counts, -1),
        ],
    )
    def test_what_a_message_cannot_carry_is_refused(self, rounded: object, asked: float) -> None:
        with pytest.raises(LimitError, match=r"a thing of .* asked; allowed is"):
            rounded([0.0, asked], "a thing")  # type: ignore[operator]


class TestCalibration:
    SHAPE = (4, 3)

    def chip(self, tmp_path: Path) -> Chip:
        return Chip.create(tmp_path / "chip", "model", "serial", self.SHAPE, 2)

    def test_without_a_chip_it_is_nominal(self, tmp_path: Path) -> None:
        first, second = load_calibrations(tmp_path, 2, self.SHAPE)
        assert not first.measured
        assert first.lines[LineKind.ROW_DAC].gain.shape == (4,)
        assert second.lines[LineKind.COL_ADC].offset.shape == (3,)

    def test_without_a_measurement_it_is_nominal(self, tmp_path: Path) -> None:
        chip = self.chip(tmp_path)
        assert all(not found.measured for found in load_calibrations(chip.directory, 2, self.SHAPE))

    def test_the_last_measurement_counts(self, tmp_path: Path) -> None:
        chip = self.chip(tmp_path)
        gain = np.linspace(0.9, 1.1, 6).reshape(2, 3)
        chip.record("converters", {}, {"col_adc_gain": np.ones((2, 3))}, 0.0)
        chip.record("converters", {}, {"col_adc_gain": gain, "row_dac_offset": np.full((2, 4), 1e-3)}, 1.0)
        second = load_calibrations(chip.directory, 2, self.SHAPE)[1]
        assert second.measured == {LineKind.COL_ADC, LineKind.ROW_DAC}
        np.testing.assert_array_equal(second.lines[LineKind.COL_ADC].gain, gain[1].astype(np.float32))
        np.testing.assert_array_equal(second.lines[LineKind.COL_ADC].offset, 0.0)
        np.testing.assert_array_equal(second.lines[LineKind.ROW_DAC].offset, np.float32(1e-3))
        np.testing.assert_array_equal(second.lines[LineKind.GATE_DAC].gain, 1.0)

    @pytest.mark.parametrize(
        ("name", "values", "match"),
        [
            ("row_dac", np.ones((2, 4)), "row_dac: unknown"),
            ("row_dac_gain", np.ones((2, 3)), r"row_dac_gain: shape \(2, 3\); allowed is \(2, 4\)"),
            ("row_dac_gain", np.full((2, 4), 0.4), "row_dac_gain: allowed are 0.5 to 2.0"),
            ("gate_dac_offset", np.full((2, 4), np.nan), "gate_dac_offset: allowed are"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, tmp_path: Path, name: str, values: np.ndarray, match: str
    ) -> None:
        chip = self.chip(tmp_path)
        chip.record("converters", {}, {name: values}, 0.0)
        with pytest.raises(ConfigError, match=match):
            load_calibrations(chip.directory, 2, self.SHAPE)

    def test_taking_lines(self) -> None:
        lines = LineCalibration(np.arange(3.0), -np.arange(3.0)).take(np.array([2, 0]))
        np.testing.assert_array_equal(lines.gain, [2.0, 0.0])
        assert Calibration.nominal(self.SHAPE).lines[LineKind.ROW_ADC].gain.size == 4
