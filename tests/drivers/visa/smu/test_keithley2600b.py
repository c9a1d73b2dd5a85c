"""The driver of the 2600B: the exact messages, what it refuses, and what it does at the simulated instrument."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from eapu_drivers.simulated.instruments.sim_keithley2600b import SimulatedKeithley2600B
from eapu_drivers.visa.smu.contract import Setup
from eapu_drivers.visa.smu.keithley2600b import Keithley2600B
from eapu_drivers.visa.transport import VisaTransport
from scripted import CLEAR, SILENCE, ScriptedTransport
from stations import SmallStation

from eapu_hil.hal import ConfigError, HilError, InstrumentError, ProtocolError, UnsupportedError

IDN = "Keithley Instruments Inc., Model 2636B, 4000001, 3.4.0"
NO_ERROR = "0.00000e+00\tQueue Is Empty\t0.00000e+00\t1.00000e+00"
SETUP = Setup(v_range_v=3.5, i_limit_a=2e-3, nplc=0.1)


class Opened:
    def __init__(self, channel: str = "a", idn: str = IDN) -> None:
        self.line = ScriptedTransport([("*IDN?", idn)])
        smu = f"smu{channel}"
        self.checked("errorqueue.clear() format.asciiprecision = 10")
        self.checked(
            f"{smu}.reset() {smu}.source.func = {smu}.OUTPUT_DCVOLTS {smu}.sense = {smu}.SENSE_LOCAL "
            f"{smu}.source.autorangev = {smu}.AUTORANGE_OFF {smu}.measure.autorangei = {smu}.AUTORANGE_OFF"
        )
        self.line.extend(('if eapu_tools ~= nil then script.delete("eapu_tools") end', None))
        self.checked(SCRIPT)
        self.checked("eapu_tools()")
        self.meter = Keithley2600B(self.line, channel)
        self.line.done()

    def checked(self, message: str) -> None:
        """A message after which the error queue is asked."""
        self.line.extend((message, None), ("print(errorqueue.next())", NO_ERROR))

    def set_up(self) -> None:
        self.line.extend((SET_UP, "2.000000000e+01\t2.000000000e-03\t1.000000000e-02\t1.000000000e-01\t0"))
        self.meter.set_up(SETUP)


SET_UP = (
    "smua.source.levelv = 0 smua.source.rangev = 3.5 smua.source.limiti = 0.002 smua.measure.rangei = 0.002 "
    "smua.measure.nplc = 0.1 print(smua.source.rangev, smua.source.limiti, smua.measure.rangei, smua.measure.nplc, "
    "errorqueue.count)"
)
LUA = (Path(__file__).parents[4] / "drivers/eapu_drivers/visa/smu/eapu.lua").read_text().rstrip()
SCRIPT = f"loadscript eapu_tools\n{LUA}\nendscript"


@pytest.fixture
def opened() -> Opened:
    it = Opened()
    it.set_up()
    return it


class TestMessages:
    def test_set_up(self, opened: Opened) -> None:
        assert opened.meter.ready == SETUP

    def test_output_and_hold(self, opened: Opened) -> None:
        opened.line.extend(
            ("smua.source.levelv = 0 smua.source.output = smua.OUTPUT_ON print(errorqueue.count)", "0.0e+00"),
            ("smua.source.levelv = 1.23456789 print(errorqueue.count)", "0.0e+00"),
        )
        opened.meter.output(True)
        opened.meter.hold(1.23456789)
        opened.line.done()

    def test_one_reading(self, opened: Opened) -> None:
        opened.line.extend(
            (
                "smua.source.levelv = 0.2 local i = smua.measure.i() local c = smua.source.compliance and 1 or 0 "
                "local v = smua.source.levelv smua.source.levelv = 0 "
                "print(i, c, v, smua.source.output, errorqueue.count)",
                "4.000000000e-06\t1.000000000e+00\t2.000000000e-01\t1.000000000e+00\t0.000000000e+00",
            )
        )
        seen = opened.meter.sweep(np.array([0.2]))
        assert (seen.current_a[0], seen.limited[0], seen.overflow[0]) == (4e-6, True, False)

    def test_several_readings(self, opened: Opened) -> None:
        opened.line.extend(("eapu_sweep(smua, {0.1, -5e-07}, 2)", "1e-6\t0\t0.1\t9.91e37\t1\t-5e-07\t1\t0"))
        seen = opened.meter.sweep(np.array([0.1, -5e-7]))
        np.testing.assert_array_equal(seen.current_a, [1e-6, 2e-3])
        np.testing.assert_array_equal(seen.limited, [False, True])
        np.testing.assert_array_equal(seen.overflow, [False, True])

    @pytest.mark.parametrize("sent", ["nan", "-nan"])
    def test_no_number_is_no_reading(self, opened: Opened, sent: str) -> None:
        opened.line.extend(("eapu_sweep(smua, {0.1, 0.2}, 2)", f"1e-6\t0\t0.1\t{sent}\t0\t0.2\t1\t0"))
        with pytest.raises(ProtocolError, match="nan, which is no reading"):
            opened.meter.sweep(np.array([0.1, 0.2]))

    def test_a_pulse(self, opened: Opened) -> None:
        message = "print(eapu_pulse(smua, -1.2, 0.002, 3) and 1 or 0, smua.source.output, errorqueue.count)"
        opened.line.extend((message, "1\t1\t0"))
        assert opened.meter.pulse(-1.2, 2e-3, 3)

    def test_safe_off(self, opened: Opened) -> None:
        opened.line.extend(
            (CLEAR, None),
            ("smua.abort()", None),
            ("smua.source.levelv = 0", None),
            ("smua.source.output = smua.OUTPUT_OFF", None),
            ("errorqueue.clear()", None),
            ("print(smua.source.output)", "0.000000000e+00"),
        )
        opened.meter.safe_off()
        opened.line.done()
        with pytest.raises(UnsupportedError, match="before set_up"):
            opened.meter.hold(0.1)


class TestRefusals:
    @pytest.mark.parametrize(
        ("setup", "said"),
        [
            (Setup(3.5, 1e-10, 0.1), "a compliance of 1e-10 A asked; it can do 1e-09 to 1.5 A"),
            (Setup(3.5, 2.0, 0.1), "a compliance of 2 A asked"),
            (Setup(300.0, 1e-3, 0.1), "a source range of 300 V asked; it can do 0 to 200 V"),
            (Setup(3.5, 1e-3, 50.0), "an integration time of 50 power line periods asked"),
        ],
    )
    def test_setups(self, opened: Opened, setup: Setup, said: str) -> None:
        with pytest.raises(UnsupportedError, match=said):
            opened.meter.set_up(setup)
        opened.line.done()

    def test_pulses_and_levels(self, opened: Opened) -> None:
        with pytest.raises(
            UnsupportedError, match=r"a pulse width of 1e-05 s asked; it can do 0\.0001 to 10000 s"
        ):
            opened.meter.pulse(1.0, 1e-5)
        with pytest.raises(UnsupportedError, match=r"a level of 3\.6 V asked; it can do -3\.5 to 3\.5 V"):
            opened.meter.hold(3.6)
        with pytest.raises(UnsupportedError, match=r"a level of -3\.6 V"):
            opened.meter.sweep(np.array([0.1, -3.6]))
        opened.line.done()

    def test_a_channel_that_is_not_there(self) -> None:
        with pytest.raises(ConfigError, match="channel 'b' asked; a 2635B has one"):
            Opened("b", IDN.replace("2636B", "2635B"))
        with pytest.raises(ConfigError, match="channel 'c' asked; it has a, b"):
            Keithley2600B(ScriptedTransport([("*IDN?", IDN)]), "c")

    def test_another_model(self) -> None:
        line = ScriptedTransport([("*IDN?", "KEITHLEY INSTRUMENTS INC.,MODEL 2400,1,2")])
        with pytest.raises(
            ConfigError, match=r"a KEITHLEY INSTRUMENTS INC\. 2400 answers there, not a Keithley 2600B"
        ):
            Keithley2600B(line)


class TestWhatItDidNotTake:
    def test_a_limit(self) -> None:
        it = Opened()
        it.line.extend((SET_UP, "2.0e+01\t1.0e-01\t1.0e-02\t1.0e-01\t0"))
        with pytest.raises(
            InstrumentError, match=r"compliance, A: 0\.002 asked, but the instrument reports 0\.1"
        ):
            it.meter.set_up(SETUP)
        with pytest.raises(UnsupportedError):
            it.meter.hold(0.1)

    def test_an_error_in_the_queue(self) -> None:
        it = Opened()
        it.line.extend(
            (SET_UP, "2.0e+01\t2.0e-03\t1.0e-02\t1.0e-01\t2"),
            ("print(errorqueue.next())", "1.10200e+03\tParameter too small\t2.0e+01\t1.0e+00"),
            ("print(errorqueue.next())", "-2.86000e+02\tTSP Runtime error\t2.0e+01\t1.0e+00"),
            ("print(errorqueue.next())", NO_ERROR),
        )
        with pytest.raises(InstrumentError) as caught:
            it.meter.set_up(SETUP)
        assert (caught.value.code, caught.value.text) == (1102, "Parameter too small")
        assert "Keithley 2600B at GPIB0::24::INSTR, channel a" in str(caught.value)
        assert caught.value.__notes__ == [f"{it.meter.name}: also error -286, 'TSP Runtime error'"]

    def test_an_output_that_tripped(self, opened: Opened) -> None:
        message = "print(eapu_pulse(smua, -1.2, 0.002, 1) and 1 or 0, smua.source.output, errorqueue.count)"
        opened.line.extend((message, "0\t0\t0"))
        with pytest.raises(InstrumentError, match="the output is off, so nothing was measured"):
            opened.meter.pulse(-1.2, 2e-3)

    def test_an_answer_that_makes_no_sense(self, opened: Opened) -> None:
        opened.line.extend(("smua.source.levelv = 0.1 print(errorqueue.count)", "nil"))
        with pytest.raises(ProtocolError, match="was answered 'nil'; expected 1 numbers"):
            opened.meter.hold(0.1)

    def test_an_output_that_stays_on(self, opened: Opened) -> None:
        opened.line.extend(
            (CLEAR, None),
            ("smua.abort()", None),
            ("smua.source.levelv = 0", None),
            ("smua.source.output = smua.OUTPUT_OFF", None),
            ("errorqueue.clear()", None),
            ("print(smua.source.output)", "1.000000000e+00"),
        )
        with pytest.raises(HilError, match="the output is still on"):
            opened.meter.safe_off()

    def test_an_instrument_that_says_nothing(self, opened: Opened) -> None:
        opened.line.extend(
            (CLEAR, None),
            ("smua.abort()", None),
            ("smua.source.levelv = 0", None),
            ("smua.source.output = smua.OUTPUT_OFF", None),
            ("errorqueue.clear()", None),
            ("print(smua.source.output)", SILENCE),
        )
        with pytest.raises(HilError, match=r"Keithley 2600B at GPIB0::24::INSTR: no answer to 'print"):
            opened.meter.safe_off()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[tuple[SmallStation, Keithley2600B, SimulatedKeithley2600B]]:
    station = SmallStation(tmp_path)
    device = SimulatedKeithley2600B(station.probe, ["source", "spare"])
    with station.serving(device) as server, VisaTransport(server.resource) as line:
        meter = Keithley2600B(line, "a")
        meter.set_up(SETUP)
        meter.output(True)
        yield station, meter, device


Bench = tuple[SmallStation, Keithley2600B, SimulatedKeithley2600B]


class TestAtTheInstrument:
    def test_a_pulse_moves_the_cell_as_long_as_it_lasts(self, bench: Bench) -> None:
        station, meter, _ = bench
        station.gate(1.2)
        start_s = station.clock.now_s()
        assert not meter.pulse(1.2, 2e-3)
        assert station.g_S() == pytest.approx(20e-6, rel=0.01)
        assert 2e-3 < station.clock.now_s() - start_s < 10e-3

    def test_readings_are_the_cells(self, bench: Bench) -> None:
        station, meter, _ = bench
        station.array._cells.g_S[:] = 20e-6
        meter.set_up(Setup(0.25, 1e-4, 1.0))
        np.testing.assert_allclose(meter.sweep(np.array([0.2])).current_a, 4e-6, rtol=1e-3)
        levels_v = np.linspace(-0.2, 0.2, 120)
        np.testing.assert_allclose(meter.sweep(levels_v).current_a, levels_v * 20e-6, rtol=1e-2, atol=2e-9)
        assert meter.held().current_a[0] == pytest.approx(0.0, abs=1e-9)

    def test_compliance(self, bench: Bench) -> None:
        station, meter, _ = bench
        station.probe.faults.shorts[0, 0] = 100.0
        seen = meter.sweep(np.array([1.0]))
        assert seen.limited[0]
        assert seen.current_a[0] == pytest.approx(2e-3, rel=1e-3)
        assert meter.pulse(1.0, 2e-3)

    def test_opening_one_channel_leaves_the_other(self, bench: Bench) -> None:
        _, meter, device = bench
        meter.hold(0.1)
        Keithley2600B(meter._transport, "b")
        assert (device.channels[0].level_v, device.channels[0].on) == (0.1, True)

    def test_a_limit_that_is_too_small_for_it_keeps_the_old_one(self, bench: Bench) -> None:
        """And its error is raised: with `%f` a compliance of 1e-11 A would be a 0 that goes unseen."""
        _, meter, device = bench
        meter._transport.write("smua.source.limiti = 0")
        with pytest.raises(InstrumentError, match="error 1102, 'Parameter too small'"):
            meter.check_errors("smua.source.limiti = 0")
        assert device.channels[0].i_limit_a == 2e-3

    def test_it_is_off_after_the_way_out(self, bench: Bench) -> None:
        _, meter, device = bench
        meter.hold(0.5)
        meter.safe_off()
        assert (device.channels[0].level_v, device.channels[0].on) == (0.0, False)
