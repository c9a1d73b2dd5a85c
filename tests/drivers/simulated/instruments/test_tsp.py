"""The simulated TSP instruments' engine: Lua is run, settings are refused, errors are queued, output is formatted."""

from __future__ import annotations

import struct

import pytest
from eapu_drivers.simulated.instruments.tsp import TspDevice
from eapu_drivers.simulated.instruments.tsp_tables import Errors, Named, Numbered, Setting, TspTable


class Level(TspTable):
    value = Setting(1.0, -2.0, 5.0)
    mode = Setting(0, values=(0, 1))

    def __init__(self, errors: Errors) -> None:
        super().__init__(errors)
        self._changes: list[str] = []

    def _changed(self, name: str) -> None:
        self._changes.append(name)

    def pair(self) -> tuple[float, float]:
        return 1.5, 2.0


class Bench:
    def __init__(self) -> None:
        self.errors, self.elapsed_s = Errors(), 0.0
        self.level = Level(self.errors)
        tables = {
            "level": self.level,
            "lib": Named(twice=lambda x: 2 * x, same=lambda x: x),
            "list": Numbered([0.25, 0.5, 0.75]),
        }
        common = {"*IDN?": lambda: "we,device,1,0", "*CLS": self.errors.clear}
        self.device = TspDevice(self.errors, tables, common, self._elapse, lambda: self.elapsed_s)

    def _elapse(self, duration_s: float) -> None:
        self.elapsed_s += duration_s

    def ask(self, *lines: str) -> bytes:
        return b"".join(self.device.handle(line) for line in lines)

    def queued(self) -> list[tuple[int, str]]:
        found = []
        while (error := self.errors.take()) is not None:
            found.append(error)
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("print(0.2)", b"2.00000e-01\n"),
        ("print(1, nil, true, 'text')", b"1.00000e+00\tnil\ttrue\ttext\n"),
        ("format.asciiprecision = 10 print(1/3)", b"3.333333333e-01\n"),
        ("print(level.value, level.pair())", b"1.00000e+00\t1.50000e+00\t2.00000e+00\n"),
        ("print(lib.twice(4), list[2])", b"8.00000e+00\t5.00000e-01\n"),
        ("for k = 1, 2 do print(k) end", b"1.00000e+00\n2.00000e+00\n"),
        ("*IDN?", b"we,device,1,0\n"),
        ("", b""),
    ],
)
def test_what_is_sent_is_run(bench: Bench, statement: str, shown: bytes) -> None:
    assert bench.ask(statement) == shown
    assert bench.queued() == []


@pytest.mark.parametrize(
    ("statement", "code", "text"),
    [
        ("level.value = 6", 1101, "Parameter too big"),
        ("level.value = -3", 1102, "Parameter too small"),
        ("level.mode = 2", 1100, "Parameter out of range"),
        ("level.vaule = 1", -286, "vaule cannot be set"),
        ("print(level.vaule)", -286, "vaule"),
        ("lib.twice = 1", -286, "cannot be set"),
        ("print(nothing.value)", -286, "nil"),
        ("print(", -285, "Syntax"),
        ("*TST?", -285, "*TST?"),
        ("os.exit()", -286, "nil"),
        ("require('os')", -286, "nil"),
    ],
)
def test_what_is_wrong_goes_into_the_queue(bench: Bench, statement: str, code: int, text: str) -> None:
    bench.ask(statement)
    [(number, said)] = bench.queued()
    assert number == code
    assert text in said


def test_a_setting_out_of_range_changes_nothing_and_the_script_goes_on(bench: Bench) -> None:
    assert bench.ask("level.value = 6 print(level.value)") == b"1.00000e+00\n"
    assert bench.level._changes == []


def test_a_runtime_error_ends_the_message(bench: Bench) -> None:
    assert bench.ask("print(1) nothing() print(2)") == b"1.00000e+00\n"


def test_the_queue_as_scripts_see_it(bench: Bench) -> None:
    bench.ask("level.value = 6", "level.value = -3")
    assert bench.ask("print(errorqueue.count)") == b"2.00000e+00\n"
    first = bench.ask("print(errorqueue.next())").split(b"\t")
    assert (float(first[0]), first[1]) == (1101.0, b"Parameter too big")
    bench.ask("errorqueue.clear()")
    assert bench.ask("print(errorqueue.next())") == b"0.00000e+00\tQueue Is Empty\t0.00000e+00\t1.00000e+00\n"


def test_scripts(bench: Bench) -> None:
    bench.ask(
        "loadscript tools", "function double(x)", "  return 2 * x", "end", "print('loaded')", "endscript"
    )
    assert bench.ask("print(double)") == b"nil\n"
    assert bench.ask("tools()") == b"loaded\n"
    assert bench.ask("print(double(21))") == b"4.20000e+01\n"
    assert bench.ask("tools.run()") == b"loaded\n"
    assert bench.ask('script.delete("tools") print(tools)') == b"nil\n"
    assert bench.ask("loadandrunscript", "local x = 3", "print(x)", "endscript") == b"3.00000e+00\n"
    assert bench.queued() == []


def test_a_script_with_wrong_syntax_is_not_loaded(bench: Bench) -> None:
    bench.ask("loadscript tools", "for", "endscript")
    assert bench.queued()[0][0] == -285
    assert bench.ask("print(tools)") == b"nil\n"


def test_a_script_that_never_ends_is_ended(bench: Bench) -> None:
    bench.ask("while true do end")
    assert "never ends" in bench.queued()[0][1]
    assert bench.ask("print(1)") == b"1.00000e+00\n"


def test_time(bench: Bench) -> None:
    bench.ask("timer.reset() delay(0.25)")
    assert bench.elapsed_s == 0.25
    assert bench.ask("print(timer.measure.t())") == b"2.50000e-01\n"


def test_buffers_as_text_and_as_bytes(bench: Bench) -> None:
    assert bench.ask("printbuffer(1, 2, list)") == b"2.50000e-01, 5.00000e-01\n"
    bench.ask("format.data = format.REAL32 format.byteorder = format.LITTLEENDIAN")
    answer = bench.ask("printbuffer(2, 3, list)")
    assert answer[:2] == b"#0"
    assert answer[-1:] == b"\n"
    assert struct.unpack("<2f", answer[2:-1]) == (0.5, 0.75)
    assert bench.ask("printbuffer(2, 4, list)") == b""
    assert bench.queued()[0][0] == -286


def test_its_own_tables_come_back_as_they_are(bench: Bench) -> None:
    assert bench.ask("print(lib.same(level).value)") == b"1.00000e+00\n"
    assert bench.ask("local t = {a = 5} print(lib.same(t).a)") == b"5.00000e+00\n"


def test_objects_stay_the_same_over_thousands_of_messages(bench: Bench) -> None:
    """Each name leads to the same thing however often Lua collects its garbage."""
    for k in range(3000):
        assert bench.ask(f"level.value = {k % 5} print(level.value, lib.twice({k}), list[1])") == (
            f"{k % 5:.5e}\t{2 * k:.5e}\t{0.25:.5e}\n".encode()
        )
    assert bench.queued() == []
